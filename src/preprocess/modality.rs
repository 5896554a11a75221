//! What kind of thing a file holds, told by its bytes, and what a backbone takes.

use super::decode::is_picture;
use super::sound::{self, is_sound};
use super::window::{self, Window};
use super::{Image, PreprocessError, decode};
use std::fmt;

/// What a backbone takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modality {
    /// A JPEG or PNG.
    Picture,
    /// A WAV file, looked at as a picture.
    Sound,
    /// CSV or raw `f32`, with so many channels.
    Window { channels: usize },
}

/// A sample as it was decoded.
#[derive(Clone, Debug, PartialEq)]
pub enum Capture {
    Picture(Image),
    Window(Window),
}

impl fmt::Display for Modality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Modality::Picture => f.write_str("pictures"),
            Modality::Sound => f.write_str("sound"),
            Modality::Window { channels: 1 } => f.write_str("windows of 1 channel"),
            Modality::Window { channels } => write!(f, "windows of {channels} channels"),
        }
    }
}

impl Modality {
    /// One of them, in words.
    fn one(self) -> String {
        match self {
            Modality::Picture => "a picture".into(),
            Modality::Sound => "a sound".into(),
            Modality::Window { channels: 1 } => "a window of 1 channel".into(),
            Modality::Window { channels } => format!("a window of {channels} channels"),
        }
    }

    /// What a sample of it is called.
    pub fn noun(self) -> &'static str {
        match self {
            Modality::Picture => "photo",
            Modality::Sound => "recording",
            Modality::Window { .. } => "window",
        }
    }

    /// Tells what a file holds; `None` where it is neither.
    pub fn of(bytes: &[u8]) -> Option<Modality> {
        if let Some(marked) = Modality::marked(bytes) {
            return Some(marked);
        }
        let channels = window::parse(bytes).ok()?.channels();
        Some(Modality::Window { channels })
    }

    /// Tells what begins with a mark of its kind.
    fn marked(bytes: &[u8]) -> Option<Modality> {
        match bytes {
            _ if is_picture(bytes) => Some(Modality::Picture),
            _ if is_sound(bytes) => Some(Modality::Sound),
            _ => None,
        }
    }

    /// Refuses what is of another kind than this.
    pub fn check(self, got: Modality) -> Result<(), PreprocessError> {
        let other = || PreprocessError::OtherModality {
            got: got.one(),
            expected: self.to_string(),
        };
        (got == self).then_some(()).ok_or_else(other)
    }

    /// Decodes a file of this kind.
    pub fn decode(self, bytes: &[u8]) -> Result<Capture, PreprocessError> {
        let told = match self {
            // That of a window is told once it is read.
            Modality::Window { .. } => Modality::marked(bytes),
            _ => Modality::of(bytes),
        };
        told.map_or(Ok(()), |got| self.check(got))?;
        Ok(match self {
            Modality::Picture => Capture::Picture(decode(bytes)?),
            Modality::Sound => Capture::Picture(sound::picture(&sound::parse(bytes)?)),
            Modality::Window { .. } if bytes.is_empty() => return Err(PreprocessError::EmptyFile),
            Modality::Window { .. } => {
                let window = window::parse(bytes)?;
                let channels = window.channels();
                self.check(Modality::Window { channels })?;
                Capture::Window(window)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_its_bytes_and_the_other_kind_is_named() {
        let csv = "1,2,3\n".repeat(9);
        let window = Modality::Window { channels: 3 };
        assert_eq!(Modality::of(csv.as_bytes()), Some(window));
        assert_eq!(Modality::of(b"\xff\xd8\xff\xe0"), Some(Modality::Picture));
        assert_eq!(Modality::of(b"words, words"), None);
        assert_eq!(Modality::of(b""), None);
        for (modality, bytes, part) in [
            (
                Modality::Picture,
                csv.as_bytes(),
                "a window of 3 channels, and the backbone takes pictures",
            ),
            (
                window,
                &b"\xff\xd8\xff\xe0"[..],
                "a picture, and the backbone takes windows of 3 channels",
            ),
            (
                Modality::Window { channels: 2 },
                csv.as_bytes(),
                "a window of 3 channels, and the backbone takes windows of 2",
            ),
            (
                Modality::Picture,
                b"words, words",
                "neither a JPEG nor a PNG",
            ),
            (window, b"", "empty"),
        ] {
            let error = modality.decode(bytes).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(matches!(
            window.decode(csv.as_bytes()),
            Ok(Capture::Window(_))
        ));
    }
}
