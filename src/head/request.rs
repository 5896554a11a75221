//! What the user asks of a head.

use super::{HeadError, HeadKind, Normalization, check_penalty};
use crate::features::FeatureSet;
use crate::preprocess::Fit;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Coverages that may be asked for: below a half a set says less than its best label, and above 0.999 nobody has the samples.
pub const COVERAGE: RangeInclusive<f64> = 0.5..=0.999;
/// Shares of known samples that may be called unknown.
pub const FALSE_ALARM_RATE: RangeInclusive<f64> = 0.0..=0.5;

/// What the user asks for; what is `None` the samples decide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub kind: Option<HeadKind>,
    pub normalization: Option<Normalization>,
    /// L2 penalty on the weights (1/C), see [`Settings::penalty`](super::Settings::penalty).
    pub penalty: Option<f64>,
    /// How pictures are fitted to the network.
    pub fit: Option<Fit>,
    /// Which of the network's outputs are features.
    pub set: Option<FeatureSet>,
    pub class_weights: ClassWeights,
    /// Share of known samples that may be called unknown, 0 to 0.5.
    pub false_alarm_rate: f64,
    /// Share of answers whose set of labels should hold the right one, 0.5 to 0.999.
    pub coverage: f64,
    /// Time for the choice of what is left open, in ms, from 1.
    pub budget_ms: u32,
    /// Seed of the splits.
    pub seed: u64,
}

impl Default for Request {
    fn default() -> Self {
        Request {
            kind: None,
            normalization: None,
            penalty: None,
            fit: None,
            set: None,
            class_weights: ClassWeights::Balanced,
            false_alarm_rate: 0.02,
            coverage: 0.9,
            budget_ms: 20_000,
            seed: 0,
        }
    }
}

impl Request {
    /// Refuses what is out of range, and what is no number.
    pub fn check(&self) -> Result<(), HeadError> {
        if !FALSE_ALARM_RATE.contains(&self.false_alarm_rate) {
            return Err(HeadError::FalseAlarmRate(self.false_alarm_rate));
        }
        if !COVERAGE.contains(&self.coverage) {
            return Err(HeadError::Coverage(self.coverage));
        }
        if self.budget_ms == 0 {
            return Err(HeadError::NoTime);
        }
        self.penalty.map_or(Ok(()), check_penalty)
    }
}

/// How much samples of rare and of common classes count. Variants are only ever added at the end: their position is the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClassWeights {
    /// Every class the same: softmax and MLP weigh samples by `n / (classes · nᵧ)`, LDA takes all classes for equally likely.
    /// Ridge and prototype have no weights.
    #[default]
    Balanced,
    /// Every sample the same; for LDA a class is as likely as it was often collected.
    None,
}

impl ClassWeights {
    /// How much a sample of each class counts, from the samples of each; on average over the samples, one.
    pub fn of(self, counts: &[usize]) -> Vec<f32> {
        let n: usize = counts.iter().sum();
        let share = n as f32 / counts.len() as f32;
        let weight = |&count: &usize| match self {
            ClassWeights::Balanced => share / count as f32,
            ClassWeights::None => 1.0,
        };
        counts.iter().map(weight).collect()
    }
}

impl fmt::Display for ClassWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClassWeights::Balanced => "balanced",
            ClassWeights::None => "none",
        })
    }
}

impl FromStr for ClassWeights {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "balanced" => Ok(ClassWeights::Balanced),
            "none" => Ok(ClassWeights::None),
            other => Err(format!(
                "class weights are '{other}', expected balanced or none"
            )),
        }
    }
}
