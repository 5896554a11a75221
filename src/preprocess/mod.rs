//! Preprocessing: bytes to a picture or a sensor's window, a picture to the backbone's input. Pure.
//!
//! Owns: what kind of thing a file holds ([`Modality`]), decoding JPEG and PNG ([`decode`]), sound as a picture ([`sound`]), windows of a
//! sensor ([`window`]), raw camera layouts ([`raw`]), changed copies ([`augment`]), the views ([`Fit`], [`fit_to`]), and the copy that is
//! kept of a sample ([`keep`]).
//! Does not own: reading files (`source`), or running the network (`backbone`).
//!
//! Invariant: the same bytes give the same u8 pixels on every machine. Decoding takes the portable integer path of its library,
//! and resampling has no floating-point number in it. Every size is bounded before it is allocated.

pub mod augment;
mod decode;
mod entropy;
mod keep;
mod markers;
mod modality;
pub mod raw;
mod resize;
pub mod sound;
pub mod spectrum;
pub mod window;

pub use decode::decode;
pub use keep::{Kept, keep, keep_recording};
pub use modality::{Capture, Modality};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The largest encoded picture read. A 48-megapixel phone photo has 10 to 25 MB.
pub const MAX_ENCODED_BYTES: usize = 32 << 20;
/// The most pixels decoded: 50 million, which takes 150 MB, and holds every camera a board is sold with (at most 48 million).
pub const MAX_PIXELS: u64 = 50_000_000;
/// The shortest side of a picture that shows anything.
pub const MIN_SIDE: u32 = 8;
/// The longest side: what JPEG can say (ITU-T T.81, 16-bit frame dimensions).
pub const MAX_SIDE: u32 = 65_535;

/// Why bytes are not what a backbone takes.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum PreprocessError {
    #[error("the file is empty; copy it again")]
    EmptyFile,
    #[error("this is neither a JPEG nor a PNG picture; convert it to one of these")]
    UnknownFormat,
    #[error("the {format} is damaged ({what}); copy or take it again")]
    Damaged { format: &'static str, what: String },
    #[error("the JPEG was cut off: its end marker is missing; copy or take it again")]
    CutOff,
    #[error(
        "the picture is {width}x{height}, at least {MIN_SIDE}x{MIN_SIDE} is needed; take a larger one"
    )]
    TooSmall { width: u64, height: u64 },
    #[error(
        "the picture is {width}x{height}, at most {MAX_PIXELS} pixels and {MAX_SIDE} a side are read; scale it down"
    )]
    TooLarge { width: u64, height: u64 },
    #[error(
        "a {layout} frame of {width}x{height} has {expected} bytes, {got} came; check the camera's format"
    )]
    FrameSize {
        layout: &'static str,
        width: u32,
        height: u32,
        expected: u64,
        got: u64,
    },
    #[error("a YUYV frame is {width} pixels wide, expected an even number; choose another size")]
    OddWidth { width: u32 },
    #[error("the fit both is two pictures, and one was expected; fit squash and crop one by one")]
    TwoViews,
    #[error(
        "this is {got}, and the backbone takes {expected}; keep each in a field of its own (--field DIR), and leave --backbone to it"
    )]
    OtherModality { got: String, expected: String },
    #[error("this is no WAV file that can be read: {what}; record or convert it again")]
    NotASound { what: String },
    #[error("the sound is {ms} ms long, expected {} to {}; cut it anew", sound::LENGTH_MS.start(), sound::LENGTH_MS.end())]
    SoundLength { ms: u64 },
    #[error(
        "this is no window of a sensor: {what}; expected CSV with one row a time step, or raw f32"
    )]
    NotAWindow { what: String },
    #[error("line {line} has {got} {}, and the first has {expected}; give each row one number a channel", if *got == 1 { "number" } else { "numbers" })]
    Row {
        line: usize,
        got: usize,
        expected: usize,
    },
    #[error("line {line} has '{field}', expected a number; only the first row may hold names")]
    NotANumber { line: usize, field: String },
    #[error("the value at step {step} is {value}, expected a finite number; take the window again")]
    NotFinite { step: usize, value: f32 },
    #[error(
        "a window has {channels} channels, expected 1 to {}; leave columns out",
        window::MAX_CHANNELS
    )]
    Channels { channels: usize },
    #[error(
        "a window has {steps} rows of {channels}, expected {} to {} rows, and at most 4 million numbers; cut the recording anew",
        window::MIN_STEPS,
        window::MAX_STEPS
    )]
    Steps { steps: usize, channels: usize },
}

