//! The markers of a JPEG file (ITU-T T.81, annex B): whether its picture is all there, before it is decoded.
//!
//! The decoder fills what is missing with grey. Here a file is refused whose end marker is missing, and a sequential one whose data
//! end before its last block ([`super::entropy`]); of a progressive one, only the end marker is looked for. What stands behind the
//! end, such as the film of a motion photo, is of no interest.

use super::PreprocessError;
use super::entropy::{Blocks, Stop, Table, follow};

/// The markers between pieces of a scan.
pub(super) const RESTARTS: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;
const START: u8 = 0xd8;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;
const TABLES: u8 = 0xc4;
const RESTART_INTERVAL: u8 = 0xdd;
/// A byte that can stand alone, of no meaning to a decoder.
const TEMPORARY: u8 = 0x01;
/// Frames of sequential Huffman coding: baseline and extended.
const SEQUENTIAL: [u8; 2] = [0xc0, 0xc1];

/// Refuses a JPEG that lost its end or the data of its picture. Looks at each byte twice at the most.
pub(super) fn check(bytes: &[u8]) -> Result<(), PreprocessError> {
    let mut reader = Reader { bytes, at: 0 };
    let mut state = State::default();
    let mut scans = 0;
    loop {
        let marker = reader.marker().ok_or(PreprocessError::CutOff)?;
        if marker == END && scans > 0 {
            return Ok(());
        }
        if [START, END, TEMPORARY].contains(&marker) || RESTARTS.contains(&marker) {
            continue;
        }
        let segment = reader.segment().ok_or(PreprocessError::CutOff)?;
        match marker {
            SCAN => {
                scans += 1;
                let data = reader.scan();
                // A file without an end was cut off, which says more than that its data end early.
                if state.follow(segment, data) == Err(Stop::Early) && !reader.rest().is_empty() {
                    return Err(PreprocessError::Damaged {
                        format: "JPEG",
                        what: "the data of its picture end early".into(),
                    });
                }
            }
            TABLES => state.take_tables(segment).unwrap_or_default(),
            RESTART_INTERVAL => {
                let interval = segment.first_chunk().map(|&two| u16::from_be_bytes(two));
                state.restart = interval.unwrap_or(0).into();
            }
            frame if SEQUENTIAL.contains(&frame) => state.frame = Frame::parse(segment),
            _ => {}
        }
    }
}

/// What the segments before a scan said.
#[derive(Default)]
struct State {
    frame: Option<Frame>,
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    restart: u64,
}

impl State {
    fn take_tables(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&[kind, ref counts @ ..], rest)) = segment.split_first_chunk::<17>() {
            let length = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(length)?;
            let tables = match kind >> 4 {
                0 => &mut self.dc,
                _ => &mut self.ac,
            };
            *tables.get_mut(usize::from(kind & 15))? = Table::new(counts, symbols);
            segment = rest;
        }
        Some(())
    }

    /// Follows one scan; `header` names its components and their tables.
    fn follow(&self, header: &[u8], data: &[u8]) -> Result<(), Stop> {
        let frame = self.frame.as_ref().ok_or(Stop::Unclear)?;
        let (&count, header) = header.split_first().ok_or(Stop::Unclear)?;
        let mut components = Vec::new();
        let mut units = frame.units();
        for named in header.chunks_exact(2).take(usize::from(count)) {
            let component = frame.component(named[0]).ok_or(Stop::Unclear)?;
            let table = |tables: &'_ [Option<Table>; 4], number: u8| {
                tables.get(usize::from(number)).cloned().flatten()
            };
            components.push((
                component.across * component.down,
                table(&self.dc, named[1] >> 4).ok_or(Stop::Unclear)?,
                table(&self.ac, named[1] & 15).ok_or(Stop::Unclear)?,
            ));
            if count == 1 {
                units = frame.blocks(component);
            }
        }
        let blocks: Vec<Blocks<'_>> = components
            .iter()
            .map(|(blocks, dc, ac)| Blocks {
                count: if count == 1 { 1 } else { *blocks },
                dc,
                ac,
            })
            .collect();
        follow(data, &blocks, units, self.restart)
    }
}

/// The size and the components of a frame.
struct Frame {
    width: u64,
    height: u64,
    components: Vec<Component>,
}

/// A component and its sampling factors.
struct Component {
    id: u8,
    across: u64,
    down: u64,
}

impl Frame {
    /// `None` when the header makes no sense, which the decoder refuses.
    fn parse(segment: &[u8]) -> Option<Frame> {
        let (header, components) = segment.split_first_chunk::<6>()?;
        let components: Vec<Component> = components
            .chunks_exact(3)
            .take(usize::from(header[5]))
            .map(|c| Component {
                id: c[0],
                across: u64::from(c[1] >> 4),
                down: u64::from(c[1] & 15),
            })
            .collect();
        let sensible = components.iter().all(|c| c.across > 0 && c.down > 0);
        (sensible && !components.is_empty()).then_some(Frame {
            height: u16::from_be_bytes([header[1], header[2]]).into(),
            width: u16::from_be_bytes([header[3], header[4]]).into(),
            components,
        })
    }

    fn component(&self, id: u8) -> Option<&Component> {
        self.components.iter().find(|component| component.id == id)
    }

    /// The largest sampling factors.
    fn most(&self) -> (u64, u64) {
        self.components.iter().fold((1, 1), |(across, down), c| {
            (across.max(c.across), down.max(c.down))
        })
    }

    /// Units of a scan of several components (T.81, A.2.4).
    fn units(&self) -> u64 {
        let (across, down) = self.most();
        self.width.div_ceil(8 * across) * self.height.div_ceil(8 * down)
    }

    /// Blocks of a scan of one component (T.81, A.2.3).
    fn blocks(&self, component: &Component) -> u64 {
        let (across, down) = self.most();
        let wide = (self.width * component.across).div_ceil(across);
        let high = (self.height * component.down).div_ceil(down);
        wide.div_ceil(8) * high.div_ceil(8)
    }
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

    /// The coded data of a scan up to the marker that ends it.
    fn scan(&mut self) -> &'a [u8] {
        let start = self.at;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += match (byte, self.bytes.get(self.at + 1)) {
                (0xff, Some(0)) => 2,
                (0xff, Some(0xff)) => 1,
                (0xff, Some(marker)) if RESTARTS.contains(marker) => 2,
                (0xff, _) => break,
                _ => 1,
            };
        }
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
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

    fn ends_early(bytes: &[u8]) {
        let refused = decode(bytes).unwrap_err().to_string();
        assert!(refused.contains("end early"), "{refused}");
    }

    #[test]
    fn a_header_that_claims_more_pixels_than_were_coded_is_refused() {
        let bytes = jpeg(64, 48);
        let frame = bytes.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        for (height, width) in [(4096u16, 4096u16), (56, 64)] {
            let mut larger = bytes.clone();
            larger[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
            larger[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
            ends_early(&larger);
        }
    }

    #[test]
    fn half_the_data_before_an_end_marker_is_refused() {
        let bytes = jpeg(64, 48);
        let scan = bytes.windows(2).position(|w| w == [0xff, 0xda]).unwrap() + 14;
        for share in [1, 2, 3] {
            let mut half = bytes[..scan + (bytes.len() - scan) * share / 4].to_vec();
            half.extend([0xff, 0xd9]);
            ends_early(&half);
        }
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
