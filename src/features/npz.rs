//! Features as numpy reads and writes them: an `.npz` file.
//!
//! Owns: the layout. It is an uncompressed zip of `.npy` files of format 1.0 (NumPy enhancement proposal 1): `features` f32 `[N, D]`,
//! `labels` i64 `[N]` (index into `label_names`), `label_names` fixed-width Unicode `[C]` and, where they are known, `bursts` i64 `[N]`:
//! rows of one capture burst carry the same number. Does not own: files (`source`), or what the numbers mean.
//!
//! Invariant: reading takes no more memory than a few times the file's own length, whatever its headers say.

use super::MAX_WIDTH;
use crate::label::{self, LabelError};
use std::io::{Cursor, Read, Write};
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// The largest file that is read, in bytes: 200,000 vectors of 1,280 numbers.
pub const MAX_BYTES: u64 = 1 << 30;
const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";

/// Labelled feature vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Numbers in a row, D.
    pub width: usize,
    /// `[N, D]`, row by row.
    pub rows: Vec<f32>,
    /// `[N]`, indices into `names`.
    pub labels: Vec<u32>,
    /// `[C]`.
    pub names: Vec<String>,
    /// `[N]`.
    pub bursts: Option<Vec<u64>>,
}

/// Why a file holds no features.
#[derive(Debug, thiserror::Error)]
pub enum NpzError {
    #[error(
        "it is not a readable .npz file ({0}); write it with `fieldhead features` or numpy.savez"
    )]
    Zip(#[from] ZipError),
    #[error("it holds no array '{name}', expected features, labels and label_names")]
    Missing { name: &'static str },
    #[error(
        "the array '{name}' is compressed; write it with numpy.savez, which stores arrays as they are"
    )]
    Compressed { name: &'static str },
    #[error("the array '{name}' {what}")]
    Array { name: &'static str, what: String },
    #[error(transparent)]
    Label(#[from] LabelError),
}

/// Features and labels as the bytes of a file.
///
/// # Errors
/// The zip format holds no array as large as this one.
pub fn encode(table: &Table) -> Result<Vec<u8>, NpzError> {
    let n = table.labels.len();
    let lengths = table.names.iter().map(|name| name.chars().count());
    let longest = lengths.max().unwrap_or(0).max(1);
    let padded = table.names.iter().flat_map(|name| {
        let codes = name.chars().map(u32::from).chain(std::iter::repeat(0));
        codes.take(longest).flat_map(u32::to_le_bytes)
    });
    let features = table.rows.iter().flat_map(|x| x.to_le_bytes());
    let labels = table.labels.iter().map(|&label| i64::from(label));
    let mut arrays = vec![
        (
            "features",
            npy("<f4", &format!("{n}, {}", table.width), features),
        ),
        (
            "labels",
            npy("<i8", &format!("{n},"), labels.flat_map(i64::to_le_bytes)),
        ),
        (
            "label_names",
            npy(
                &format!("<U{longest}"),
                &format!("{},", table.names.len()),
                padded,
            ),
        ),
    ];
    if let Some(bursts) = &table.bursts {
        let bytes = bursts.iter().flat_map(|burst| burst.to_le_bytes());
        arrays.push(("bursts", npy("<i8", &format!("{n},"), bytes)));
    }
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        zip.start_file(format!("{name}.npy"), stored)?;
        zip.write_all(&bytes).map_err(ZipError::Io)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// One array: magic, version 1.0, header padded so that the data begins at a multiple of 64, data.
fn npy(descr: &str, shape: &str, data: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let unpadded = MAGIC.len() + 2 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// Features and labels from the bytes of a file.
///
/// # Errors
/// Names the array and what is wrong with it: missing, compressed, of another type or shape than the layout has, shorter than its
/// header says, or holding a number that is not finite or a label that is no name's.
pub fn decode(bytes: &[u8]) -> Result<Table, NpzError> {
    let mut zip = ZipArchive::new(Cursor::new(bytes))?;
    let [features, labels, names] = ["features", "labels", "label_names"]
        .map(|name| Array::read(&mut zip, name)?.ok_or(NpzError::Missing { name }));
    let (features, labels, names) = (features?, labels?, names?);
    let [n, width] = features.shape("<f4")?;
    if n == 0 || !(1..=MAX_WIDTH).contains(&width) {
        let what =
            format!("has {n} rows of {width}, expected at least one row of 1 to {MAX_WIDTH}");
        return Err(features.wrong(what));
    }
    let rows: Vec<f32> = features.numbers(f32::from_le_bytes)?;
    if let Some(at) = rows.iter().position(|x| !x.is_finite()) {
        let (row, value) = (at / width, rows[at]);
        return Err(features.wrong(format!("has {value} in row {row}, expected finite numbers")));
    }
    let names = names.texts()?;
    for name in &names {
        label::check(name)?;
    }
    let labels = labels.of_rows(n)?.into_iter().map(|label| {
        let known = u32::try_from(label)
            .ok()
            .filter(|&l| (l as usize) < names.len());
        known.ok_or_else(|| {
            labels.wrong(format!(
                "holds {label}, and there are {} names",
                names.len()
            ))
        })
    });
    let labels = labels.collect::<Result<_, _>>()?;
    let bursts = Array::read(&mut zip, "bursts")?
        .map(|bursts| bursts.of_rows(n))
        .transpose()?
        .map(|numbers| numbers.into_iter().map(i64::cast_unsigned).collect());
    Ok(Table {
        width,
        rows,
        labels,
        names,
        bursts,
    })
}

/// An array as it stands in the file.
struct Array {
    name: &'static str,
    descr: String,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Array {
    /// `None` where the file has no such array. What is read is there: a stored array is no longer than the file.
    fn read(
        zip: &mut ZipArchive<Cursor<&[u8]>>,
        name: &'static str,
    ) -> Result<Option<Array>, NpzError> {
        let mut entry = match zip.by_name(&format!("{name}.npy")) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(ZipError::CompressionMethodNotSupported(_)) => {
                return Err(NpzError::Compressed { name });
            }
            Err(other) => return Err(other.into()),
        };
        if entry.compression() != CompressionMethod::Stored {
            return Err(NpzError::Compressed { name });
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(ZipError::Io)?;
        let wrong = |what: &str| NpzError::Array {
            name,
            what: what.into(),
        };
        let (header, data) = split(&bytes)
            .ok_or_else(|| wrong("does not begin as .npy format 1.0 does, or is cut off"))?;
        let parsed = parse(header).ok_or_else(|| wrong("has a header that cannot be read"))?;
        let (descr, fortran_order, shape) = parsed;
        if fortran_order {
            return Err(wrong(
                "is in column order; write it with numpy.ascontiguousarray",
            ));
        }
        let data = data.to_vec();
        Ok(Some(Array {
            name,
            descr,
            shape,
            data,
        }))
    }

    fn wrong(&self, what: String) -> NpzError {
        NpzError::Array {
            name: self.name,
            what,
        }
    }

    /// The shape, of as many dimensions as asked for, when the elements are of the type asked for.
    fn shape<const DIMENSIONS: usize>(&self, descr: &str) -> Result<[usize; DIMENSIONS], NpzError> {
        if self.descr != descr {
            return Err(self.wrong(format!(
                "is of type '{}', expected '{descr}'; convert it with .astype('{descr}')",
                self.descr
            )));
        }
        let shape: &[usize] = &self.shape;
        shape.try_into().map_err(|_| {
            self.wrong(format!(
                "has {} dimensions, expected {DIMENSIONS}",
                shape.len()
            ))
        })
    }

    /// All elements, when there are as many as the shape says.
    fn numbers<T, const BYTES: usize>(
        &self,
        read: fn([u8; BYTES]) -> T,
    ) -> Result<Vec<T>, NpzError> {
        let expected = self
            .shape
            .iter()
            .try_fold(BYTES, |product, &n| product.checked_mul(n));
        let (elements, rest) = self.data.as_chunks::<BYTES>();
        if expected != Some(self.data.len()) || !rest.is_empty() {
            let (got, shape) = (self.data.len(), &self.shape);
            return Err(self.wrong(format!(
                "has {got} bytes, which are not those of its shape {shape:?}"
            )));
        }
        Ok(elements.iter().map(|&bytes| read(bytes)).collect())
    }

    /// One whole number a row.
    fn of_rows(&self, n: usize) -> Result<Vec<i64>, NpzError> {
        match self.shape("<i8")? {
            [rows] if rows == n => self.numbers(i64::from_le_bytes),
            [rows] => Err(self.wrong(format!(
                "has {rows} numbers, expected one for each of {n} rows"
            ))),
        }
    }

    /// Fixed-width Unicode, without the padding.
    fn texts(mut self) -> Result<Vec<String>, NpzError> {
        let width = self
            .descr
            .strip_prefix("<U")
            .and_then(|digits| digits.parse().ok());
        let Some(width @ 1..) = width else {
            return Err(self.wrong(format!(
                "is of type '{}', expected text such as '<U9'",
                self.descr
            )));
        };
        let [_] = self.shape(&self.descr)?;
        self.shape.push(width);
        let codes: Vec<u32> = self.numbers(u32::from_le_bytes)?;
        let text = |codes: &[u32]| -> Option<String> {
            let last = codes.iter().rposition(|&code| code != 0)?;
            codes[..=last]
                .iter()
                .map(|&code| char::from_u32(code))
                .collect()
        };
        let texts = codes.chunks_exact(width).map(text);
        let texts = texts.collect::<Option<Vec<String>>>();
        texts.ok_or_else(|| self.wrong("holds an empty name, or one that is not Unicode".into()))
    }
}

/// Header and data behind the magic.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<2>()?;
    let (header, data) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// Element type, column order, and shape from the header's Python literal.
fn parse(header: &str) -> Option<(String, bool, Vec<usize>)> {
    let after = |key: &str| {
        let (_, value) = header.split_once(key)?;
        Some(value.trim_start().strip_prefix(':')?.trim_start())
    };
    let (descr, _) = after("'descr'")?.strip_prefix('\'')?.split_once('\'')?;
    let fortran_order = after("'fortran_order'")?.starts_with("True");
    let (shape, _) = after("'shape'")?.strip_prefix('(')?.split_once(')')?;
    let numbers = shape
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty());
    let shape = numbers
        .map(|text| text.parse().ok())
        .collect::<Option<_>>()?;
    Some((descr.to_owned(), fortran_order, shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            width: 2,
            rows: vec![1.0, 2.0, 3.0, 4.0, 5.0, -6.5],
            labels: vec![1, 0, 1],
            names: vec!["gear".into(), "Mutter ü".into()],
            bursts: Some(vec![7, 7, 9]),
        }
    }

    fn refused(bytes: &[u8], part: &str) {
        let error = decode(bytes).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }

    /// The bytes with one text inside them exchanged for another of the same length.
    fn with(old: &[u8], new: &[u8]) -> Vec<u8> {
        assert_eq!(old.len(), new.len());
        let bytes = encode(&table()).unwrap();
        // The checksum is found wrong only at the end of the entry, so that what is said is about the checksum or about the text.
        let at = bytes
            .windows(old.len())
            .position(|part| part == old)
            .unwrap();
        [&bytes[..at], new, &bytes[at + old.len()..]].concat()
    }

    /// An archive of these arrays.
    fn archive(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in arrays {
            let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
            zip.start_file(format!("{name}.npy"), stored).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    /// A file whose array of features has this type and shape, over the bytes of `data`.
    fn features(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let text = "a".chars().flat_map(|c| u32::from(c).to_le_bytes());
        archive(&[
            ("features", npy(descr, shape, data.iter().copied())),
            ("labels", npy("<i8", "1,", 0i64.to_le_bytes().into_iter())),
            ("label_names", npy("<U1", "1,", text)),
        ])
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(decode(&encode(&table()).unwrap()).unwrap(), table());
        let none = Table {
            bursts: None,
            ..table()
        };
        assert_eq!(decode(&encode(&none).unwrap()).unwrap(), none);
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = encode(&table()).unwrap();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
        refused(&with(b"'<f4'", b"'<f5'"), "checksum");
    }

    #[test]
    fn shapes_that_the_file_cannot_hold_are_refused_before_anything_is_taken() {
        let one = 1.0f32.to_le_bytes();
        assert!(decode(&features("<f4", "1, 1", &one)).is_ok());
        for shape in [
            "999999999999, 1280",
            "18446744073709551615, 2",
            "2, 1",
            "1, 2",
        ] {
            refused(&features("<f4", shape, &one), "not those of its shape");
        }
        refused(&features("<f4", "99999999999999999999, 2", &one), "header");
        refused(&features("<f4", "1, 70000", &one), "1 to 65536");
        refused(&features("<f4", "0, 3", &[]), "at least one row");
        refused(&features("<f4", "1,", &one), "1 dimensions, expected 2");
        refused(&features("<f8", "1, 1", &[0; 8]), "'<f8', expected '<f4'");
        refused(
            &features("<f4", "1, 1", &f32::NAN.to_le_bytes()),
            "NaN in row 0",
        );
    }

    #[test]
    fn what_is_missing_or_does_not_fit_is_named() {
        refused(b"PK", "not a readable .npz");
        refused(&archive(&[]), "no array 'features'");
        let whole = [("features", npy("<f4", "1, 1", [0; 4].into_iter()))];
        refused(&archive(&whole), "no array 'labels'");
        let damaged = [("features", b"\x93NUMPY\x02\x00".to_vec())];
        refused(&archive(&damaged), "format 1.0");
        let labels = Table {
            labels: vec![0, 2, 0],
            ..table()
        };
        refused(&encode(&labels).unwrap(), "holds 2, and there are 2 names");
        let names = Table {
            names: vec!["a/b".into(), "b".into()],
            ..table()
        };
        refused(&encode(&names).unwrap(), "'/'");
        let empty = Table {
            names: vec![String::new(), "b".into()],
            ..table()
        };
        refused(&encode(&empty).unwrap(), "empty name");
        let bursts = Table {
            bursts: Some(vec![1]),
            ..table()
        };
        refused(&encode(&bursts).unwrap(), "'bursts' has 8 bytes");
    }
}
