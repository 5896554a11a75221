//! Heads as format version 1 has them. Nothing here ever changes: it reads what was written then.

use super::records;
use crate::features::Recipe;
use crate::head::{self, ClassWeights, HeadKind, Model, Normalization, Normalizer};
use serde::Deserialize;

#[derive(Deserialize)]
pub struct HeadRecord {
    recipe: Recipe,
    learned: Learned,
    request: Request,
    chosen_upto_id: u64,
    native: bool,
    time_us: u64,
}

#[derive(Deserialize)]
struct Learned {
    settings: Settings,
    labels: Vec<String>,
    n_samples: u64,
    normalizer: Normalizer,
    model: Model,
    calibration: Calibration,
}

#[derive(Deserialize)]
struct Settings {
    kind: HeadKind,
    normalization: Normalization,
    penalty: f64,
}

#[derive(Deserialize)]
struct Calibration {
    inverse_temperature: f32,
    unknown_below: f32,
}

#[derive(Deserialize)]
struct Request {
    kind: Option<HeadKind>,
    normalization: Option<Normalization>,
    penalty: Option<f64>,
    false_alarm_rate: f64,
    seed: u64,
}

impl From<HeadRecord> for records::HeadRecord {
    fn from(old: HeadRecord) -> Self {
        let request = head::Request {
            kind: old.request.kind,
            normalization: old.request.normalization,
            penalty: old.request.penalty,
            // The view and the outputs were the field's settings then, never a choice.
            fit: Some(old.recipe.view.fit),
            set: Some(old.recipe.set),
            false_alarm_rate: old.request.false_alarm_rate,
            seed: old.request.seed,
            ..head::Request::default()
        };
        records::HeadRecord {
            recipe: old.recipe,
            learned: old.learned.into(),
            request,
            chosen_upto_id: old.chosen_upto_id,
            native: old.native,
            time_us: old.time_us,
        }
    }
}

impl From<Learned> for head::Learned {
    fn from(old: Learned) -> Self {
        head::Learned {
            settings: head::Settings {
                kind: old.settings.kind,
                normalization: old.settings.normalization,
                penalty: old.settings.penalty,
                class_weights: ClassWeights::Balanced,
            },
            labels: old.labels,
            n_samples: old.n_samples,
            normalizer: old.normalizer,
            model: old.model,
            calibration: head::Calibration {
                unknown_below: old.calibration.unknown_below,
                ..head::Calibration::new(old.calibration.inverse_temperature)
            },
        }
    }
}
