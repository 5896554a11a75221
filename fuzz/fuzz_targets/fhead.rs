//! Any bytes as a head: what decodes is valid and encodes to the same bytes.
#![no_main]

use fieldhead::store::fhead;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = fhead::decode(bytes) {
        assert!(record.learned.validate().is_ok());
        assert_eq!(fhead::encode(&record).as_deref(), Ok(bytes));
    }
});
