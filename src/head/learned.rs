//! What is kept of a head: enough to score, to check, and to go on learning.

use super::{Calibration, HeadError, Normalizer, Settings};
use crate::features;
use crate::label::{self, MAX_LABELS};
use serde::{Deserialize, Serialize};

/// A trained head as plain numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    pub settings: Settings,
    /// Sorted.
    pub labels: Vec<String>,
    /// Samples it learned from.
    pub n_samples: u64,
    pub normalizer: Normalizer,
    pub model: Model,
    pub calibration: Calibration,
}

/// The function from normalized features to raw scores. Variants are only ever added at the end: their position is the format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Model {
    Linear(Linear),
}

/// Raw scores `W z + b`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// `[classes, width]`, row by row.
    pub weights: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
}

impl Learned {
    /// Numbers in a feature vector.
    pub fn width(&self) -> usize {
        let Model::Linear(linear) = &self.model;
        linear.weights.len() / self.labels.len().max(1)
    }

    /// Scores before calibration, one a label. Sums run in f64.
    ///
    /// # Errors
    /// A vector of another width, or with a number that is not finite.
    pub fn raw_scores(&self, features: &[f32]) -> Result<Vec<f64>, HeadError> {
        features::check(features, self.width())?;
        let z = self.normalizer.apply(features);
        let Model::Linear(linear) = &self.model;
        Ok(raw_scores(linear, &z))
    }

    /// Probabilities, one a label, in order of the labels. They sum to one.
    pub fn scores(&self, features: &[f32]) -> Result<Vec<f32>, HeadError> {
        let factor = f64::from(self.calibration.inverse_temperature);
        let raw = self.raw_scores(features)?;
        Ok(probabilities(&raw, factor))
    }

    /// Refuses a head whose parts do not fit together, or that holds a number that is not finite.
    pub fn validate(&self) -> Result<(), HeadError> {
        let damaged = |what: &str| HeadError::Damaged { what: what.into() };
        let Model::Linear(linear) = &self.model;
        let classes = self.labels.len();
        if !(2..=MAX_LABELS).contains(&classes) || !self.labels.is_sorted_by(|a, b| a < b) {
            return Err(damaged(
                "its labels are not sorted, distinct, and at least two",
            ));
        }
        for label in &self.labels {
            label::check(label)?;
        }
        if linear.bias.len() != classes
            || linear.weights.is_empty()
            || !linear.weights.len().is_multiple_of(classes)
            || self.width() > features::MAX_WIDTH
        {
            return Err(damaged("its weights do not fit its labels"));
        }
        if !linear
            .weights
            .iter()
            .chain(&linear.bias)
            .all(|x| x.is_finite())
        {
            return Err(damaged("a weight is not a finite number"));
        }
        let Calibration {
            inverse_temperature,
            unknown_below,
        } = self.calibration;
        let warm = inverse_temperature > 0.0 && inverse_temperature.is_finite();
        if !warm || !(0.0..=1.0).contains(&unknown_below) {
            return Err(damaged("its calibration is out of range"));
        }
        self.settings.check()?;
        if self.settings.normalization != self.normalizer.kind {
            return Err(damaged(
                "its feature scaling is not the one in its settings",
            ));
        }
        self.normalizer.validate(self.width())
    }
}

/// `W z + b`, summed in f64; `z` is normalized.
pub(crate) fn raw_scores(linear: &Linear, z: &[f32]) -> Vec<f64> {
    let rows = linear.weights.chunks_exact(z.len());
    rows.zip(&linear.bias)
        .map(|(row, &bias)| f64::from(bias) + super::gram::dot(row, z))
        .collect()
}

/// Softmax of scaled scores.
pub(crate) fn probabilities(raw: &[f64], factor: f64) -> Vec<f32> {
    let highest = raw.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = raw
        .iter()
        .map(|&x| ((x - highest) * factor).exp())
        .collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|&p| (p / sum) as f32).collect()
}
