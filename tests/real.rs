//! Real photos: the accuracies the project promises. Skipped, and said so, where the data is absent.

mod support;

use fieldhead::backbone::{Backbone, find, hex, kernels};
use fieldhead::features::FeatureSet;
use fieldhead::preprocess::{Fit, decode, fit_to};
use fieldhead::random::SplitMix64;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use support::Bench;

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn trash_is_told_apart_as_well_as_promised() {
    let Some(trashnet) = support::data("trashnet") else {
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
        let error = judged["calibration_error"].as_f64().unwrap();
        assert!(error <= 0.05, "{features}: calibration error {error}");
        assert!(
            balanced >= promised,
            "{features}: {balanced}, promised {promised}"
        );
    }
}

/// SHA-256 of the features of the first ten photos of each class of trashnet/val, all outputs, as little-endian f32: equal on every
/// machine and with every kernel.
const SIXTY_PHOTOS: [(&str, &str); 2] = [
    (
        "efficientnet-lite0-int8",
        "2157dd4656972dcc8f935d6f0ab44f1830fd44f44849225336eece737672078d",
    ),
    (
        "mobilenet-v2-int8",
        "3ea3f6785c5b196b65582380194454ee3c647053a87744d5286d091353690be7",
    ),
];

#[test]
fn sixty_photos_give_the_committed_features_with_every_kernel() {
    let Some(val) = support::data("trashnet/val") else {
        return;
    };
    let classes = sorted(&val);
    let paths = classes.iter().flat_map(|c| sorted(c).into_iter().take(10));
    let pictures: Vec<_> = paths
        .map(|path| decode(&std::fs::read(path).unwrap()).unwrap())
        .collect();
    assert_eq!(pictures.len(), 60);
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    for (name, committed) in SIXTY_PHOTOS {
        let found = find::find(name, std::slice::from_ref(&models)).unwrap();
        for kernel in kernels() {
            let backbone = Backbone::load(&found, FeatureSet::Multi, Some(kernel)).unwrap();
            let view = backbone.recipe(Fit::Squash).view;
            let features: Vec<Vec<f32>> = pictures
                .par_iter()
                .map(|picture| {
                    let pixels =
                        fit_to(picture, view.fit, view.width, view.height, view.pad).unwrap();
                    backbone.embed_on(&pixels, 1).unwrap()
                })
                .collect();
            let mut digest = Sha256::new();
            for number in features.iter().flatten() {
                digest.update(number.to_le_bytes());
            }
            let got = hex(&digest.finalize());
            assert_eq!(got, committed, "{name} with {kernel}");
        }
    }
}

#[test]
fn seven_of_ten_planted_wrong_labels_are_in_the_first_sixth_of_the_suspects() {
    let Some(train) = support::data("trashnet/train") else {
        return;
    };
    let mut files = Vec::new();
    for class in sorted(&train) {
        let label = class.file_name().unwrap().to_str().unwrap().to_owned();
        files.extend(sorted(&class).into_iter().map(|path| (path, label.clone())));
    }
    let mut labels: Vec<String> = files.iter().map(|(_, label)| label.clone()).collect();
    labels.dedup();
    for seed in 0..3 {
        let bench = Bench::new();
        let mut random = SplitMix64::new(seed);
        let mut order: Vec<usize> = (0..files.len()).collect();
        random.shuffle(&mut order);
        let planted = &order[..files.len() / 10];
        let tree = bench.path("tree");
        for (at, (path, label)) in files.iter().enumerate() {
            let mut label = label;
            if planted.contains(&at) {
                let others: Vec<&String> = labels.iter().filter(|l| *l != label).collect();
                label = others[random.below(others.len())];
            }
            let folder = tree.join(label);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::copy(path, folder.join(format!("{at}.jpg"))).unwrap();
        }
        bench.ok(&["collect", "--from", tree.to_str().unwrap()]);
        let first = (files.len() * 15 / 100).to_string();
        let listed = bench
            .ok(&["samples", "--suspect", "--count", &first, "--json"])
            .json();
        let found = listed.iter().filter(|line| {
            let source = Path::new(line["source"].as_str().unwrap());
            let at: usize = source
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .parse()
                .unwrap();
            planted.contains(&at)
        });
        let share = found.count() as f64 / planted.len() as f64;
        eprintln!("seed {seed}: {:.0} % of the planted labels", 100.0 * share);
        assert!(share >= 0.7, "seed {seed}: {share}");
    }
}
