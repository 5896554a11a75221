//! JPEG and PNG files to pictures.
//!
//! JPEG goes through zune-jpeg with its vector paths off, so that every machine runs the same integer code. A photo is turned
//! upright as its EXIF orientation says.

use super::{Image, PreprocessError, check_size, markers};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, RgbImage};
use std::io::Cursor;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

const JPEG_START: &[u8] = &[0xff, 0xd8, 0xff];
const PNG_START: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Memory a PNG may take while it is decoded: the largest picture at 16-bit RGBA.
const PNG_BYTES: u64 = super::MAX_PIXELS * 8;
/// The most scans of a progressive JPEG that are read; libjpeg's own encoder writes 10.
const MAX_SCANS: usize = 64;

/// Decodes a JPEG or PNG file.
///
/// # Errors
/// What is wrong with the file; its size is checked before its pixels are allocated.
pub fn decode(bytes: &[u8]) -> Result<Image, PreprocessError> {
    if bytes.is_empty() {
        return Err(PreprocessError::EmptyFile);
    }
    if bytes.starts_with(JPEG_START) {
        return jpeg(bytes);
    }
    if bytes.starts_with(PNG_START) {
        return png(bytes);
    }
    Err(PreprocessError::UnknownFormat)
}

/// Whether the first bytes are those of a JPEG or PNG.
pub(super) fn is_picture(bytes: &[u8]) -> bool {
    bytes.starts_with(JPEG_START) || bytes.starts_with(PNG_START)
}

fn jpeg(bytes: &[u8]) -> Result<Image, PreprocessError> {
    let damaged = |what: String| PreprocessError::Damaged {
        format: "JPEG",
        what,
    };
    markers::check(bytes)?;
    let options = DecoderOptions::default()
        .set_use_unsafe(false)
        .set_strict_mode(true)
        .set_max_width(super::MAX_SIDE as usize)
        .set_max_height(super::MAX_SIDE as usize)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder
        .decode_headers()
        .map_err(|e| damaged(one_line(&format!("{e:?}"))))?;
    let info = decoder
        .info()
        .ok_or_else(|| damaged("it has no header".into()))?;
    check_size(info.width.into(), info.height.into())?;
    let rgb = decoder
        .decode()
        .map_err(|e| damaged(one_line(&format!("{e:?}"))))?;
    let orientation = decoder
        .exif()
        .and_then(|exif| Orientation::from_exif_chunk(exif))
        .unwrap_or(Orientation::NoTransforms);
    let image = RgbImage::from_raw(info.width.into(), info.height.into(), rgb)
        .ok_or_else(|| damaged("it has fewer pixels than it says".into()))?;
    Ok(upright(DynamicImage::ImageRgb8(image), orientation))
}

fn png(bytes: &[u8]) -> Result<Image, PreprocessError> {
    let damaged = |e: image::ImageError| PreprocessError::Damaged {
        format: "PNG",
        what: one_line(&e.to_string()),
    };
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(PNG_BYTES);
    let bytes = without_extras(bytes);
    let mut decoder = image::codecs::png::PngDecoder::with_limits(Cursor::new(&bytes), limits)
        .map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    check_size(width.into(), height.into())?;
    let orientation = decoder.orientation().map_err(damaged)?;
    let image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    Ok(upright(image, orientation))
}

/// A PNG with the chunks that its pixels and its orientation need. The others may be compressed and unpack to hundreds of megabytes
/// (colour profiles, texts), and nothing here looks at them.
fn without_extras(bytes: &[u8]) -> Vec<u8> {
    const NEEDED: [&[u8]; 6] = [b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"];
    let (signature, mut rest) = bytes.split_at(PNG_START.len());
    let mut kept = signature.to_vec();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        // Length, name, data, checksum. What is cut off is left for the decoder to refuse.
        let whole = (u32::from_be_bytes(*length) as usize).saturating_add(12);
        let (chunk, next) = rest.split_at(whole.min(rest.len()));
        if behind.get(..4).is_none_or(|name| NEEDED.contains(&name)) {
            kept.extend(chunk);
        }
        rest = next;
    }
    kept
}

