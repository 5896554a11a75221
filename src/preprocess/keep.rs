//! The copy of a sample that the store keeps, so that another view, other taps or another backbone need no new one.

use super::{Capture, Image, PreprocessError, Rect, resize, sound};
use image::codecs::jpeg::JpegEncoder;

/// The shorter side of a kept picture: enough for every view of a 224-pixel backbone, and for 320-pixel ones.
const KEPT_SIDE: u32 = 320;
/// JPEG qualities tried one after the other until the copy fits its budget.
const QUALITIES: [u8; 4] = [90, 80, 65, 50];

/// A kept picture, sound or window.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Pixels; of a sound those of its picture, of a window steps and channels.
    pub width: u32,
    pub height: u32,
    /// JPEG or PNG; WAV; of a window, the file as it came.
    pub bytes: Vec<u8>,
    /// The file as it came, not encoded again.
    pub verbatim: bool,
}

/// A copy of at most `budget_bytes`: the `original` file when it is small enough, else a JPEG with a shorter side of 320
/// pixels. `None` when no quality fits the budget, which only very long pictures come to.
///
/// `original` is empty when the picture did not come from a file.
pub fn keep(
    image: &Image,
    original: &[u8],
    budget_bytes: usize,
) -> Result<Option<Kept>, PreprocessError> {
    let short = image.width.min(image.height);
    if !original.is_empty() && short <= KEPT_SIDE && original.len() <= budget_bytes {
        return Ok(Some(Kept {
            width: image.width,
            height: image.height,
            bytes: original.to_vec(),
            verbatim: true,
        }));
    }
    let smaller;
    let image = if short > KEPT_SIDE {
        smaller = shrink(image, short);
        &smaller
    } else {
        image
    };
    for quality in QUALITIES {
        let bytes = encode_jpeg(image, quality)?;
        if bytes.len() <= budget_bytes {
            return Ok(Some(Kept {
                width: image.width,
                height: image.height,
                bytes,
                verbatim: false,
            }));
        }
    }
    Ok(None)
}

/// The file of a sound or a window when it is small enough: a second at 16 kHz and 16 bits has 32 KB, a window of 2,048 steps 8 KB, one
/// of 100 steps of six channels as text 6 KB. A larger sound is kept as the network hears it, one channel at 16 kHz; a larger window is
/// not kept.
pub fn keep_recording(
    capture: &Capture,
    original: &[u8],
    budget_bytes: usize,
) -> Result<Option<Kept>, PreprocessError> {
    let verbatim = original.len() <= budget_bytes;
    let (width, height, bytes) = match capture {
        Capture::Picture(image) if verbatim => (image.width, image.height, original.to_vec()),
        Capture::Picture(image) => {
            let heard = sound::reduced(&sound::parse(original)?);
            (image.width, image.height, heard)
        }
        Capture::Window(window) => {
            let (steps, channels) = (window.steps() as u32, window.channels() as u32);
            (steps, channels, original.to_vec())
        }
    };
    Ok((bytes.len() <= budget_bytes).then_some(Kept {
        width,
        height,
        bytes,
        verbatim,
    }))
}

fn shrink(image: &Image, short: u32) -> Image {
    let scaled =
        |side: u32| (u64::from(side) * u64::from(KEPT_SIDE) / u64::from(short)).max(1) as u32;
    let (width, height) = (scaled(image.width), scaled(image.height));
    let whole = Rect {
        x: 0,
        y: 0,
        width: image.width,
        height: image.height,
    };
    Image {
        width,
        height,
        rgb: resize::resize(image, whole, width, height),
    }
}

/// A picture as a JPEG file.
pub(super) fn encode_jpeg(image: &Image, quality: u8) -> Result<Vec<u8>, PreprocessError> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode(
            &image.rgb,
            image.width,
            image.height,
            image::ExtendedColorType::Rgb8,
        )
        .map_err(|e| PreprocessError::Damaged {
            format: "picture",
            what: e.to_string(),
        })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;

    fn grey(width: u32, height: u32) -> Image {
        Image {
            width,
            height,
            rgb: vec![120; width as usize * height as usize * 3],
        }
    }

    #[test]
    fn a_small_file_is_kept_as_it_came() {
        let kept = keep(&grey(100, 80), b"the file", 1000).unwrap().unwrap();
        assert_eq!(
            (kept.bytes.as_slice(), kept.verbatim),
            (&b"the file"[..], true)
        );
    }

    #[test]
    fn a_large_one_is_shrunk_to_a_shorter_side_of_320() {
        let kept = keep(&grey(1600, 1200), &[0; 9], 100_000).unwrap().unwrap();
        assert_eq!((kept.width, kept.height, kept.verbatim), (426, 320, false));
        let back = decode(&kept.bytes).unwrap();
        assert_eq!((back.width, back.height), (426, 320));
    }

    #[test]
    fn a_long_sound_is_kept_as_it_is_heard_and_a_long_window_is_not() {
        let sound = sound::Sound {
            rate_hz: 16_000,
            samples: (0..16_000).map(|i| f64::from(i % 50) / 64.0).collect(),
        };
        let original = sound::reduced(&sound);
        let picture = Capture::Picture(sound::picture(&sound));
        let whole = keep_recording(&picture, &original, 40_000)
            .unwrap()
            .unwrap();
        assert_eq!((whole.verbatim, &whole.bytes), (true, &original));
        let twice = [&original[..], &[0; 100]].concat();
        let kept = keep_recording(&picture, &twice, original.len())
            .unwrap()
            .unwrap();
        assert_eq!((kept.verbatim, kept.bytes.len()), (false, original.len()));
        let again = sound::picture(&sound::parse(&kept.bytes).unwrap());
        assert_eq!((again.width, again.height), (kept.width, kept.height));
        let window = Capture::Window(super::super::window::parse(&b"1\n".repeat(9)).unwrap());
        assert_eq!(keep_recording(&window, &[b'1'; 99], 98).unwrap(), None);
    }

    #[test]
    fn what_fits_no_budget_is_not_kept() {
        assert_eq!(keep(&grey(1600, 1200), &[0; 9], 100).unwrap(), None);
    }
}
