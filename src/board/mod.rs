//! Boards: which one this is, what it has, and what it has to keep to.
//!
//! Owns: the profiles of `boards/*.toml` (built into the program; a folder may replace or add some), telling from the device tree
//! which one fits, and checking a board against its profile ([`check`]). Does not own: reading cameras (`source`) or what hangs on
//! the header (`device`).
//!
//! Invariant: a [`Profile`] was checked; an error of one names the file, the key, what was expected and what came.

pub mod check;
mod profile;
mod reader;
#[cfg(test)]
mod tests;

pub use profile::{Budget, Bus, Camera, Cpu, Gpio, Pin, Profile};

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The profiles in the program.
const BUILT_IN: [(&str, &str); 8] = [
    (
        "boards/raspberry-pi-zero-2w.toml",
        include_str!("../../boards/raspberry-pi-zero-2w.toml"),
    ),
    (
        "boards/raspberry-pi-3.toml",
        include_str!("../../boards/raspberry-pi-3.toml"),
    ),
    (
        "boards/raspberry-pi-4.toml",
        include_str!("../../boards/raspberry-pi-4.toml"),
    ),
    (
        "boards/raspberry-pi-5.toml",
        include_str!("../../boards/raspberry-pi-5.toml"),
    ),
    (
        "boards/jetson-nano.toml",
        include_str!("../../boards/jetson-nano.toml"),
    ),
    (
        "boards/jetson-orin-nano.toml",
        include_str!("../../boards/jetson-orin-nano.toml"),
    ),
    (
        "boards/generic-aarch64.toml",
        include_str!("../../boards/generic-aarch64.toml"),
    ),
    ("boards/host.toml", include_str!("../../boards/host.toml")),
];

/// Taken when no profile names what the device tree says.
const ANY_ARM: &str = "generic-aarch64";
const ANY: &str = "host";

/// The longest profile read; the longest of those in `boards/` has 4 KB.
const MAX_BYTES: u64 = 64 * 1024;
/// The longest list of names in a device tree's root that is read; those of the boards here have under 100 bytes.
const MAX_TREE_BYTES: u64 = 64 * 1024;
/// The most profiles a folder may hold.
const MAX_PROFILES: usize = 1_000;

/// What can be wrong with a profile, or with the choice of one.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    #[error("cannot read {path}: {source}; check the path and its permissions", path = path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} has more than {limit} bytes; is this a board profile?", path = path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("{file} is not TOML: line {line}: {what}; correct the file")]
    Syntax {
        file: String,
        line: usize,
        what: String,
    },
    #[error("{file}: {key}: expected {expected}, got {got}; correct the file")]
    Value {
        file: String,
        key: String,
        expected: String,
        got: String,
    },
    #[error(
        "there is no board '{name}'; expected a file, or one of {known} (`fieldhead board list`)"
    )]
    NoBoard { name: String, known: String },
    #[error("the board {board} has no pin '{pin}'; expected one of {known}")]
    NoPin {
        board: String,
        pin: String,
        known: String,
    },
}

/// A profile and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub profile: Profile,
    /// `None` for one in the program.
    pub path: Option<PathBuf>,
}

/// All profiles: those of the folders, then those in the program that no folder replaces by name.
///
/// # Errors
/// Any file `*.toml` in a folder that is no profile. A folder that is not there holds none.
pub fn all(folders: &[PathBuf]) -> Result<Vec<Found>, BoardError> {
    let mut found: Vec<Found> = Vec::new();
    for folder in folders {
        for path in files(folder)? {
            add(&mut found, open(&path)?);
        }
    }
    for (file, text) in BUILT_IN {
        let profile = Profile::parse(file, text)?;
        add(
            &mut found,
            Found {
                profile,
                path: None,
            },
        );
    }
    Ok(found)
}

/// The profile that a text names: a file where it holds a `/` or ends in `.toml`, else a name.
pub fn find(name_or_file: &str, folders: &[PathBuf]) -> Result<Found, BoardError> {
    if name_or_file.contains('/') || name_or_file.ends_with(".toml") {
        return open(Path::new(name_or_file));
    }
    let all = all(folders)?;
    let known: Vec<String> = all.iter().map(|found| found.profile.name.clone()).collect();
    let named = all.into_iter().find(|it| it.profile.name == name_or_file);
    named.ok_or_else(|| BoardError::NoBoard {
        name: name_or_file.into(),
        known: known.join(", "),
    })
}

/// The profile of the board whose file system is `root`; `arch` is the processor's name as in [`std::env::consts::ARCH`].
///
/// Names in a device tree come from the most particular to the most general, and the first that a profile has decides. Without a
/// device tree, as on a PC, it is `generic-aarch64` or `host`.
pub fn detect(root: &Path, arch: &str, folders: &[PathBuf]) -> Result<Found, BoardError> {
    let all = all(folders)?;
    let names = compatible(root)?;
    let fitting = names.iter().find_map(|name| {
        all.iter()
            .find(|found| found.profile.compatible.contains(name))
    });
    match fitting {
        Some(found) => Ok(found.clone()),
        None if arch == "aarch64" => find(ANY_ARM, folders),
        None => find(ANY, folders),
    }
}

/// The names in the root of the device tree (Devicetree Specification 0.4, 2.3.1), ended by NUL each; none without a tree.
pub fn compatible(root: &Path) -> Result<Vec<String>, BoardError> {
    let path = root.join("proc/device-tree/compatible");
    let bytes = match read(&path, MAX_TREE_BYTES) {
        Err(BoardError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        read => read?,
    };
    let names = bytes
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty());
    Ok(names
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect())
}

fn add(all: &mut Vec<Found>, new: Found) {
    if !all.iter().any(|it| it.profile.name == new.profile.name) {
        all.push(new);
    }
}

fn open(path: &Path) -> Result<Found, BoardError> {
    let bytes = read(path, MAX_BYTES)?;
    let file = path.display().to_string();
    let text = String::from_utf8(bytes).map_err(|e| BoardError::Syntax {
        file: file.clone(),
        line: 0,
        what: e.to_string(),
    })?;
    Ok(Found {
        profile: Profile::parse(&file, &text)?,
        path: Some(path.into()),
    })
}

/// The profiles of a folder in order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>, BoardError> {
    let io = |source| BoardError::Read {
        path: folder.into(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io)?,
    };
    let mut paths = Vec::new();
    for entry in entries.take(MAX_PROFILES) {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, BoardError> {
    let io = |source| BoardError::Read {
        path: path.into(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(BoardError::TooLarge {
            path: path.into(),
            limit,
        });
    }
    Ok(bytes)
}
