//! Files of every format version ever shipped open for ever: `tests/data/vN` holds a field and a head of version N. That of the
//! version written today is made again, in an empty folder and with `FIELDHEAD_MODELS` set to `models`, by
//!
//! ```text
//! fieldhead collect --label gear --source line:1,part=gear --count 2
//! fieldhead collect --label screw --source line:1,part=screw --count 2
//! fieldhead collect --label gear --source "line:1,part=hex nut"
//! fieldhead train && fieldhead correct --label nut --sample 5
//! fieldhead export field/head.fhead
//! ```

use fieldhead::config::Settings;
use fieldhead::head::{self, HeadKind};
use fieldhead::preprocess::decode;
use fieldhead::store::{Event, HeadRecord, Origin, Store, fhead};
use std::path::{Path, PathBuf};

fn data(version: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/v{version}"))
}

fn versions() -> std::ops::RangeInclusive<u16> {
    1..=fhead::FORMAT_VERSION
}

/// The bytes of a version's `.fhead`.
fn head_file(version: u16) -> Vec<u8> {
    std::fs::read(data(version).join("head.fhead")).unwrap()
}

#[test]
fn there_is_a_sample_of_every_version() {
    let folders = std::fs::read_dir(data(1).parent().unwrap())
        .unwrap()
        .count();
    assert_eq!(folders, versions().count());
    assert_eq!(fieldhead::store::FORMAT_VERSION, 2);
}

#[test]
fn a_field_of_every_version_opens_and_goes_on() {
    for version in versions() {
        opens_and_goes_on(&data(version));
    }
}

fn opens_and_goes_on(data: &Path) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["field.redb", "field.toml"] {
        std::fs::copy(data.join(name), dir.path().join(name)).unwrap();
    }
    assert!(Settings::load(dir.path()).is_ok());
    let store = Store::open(dir.path()).unwrap();
    let samples = store.samples().unwrap();
    let labels: Vec<&str> = samples.values().map(|s| s.label.as_str()).collect();
    assert_eq!(labels, ["gear", "gear", "screw", "screw", "nut"]);
    for id in samples.keys() {
        decode(&store.photo(*id).unwrap().unwrap()).unwrap();
    }
    let versions = store.versions().unwrap();
    assert_eq!(versions[0].origin, Origin::Train);
    assert_eq!(versions[1].origin, Origin::Correct { sample: 5 });
    let journal = store.journal().unwrap();
    assert!(matches!(journal[0].event, Event::Created { .. }));
    assert!(
        journal
            .iter()
            .any(|e| matches!(&e.event, Event::Relabelled { to, .. } if to == "nut"))
    );

    let (version, record) = store.current_head().unwrap();
    assert_eq!((version, record.learned.labels.len()), (2, 3));
    let features = store.features(&record.recipe).unwrap();
    assert_eq!(features.ids.len(), 5);
    let width = record.recipe.width as usize;
    for (id, vector) in features
        .ids
        .iter()
        .zip(features.numbers.chunks_exact(width))
    {
        let scores = record.learned.scores(vector).unwrap();
        let best = fieldhead::decision::best(&scores);
        assert_eq!(record.learned.labels[best], samples[id].label);
    }
    // It goes on: the head learns once more and is stored beside the old ones.
    let set = fieldhead::pipeline::training_set(&store, &record.recipe, &[], |_, _| Ok(Vec::new()))
        .unwrap();
    let mut head = head::resume(&record.learned, set.samples).unwrap();
    head.learn(&features.numbers[..width], "washer", 9).unwrap();
    let next = HeadRecord {
        learned: head.learned().clone(),
        ..record
    };
    assert_eq!(
        store.write(|tx| tx.put_head(&next, Origin::Train)).unwrap(),
        3
    );
}

#[test]
fn a_head_of_every_version_is_read_and_goes_on_as_the_newest() {
    for version in versions() {
        let record = fhead::decode(&head_file(version)).unwrap();
        assert_eq!(record.learned.labels, ["gear", "nut", "screw"]);
        let bytes = fhead::encode(&record).unwrap();
        assert_eq!(fhead::decode(&bytes).unwrap(), record);
        if version == fhead::FORMAT_VERSION {
            assert_eq!(bytes, head_file(version));
        }
    }
}

#[test]
fn a_head_of_version_1_keeps_the_view_that_it_was_trained_with() {
    let record = fhead::decode(&head_file(1)).unwrap();
    assert_eq!(record.request.fit, Some(record.recipe.view.fit));
    assert_eq!(record.request.set, Some(record.recipe.set));
    assert_eq!(record.request.coverage, 0.9);
}

#[test]
fn a_head_of_a_later_version_is_told_as_such() {
    let mut bytes = head_file(fhead::FORMAT_VERSION);
    for version in [0, fhead::FORMAT_VERSION + 1] {
        bytes[8..10].copy_from_slice(&version.to_le_bytes());
        let refused = fhead::decode(&bytes).unwrap_err();
        assert_eq!(refused, fhead::FheadError::Version { got: version });
    }
}

#[test]
fn a_kind_of_head_keeps_its_number() {
    let numbers = HeadKind::ALL.map(|kind| postcard::to_stdvec(&kind).unwrap());
    assert_eq!(numbers.concat(), [0, 1, 2, 3, 4]);
    assert_eq!(
        HeadKind::ALL.map(|kind| kind.to_string()),
        ["softmax", "ridge", "prototype", "lda", "mlp"]
    );
}
