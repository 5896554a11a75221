//! `.fhead`: one head as one file, and as the bytes the store keeps of every version.
//!
//! ```text
//! offset  bytes  what (integers little-endian)
//!      0      8  magic 89 46 48 45 41 44 0D 0A ("\x89FHEAD\r\n": text-mode copies break it visibly)
//!      8      2  format version: 2 is written, 1 is read as well
//!     10      4  flags; a reader refuses any bit it does not know (none is defined so far)
//!     14     32  SHA-256 of the backbone's ONNX file
//!     46     32  SHA-256 of the preprocessing (view and choice of outputs)
//!     78      2  number of labels, then for each: 1 byte length, UTF-8 text
//!      …      8  length of the body
//!      …     32  SHA-256 of everything before this field and of the body
//!      …         body: postcard of the `HeadRecord` of its version
//! ```
//!
//! Invariant: what decodes is a head that may be used: checksum right, nothing left over, labels and hashes equal to the body's,
//! every number finite and every size bounded before it is allocated.

use super::records::HeadRecord;
use super::v1;
use crate::features::Hash;
use crate::label;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

const MAGIC: [u8; 8] = *b"\x89FHEAD\r\n";
/// The version that is written.
pub const FORMAT_VERSION: u16 = 2;
const KNOWN_FLAGS: u32 = 0;
/// The largest head read. 1,000 classes of 65,536 features in f32 would be 262 MB; a board's head has kilobytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// Why bytes are not a head.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum FheadError {
    #[error(
        "this is not a .fhead file (it does not begin with its magic bytes); export one with `fieldhead export`"
    )]
    Magic,
    #[error(
        "the head has format version {got}, this program reads versions 1 to {FORMAT_VERSION}; update fieldhead"
    )]
    Version { got: u16 },
    #[error(
        "the head needs the features {flags:#x} that this program does not know; update fieldhead"
    )]
    Flags { flags: u32 },
    #[error(
        "the head ends at byte {got}, expected {expected}; it was cut off: copy or export it again"
    )]
    Truncated { expected: u64, got: u64 },
    #[error("the head has {extra} bytes too many after its end; copy or export it again")]
    TrailingBytes { extra: u64 },
    #[error("the head's checksum is wrong: a byte was changed; copy or export it again")]
    Checksum,
    #[error("the head has {bytes} bytes, at most {MAX_FILE_BYTES} are read")]
    TooLarge { bytes: u64 },
    #[error("the head's body does not make sense: {what}; export it again from a field that works")]
    Body { what: String },
}

/// The bytes of a head.
pub fn encode(record: &HeadRecord) -> Result<Vec<u8>, FheadError> {
    let unencodable = |what: String| FheadError::Body { what };
    let body = postcard::to_stdvec(record).map_err(|e| unencodable(e.to_string()))?;
    let mut bytes = Vec::with_capacity(256 + body.len());
    bytes.extend(MAGIC);
    bytes.extend(FORMAT_VERSION.to_le_bytes());
    bytes.extend(KNOWN_FLAGS.to_le_bytes());
    bytes.extend(record.recipe.backbone_hash);
    bytes.extend(record.recipe.preprocess_hash());
    let labels = &record.learned.labels;
    let count =
        u16::try_from(labels.len()).map_err(|_| unencodable("more than 65,535 labels".into()))?;
    bytes.extend(count.to_le_bytes());
    for label in labels {
        label::check(label).map_err(|e| unencodable(e.to_string()))?;
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend((body.len() as u64).to_le_bytes());
    let checksum = checksum(&bytes, &body);
    bytes.extend(checksum);
    bytes.extend(body);
    Ok(bytes)
}

/// Reads a head back and checks all of it.
pub fn decode(bytes: &[u8]) -> Result<HeadRecord, FheadError> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(FheadError::TooLarge {
            bytes: bytes.len() as u64,
        });
    }
    let mut reader = Reader { bytes, at: 0 };
    if !bytes.starts_with(&MAGIC) {
        return Err(if MAGIC.starts_with(bytes) {
            reader.truncated(MAGIC.len())
        } else {
            FheadError::Magic
        });
    }
    reader.at = MAGIC.len();
    let version = u16::from_le_bytes(reader.array()?);
    if !(1..=FORMAT_VERSION).contains(&version) {
        return Err(FheadError::Version { got: version });
    }
    let flags = u32::from_le_bytes(reader.array()?);
    if flags & !KNOWN_FLAGS != 0 {
        return Err(FheadError::Flags { flags });
    }
    let backbone_hash: Hash = reader.array()?;
    let preprocess_hash: Hash = reader.array()?;
    let labels = read_labels(&mut reader)?;
    let body_len = u64::from_le_bytes(reader.array()?);
    let header_end = reader.at;
    let expected: Hash = reader.array()?;
    let body = reader.rest(body_len)?;
    if checksum(&bytes[..header_end], body) != expected {
        return Err(FheadError::Checksum);
    }
    let record = decode_body(version, body)?;
    let agree = record.recipe.backbone_hash == backbone_hash
        && record.recipe.preprocess_hash() == preprocess_hash
        && record.learned.labels == labels;
    agree.then_some(record).ok_or(FheadError::Body {
        what: "header and body disagree".into(),
    })
}

