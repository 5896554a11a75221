//! Learning: choosing settings on the samples at hand, and saying what to expect. Pure.
//!
//! Owns: splits ([`splits`]), the choice of settings ([`select`]), calibration ([`calibrate`]), metrics ([`metrics`]), doubtful
//! samples ([`suspect`]), how well a backbone suits them ([`transfer`]). Does not own: the mathematics of a head (`head`).
//!
//! Invariant: what judges a setting never took part in its training, burst by burst; and the same samples, request and seed give
//! the same head.

pub mod calibrate;
pub mod metrics;
pub mod select;
pub mod splits;
pub mod suspect;
pub mod transfer;

use crate::head::{self, Head, HeadError, Request, Samples};

/// What can go wrong when learning.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum LearnError {
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error(
        "fewer than two classes have two capture bursts, so no sample can be judged by others; collect more, at another time or place"
    )]
    NothingHeldOut,
}

/// Held-out accuracy of the settings that were chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossValidation {
    pub folds: usize,
    /// Samples that judged.
    pub n: usize,
    pub balanced_accuracy: f64,
}

/// How a head was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// `None` when nothing could be held out fairly.
    pub cv: Option<CrossValidation>,
    /// One sentence.
    pub why: String,
}

/// Chooses what the request leaves open, trains on everything, calibrates on what was held out.
pub fn train(
    samples: &Samples,
    request: &Request,
) -> Result<(Box<dyn Head + Send>, Report), LearnError> {
    request.check()?;
    samples.check_classes()?;
    let choice = select::select(samples, request)?;
    let mut head = head::train(samples, choice.settings)?;
    if let Some(held_out) = &choice.held_out {
        let calibration = calibrate::calibrate(samples, held_out, request.false_alarm_rate);
        head.calibrate(calibration);
    }
    head.learned().validate()?;
    let report = Report {
        cv: choice.cv,
        why: choice.why,
    };
    Ok((head, report))
}
