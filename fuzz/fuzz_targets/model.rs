//! Any bytes as a model under a card that fits: it runs on a grey picture, or is refused. `tests/damaged_models.rs` tampers with nodes
//! and constants of a whole one.
#![no_main]

use fieldhead::backbone::{Backbone, find};
use fieldhead::features::FeatureSet;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

static FOUND: LazyLock<(tempfile::TempDir, find::Found)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let mut found = find::find(find::DEFAULT, &[]).unwrap();
    found.folder = Some(folder.path().into());
    (folder, found)
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (folder, found) = &*FOUND;
    let mut found = found.clone();
    std::fs::write(folder.path().join(&found.card.file), bytes).unwrap();
    found.card.sha256 = Sha256::digest(bytes).into();
    if let Ok(backbone) = Backbone::load(&found, FeatureSet::Final, None) {
        let input = &found.card.input;
        let _ = backbone.embed_on(&vec![128; (input.width * input.height * 3) as usize], 1);
    }
});
