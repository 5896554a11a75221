//! Sources: where pictures come from.
//!
//! Owns: reading pictures from files and folders ([`folder`]) and drawing them ([`line`]); what gives frames one after the other
//! stands behind one seam ([`Source`]). Does not own: decoding or fitting them (`preprocess`).
//!
//! Invariant: a source is bounded in memory: one picture at a time, and no file larger than
//! [`crate::preprocess::MAX_ENCODED_BYTES`].

pub mod folder;
pub mod line;
mod parse;

pub use parse::{LineSource, Opened, open};

use crate::preprocess::Image;
use std::path::PathBuf;

/// What can go wrong with a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot read {path}: {source}; check the path and its permissions", path = path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is not a folder of classes; expected DIR/<label>/<photo>", path = path.display())]
    NotAFolder { path: PathBuf },
    #[error("{path} holds no photos; expected DIR/<label>/<photo.jpg>", path = path.display())]
    Empty { path: PathBuf },
    #[error("{path} holds no files; put photos there, or name another", path = path.display())]
    NoFiles { path: PathBuf },
    #[error("{path} is a pipe, a socket or a device, and only files are read; name a photo", path = path.display())]
    NotAFile { path: PathBuf },
    #[error("{path} has {bytes} bytes, at most {limit} are read; is this the right file?", path = path.display())]
    TooLarge {
        path: PathBuf,
        bytes: u64,
        limit: u64,
    },
    #[error(
        "the source '{text}' is not known: {what}; use file:PATH or line:SEED[,light=evening][,part=gear]"
    )]
    Unknown { text: String, what: String },
}

/// The picture of a frame, as it came.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A JPEG or PNG file.
    Encoded(Vec<u8>),
    Decoded(Image),
}

/// One picture from a source.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Counts from 0; a gap means that frames were dropped.
    pub seq: u64,
    /// Monotonic time since the source was opened, in µs.
    pub time_us: u64,
    /// What to call it: the source and its number.
    pub name: String,
    pub payload: Payload,
}

/// Something that gives pictures one after the other; `None` when a recording ends.
pub trait Source {
    fn next(&mut self) -> Result<Option<Frame>, SourceError>;
}
