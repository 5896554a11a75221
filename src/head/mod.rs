//! Heads: what is trained on the board. Features in, a score for each of the user's labels out.
//!
//! Owns: the training set ([`Samples`]), feature scaling ([`normalize`]), the kinds of head and their mathematics, and what of them
//! is kept ([`Learned`]). Does not own: choosing settings (`learn`), deciding on a score (`decision`), or storing (`store`).
//!
//! Invariants: a change is all or nothing: after an error the head is what it was. The same samples in the same order, settings and
//! seed give the same bytes, on any number of threads. Labels are sorted, so the order in which they came does not matter. The order
//! of samples does not matter at all to prototype and MLP, and to the others not beyond rounding (softmax: beyond the gap at which its
//! search ends).

mod calibration;
mod cholesky;
mod curvature;
pub mod discriminant;
pub(crate) mod exp;
pub(crate) mod gram;
pub mod lda;
mod learned;
mod members;
pub mod mlp;
mod model;
mod newton;
pub mod normalize;
pub mod novelty;
pub mod prototype;
mod regression;
mod request;
pub mod ridge;
mod samples;
pub mod softmax;

pub use calibration::{Calibration, Conformal};
pub use learned::{Answer, Learned};
pub(crate) use model::probabilities;
pub use model::{Cosine, Linear, Mlp, Model};
pub use normalize::{Normalization, Normalizer};
pub use request::{COVERAGE, ClassWeights, Request};
pub use samples::Samples;

use crate::features::FeatureError;
use crate::label::LabelError;
use calibration::Calibrated;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What can go wrong with a head.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum HeadError {
    #[error(transparent)]
    Features(#[from] FeatureError),
    #[error(transparent)]
    Label(#[from] LabelError),
    #[error("there are no samples to learn from; collect some with `fieldhead collect`")]
    NoSamples,
    #[error(
        "{} labelled '{label}'; a head tells at least two classes apart: collect a second one",
        if *n == 1 { "the only sample is".into() } else { format!("all {n} samples are") }
    )]
    OneClass { label: String, n: usize },
    #[error("there are {got} classes, at most {max} are possible; merge some labels")]
    TooManyClasses { got: usize, max: usize },
    #[error("the training set is inconsistent: {what}")]
    Inconsistent { what: String },
    #[error("the {name} is {value:?}, expected a number from {min:e} to {max:e}")]
    Setting {
        name: &'static str,
        value: f64,
        min: f64,
        max: f64,
    },
    #[error("the false alarm rate is {0}, expected 0 to 0.5")]
    FalseAlarmRate(f64),
    #[error("the coverage is {0}, expected 0.5 to 0.999")]
    Coverage(f64),
    #[error("the time for the choice is 0 ms, expected at least 1")]
    NoTime,
    #[error(
        "training gave numbers that are not finite; the features are too large or the penalty too small: scale the features, or raise --penalty"
    )]
    NotFinite,
    #[error("the head never learned this sample as '{label}', so it cannot forget it")]
    NotLearned { label: String },
    #[error("the head is damaged: {what}; train it again or restore an earlier version")]
    Damaged { what: String },
}

/// A kind of head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HeadKind {
    /// Multinomial logistic regression.
    Softmax,
    /// One-hot least squares.
    Ridge,
    /// Cosine to the mean direction of each class.
    Prototype,
    /// Linear discriminant analysis.
    Lda,
    /// One hidden layer.
    Mlp,
}

impl HeadKind {
    pub const ALL: [HeadKind; 5] = [
        HeadKind::Softmax,
        HeadKind::Ridge,
        HeadKind::Prototype,
        HeadKind::Lda,
        HeadKind::Mlp,
    ];

    /// Whether flat borders lie between its classes, and a penalty says how far it may bend to the samples.
    pub fn is_linear(&self) -> bool {
        matches!(self, HeadKind::Softmax | HeadKind::Ridge | HeadKind::Lda)
    }
}

impl fmt::Display for HeadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            HeadKind::Softmax => "softmax",
            HeadKind::Ridge => "ridge",
            HeadKind::Prototype => "prototype",
            HeadKind::Lda => "lda",
            HeadKind::Mlp => "mlp",
        })
    }
}

