//! Exit codes: what kind of thing went wrong, for scripts.

use anyhow::Error;
use fieldhead::backbone::BackboneError;
use fieldhead::board::BoardError;
use fieldhead::config::ConfigError;
use fieldhead::device::DeviceError;
use fieldhead::features::npz::NpzError;
use fieldhead::head::HeadError;
use fieldhead::label::LabelError;
use fieldhead::learn::LearnError;
use fieldhead::pipeline::PipelineError;
use fieldhead::preprocess::PreprocessError;
use fieldhead::source::SourceError;
use fieldhead::store::{FheadError, StoreError};
use fieldhead::web::WebError;

pub const FAILED: u8 = 1;
pub const USAGE: u8 = 2;
pub const BAD_INPUT: u8 = 3;
pub const DEVICE: u8 = 4;
pub const STORE: u8 = 5;
pub const MISMATCH: u8 = 6;

/// Bad input that only the command line knows of.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(pub String);

/// A wrong combination of options that the parser cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// The exit code of an error.
pub fn code(error: &Error) -> u8 {
    error.chain().find_map(one).unwrap_or(FAILED)
}

/// What an error is in HTTP.
pub fn status(error: &Error) -> u16 {
    let store = match error.downcast_ref() {
        Some(PipelineError::Store(e)) => Some(e),
        _ => error.downcast_ref(),
    };
    match (store, code(error)) {
        (Some(StoreError::InUse(_)), _) | (_, DEVICE) => 503,
        (Some(StoreError::Missing(_)), _) | (_, MISMATCH) => 409,
        (_, USAGE) => 400,
        (_, BAD_INPUT) => 422,
        _ => 500,
    }
}

/// An error with its causes, the lines of a library's message joined; a cause that the message tells already is not told again.
pub fn one_line(error: &Error) -> String {
    let told = error
        .chain()
        .skip(1)
        .fold(error.to_string(), |text, cause| {
            let cause = cause.to_string();
            if text.contains(&cause) {
                text
            } else {
                format!("{text}: {cause}")
            }
        });
    let lines: Vec<&str> = told.lines().map(str::trim).collect();
    lines.join(" ")
}

fn one(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(e) = error.downcast_ref::<PipelineError>() {
        return Some(pipeline(e));
    }
    if let Some(e) = error.downcast_ref::<StoreError>() {
        return Some(store(e));
    }
    if let Some(e) = error.downcast_ref::<SourceError>() {
        return Some(source(e));
    }
    if let Some(e) = error.downcast_ref::<DeviceError>() {
        return Some(device(e));
    }
    if let Some(e) = error.downcast_ref::<BackboneError>() {
        return Some(backbone(e));
    }
    if let Some(e) = error.downcast_ref::<BoardError>() {
        return Some(board(e));
    }
    let bad_input = error.is::<PreprocessError>()
        || error.is::<HeadError>()
        || error.is::<LearnError>()
        || error.is::<ConfigError>()
        || error.is::<NpzError>()
        || error.is::<BadInput>();
    match () {
        () if bad_input => Some(BAD_INPUT),
        () if matches!(
            error.downcast_ref(),
            Some(WebError::NoToken { .. } | WebError::Token { .. })
        ) =>
        {
            Some(USAGE)
        }
        () if error.is::<FheadError>() => Some(MISMATCH),
        // Labels of folders and files are skipped, or an error of what they stand in: this one was typed.
        () if error.is::<LabelError>() || error.is::<Usage>() => Some(USAGE),
        () => None,
    }
}

fn pipeline(error: &PipelineError) -> u8 {
    match error {
        PipelineError::Store(e) => store(e),
        PipelineError::Backbone(e) => backbone(e),
        PipelineError::Label(_) => USAGE,
        PipelineError::Features(_)
        | PipelineError::OtherBackbone { .. }
        | PipelineError::OtherView { .. }
        | PipelineError::NotInstalled { .. }
        | PipelineError::ForeignHead => MISMATCH,
        _ => BAD_INPUT,
    }
}

fn backbone(error: &BackboneError) -> u8 {
    match error {
        BackboneError::Kernel(_) => USAGE,
        _ => MISMATCH,
    }
}

fn board(error: &BoardError) -> u8 {
    match error {
        BoardError::NoBoard { .. } | BoardError::NoPin { .. } => USAGE,
        _ => BAD_INPUT,
    }
}

fn store(error: &StoreError) -> u8 {
    match error {
        StoreError::NoSample(_) | StoreError::NoVersion(_) => BAD_INPUT,
        StoreError::NoHead | StoreError::Fhead(_) => MISMATCH,
        _ => STORE,
    }
}

fn device(error: &DeviceError) -> u8 {
    match error {
        DeviceError::Unknown { .. } => USAGE,
        _ => DEVICE,
    }
}

fn source(error: &SourceError) -> u8 {
    match error {
        SourceError::Unknown { .. } | SourceError::NoSound { .. } => USAGE,
        SourceError::Live(_) => DEVICE,
        _ => BAD_INPUT,
    }
}
