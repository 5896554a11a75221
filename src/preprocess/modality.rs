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
        if is_picture(bytes) {
            return Some(Modality::Picture);
        }
        if is_sound(bytes) {
            return Some(Modality::Sound);
        }
        let channels = window::parse(bytes).ok()?.channels();
        Some(Modality::Window { channels })
    }

    /// Decodes a file of this kind.
    pub fn decode(self, bytes: &[u8]) -> Result<Capture, PreprocessError> {
        let other = |got: Modality| PreprocessError::OtherModality {
            got: got.one(),
            expected: self.to_string(),
        };
        match self {
            Modality::Picture => match decode(bytes) {
                Err(PreprocessError::UnknownFormat) => {
                    let got = Modality::of(bytes).map(other);
                    Err(got.unwrap_or(PreprocessError::UnknownFormat))
                }
                decoded => Ok(Capture::Picture(decoded?)),
            },
            Modality::Sound => match Modality::of(bytes) {
                Some(got) if got != Modality::Sound => Err(other(got)),
                _ => Ok(Capture::Picture(sound::picture(&sound::parse(bytes)?))),
            },
            Modality::Window { .. } if bytes.is_empty() => Err(PreprocessError::EmptyFile),
            Modality::Window { .. } if is_picture(bytes) => Err(other(Modality::Picture)),
            Modality::Window { .. } if is_sound(bytes) => Err(other(Modality::Sound)),
            Modality::Window { channels } => {
                let window = window::parse(bytes)?;
                match window.channels() {
                    got if got == channels => Ok(Capture::Window(window)),
                    channels => Err(other(Modality::Window { channels })),
                }
            }
        }
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
