//! Where backbones are: built into the binary, in a folder named outright, or on the search path. Those of windows are formulas, and
//! there for every number of channels.
//!
//! Owns: turning a name or a folder into a checked card and the bytes of its model. Does not own: running it.

use super::card::{Card, MAX_CARD_BYTES, MAX_MODEL_BYTES};
use super::{BackboneError, hex, window};
use crate::preprocess::Modality;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The backbone inside the binary: one file, copied anywhere, works.
pub const DEFAULT: &str = "efficientnet-lite0-int8";
const SOUND: &str = "speech-embedding-int8";

/// The networks inside the binary: name, card and model. A package has that of sound in a folder.
const BUILT_IN: &[(&str, &str, &[u8])] = &[
    (
        DEFAULT,
        include_str!("../../models/efficientnet-lite0-int8/card.toml"),
        include_bytes!("../../models/efficientnet-lite0-int8/model.onnx"),
    ),
    #[cfg(feature = "built-in-sound")]
    (
        SOUND,
        include_str!("../../models/speech-embedding-int8/card.toml"),
        include_bytes!("../../models/speech-embedding-int8/model.onnx"),
    ),
];

/// A backbone that was found: its checked card, and where it is.
#[derive(Clone, Debug)]
pub struct Found {
    pub card: Card,
    /// `None` for one in the binary.
    pub folder: Option<PathBuf>,
}

impl Found {
    /// Reads the model and checks it against the card's length and SHA-256.
    pub fn read_model(&self) -> Result<Cow<'static, [u8]>, BackboneError> {
        let bytes: Cow<'static, [u8]> = match &self.folder {
            None => {
                let own = BUILT_IN.iter().find(|(name, ..)| *name == self.card.name);
                Cow::Borrowed(own.map_or(&[][..], |(.., model)| model))
            }
            Some(folder) => {
                let path = folder.join(&self.card.file);
                Cow::Owned(read_bounded(&path, MAX_MODEL_BYTES)?)
            }
        };
        let got: [u8; 32] = Sha256::digest(&bytes).into();
        if got != self.card.sha256 {
            return Err(BackboneError::ModelHash {
                name: self.card.name.clone(),
                expected: hex(&self.card.sha256),
                got: hex(&got),
            });
        }
        Ok(bytes)
    }
}

/// Finds a backbone by folder (a text with a path separator, or `.`), or by name: in the binary, then along `search`.
pub fn find(name_or_dir: &str, search: &[PathBuf]) -> Result<Found, BackboneError> {
    if name_or_dir.contains('/') || name_or_dir.starts_with('.') {
        return open(Path::new(name_or_dir));
    }
    if let Some(own) = built_in(name_or_dir) {
        return own;
    }
    if let Some(channels) = window::channels_of(name_or_dir) {
        return Ok(of_windows(channels));
    }
    let folder = search
        .iter()
        .map(|root| root.join(name_or_dir))
        .find(|folder| folder.join("card.toml").is_file());
    match folder {
        Some(folder) => open(&folder),
        None => Err(BackboneError::NotFound {
            name: name_or_dir.into(),
            searched: search
                .iter()
                .map(|p| p.display().to_string())
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

/// Every backbone that can be found, the built-in ones first, then by name. Folders with a bad card are left out, and of those of
/// windows all but the first.
pub fn installed(search: &[PathBuf]) -> Vec<Found> {
    let own = BUILT_IN.iter().flat_map(|(name, ..)| built_in(name)?.ok());
    let mut found: Vec<Found> = own.chain([of_windows(1)]).collect();
    for root in search {
        let Ok(entries) = fs::read_dir(root) else {
            continue;
        };
        let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        folders.sort();
        for folder in folders {
            if let Ok(one) = open(&folder)
                && !found.iter().any(|known| known.card.name == one.card.name)
            {
                found.push(one);
            }
        }
    }
    found
}

/// A network inside the binary.
fn built_in(name: &str) -> Option<Result<Found, BackboneError>> {
    let (_, card, _) = BUILT_IN.iter().find(|(own, ..)| *own == name)?;
    Some(Card::parse(card).map(|card| Found { card, folder: None }))
}

/// The name of the backbone that takes such files where none is asked for.
pub fn usual_for(modality: Modality) -> String {
    match modality {
        Modality::Picture => DEFAULT.into(),
        Modality::Sound => SOUND.into(),
        Modality::Window { channels } => of_windows(channels).card.name,
    }
}

fn of_windows(channels: usize) -> Found {
    Found {
        card: window::card(channels),
        folder: None,
    }
}

fn open(folder: &Path) -> Result<Found, BackboneError> {
    let bytes = read_bounded(&folder.join("card.toml"), MAX_CARD_BYTES as u64)?;
    let text = String::from_utf8(bytes).map_err(|_| BackboneError::Card {
        what: "it is not UTF-8 text".into(),
    })?;
    Ok(Found {
        card: Card::parse(&text)?,
        folder: Some(folder.to_path_buf()),
    })
}

fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, BackboneError> {
    let io = |source| BackboneError::Read {
        path: path.to_path_buf(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(BackboneError::TooLarge {
            path: path.to_path_buf(),
            limit,
        });
    }
    Ok(bytes)
}
