//! Thumbnails: a photo, or a drawing of a window, as a small JPEG inside a `data:` address.

use fieldhead::preprocess::{Capture, Fit, Image, MIN_SIDE, Modality, fit_to};
use fieldhead::source::folder;
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use std::path::Path;

/// The longer side, in pixels: sharp at 100 to 200 CSS pixels.
pub const SIDE: u32 = 200;
const QUALITY: u8 = 75;
/// A thumbnail that takes more is left out; one of noise takes 25 KB.
const MAX_BYTES: usize = 32 * 1024;

/// The photo as the address of an image; `None` where the file cannot be read any more.
pub fn of(path: &Path) -> Option<String> {
    let bytes = folder::read(path).ok()?;
    let bytes = jpeg(&picture(&bytes)?, SIDE)?;
    (bytes.len() <= MAX_BYTES).then(|| format!("data:image/jpeg;base64,{}", base64(&bytes)))
}

/// A photo, or a drawing of a sound or a window.
pub fn picture(bytes: &[u8]) -> Option<Image> {
    Some(match Modality::of(bytes)?.decode(bytes).ok()? {
        Capture::Picture(image) => image,
        Capture::Window(window) => window.draw(),
    })
}

/// The picture as a JPEG with a longer side of at most so many pixels.
pub fn jpeg(picture: &Image, most: u32) -> Option<Vec<u8>> {
    let longer = picture.width.max(picture.height).max(1);
    // What is very long is drawn a little broader.
    let side = |side: u32| (side.saturating_mul(most) / longer).clamp(MIN_SIDE, most);
    let (width, height) = match longer > most {
        true => (side(picture.width), side(picture.height)),
        false => (picture.width, picture.height),
    };
    // In its own proportions, so that nothing is squashed and no bar is needed.
    let pixels = fit_to(picture, Fit::Squash, width, height, [0; 3]).ok()?;
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode(&pixels, width, height, ExtendedColorType::Rgb8)
        .ok()?;
    Some(bytes)
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            text.push(match digit <= three.len() {
                true => char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize % 64]),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_published_one() {
        // RFC 4648, section 10.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_thumbnail_is_small_and_keeps_its_proportions() {
        let picture = |width: u32, height: u32| Image {
            width,
            height,
            rgb: (0..width * height * 3)
                .map(|i| (i * 7919 % 251) as u8)
                .collect(),
        };
        for (from, to) in [
            ((1000, 500), (200, 100)),
            ((40, 30), (40, 30)),
            ((4000, 16), (200, 8)),
        ] {
            let bytes = jpeg(&picture(from.0, from.1), SIDE).unwrap();
            assert!(bytes.len() <= MAX_BYTES, "{}", bytes.len());
            let small = image::load_from_memory(&bytes).unwrap();
            assert_eq!((small.width(), small.height()), to);
        }
    }
}
