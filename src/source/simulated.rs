//! The simulated line as a source: frame by frame, without end.

use super::line::{Line, Part};
use super::{Frame, Payload, Source, SourceError};

/// Time between two frames of the line: 30 frames a second.
const FRAME_US: u64 = 33_333;

pub struct LineSource {
    line: Line,
    name: String,
    only: Option<Part>,
    seq: u64,
}

impl LineSource {
    pub(super) fn new(line: Line, name: &str, only: Option<Part>) -> LineSource {
        LineSource {
            line,
            name: name.into(),
            only,
            seq: 0,
        }
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
