//! Sound and windows of sensors: any bytes are decoded to something drawable or refused.
#![no_main]

use fieldhead::preprocess::{Modality, sound, window};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Modality::of(bytes);
    if let Ok(sound) = sound::parse(bytes) {
        assert!(sound::picture(&sound).width >= 76);
    }
    if let Ok(window) = window::parse(bytes) {
        assert!(window.draw().width > 0);
    }
});