impl FromStr for HeadKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        HeadKind::ALL
            .into_iter()
            .find(|kind| kind.to_string() == text)
            .ok_or_else(|| {
                let known = HeadKind::ALL.map(|kind| kind.to_string()).join(", ");
                format!("'{text}' is not a kind of head; expected auto, {known}")
            })
    }
}

/// Everything that, with the samples, determines a head.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub kind: HeadKind,
    pub normalization: Normalization,
    /// λ, at least 0, on normalized features. Softmax and MLP: the factor in `loss + λ/2 ‖W‖²`, the loss a sum over samples, 1/C of
    /// the libraries that have a C; ridge: in `loss + λ ‖W‖²`; LDA: what is added to the within-class scatter, `Σ = (S + λI)/n`;
    /// prototype: without effect.
    pub penalty: f64,
    pub class_weights: ClassWeights,
}

/// Penalties that leave the arithmetic well conditioned on features of any scale met so far (squared norms of 1 to 10⁵).
pub const PENALTY: std::ops::RangeInclusive<f64> = 1e-8..=1e12;

impl Settings {
    pub fn check(&self) -> Result<(), HeadError> {
        check_penalty(self.penalty)
    }
}

/// Refuses a penalty outside [`PENALTY`], and one that is no number.
pub fn check_penalty(penalty: f64) -> Result<(), HeadError> {
    PENALTY
        .contains(&penalty)
        .then_some(())
        .ok_or(HeadError::Setting {
            name: "penalty",
            value: penalty,
            min: *PENALTY.start(),
            max: *PENALTY.end(),
        })
}

/// A head that can go on learning. All-or-nothing: after an error it is what it was.
pub trait Head {
    /// What was learned so far; enough to score and to keep.
    fn learned(&self) -> &Learned;
    /// Adds one sample: the result is what training on all samples with the same settings would give.
    fn learn(&mut self, features: &[f32], label: &str, group: u64) -> Result<(), HeadError>;
    /// Takes one sample out again, exactly as if it had never been there.
    fn forget(&mut self, features: &[f32], label: &str) -> Result<(), HeadError>;
    /// Sets how scores become probabilities; training leaves it at the kind's default.
    fn calibrate(&mut self, calibration: Calibration);
}

/// Trains a head from scratch.
pub fn train(samples: &Samples, settings: Settings) -> Result<Box<dyn Head + Send>, HeadError> {
    settings.check()?;
    samples.check_classes()?;
    let normalizer = Normalizer::fit(settings.normalization, samples);
    let head: Box<dyn Head + Send> = match settings.kind {
        HeadKind::Softmax => Box::new(softmax::Softmax::train(samples, settings, normalizer)?),
        HeadKind::Ridge | HeadKind::Lda => Box::new(discriminant::Discriminant::train(
            samples, settings, normalizer,
        )?),
        HeadKind::Prototype => {
            Box::new(prototype::Prototype::train(samples, settings, normalizer)?)
        }
        HeadKind::Mlp => Box::new(mlp::Perceptron::train(samples, settings, normalizer)?),
    };
    Ok(Box::new(Calibrated(head)))
}

/// The head that `learned` came from, ready to go on with its settings. `samples` are those it learned from; where they are not
/// (more were collected since, or an earlier version was put back), the next change makes it the head of all of them.
pub fn resume(learned: &Learned, samples: Samples) -> Result<Box<dyn Head + Send>, HeadError> {
    learned.validate()?;
    samples.check_classes()?;
    crate::features::check(samples.row(0), learned.width())?;
    let head: Box<dyn Head + Send> = match learned.settings.kind {
        HeadKind::Softmax => Box::new(softmax::Softmax::resume(samples, learned)),
        HeadKind::Ridge | HeadKind::Lda => {
            Box::new(discriminant::Discriminant::resume(samples, learned)?)
        }
        HeadKind::Prototype => Box::new(prototype::Prototype::resume(&samples, learned)?),
        HeadKind::Mlp => Box::new(mlp::Perceptron::resume(samples, learned)),
    };
    Ok(Box::new(Calibrated(head)))
}
