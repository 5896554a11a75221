//! Files of every format version ever shipped open for ever: `tests/data/vN` holds a field and a head of version N.

use fieldhead::config::Settings;
use fieldhead::head::{self, HeadKind};
use fieldhead::preprocess::decode;
use fieldhead::store::{Event, Origin, Store, fhead};
use std::path::{Path, PathBuf};

fn data(version: u64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/v{version}"))
}

#[test]
fn there_is_a_sample_of_every_version() {
    let folders = std::fs::read_dir(data(1).parent().unwrap())
        .unwrap()
        .count() as u64;
    assert_eq!(folders, fieldhead::store::FORMAT_VERSION);
}

#[test]
fn a_field_of_version_1_opens_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["field.redb", "field.toml"] {
        std::fs::copy(data(1).join(name), dir.path().join(name)).unwrap();
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
    let next = fieldhead::store::HeadRecord {
        learned: head.learned().clone(),
        ..record
    };
    assert_eq!(
        store.write(|tx| tx.put_head(&next, Origin::Train)).unwrap(),
        3
    );
}

#[test]
fn a_head_of_version_1_is_read_and_written_the_same() {
    let bytes = std::fs::read(data(1).join("head.fhead")).unwrap();
    let record = fhead::decode(&bytes).unwrap();
    assert_eq!(record.learned.labels, ["gear", "nut", "screw"]);
    assert_eq!(fhead::encode(&record).unwrap(), bytes);
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
