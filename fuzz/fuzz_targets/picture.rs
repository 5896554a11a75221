//! Any bytes as a photo: decoded to as many pixels as it says, or refused.
#![no_main]

use fieldhead::preprocess::decode;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(image) = decode(bytes) {
        assert_eq!(image.rgb.len(), image.width as usize * image.height as usize * 3);
    }
});