fn upright(mut image: DynamicImage, orientation: Orientation) -> Image {
    image.apply_orientation(orientation);
    let rgb = image.into_rgb8();
    Image {
        width: rgb.width(),
        height: rgb.height(),
        rgb: rgb.into_raw(),
    }
}

/// A library's message as part of a sentence: one line, no control characters, bounded.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(160)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::keep::encode_jpeg;
    use super::*;

    fn picture(width: u32, height: u32) -> Image {
        let rgb = (0..width * height)
            .flat_map(|i| {
                [
                    (i % 251) as u8,
                    (i / width % 241) as u8,
                    (i * 7 % 239) as u8,
                ]
            })
            .collect();
        Image { width, height, rgb }
    }

    fn png_of(image: &Image) -> Vec<u8> {
        let mut bytes = Vec::new();
        let rgb = RgbImage::from_raw(image.width, image.height, image.rgb.clone()).unwrap();
        rgb.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png)
            .unwrap();
        bytes
    }

    #[test]
    fn a_png_comes_back_as_it_was_and_a_jpeg_nearly() {
        let image = picture(40, 30);
        assert_eq!(decode(&png_of(&image)), Ok(image));
        let smooth = Image {
            width: 64,
            height: 32,
            rgb: (0..64 * 32u32)
                .flat_map(|i| [(i % 64 * 3) as u8, (i / 64 * 5) as u8, 90])
                .collect(),
        };
        let back = decode(&encode_jpeg(&smooth, 95).unwrap()).unwrap();
        let worst = smooth
            .rgb
            .iter()
            .zip(&back.rgb)
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(worst.unwrap() < 16, "{worst:?}");
    }

    #[test]
    fn every_truncation_of_a_jpeg_is_refused() {
        let bytes = encode_jpeg(&picture(64, 48), 90).unwrap();
        for length in 0..bytes.len() - 1 {
            assert!(
                decode(&bytes[..length]).is_err(),
                "{length} of {}",
                bytes.len()
            );
        }
    }

    #[test]
    fn a_png_that_lost_pixels_is_refused() {
        let bytes = png_of(&picture(64, 48));
        for length in [0, 7, 8, 20, 33, 50, bytes.len() / 2] {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_png_that_claims_to_be_huge_is_refused_by_its_header() {
        let mut bytes = png_of(&picture(8, 8));
        bytes[16..20].copy_from_slice(&20_000u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&20_000u32.to_be_bytes());
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(
            decode(&bytes),
            Err(PreprocessError::TooLarge { width: 20_000, .. })
        ));
    }

    /// The checksum of a PNG chunk (PNG specification, annex D).
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |c, _| {
                if c & 1 == 1 {
                    (c >> 1) ^ 0xedb8_8320
                } else {
                    c >> 1
                }
            })
        })
    }

    #[test]
    fn a_colour_profile_is_not_even_unpacked() {
        let image = picture(40, 30);
        let plain = png_of(&image);
        let mut chunk = b"iCCPname\0\0this is no compressed profile".to_vec();
        let crc = crc32(&chunk);
        chunk.splice(0..0, ((chunk.len() - 4) as u32).to_be_bytes());
        chunk.extend(crc.to_be_bytes());
        let mut bytes = plain.clone();
        bytes.splice(33..33, chunk);
        assert_eq!(without_extras(&bytes), without_extras(&plain));
        assert_eq!(decode(&bytes), Ok(image));
    }

    #[test]
    fn other_files_are_told_what_is_wanted() {
        assert_eq!(decode(b""), Err(PreprocessError::EmptyFile));
        assert_eq!(decode(b"GIF89a"), Err(PreprocessError::UnknownFormat));
    }

    #[test]
    fn a_photo_is_turned_as_its_orientation_says() {
        // EXIF, big-endian, one entry: tag 0x0112 (orientation), type 3 (short), value 6 (turn right).
        let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let plain = encode_jpeg(&picture(48, 32), 90).unwrap();
        let mut turned = vec![0xff, 0xd8, 0xff, 0xe1];
        turned.extend(((exif.len() + 2) as u16).to_be_bytes());
        turned.extend(exif);
        turned.extend(&plain[2..]);
        let image = decode(&turned).unwrap();
        assert_eq!((image.width, image.height), (32, 48));
    }
}
