//! What the store keeps: plain records, encoded with postcard.
//!
//! Owns: the shape of a stored sample, head version and journal entry. Invariant: a record of a format version that was shipped never
//! changes its fields; new needs get a new format version beside it (`tests/formats.rs` opens a field of every version). Heads are
//! at version 2 (version 1 is in `v1`), everything else is at version 1.

use crate::features::{Hash, Recipe};
use crate::head::{Learned, Request};
use serde::{Deserialize, Serialize};

/// A collected sample without its features and its photo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub label: String,
    /// Samples of one capture burst show the same thing and never stand on both sides of a split.
    pub burst: String,
    /// Microseconds since 1970-01-01 UTC at which the sample was taken in.
    pub time_us: u64,
    /// Where it came from: a path, or a source such as `line:7`.
    pub source: String,
    /// SHA-256 of the bytes it was collected from.
    pub content: Hash,
    /// The picture kept for later views, taps or backbones; `None` when the budget was used up.
    pub photo: Option<Photo>,
}

/// What is known of a kept picture; its bytes stand in their own table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Photo {
    pub width: u32,
    pub height: u32,
    pub bytes: u32,
    /// The file as it came, not encoded again.
    pub verbatim: bool,
}

/// A sample on its way into the store.
#[derive(Clone, Debug)]
pub struct NewSample {
    pub sample: Sample,
    pub features: Vec<f32>,
    /// Encoded picture, JPEG or PNG.
    pub photo: Option<Vec<u8>>,
}

/// A head with everything needed to use it, to go on learning, and to make it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadRecord {
    /// The features it was trained on; it refuses any others.
    pub recipe: Recipe,
    pub learned: Learned,
    /// What the user asked for when it was trained.
    pub request: Request,
    /// Settings were chosen on samples up to this id; later ones were learned with the settings as they stood.
    pub chosen_upto_id: u64,
    /// The samples it learned from are in this field; an imported head has `false` and cannot go on learning.
    pub native: bool,
    /// Microseconds since 1970-01-01 UTC.
    pub time_us: u64,
}

/// How a head version came to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Origin {
    Train,
    Correct {
        sample: u64,
    },
    Forget {
        sample: u64,
    },
    Import {
        file: String,
    },
    /// A class was renamed, or merged into another.
    Rename {
        from: String,
        to: String,
    },
    /// All samples of a class were forgotten.
    Remove {
        class: String,
    },
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    pub number: u64,
    pub time_us: u64,
    pub origin: Origin,
    /// Kind of the head, such as `softmax`.
    pub kind: String,
    /// Samples it learned from.
    pub samples: u64,
    pub classes: u32,
}

/// Something that happened to the field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Created {
        program: String,
    },
    Collected {
        sample: u64,
        label: String,
    },
    Relabelled {
        sample: u64,
        from: String,
        to: String,
    },
    Forgot {
        sample: u64,
    },
    Head {
        version: u64,
        origin: Origin,
    },
    RolledBack {
        from: u64,
        to: u64,
    },
}

/// A journal entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub time_us: u64,
    pub event: Event,
}
