//! The markers of a JPEG file (ITU-T T.81, annex B): whether its picture is all there, before it is decoded.
//!
//! The decoder fills what is missing with grey. Here a file is refused whose end marker is missing, or whose scans hold fewer bits
//! than its blocks take at the least. What stands behind the end, such as the film of a motion photo, is of no interest.

use super::PreprocessError;

const RESTARTS: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;
const START: u8 = 0xd8;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;
/// A byte that can stand alone, of no meaning to a decoder.
const TEMPORARY: u8 = 0x01;
/// Frames of sequential Huffman coding: baseline and extended.
const SEQUENTIAL: [u8; 2] = [0xc0, 0xc1];
/// Each block takes a code for its first coefficient and at least one more for the others, of a bit or more each (T.81, F.1.2).
const MIN_BITS_A_BLOCK: u64 = 2;

/// Refuses a JPEG that lost its end or the data of its picture. Looks at each byte once.
pub(super) fn check(bytes: &[u8]) -> Result<(), PreprocessError> {
    let mut reader = Reader { bytes, at: 0 };
    let (mut blocks, mut coded, mut scans) = (None, 0u64, 0u32);
    loop {
        match reader.marker().ok_or(PreprocessError::CutOff)? {
            END if scans > 0 => break,
            START | END | TEMPORARY => {}
            marker if RESTARTS.contains(&marker) => {}
            SCAN => {
                reader.segment().ok_or(PreprocessError::CutOff)?;
                scans += 1;
                coded += reader.scan();
            }
            marker => {
                let segment = reader.segment().ok_or(PreprocessError::CutOff)?;
                if SEQUENTIAL.contains(&marker) {
                    blocks = blocks.or_else(|| frame_blocks(segment));
                }
            }
        }
    }
    let needed = blocks.map_or(0, |blocks: u64| blocks * MIN_BITS_A_BLOCK / 8);
    if coded < needed {
        return Err(PreprocessError::Damaged {
            format: "JPEG",
            what: format!("its picture takes {needed} bytes or more, and {coded} came"),
        });
    }
    Ok(())
}

/// Blocks of 8x8 in a frame: of each component as many as cover the picture. `None` when the header makes no sense, which the
/// decoder refuses.
fn frame_blocks(segment: &[u8]) -> Option<u64> {
    let (header, components) = segment.split_first_chunk::<6>()?;
    let height = u64::from(u16::from_be_bytes([header[1], header[2]]));
    let width = u64::from(u16::from_be_bytes([header[3], header[4]]));
    let factors: Vec<(u64, u64)> = components
        .chunks_exact(3)
        .take(usize::from(header[5]))
        .map(|c| (u64::from(c[1] >> 4), u64::from(c[1] & 15)))
        .collect();
    let most_across = factors.iter().map(|f| f.0).max().filter(|&most| most > 0)?;
    let most_down = factors.iter().map(|f| f.1).max().filter(|&most| most > 0)?;
    let blocks = |side: u64, factor: u64, most: u64| (side * factor).div_ceil(most).div_ceil(8);
    Some(
        factors
            .iter()
            .map(|&(across, down)| {
                blocks(width, across, most_across) * blocks(height, down, most_down)
            })
            .sum(),
    )
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    /// The next marker: a byte behind one or more of 0xff that is not 0.
    fn marker(&mut self) -> Option<u8> {
        let mut behind_ff = false;
        loop {
            match self.next()? {
                0xff => behind_ff = true,
                0 => behind_ff = false,
                marker if behind_ff => return Some(marker),
                _ => {}
            }
        }
    }

    /// What stands in a segment behind its length.
    fn segment(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(u16::from_be_bytes([self.next()?, self.next()?]));
        let end = self.at.checked_add(length.checked_sub(2)?)?;
        let segment = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(segment)
    }

    /// Passes over the coded data of a scan to the marker that ends it; returns how many bytes it holds.
    fn scan(&mut self) -> u64 {
        let mut coded = 0;
        while let Some(&byte) = self.bytes.get(self.at) {
            if byte != 0xff {
                coded += 1;
                self.at += 1;
                continue;
            }
            match self.bytes.get(self.at + 1) {
                Some(0) => {
                    coded += 1;
                    self.at += 2;
                }
                Some(0xff) => self.at += 1,
                Some(marker) if RESTARTS.contains(marker) => self.at += 2,
                _ => break,
            }
        }
        coded
    }
}

#[cfg(test)]
mod tests {
    use super::super::keep::encode_jpeg;
    use super::super::{Image, PreprocessError, decode};

    fn jpeg(width: u32, height: u32) -> Vec<u8> {
        let rgb = (0..width * height * 3)
            .map(|i| (i * 7 % 239) as u8)
            .collect();
        let image = Image { width, height, rgb };
        encode_jpeg(&image, 80).unwrap()
    }

    #[test]
    fn what_stands_behind_the_end_does_not_matter() {
        let mut motion = jpeg(64, 48);
        let still = decode(&motion).unwrap();
        motion.extend(b"\0\0\0\x18ftypmp42\xff\xda\0\x08 a film that is no picture \xff\xd8\xff");
        assert_eq!(decode(&motion), Ok(still));
    }

    #[test]
    fn a_preview_in_the_header_is_not_taken_for_the_end() {
        let (photo, preview) = (jpeg(64, 48), jpeg(8, 8));
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1];
        bytes.extend(((preview.len() + 2) as u16).to_be_bytes());
        bytes.extend(&preview);
        bytes.extend(&photo[2..]);
        assert!(decode(&bytes).is_ok());
        bytes.truncate(bytes.len() - photo.len() / 2);
        assert_eq!(decode(&bytes), Err(PreprocessError::CutOff));
    }

    #[test]
    fn a_header_that_claims_far_more_pixels_than_were_coded_is_refused() {
        let mut bytes = jpeg(64, 48);
        let frame = bytes.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        bytes[frame + 5..frame + 9].copy_from_slice(&[0x10, 0, 0x10, 0]);
        let refused = decode(&bytes).unwrap_err();
        assert!(refused.to_string().contains("bytes or more"), "{refused}");
    }

    #[test]
    fn a_flat_picture_is_not_taken_for_a_damaged_one() {
        for (width, height) in [(8, 8), (9, 17), (1000, 700)] {
            let rgb = vec![127; (width * height * 3) as usize];
            let flat = encode_jpeg(&Image { width, height, rgb }, 30).unwrap();
            assert!(decode(&flat).is_ok(), "{width}x{height}");
        }
    }
}
