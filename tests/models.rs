//! The installed backbones: what their cards promise, and what they answer.

use fieldhead::backbone::{Backbone, find, kernels};
use fieldhead::features::FeatureSet;
use fieldhead::preprocess::{Fit, Modality, decode, fit_to};
use fieldhead::source::line::{Light, Line};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

fn installed() -> Vec<find::Found> {
    let mut found = find::installed(&[models()]);
    // Those of windows are no networks.
    found.retain(|found| !matches!(found.card.modality, Modality::Window { .. }));
    assert_eq!(found.len(), 3);
    found
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(x * y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn the_golden_picture_gives_the_golden_features() {
    for found in installed() {
        let golden = found.card.golden.clone().unwrap();
        let folder = models().join(&found.card.name);
        let picture = decode(&std::fs::read(folder.join(golden.picture)).unwrap()).unwrap();
        let expected: Vec<f32> = std::fs::read(folder.join(golden.features))
            .unwrap()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let width = found.card.outputs[0].width;
        let got = Backbone::load(&found, FeatureSet::Final, None)
            .unwrap()
            .embed(&picture.rgb)
            .unwrap();
        assert_eq!(got.len(), width);
        // The golden file was made by onnxruntime's integer operators; what differs is the last bits of the mean.
        let close = cosine(&got, &expected[..width]);
        assert!(close > 0.999_999, "{}: {close}", found.card.name);
        let many = Backbone::load(&found, FeatureSet::Multi, None)
            .unwrap()
            .embed(&picture.rgb)
            .unwrap();
        assert_eq!(many.len(), expected.len());
        let mut start = 0;
        for output in &found.card.outputs {
            let part = start..start + output.width;
            let close = cosine(&many[part.clone()], &expected[part]);
            assert!(
                close > 0.999_999,
                "{} {}: {close}",
                found.card.name,
                output.name
            );
            start += output.width;
        }
    }
}

/// SHA-256 of the features of drawn pictures, all outputs, as little-endian f32: equal on every machine.
const DRAWN: [(&str, &str); 3] = [
    (
        "efficientnet-lite0-int8",
        "ae364120fdf418cfe7bfb4f6b3af5771b327ce90ae1c547f743597d23349fcd7",
    ),
    (
        "mobilenet-v2-int8",
        "545e40c1b48e8020a9f4a185481e554dcad00cb117f4d86508062001873ba097",
    ),
    (
        "speech-embedding-int8",
        "473abe935d9356012443aa40d6132b561bdc77fccd9b9ab88420112c88873b02",
    ),
];

#[test]
fn every_kernel_and_any_number_of_threads_give_the_committed_features() {
    let mut lines = [Light::day(), Light::evening()].map(|light| Line::new(60, light));
    let frames: Vec<_> = (0..6).map(|n| lines[n % 2].next().1).collect();
    for (name, committed) in DRAWN {
        let found = find::find(name, &[models()]).unwrap();
        for kernel in kernels() {
            let backbone = Backbone::load(&found, FeatureSet::Multi, Some(kernel)).unwrap();
            assert_eq!(backbone.kernel(), kernel);
            assert!(backbone.left_in_floats().is_empty());
            let view = backbone.recipe(Fit::Squash).view;
            let mut digest = Sha256::new();
            for (index, frame) in frames.iter().enumerate() {
                let pixels = fit_to(frame, view.fit, view.width, view.height, view.pad).unwrap();
                let features = backbone.embed_on(&pixels, 1 + index % 3).unwrap();
                for number in features {
                    digest.update(number.to_le_bytes());
                }
            }
            let got: String = digest
                .finalize()
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            assert_eq!(got, committed, "{name} with {kernel}");
        }
    }
}

#[test]
fn integers_are_close_to_the_same_model_in_floats() {
    for found in installed() {
        let folder = models().join(&found.card.name);
        let picture = found.card.golden.clone().unwrap().picture;
        let picture = decode(&std::fs::read(folder.join(picture)).unwrap()).unwrap();
        let [integers, floats] = [None, Some("tract")].map(|kernel| {
            let backbone = Backbone::load(&found, FeatureSet::Final, kernel).unwrap();
            assert_eq!(backbone.left_in_floats().is_empty(), kernel.is_none());
            backbone.embed(&picture.rgb).unwrap()
        });
        let close = cosine(&integers, &floats);
        assert!(close > 0.995, "{}: {close}", found.card.name);
    }
}

#[test]
fn a_kernel_that_is_not_there_is_named() {
    let error = Backbone::load(&installed()[0], FeatureSet::Final, Some("abacus"));
    let error = error.err().unwrap().to_string();
    assert!(
        error.contains("abacus") && error.contains("portable"),
        "{error}"
    );
}

#[test]
fn every_model_is_small_has_its_hash_and_its_licence() {
    for found in installed() {
        let model = found.read_model().unwrap();
        assert_eq!(model.len() as u64, found.card.model_bytes);
        assert!(model.len() <= 4_000_000);
        assert!(!found.card.licence.is_empty() && !found.card.trained_on.is_empty());
        let sees = found.card.modality == Modality::Picture;
        assert!(found.card.macs > if sees { 250_000_000 } else { 40_000_000 });
        assert_eq!(sees, !found.card.cuts.is_empty());
        assert!(found.card.outputs.len() > 4, "taps");
    }
}

#[test]
fn a_model_that_was_changed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let from = models().join("mobilenet-v2-int8");
    std::fs::copy(from.join("card.toml"), dir.path().join("card.toml")).unwrap();
    let mut model = std::fs::read(from.join("model.onnx")).unwrap();
    model[1000] ^= 1;
    std::fs::write(dir.path().join("model.onnx"), model).unwrap();
    let found = find::find(dir.path().to_str().unwrap(), &[]).unwrap();
    let error = Backbone::load(&found, FeatureSet::Final, None)
        .err()
        .unwrap();
    assert!(error.to_string().contains("SHA-256"), "{error}");
}

#[test]
fn a_picture_of_another_size_is_refused() {
    let backbone = Backbone::load(&installed()[0], FeatureSet::Final, None).unwrap();
    let error = backbone.embed(&[0; 300]).unwrap_err();
    assert!(error.to_string().contains("300 bytes"), "{error}");
}
