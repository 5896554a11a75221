//! What is kept of a head: enough to score, to check, and to go on learning.

use super::novelty::doubt;
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

/// What a head says of one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Probabilities, one a label, in order of the labels. They sum to one.
    pub scores: Vec<f32>,
    /// How little the sample is like anything learned; in which units is the head's affair.
    pub unknown_score: f64,
    /// An `unknown_score` above this means *unknown*.
    pub unknown_above: f64,
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

    /// Probabilities, and how unknown the sample is: by its novelty, or where nothing was held out by what the highest probability
    /// lacks to one.
    pub fn answer(&self, features: &[f32]) -> Result<Answer, HeadError> {
        let factor = f64::from(self.calibration.inverse_temperature);
        let raw = self.raw_scores(features)?;
        let scores = probabilities(&raw, factor);
        let (unknown_score, unknown_above) = match &self.calibration.novelty {
            Some(novelty) => (
                f64::from(novelty.score(features, doubt(&raw, factor))),
                f64::from(novelty.unknown_above),
            ),
            None => {
                let highest = scores.iter().copied().fold(0.0, f32::max);
                let lacks = |p: f32| 1.0 - f64::from(p);
                (lacks(highest), lacks(self.calibration.unknown_below))
            }
        };
        Ok(Answer {
            scores,
            unknown_score,
            unknown_above,
        })
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
