//! The installed backbones: what their cards promise, and what they answer.

use fieldhead::backbone::{Backbone, find};
use fieldhead::features::FeatureSet;
use fieldhead::preprocess::decode;
use std::path::{Path, PathBuf};

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

fn installed() -> Vec<find::Found> {
    let found = find::installed(&[models()]);
    assert_eq!(found.len(), 2);
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
        let got = Backbone::load(&found, FeatureSet::Final)
            .unwrap()
            .embed(&picture.rgb)
            .unwrap();
        assert_eq!(got.len(), width);
        // The golden file was made by a runtime that multiplies integers, tract multiplies floats: activations that fall on a
        // rounding edge differ by a step. Measured: EfficientNet-Lite0 above 0.999; MobileNetV2 0.9967, its taps 0.9947.
        let close = cosine(&got, &expected[..width]);
        let (whole, tap) = if found.card.name == find::DEFAULT {
            (0.999, 0.995)
        } else {
            (0.995, 0.99)
        };
        assert!(close > whole, "{}: {close}", found.card.name);
        let many = Backbone::load(&found, FeatureSet::Multi)
            .unwrap()
            .embed(&picture.rgb)
            .unwrap();
        assert_eq!(many.len(), expected.len());
        let mut start = 0;
        for output in &found.card.outputs {
            let part = start..start + output.width;
            let close = cosine(&many[part.clone()], &expected[part]);
            assert!(close > tap, "{} {}: {close}", found.card.name, output.name);
            start += output.width;
        }
    }
}

#[test]
fn every_model_is_small_has_its_hash_and_its_licence() {
    for found in installed() {
        let model = found.read_model().unwrap();
        assert_eq!(model.len() as u64, found.card.model_bytes);
        assert!(model.len() <= 4_000_000);
        assert!(!found.card.licence.is_empty() && !found.card.trained_on.is_empty());
        assert!(found.card.macs > 250_000_000 && !found.card.cuts.is_empty());
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
    let error = Backbone::load(&found, FeatureSet::Final).err().unwrap();
    assert!(error.to_string().contains("SHA-256"), "{error}");
}

#[test]
fn a_picture_of_another_size_is_refused() {
    let backbone = Backbone::load(&installed()[0], FeatureSet::Final).unwrap();
    let error = backbone.embed(&[0; 300]).unwrap_err();
    assert!(error.to_string().contains("300 bytes"), "{error}");
}
