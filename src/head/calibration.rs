//! What held-out samples said about a head's scores: how sure they are, how many labels it takes to be right, what is unknown.

use super::HeadError;
use serde::{Deserialize, Serialize};

/// How raw scores become probabilities and sets of labels, and when the answer is *unknown*.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Raw scores are multiplied by this before the softmax (1/T of temperature scaling; Guo et al., 2017).
    pub inverse_temperature: f32,
    /// A highest probability below this means *unknown*; 0 never does.
    pub unknown_below: f32,
    pub conformal: Conformal,
}

impl Calibration {
    /// Before anything was held out: probabilities as they come, nothing unknown, and no set but that of all labels.
    pub fn new(inverse_temperature: f32) -> Calibration {
        Calibration {
            inverse_temperature,
            unknown_below: 0.0,
            conformal: Conformal::default(),
        }
    }

    /// Refuses numbers out of range.
    pub(super) fn validate(&self) -> Result<(), HeadError> {
        let warm = self.inverse_temperature > 0.0 && self.inverse_temperature.is_finite();
        let known = (0.0..=1.0).contains(&self.unknown_below);
        (warm && known && self.conformal.is_sound())
            .then_some(())
            .ok_or_else(|| HeadError::Damaged {
                what: "its calibration is out of range".into(),
            })
    }
}

/// Nonconformity scores of held-out samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conformal {
    /// Ascending, at most [`Conformal::MOST`].
    pub scores: Vec<f32>,
}

impl Conformal {
    /// Numbers that are kept at most.
    pub const MOST: usize = 1024;

    fn is_sound(&self) -> bool {
        self.scores.len() <= Conformal::MOST
            && self.scores.iter().all(|score| score.is_finite())
            && self.scores.is_sorted()
    }
}
