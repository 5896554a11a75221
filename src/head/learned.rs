//! What is kept of a head: enough to score, to check, and to go on learning.

use super::{Calibration, HeadError, Model, Normalizer, Settings, probabilities};
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

impl Learned {
    /// Numbers in a feature vector.
    pub fn width(&self) -> usize {
        self.model.width(self.labels.len())
    }

    /// Scores before calibration, one a label. Sums run in f64.
    ///
    /// # Errors
    /// A vector of another width, or with a number that is not finite.
    pub fn raw_scores(&self, features: &[f32]) -> Result<Vec<f64>, HeadError> {
        features::check(features, self.width())?;
        let z = self.normalizer.apply(features);
        Ok(self.model.raw_scores(&z))
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
        let classes = self.labels.len();
        if !(2..=MAX_LABELS).contains(&classes) || !self.labels.is_sorted_by(|a, b| a < b) {
            return Err(damaged(
                "its labels are not sorted, distinct, and at least two",
            ));
        }
        for label in &self.labels {
            label::check(label)?;
        }
        self.model.validate(self.settings.kind, classes)?;
        if self.width() > features::MAX_WIDTH {
            return Err(damaged("its weights do not fit its labels"));
        }
        self.calibration.validate()?;
        self.settings.check()?;
        if self.settings.normalization != self.normalizer.kind {
            return Err(damaged(
                "its feature scaling is not the one in its settings",
            ));
        }
        self.normalizer.validate(self.width())
    }
}
