//! Real photos: the accuracies the project promises. Skipped, and said so, where the data is absent.

mod support;

use std::path::{Path, PathBuf};
use support::Bench;

/// `FIELDHEAD_DATA`, or the folder `shared/data` beside the repository.
fn photos(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let data = std::env::var_os("FIELDHEAD_DATA").map_or(beside, PathBuf::from);
    let folder = data.join(name).canonicalize().ok();
    if folder.is_none() {
        eprintln!("skipped: no photos in {}", data.join(name).display());
    }
    folder
}

#[test]
fn trash_is_told_apart_as_well_as_promised() {
    let Some(trashnet) = photos("trashnet") else {
        return;
    };
    let bench = Bench::new();
    let (train, val) = (trashnet.join("train"), trashnet.join("val"));
    let collected = bench
        .ok(&["collect", "--from", train.to_str().unwrap(), "--json"])
        .json();
    assert_eq!(collected.last().unwrap()["skipped"], 0);
    for (features, promised) in [("final", 0.80), ("multi", 0.83)] {
        bench.ok(&["--features", features, "train"]);
        let judged = bench
            .ok(&["eval", "--from", val.to_str().unwrap(), "--json"])
            .one();
        let balanced = judged["balanced_accuracy"].as_f64().unwrap();
        assert!(
            balanced >= promised,
            "{features}: {balanced}, promised {promised}"
        );
    }
}
