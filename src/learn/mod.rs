//! Learning: choosing settings on the samples at hand, and saying what to expect. Pure.
//!
//! Owns: splits ([`splits`]), the choice of settings ([`select`]), calibration ([`calibrate`]), metrics ([`metrics`]), the accuracy
//! to expect ([`report`]), accuracy by the number of samples ([`curve`]) and what more would
//! bring ([`forecast`]), doubtful samples ([`suspect`]), how well a backbone suits
//! them ([`transfer`]), a flat picture of them ([`map`]). Does not own: the mathematics of a head (`head`).
//!
//! Invariant: what judges a setting never took part in its training, burst by burst; and the same samples, request and seed give
//! the same head.

pub mod calibrate;
pub mod curve;
pub mod forecast;
pub mod map;
pub mod metrics;
pub mod report;
pub mod select;
pub mod splits;
pub mod suspect;
pub mod transfer;

use crate::head::{self, Head, HeadError, Request, Samples};
use report::{CrossValidation, Refusal};
pub use select::Choice;

/// What can go wrong when learning.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum LearnError {
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// How a head was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Its accuracy, or why none is reported.
    pub cv: Result<CrossValidation, Refusal>,
    /// One sentence.
    pub why: String,
}

/// Chooses what the request leaves open.
pub fn choose(samples: &Samples, request: &Request) -> Result<Choice, LearnError> {
    request.check()?;
    samples.check_classes()?;
    select::select(samples, request)
}

/// Trains on everything with the settings that were chosen, calibrates on what was held out.
pub fn finish(
    samples: &Samples,
    request: &Request,
    choice: &Choice,
) -> Result<(Box<dyn Head + Send>, Report), LearnError> {
    let mut head = head::train(samples, choice.settings)?;
    if let Some(held_out) = &choice.held_out {
        let calibration = calibrate::calibrate(samples, held_out, request.false_alarm_rate);
        head.calibrate(calibration);
    }
    head.learned().validate()?;
    let report = Report {
        cv: choice.cv.clone(),
        why: choice.why.clone(),
    };
    Ok((head, report))
}

/// [`choose`], then [`finish`].
pub fn train(
    samples: &Samples,
    request: &Request,
) -> Result<(Box<dyn Head + Send>, Report), LearnError> {
    let choice = choose(samples, request)?;
    finish(samples, request, &choice)
}