fn decode_body(version: u16, body: &[u8]) -> Result<HeadRecord, FheadError> {
    let bad = |what: String| FheadError::Body { what };
    let record: HeadRecord = match version {
        1 => parse::<v1::HeadRecord>(body)?.into(),
        _ => parse(body)?,
    };
    record.learned.validate().map_err(|e| bad(e.to_string()))?;
    record.request.check().map_err(|e| bad(e.to_string()))?;
    if record.learned.width() != record.recipe.width as usize {
        return Err(bad(format!(
            "its weights take {} features, its recipe gives {}",
            record.learned.width(),
            record.recipe.width
        )));
    }
    Ok(record)
}

/// Reads all of a body; lengths in it are bounded by its own, since what it promises has to be there.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, FheadError> {
    let bad = |what: String| FheadError::Body { what };
    let (record, rest) = postcard::take_from_bytes(body).map_err(|e| bad(e.to_string()))?;
    match rest.len() {
        0 => Ok(record),
        left => Err(bad(format!("{left} bytes are left over"))),
    }
}

fn read_labels(reader: &mut Reader) -> Result<Vec<String>, FheadError> {
    let bad = |what: String| FheadError::Body { what };
    let count = usize::from(u16::from_le_bytes(reader.array()?));
    if count > label::MAX_LABELS {
        return Err(bad(format!(
            "{count} labels, at most {} are allowed",
            label::MAX_LABELS
        )));
    }
    (0..count)
        .map(|_| {
            let [length] = reader.array()?;
            let text = reader.slice(usize::from(length))?;
            let text = std::str::from_utf8(text).map_err(|_| bad("a label is not UTF-8".into()))?;
            label::check(text).map_err(|e| bad(e.to_string()))?;
            Ok(text.to_owned())
        })
        .collect()
}

fn checksum(header: &[u8], body: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(header);
    hasher.update(body);
    hasher.finalize().into()
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn slice(&mut self, length: usize) -> Result<&'a [u8], FheadError> {
        let end = self.at.saturating_add(length);
        let slice = self
            .bytes
            .get(self.at..end)
            .ok_or_else(|| self.truncated(end))?;
        self.at = end;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FheadError> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(N)?);
        Ok(array)
    }

    fn rest(&mut self, length: u64) -> Result<&'a [u8], FheadError> {
        let rest = &self.bytes[self.at..];
        match (rest.len() as u64).cmp(&length) {
            std::cmp::Ordering::Less => Err(FheadError::Truncated {
                expected: (self.at as u64).saturating_add(length),
                got: self.bytes.len() as u64,
            }),
            std::cmp::Ordering::Greater => Err(FheadError::TrailingBytes {
                extra: rest.len() as u64 - length,
            }),
            std::cmp::Ordering::Equal => Ok(rest),
        }
    }

    fn truncated(&self, expected: usize) -> FheadError {
        FheadError::Truncated {
            expected: expected as u64,
            got: self.bytes.len() as u64,
        }
    }
}
