//! A stream of JPEG pictures (Motion JPEG) to single ones.
//!
//! Owns: finding where a picture begins and ends ([`Splitter`]), and giving it the tables it left out ([`complete`]). Does not own:
//! judging or decoding it (`preprocess`). Pure.
//!
//! Invariant: what stands between pictures (a multipart header, a program's chatter) is passed over, and never more than a bound is
//! held or passed over without a picture.

const SCAN: u8 = 0xda;
const TABLES: u8 = 0xc4;

/// More bytes than any picture has, without a whole one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Flood {
    pub(super) bytes: usize,
}

/// What a piece of the stream completed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cut {
    /// The last picture that ended in this piece.
    pub(super) picture: Option<Vec<u8>>,
    /// Pictures that ended before it.
    pub(super) overtaken: u64,
}

/// Where in a picture the stream stands (ITU-T T.81, annex B).
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Outside,
    /// Behind an FF outside of a picture.
    Maybe,
    /// A marker has to come.
    Marker,
    /// Behind the FF of a marker.
    Code,
    Length(u8),
    LengthEnd(u8, u8),
    /// So many bytes of a segment are left.
    Segment(u8, usize),
    Data,
    /// Behind an FF in entropy-coded data.
    DataCode,
}

/// Cuts a stream into pictures.
pub(super) struct Splitter {
    state: State,
    picture: Vec<u8>,
    /// Bytes since the last picture ended.
    bytes: usize,
    limit: usize,
}

impl Splitter {
    /// `limit` is the most bytes that may come without a whole picture.
    pub(super) fn new(limit: usize) -> Splitter {
        Splitter {
            state: State::Outside,
            picture: Vec::new(),
            bytes: 0,
            limit,
        }
    }

    /// Takes the next piece of the stream.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<Cut, Flood> {
        let mut cut = Cut::default();
        while let Some((&byte, rest)) = piece.split_first() {
            // Runs of bytes that change nothing are taken at once.
            let run = match self.state {
                State::Segment(_, left) => left.saturating_sub(1).min(rest.len()),
                State::Data => rest.iter().take_while(|&&byte| byte != 0xff).count(),
                _ => 0,
            };
            let run = if byte == 0xff && self.state == State::Data {
                0
            } else {
                run
            };
            let (taken, rest) = piece.split_at(1 + run);
            piece = rest;
            self.bytes += taken.len();
            if self.bytes > self.limit {
                return Err(Flood { bytes: self.bytes });
            }
            self.take(taken, byte);
            if self.state == State::Outside && !self.picture.is_empty() {
                let picture = std::mem::take(&mut self.picture);
                cut.overtaken += u64::from(cut.picture.replace(picture).is_some());
                self.bytes = 0;
            }
        }
        Ok(cut)
    }

    /// Moves on by a run of bytes that begins with `first`.
    fn take(&mut self, run: &[u8], first: u8) {
        if self.state != State::Outside {
            self.picture.extend_from_slice(run);
        }
        self.state = match (self.state, first) {
            (State::Outside, 0xff) => State::Maybe,
            (State::Outside, _) => State::Outside,
            (State::Maybe, 0xd8) => self.begin(),
            (State::Maybe, 0xff) => State::Maybe,
            (State::Maybe, _) => self.lost(),
            (State::Marker, 0xff) => State::Code,
            (State::Marker, _) => self.lost(),
            (State::Code, code) => self.code(code),
            (State::Length(code), high) => State::LengthEnd(code, high),
            (State::LengthEnd(code, high), low) => {
                match usize::from(u16::from_be_bytes([high, low])).checked_sub(2) {
                    Some(left) => behind(code, left),
                    None => self.lost(),
                }
            }
            (State::Segment(code, left), _) => behind(code, left.saturating_sub(run.len())),
            (State::Data, 0xff) if run.len() == 1 => State::DataCode,
            (State::Data, _) => State::Data,
            (State::DataCode, 0x00 | 0xd0..=0xd7) => State::Data,
            (State::DataCode, code) => match self.code(code) {
                State::Code => State::DataCode,
                next => next,
            },
        };
    }

    /// Behind the code of a marker.
    fn code(&mut self, code: u8) -> State {
        match code {
            0xff => State::Code,
            // A picture that lost its end, and the next one.
            0xd8 => self.begin(),
            0xd9 => State::Outside,
            0x01 | 0xd0..=0xd7 => State::Marker,
            0x00 => self.lost(),
            code => State::Length(code),
        }
    }

    fn begin(&mut self) -> State {
        self.picture.clear();
        self.picture.extend_from_slice(&[0xff, 0xd8]);
        State::Marker
    }

    /// What came is no picture after all.
    fn lost(&mut self) -> State {
        self.picture.clear();
        State::Outside
    }
}