/// A decoded picture: `rgb` is `[height, width, 3]`, row by row without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub width: u32,
    pub height: u32,
    pub rgb: Vec<u8>,
}

/// Refuses sizes that cannot be a picture, before anything is allocated for them.
pub fn check_size(width: u64, height: u64) -> Result<(), PreprocessError> {
    if width < u64::from(MIN_SIDE) || height < u64::from(MIN_SIDE) {
        return Err(PreprocessError::TooSmall { width, height });
    }
    let fits =
        width.max(height) <= u64::from(MAX_SIDE) && width.saturating_mul(height) <= MAX_PIXELS;
    fits.then_some(())
        .ok_or(PreprocessError::TooLarge { width, height })
}

/// How a picture of any shape becomes the backbone's rectangle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// All of the picture, its proportions given up.
    #[default]
    Squash,
    /// The largest centred part of the right proportions.
    Crop,
    /// All of the picture in its proportions, between bars.
    Letterbox,
    /// Squash and crop, each looked at; the features are their mean.
    Both,
}

impl Fit {
    /// The views that the network looks at, one after the other.
    pub fn parts(self) -> &'static [Fit] {
        match self {
            Fit::Squash => &[Fit::Squash],
            Fit::Crop => &[Fit::Crop],
            Fit::Letterbox => &[Fit::Letterbox],
            Fit::Both => &[Fit::Squash, Fit::Crop],
        }
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fit::Squash => "squash",
            Fit::Crop => "crop",
            Fit::Letterbox => "letterbox",
            Fit::Both => "both",
        })
    }
}

impl FromStr for Fit {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "squash" => Ok(Fit::Squash),
            "crop" => Ok(Fit::Crop),
            "letterbox" => Ok(Fit::Letterbox),
            "both" => Ok(Fit::Both),
            other => Err(format!(
                "fit is '{other}', expected auto, squash, crop, letterbox or both"
            )),
        }
    }
}

/// The way from a picture to the network's pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    pub fit: Fit,
    pub width: u32,
    pub height: u32,
    /// Level of a letterbox's bars, RGB.
    pub pad: [u8; 3],
}

impl View {
    /// The view of a backbone that takes windows: no width, and a row a channel.
    pub fn is_of_windows(&self) -> bool {
        self.width == 0
    }

