//! The functions from normalized features to raw scores, as plain numbers.

use super::gram::{columns, dot, product};
use super::{HeadError, HeadKind};
use crate::backbone::gang;
use serde::{Deserialize, Serialize};

/// The most hidden units that a stored head may have.
const MAX_HIDDEN: usize = 4096;

/// The function from normalized features to raw scores. Variants are only ever added at the end: their position is the format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Model {
    Linear(Linear),
    Cosine(Cosine),
    Mlp(Mlp),
}

/// Raw scores `W z + b`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// `[classes, width]`, row by row.
    pub weights: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
}

/// Raw scores `dᵀ z / ‖z‖`, −1 to 1; zeros where `z` is zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cosine {
    /// `[classes, width]`, row by row, each of length one (or zero, where a class has no direction).
    pub directions: Vec<f32>,
}

/// Raw scores of one hidden layer: `W₂ max(W₁ z + b₁, 0) + b₂`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mlp {
    /// `W₁ [hidden, width]` and `b₁ [hidden]`.
    pub hidden: Linear,
    /// `W₂ [classes, hidden]` and `b₂ [classes]`.
    pub output: Linear,
}

impl Model {
    /// Numbers in a feature vector.
    pub(super) fn width(&self, classes: usize) -> usize {
        match self {
            Model::Linear(linear) => linear.weights.len() / classes.max(1),
            Model::Cosine(cosine) => cosine.directions.len() / classes.max(1),
            Model::Mlp(mlp) => mlp.hidden.weights.len() / mlp.hidden.bias.len().max(1),
        }
    }

    /// One score a class. Sums run in f64. `z` is normalized and of the model's width.
    pub(crate) fn raw_scores(&self, z: &[f32]) -> Vec<f64> {
        match self {
            Model::Linear(linear) => linear.scores(z),
            Model::Cosine(cosine) => {
                let length = dot(z, z).sqrt();
                let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
                let rows = cosine.directions.chunks_exact(z.len());
                rows.map(|row| dot(row, z) * factor).collect()
            }
            Model::Mlp(mlp) => {
                let hidden = mlp.hidden.scores(z).into_iter();
                let hidden: Vec<f32> = hidden.map(|x| x.max(0.0) as f32).collect();
                mlp.output.scores(&hidden)
            }
        }
    }

    /// Refuses a model that is not of its kind, whose parts do not fit together, or with a number that is not finite.
    pub(super) fn validate(&self, kind: HeadKind, classes: usize) -> Result<(), HeadError> {
        let damaged = |what: &str| HeadError::Damaged { what: what.into() };
        let of_its_kind = match self {
            Model::Linear(_) => matches!(kind, HeadKind::Softmax | HeadKind::Ridge | HeadKind::Lda),
            Model::Cosine(_) => kind == HeadKind::Prototype,
            Model::Mlp(_) => kind == HeadKind::Mlp,
        };
        if !of_its_kind {
            return Err(damaged("its weights are of another kind of head"));
        }
        let fits = match self {
            Model::Linear(linear) => linear.fits(classes),
            Model::Cosine(Cosine { directions }) => {
                !directions.is_empty() && directions.len().is_multiple_of(classes)
            }
            Model::Mlp(Mlp { hidden, output }) => {
                let units = hidden.bias.len();
                (1..=MAX_HIDDEN).contains(&units)
                    && hidden.fits(units)
                    && output.fits(classes)
                    && output.weights.len() == classes * units
            }
        };
        if !fits {
            return Err(damaged("its weights do not fit its labels"));
        }
        if !self.numbers().all(f32::is_finite) {
            return Err(damaged("a weight is not a finite number"));
        }
        Ok(())
    }

    /// Every number of the model, in the order in which it is kept.
    pub fn numbers(&self) -> impl Iterator<Item = f32> {
        let parts: [&[f32]; 4] = match self {
            Model::Linear(linear) => [&linear.weights, &linear.bias, &[], &[]],
            Model::Cosine(cosine) => [&cosine.directions, &[], &[], &[]],
            Model::Mlp(Mlp { hidden, output }) => {
                [&hidden.weights, &hidden.bias, &output.weights, &output.bias]
            }
        };
        parts.into_iter().flatten().copied()
    }
}

impl Linear {
    /// `W z + b`, summed in f64.
    pub(crate) fn scores(&self, z: &[f32]) -> Vec<f64> {
        let rows = self.weights.chunks_exact(z.len());
        rows.zip(&self.bias)
            .map(|(row, &bias)| f64::from(bias) + dot(row, z))
            .collect()
    }

    /// The same for many rows of one width, one behind the other, summed in f32.
    pub(crate) fn scores_of(&self, rows: &[f32]) -> Vec<Vec<f64>> {
        let width = self.weights.len() / self.bias.len().max(1);
        let weights = columns(&self.weights, width).transpose();
        let products = gang::with(1, |mut gang| product(&mut gang, weights, rows));
        let scores = products.chunks_exact(self.bias.len());
        let scores = scores.map(|row| row.iter().zip(&self.bias));
        scores
            .map(|row| {
                row.map(|(&x, &bias)| f64::from(x) + f64::from(bias))
                    .collect()
            })
            .collect()
    }

    fn fits(&self, rows: usize) -> bool {
        self.bias.len() == rows
            && !self.weights.is_empty()
            && self.weights.len().is_multiple_of(rows)
    }

    /// Refuses numbers that are not finite.
    pub(super) fn finite(self) -> Result<Linear, HeadError> {
        let finite = self.weights.iter().chain(&self.bias).all(|x| x.is_finite());
        finite.then_some(self).ok_or(HeadError::NotFinite)
    }
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