/// Where a segment with `left` bytes to come leads.
fn behind(code: u8, left: usize) -> State {
    match left {
        0 if code == SCAN => State::Data,
        0 => State::Marker,
        left => State::Segment(code, left),
    }
}

/// A picture with Huffman tables: many cameras leave out the ones that everybody knows (USB Device Class Definition for Video Devices,
/// Motion-JPEG payload, 2.1). What has some, or makes no sense, is left as it is.
pub(super) fn complete(picture: Vec<u8>) -> Vec<u8> {
    let mut rest = picture.get(2..).unwrap_or_default();
    while let Some((&[0xff, code, high, low], _)) = rest.split_first_chunk::<4>() {
        match code {
            TABLES => return picture,
            SCAN => {
                let (start, rest) = picture.split_at(2);
                return [start, &STANDARD_TABLES, rest].concat();
            }
            _ => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                rest = rest.get(2 + length..).unwrap_or_default();
            }
        }
    }
    picture
}

/// The typical Huffman tables of ITU-T T.81, tables K.3 to K.6, as one segment.
#[rustfmt::skip]
const STANDARD_TABLES: [u8; 420] = [
    0xff, 0xc4, 0x01, 0xa2, 0x00, 0x00, 0x01, 0x05, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a,
    0x0b, 0x10, 0x00, 0x02, 0x01, 0x03, 0x03, 0x02, 0x04, 0x03, 0x05, 0x05, 0x04, 0x04, 0x00, 0x00,
    0x01, 0x7d, 0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51,
    0x61, 0x07, 0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52,
    0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26,
    0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47,
    0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67,
    0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87,
    0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5,
    0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
    0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
    0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6,
    0xf7, 0xf8, 0xf9, 0xfa, 0x01, 0x00, 0x03, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a,
    0x0b, 0x11, 0x00, 0x02, 0x01, 0x02, 0x04, 0x04, 0x03, 0x04, 0x07, 0x05, 0x04, 0x04, 0x00, 0x01,
    0x02, 0x77, 0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07,
    0x61, 0x71, 0x13, 0x22, 0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33,
    0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19,
    0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46,
    0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66,
    0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x82, 0x83, 0x84, 0x85,
    0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3,
    0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
    0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8,
    0xd9, 0xda, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6,
    0xf7, 0xf8, 0xf9, 0xfa,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess;
    use proptest::prelude::*;

    fn picture(seed: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let pixels: Vec<u8> = (0..48 * 32 * 3u32)
            .map(|i| (i * 7 % 251) as u8 ^ seed)
            .collect();
        let image = image::RgbImage::from_raw(48, 32, pixels).unwrap();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 80);
        encoder.encode_image(&image).unwrap();
        bytes
    }

    fn without_tables(picture: &[u8]) -> Vec<u8> {
        let mut kept = picture[..2].to_vec();
        let mut at = 2;
        loop {
            let length = 2 + usize::from(u16::from_be_bytes([picture[at + 2], picture[at + 3]]));
            if picture[at + 1] != TABLES {
                kept.extend(&picture[at..at + length]);
            }
            at += length;
            if picture[at - length + 1] == SCAN {
                kept.extend(&picture[at..]);
                return kept;
            }
        }
    }

    fn split(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut splitter = Splitter::new(100_000);
        let mut found = Vec::new();
        for piece in stream.chunks(piece) {
            let cut = splitter.push(piece).unwrap();
            assert!(cut.overtaken == 0 || piece.len() > 1_000);
            found.extend(cut.picture);
        }
        found
    }

    #[test]
    fn pictures_come_out_whole_whatever_the_pieces_and_whatever_stands_between_them() {
        let (a, b) = (picture(1), picture(2));
        let stream = [b"--boundary\r\n\r\n", &a[..], b"\r\n\xff\xff\x00--", &b].concat();
        for piece in [1, 2, 3, 500] {
            assert_eq!(split(&stream, piece), [a.clone(), b.clone()], "{piece}");
        }
        let cut = Splitter::new(100_000).push(&stream).unwrap();
        assert_eq!((cut.picture, cut.overtaken), (Some(b), 1));
    }

    #[test]
    fn an_end_marker_inside_a_segment_is_not_the_end() {
        let mut whole = picture(1);
        let thumbnail = [0xff, 0xe1, 0, 8, 0xff, 0xd8, 0xff, 0xd9, 0xff, 0xda];
        whole.splice(2..2, thumbnail);
        assert_eq!(split(&whole, 7), [whole]);
    }

    #[test]
    fn a_picture_that_lost_its_end_does_not_take_the_next_one_with_it() {
        let (a, b) = (picture(1), picture(2));
        let stream = [&a[..a.len() - 40], &b].concat();
        assert_eq!(split(&stream, 11), [b]);
    }

    #[test]
    fn a_flood_without_a_picture_is_told_within_its_bound() {
        for flood in [[0u8; 512], [0xff; 512]] {
            let mut splitter = Splitter::new(1_000);
            assert_eq!(splitter.push(&flood), Ok(Cut::default()));
            let told = splitter.push(&flood).unwrap_err();
            assert!(told.bytes > 1_000 && splitter.picture.len() <= 1_024);
        }
        let mut endless = picture(1);
        endless.truncate(endless.len() - 2);
        let mut splitter = Splitter::new(endless.len() + 100);
        assert!(splitter.push(&endless).is_ok());
        assert!(splitter.push(&[7; 200]).is_err());
        // Pictures one after the other are none, however many.
        let mut splitter = Splitter::new(5_000);
        let a = picture(1);
        assert!(a.len() < 5_000);
        for _ in 0..20 {
            splitter.push(&a).unwrap();
        }
    }

    #[test]
    fn tables_that_a_camera_leaves_out_are_given_back() {
        let whole = picture(9);
        assert_eq!(complete(whole.clone()), whole);
        let bare = without_tables(&whole);
        assert!(bare.len() < whole.len() - 400);
        assert_eq!(split(&bare, 64), std::slice::from_ref(&bare));
        assert_eq!(
            preprocess::decode(&complete(bare)).unwrap(),
            preprocess::decode(&whole).unwrap()
        );
        for odd in [
            vec![],
            vec![0xff],
            vec![0xff, 0xd8, 0xff, 0xe0, 0, 0],
            vec![0; 40],
        ] {
            assert_eq!(complete(odd.clone()), odd);
        }
    }

    proptest! {
        #[test]
        fn no_stream_makes_it_panic_and_pieces_do_not_matter(
            bytes in proptest::collection::vec(prop_oneof![Just(0xffu8), Just(0xd8), Just(0xd9), Just(0xda), any::<u8>()], 0..400),
            piece in 1usize..40,
        ) {
            let mut whole = Splitter::new(100_000);
            let all = whole.push(&bytes).unwrap();
            let mut splitter = Splitter::new(100_000);
            let mut found = Vec::new();
            for piece in bytes.chunks(piece) {
                found.extend(splitter.push(piece).unwrap().picture);
            }
            prop_assert_eq!(found.last(), all.picture.as_ref());
            prop_assert_eq!(splitter.state, whole.state);
            for picture in found {
                let _ = complete(picture);
            }
        }
    }
}
