//! The text of `--source`, and the simulated line as a source.
//!
//! Owns: `file:PATH` and `line:SEED[,light=day|evening][,part=NAME]`. Invariant: a text that is not understood is refused, naming
//! what was expected.

use super::folder;
use super::line::{Light, Line, Part};
use super::{Frame, Payload, Source, SourceError};
use std::path::{Path, PathBuf};

/// Time between two frames of the line: 30 frames a second.
const FRAME_US: u64 = 33_333;

/// What a text names.
pub enum Opened {
    /// The one file, or the files of the folder in order of their names; at least one. Each can be read or not by itself.
    Files(Vec<PathBuf>),
    Frames(Box<dyn Source>),
}

/// Opens the source that a text names.
pub fn open(text: &str) -> Result<Opened, SourceError> {
    if let Some(path) = text.strip_prefix("file:") {
        let path = Path::new(path);
        let files = folder::list(path)?;
        if files.is_empty() {
            return Err(SourceError::NoFiles { path: path.into() });
        }
        return Ok(Opened::Files(files));
    }
    if let Some(rest) = text.strip_prefix("line:") {
        return Ok(Opened::Frames(Box::new(LineSource::parse(rest)?)));
    }
    Err(unknown(
        text,
        "expected file: or line: before the first ':'",
    ))
}

/// The simulated line, frame by frame, without end.
pub struct LineSource {
    line: Line,
    name: String,
    only: Option<Part>,
    seq: u64,
}

impl LineSource {
    fn parse(text: &str) -> Result<LineSource, SourceError> {
        let mut fields = text.split(',');
        let seed = fields.next().unwrap_or_default();
        let seed: u64 = seed
            .parse()
            .map_err(|_| unknown(text, "the seed is not a whole number"))?;
        let (mut light, mut only) = (Light::day(), None);
        for field in fields {
            match field.split_once('=') {
                Some(("light", "day")) => light = Light::day(),
                Some(("light", "evening")) => light = Light::evening(),
                Some(("part", name)) => only = Some(part(text, name)?),
                _ => return Err(unknown(text, &format!("'{field}' is not an option"))),
            }
        }
        Ok(LineSource {
            line: Line::new(seed, light),
            name: format!("line:{text}"),
            only,
            seq: 0,
        })
    }
}

impl Source for LineSource {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        let image = match self.only {
            Some(part) => self.line.frame(part),
            None => self.line.next().1,
        };
        let seq = self.seq;
        self.seq += 1;
        Ok(Some(Frame {
            seq,
            time_us: seq * FRAME_US,
            name: format!("{}#{seq}", self.name),
            payload: Payload::Decoded(image),
        }))
    }
}

fn part(text: &str, name: &str) -> Result<Part, SourceError> {
    let parts = Part::ALL;
    parts
        .into_iter()
        .find(|part| part.label() == name)
        .ok_or_else(|| {
            let known: Vec<&str> = parts.iter().map(|part| part.label()).collect();
            unknown(text, &format!("part is one of {}", known.join(", ")))
        })
}

fn unknown(text: &str, what: &str) -> SourceError {
    SourceError::Unknown {
        text: text.into(),
        what: what.into(),
    }
}
