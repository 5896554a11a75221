//! `card.toml`: what a backbone is, where it came from, what goes in and what comes out.
//!
//! Owns: reading and checking a card. Invariant: a checked [`Card`] holds only sizes that are safe to allocate and a file
//! name that cannot leave the backbone's folder.

use super::BackboneError;
use crate::features::{Hash, MAX_WIDTH};
use crate::preprocess::Modality;
use serde::Deserialize;

/// The longest card read. The cards in `models/` have about 4 KiB.
pub const MAX_CARD_BYTES: usize = 256 * 1024;
/// The largest ONNX file read. The installed ones have at most 4 MB; room for an f32 model of 16 M weights.
pub const MAX_MODEL_BYTES: u64 = 64 << 20;
/// Sides of the network's input picture, in pixels.
const INPUT_SIDE: std::ops::RangeInclusive<u32> = 8..=1024;
const MAX_OUTPUTS: usize = 64;

#[derive(Clone, Debug, Deserialize)]
struct RawCard {
    format: u32,
    name: String,
    #[serde(default)]
    description: String,
    modality: String,
    #[serde(default)]
    licence: String,
    #[serde(default)]
    trained_on: String,
    published_top1: Option<f64>,
    model: RawModel,
    input: Input,
    output: Vec<Output>,
    #[serde(default)]
    cut: Vec<Cut>,
    golden: Option<Golden>,
}

#[derive(Clone, Debug, Deserialize)]
struct RawModel {
    file: String,
    sha256: String,
    bytes: u64,
    macs: u64,
}

/// The network's input: one RGB picture, uint8, `[1, 3, height, width]`. Of a backbone of windows, which is no network, `height` is the
/// number of channels, and `width` is 0.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Input {
    pub name: String,
    pub width: u32,
    pub height: u32,
    pub channels: u32,
    /// The level the network's own padding has; bars of a letterbox take it too.
    pub pad_value: u8,
}

/// One output: a pooled activation of `width` numbers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Output {
    pub name: String,
    pub width: usize,
}

/// A tensor at which the network can be cut and its tail trained.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Cut {
    pub name: String,
    pub channels: u32,
    pub height: u32,
    pub width: u32,
}

/// A picture and the features it must give.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Golden {
    pub picture: String,
    pub features: String,
}

/// A checked card.
#[derive(Clone, Debug)]
pub struct Card {
    pub name: String,
    pub description: String,
    pub licence: String,
    pub trained_on: String,
    /// Top-1 accuracy its authors published for the network it was made from, 0 to 1.
    pub published_top1: Option<f64>,
    pub modality: Modality,
    /// File name of the ONNX model inside the backbone's folder.
    pub file: String,
    pub sha256: Hash,
    pub model_bytes: u64,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
    pub input: Input,
    /// The final output first, then the taps.
    pub outputs: Vec<Output>,
    pub cuts: Vec<Cut>,
    pub golden: Option<Golden>,
}

impl Card {
    /// Reads and checks the text of a card.
    ///
    /// # Errors
    /// [`BackboneError::Card`] names the key, what was expected and what came.
    pub fn parse(text: &str) -> Result<Card, BackboneError> {
        let bad = |what: String| BackboneError::Card { what };
        if text.len() > MAX_CARD_BYTES {
            return Err(bad(format!(
                "it has {} bytes, at most {MAX_CARD_BYTES} are read",
                text.len()
            )));
        }
        let raw: RawCard = toml::from_str(text).map_err(|e| bad(e.to_string().trim().into()))?;
        if raw.format != 1 {
            return Err(bad(format!(
                "format is {}, this version reads 1",
                raw.format
            )));
        }
        let modality = match raw.modality.as_str() {
            "image" => Modality::Picture,
            "sound" => Modality::Sound,
            other => {
                let what = format!("modality is '{other}', this version reads image and sound");
                return Err(bad(what));
            }
        };
        crate::label::check(&raw.name).map_err(|e| bad(format!("name: {e}")))?;
        check_file_name("model.file", &raw.model.file)?;
        if let Some(golden) = &raw.golden {
            check_file_name("golden.picture", &golden.picture)?;
            check_file_name("golden.features", &golden.features)?;
        }
        if raw.model.bytes > MAX_MODEL_BYTES {
            return Err(bad(format!(
                "model.bytes is {}, at most {MAX_MODEL_BYTES}",
                raw.model.bytes
            )));
        }
        check_input(&raw.input)?;
        check_outputs(&raw.output)?;
        Ok(Card {
            sha256: parse_hash(&raw.model.sha256)
                .ok_or_else(|| bad("model.sha256 is not 64 hexadecimal digits".into()))?,
            name: raw.name,
            description: raw.description,
            licence: raw.licence,
            trained_on: raw.trained_on,
            published_top1: raw.published_top1,
            modality,
            file: raw.model.file,
            model_bytes: raw.model.bytes,
            macs: raw.model.macs,
            input: raw.input,
            outputs: raw.output,
            cuts: raw.cut,
            golden: raw.golden,
        })
    }
}