    /// SHA-256 of everything that changes a pixel, with the version of the arithmetic in this room.
    pub fn hash(&self) -> [u8; 32] {
        const ARITHMETIC: &[u8] = b"fieldhead preprocess 1";
        let mut hasher = Sha256::new();
        hasher.update(ARITHMETIC);
        hasher.update(self.fit.to_string().as_bytes());
        hasher.update(self.width.to_le_bytes());
        hasher.update(self.height.to_le_bytes());
        hasher.update(self.pad);
        hasher.finalize().into()
    }
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rect {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
}

/// Fits a picture to `[height, width, 3]` u8, by one of [`Fit::parts`].
pub fn fit_to(
    image: &Image,
    fit: Fit,
    width: u32,
    height: u32,
    pad: [u8; 3],
) -> Result<Vec<u8>, PreprocessError> {
    check_size(image.width.into(), image.height.into())?;
    check_size(width.into(), height.into())?;
    let whole = Rect {
        x: 0,
        y: 0,
        width: image.width,
        height: image.height,
    };
    Ok(match fit {
        Fit::Squash => resize::resize(image, whole, width, height),
        Fit::Crop => {
            let (w, h) = inside(width, height, image.width, image.height);
            let part = Rect {
                x: (image.width - w) / 2,
                y: (image.height - h) / 2,
                width: w,
                height: h,
            };
            resize::resize(image, part, width, height)
        }
        Fit::Letterbox => {
            let (w, h) = inside(image.width, image.height, width, height);
            let inner = resize::resize(image, whole, w, h);
            paste(&inner, w, h, width, height, pad)
        }
        Fit::Both => return Err(PreprocessError::TwoViews),
    })
}

/// The largest rectangle with the proportions `width:height` inside `max_width` x `max_height`, at least one pixel a side.
fn inside(width: u32, height: u32, max_width: u32, max_height: u32) -> (u32, u32) {
    let (w, h) = (u64::from(width), u64::from(height));
    let (max_w, max_h) = (u64::from(max_width), u64::from(max_height));
    let rounded = |a: u64, b: u64| ((2 * a + b) / (2 * b)).max(1);
    if w * max_h >= h * max_w {
        (max_width, rounded(h * max_w, w).min(max_h) as u32)
    } else {
        (rounded(w * max_h, h).min(max_w) as u32, max_height)
    }
}

fn paste(inner: &[u8], w: u32, h: u32, width: u32, height: u32, pad: [u8; 3]) -> Vec<u8> {
    let (row_in, row_out) = (w as usize * 3, width as usize * 3);
    let left = ((width - w) / 2) as usize * 3;
    let top = ((height - h) / 2) as usize;
    let mut pixels = pad.repeat(width as usize * height as usize);
    for (row, line) in inner.chunks_exact(row_in).enumerate() {
        let start = (top + row) * row_out + left;
        pixels[start..start + row_in].copy_from_slice(line);
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves(width: u32, height: u32) -> Image {
        let rgb = (0..width * height)
            .flat_map(|i| {
                if i % width < width / 2 {
                    [10, 20, 30]
                } else {
                    [200, 210, 220]
                }
            })
            .collect();
        Image { width, height, rgb }
    }

    #[test]
    fn squash_shows_all_and_crop_only_the_middle() {
        let image = halves(64, 16);
        let squash = fit_to(&image, Fit::Squash, 16, 16, [0; 3]).unwrap();
        assert_eq!(
            (&squash[..3], &squash[45..48]),
            (&[10u8, 20, 30][..], &[200u8, 210, 220][..])
        );
        let crop = fit_to(&image, Fit::Crop, 16, 16, [0; 3]).unwrap();
        assert_eq!(
            crop,
            fit_to(&halves(16, 16), Fit::Squash, 16, 16, [0; 3]).unwrap()
        );
    }

    #[test]
    fn letterbox_keeps_proportions_between_bars() {
        let image = halves(32, 16);
        let boxed = fit_to(&image, Fit::Letterbox, 16, 16, [1, 2, 3]).unwrap();
        let row = |y: usize| &boxed[y * 48..(y + 1) * 48];
        assert!(row(3).chunks(3).all(|p| p == [1, 2, 3]));
        assert!(row(12).chunks(3).all(|p| p == [1, 2, 3]));
        assert_eq!(&row(4)[..3], [10, 20, 30]);
        assert_eq!(&row(11)[45..], [200, 210, 220]);
    }

    #[test]
    fn a_picture_of_the_right_size_passes_unchanged() {
        let image = halves(24, 24);
        for fit in [Fit::Squash, Fit::Crop, Fit::Letterbox] {
            assert_eq!(fit_to(&image, fit, 24, 24, [0; 3]).unwrap(), image.rgb);
        }
    }

    #[test]
    fn absurd_sizes_are_refused_before_they_are_allocated() {
        assert!(matches!(
            check_size(1, 1),
            Err(PreprocessError::TooSmall { .. })
        ));
        assert!(matches!(
            check_size(20_000, 20_000),
            Err(PreprocessError::TooLarge { .. })
        ));
        assert!(matches!(
            check_size(u64::MAX, u64::MAX),
            Err(PreprocessError::TooLarge { .. })
        ));
        assert_eq!(check_size(8_000, 6_000), Ok(()));
    }

    #[test]
    fn extreme_proportions_do_not_break_a_view() {
        for (w, h) in [(65_000, 8), (8, 65_000), (9, 8)] {
            let image = Image {
                width: w,
                height: h,
                rgb: vec![7; w as usize * h as usize * 3],
            };
            for fit in [Fit::Squash, Fit::Crop, Fit::Letterbox] {
                let pixels = fit_to(&image, fit, 224, 224, [7; 3]).unwrap();
                assert!(pixels.len() == 224 * 224 * 3 && pixels.iter().all(|&p| p == 7));
            }
        }
    }

    #[test]
    fn every_choice_of_view_has_a_hash_of_its_own() {
        let view = |fit, pad| {
            View {
                fit,
                width: 224,
                height: 224,
                pad,
            }
            .hash()
        };
        assert_ne!(view(Fit::Crop, [0; 3]), view(Fit::Squash, [0; 3]));
        assert_ne!(view(Fit::Crop, [0; 3]), view(Fit::Crop, [1; 3]));
    }
}
