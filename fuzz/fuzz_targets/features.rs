//! Any bytes as a file of features: what is read is whole, and comes back when it is written again.
#![no_main]

use fieldhead::features::npz;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(table) = npz::decode(bytes) {
        assert_eq!(table.rows.len(), table.labels.len() * table.width);
        let again = npz::encode(&table).and_then(|bytes| npz::decode(&bytes));
        assert!(again.is_ok_and(|again| again == table));
    }
});
