//! Any bytes as a head: what decodes is valid, and encodes to bytes that decode to the same; of the version that is written, to the
//! same bytes.
#![no_main]

use fieldhead::store::fhead;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = fhead::decode(bytes) {
        assert!(record.learned.validate().is_ok());
        let again = fhead::encode(&record).unwrap();
        assert_eq!(fhead::decode(&again).as_ref(), Ok(&record));
        if bytes[8..10] == fhead::FORMAT_VERSION.to_le_bytes() {
            assert_eq!(again, bytes);
        }
    }
});
