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

/// What can go wrong when learning.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum LearnError {
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error("the false alarm rate is {0}, expected 0 to 0.5")]
    FalseAlarmRate(f64),
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

/// Chooses what the request leaves open, trains on everything, calibrates on what was held out.
pub fn train(
    samples: &Samples,
    request: &Request,
) -> Result<(Box<dyn Head + Send>, Report), LearnError> {
    if !(0.0..=0.5).contains(&request.false_alarm_rate) {
        return Err(LearnError::FalseAlarmRate(request.false_alarm_rate));
    }
    request.penalty.map_or(Ok(()), head::check_penalty)?;
    samples.check_classes()?;
    let choice = select::select(samples, request)?;
    let mut head = head::train(samples, choice.settings)?;
    if let Some(held_out) = &choice.held_out {
        head.calibrate(calibrate::calibrate(held_out, request.false_alarm_rate));
    }
    head.learned().validate()?;
    let report = Report {
        cv: choice.cv,
        why: choice.why,
    };
    Ok((head, report))
}