fn check_file_name(key: &str, name: &str) -> Result<(), BackboneError> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    plain.then_some(()).ok_or_else(|| BackboneError::Card {
        what: format!("{key} is {name:?}, expected a plain file name inside the folder"),
    })
}

fn check_input(input: &Input) -> Result<(), BackboneError> {
    let fits = INPUT_SIDE.contains(&input.width)
        && INPUT_SIDE.contains(&input.height)
        && input.channels == 3;
    fits.then_some(()).ok_or_else(|| BackboneError::Card {
        what: format!(
            "input is {}x{} with {} channels, expected sides of {} to {} and 3 channels",
            input.width,
            input.height,
            input.channels,
            INPUT_SIDE.start(),
            INPUT_SIDE.end()
        ),
    })
}

fn check_outputs(outputs: &[Output]) -> Result<(), BackboneError> {
    let total = outputs
        .iter()
        .fold(0usize, |sum, o| sum.saturating_add(o.width));
    let fits = (1..=MAX_OUTPUTS).contains(&outputs.len())
        && outputs.iter().all(|o| o.width > 0 && !o.name.is_empty())
        && total <= MAX_WIDTH;
    fits.then_some(()).ok_or_else(|| BackboneError::Card {
        what: format!(
            "{} outputs of {total} numbers in all, expected 1 to {MAX_OUTPUTS} outputs, each named and not empty, and at most {MAX_WIDTH} numbers",
            outputs.len()
        ),
    })
}

fn parse_hash(text: &str) -> Option<Hash> {
    let mut hash = [0u8; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card_with(file: &str, width: &str, sha: &str) -> String {
        format!(
            "format = 1\nname = \"x\"\nmodality = \"image\"\n[model]\nfile = \"{file}\"\nsha256 = \"{sha}\"\nbytes = 10\nmacs = 5\n\
             [input]\nname = \"image\"\nwidth = 64\nheight = 64\nchannels = 3\npad_value = 116\n[[output]]\nname = \"features\"\nwidth = {width}\n"
        )
    }

    #[test]
    fn a_plain_card_is_read() {
        let card = Card::parse(&card_with("model.onnx", "64", &"ab".repeat(32))).unwrap();
        assert_eq!(card.sha256, [0xab; 32]);
        assert_eq!(card.outputs[0].width, 64);
    }

    #[test]
    fn a_card_cannot_name_a_file_outside_its_folder() {
        for file in ["../model.onnx", "/etc/passwd", "a/b.onnx", "", ".."] {
            let error = Card::parse(&card_with(file, "64", &"ab".repeat(32))).unwrap_err();
            assert!(error.to_string().contains("model.file"), "{file}");
        }
    }

    #[test]
    fn absurd_widths_and_hashes_are_refused() {
        assert!(Card::parse(&card_with("m.onnx", "0", &"ab".repeat(32))).is_err());
        assert!(Card::parse(&card_with("m.onnx", "9999999999", &"ab".repeat(32))).is_err());
        assert!(Card::parse(&card_with("m.onnx", "64", "abc")).is_err());
        assert!(Card::parse(&card_with("m.onnx", "64", &"+1".repeat(32))).is_err());
    }
}
