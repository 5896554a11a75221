//! The doctor: what a board has, what it lacks, and what to do about it.
//!
//! Owns: findings and their cures. Files below `/proc` and `/sys` are read under a root that is passed in; what needs more than
//! reading a file is asked of a [`System`]. Does not own: the benchmark itself (`cli`), only what its figures mean ([`bench()`]).
//!
//! Invariant: what cannot be found out is a finding too, never an error that ends the check.

mod devices;
#[cfg(target_os = "linux")]
mod linux;
mod machine;
mod storage;
#[cfg(test)]
mod tests;

#[cfg(target_os = "linux")]
pub use linux::Linux;
pub use machine::{Bench, bench};

use super::Profile;
use crate::device::DeviceError;
use crate::device::scan::Presence;
use crate::source::LiveError;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The longest file below `/proc` or `/sys` that is read; `/proc/cpuinfo` of 256 cores has some 300 KB.
const MAX_BYTES: u64 = 1 << 20;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Ok,
    /// Something does not work, or will not for long; the rest does.
    Warn,
    /// The job cannot be done, or its data are in danger.
    Fail,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Warn => "warn",
            Severity::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub area: &'static str,
    pub severity: Severity,
    pub found: String,
    /// What to do; none where all is well.
    pub cure: Option<String>,
}

impl Finding {
    fn ok(area: &'static str, found: impl Into<String>) -> Finding {
        Finding {
            area,
            severity: Severity::Ok,
            found: found.into(),
            cure: None,
        }
    }

    fn warn(area: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Warn,
            cure: Some(cure.into()),
            ..Finding::ok(area, found)
        }
    }

    fn fail(area: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Fail,
            ..Finding::warn(area, found, cure)
        }
    }

    /// A finding of an error, whose message says what to do behind its first semicolon.
    fn of_error(area: &'static str, error: &impl std::fmt::Display) -> Finding {
        let text = error.to_string();
        match text.split_once("; ") {
            Some((found, cure)) => Finding::warn(area, found, cure),
            None => Finding::warn(
                area,
                text,
                "try as root, to see whether it is a matter of permissions",
            ),
        }
    }
}

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disk {
    /// Bytes that a program without privileges may still write.
    pub free_bytes: u64,
    pub writable: bool,
}

/// What is asked of the kernel beyond reading files.
pub trait System {
    /// The pixel formats in which a V4L2 device captures.
    fn camera(&mut self, device: &Path) -> Result<Vec<[u8; 4]>, LiveError>;
    /// Who answers on an I²C bus.
    fn scan(&mut self, bus: &str) -> Result<Vec<Presence>, DeviceError>;
    /// Path and label of each GPIO chip.
    fn chips(&mut self) -> Vec<(String, Result<String, DeviceError>)>;
    /// Whether this process may read and write a device.
    fn may_use(&mut self, device: &Path) -> bool;
    /// The file system on which a folder is, or will be.
    fn disk(&mut self, folder: &Path) -> io::Result<Disk>;
    /// Whether a program can be run by its name.
    fn has_program(&mut self, name: &str) -> bool;
}

/// What is checked.
pub struct Subject<'a> {
    pub profile: &'a Profile,
    /// Where `/proc`, `/sys` and `/dev` are.
    pub root: &'a Path,
    /// The processor this program was built for, as in [`std::env::consts::ARCH`].
    pub arch: &'a str,
    /// The folder of the field.
    pub field: &'a Path,
    /// Room that the field's photos may still take.
    pub photo_bytes: u64,
}

/// All findings but those of the benchmark.
pub fn check(subject: &Subject<'_>, system: &mut impl System) -> Vec<Finding> {
    let mut findings = machine::board(subject);
    findings.extend(machine::cpu(subject));
    findings.extend(machine::memory(subject));
    findings.extend(machine::heat(subject.root));
    findings.extend(machine::power(subject.root));
    findings.extend(storage::space(subject, system));
    findings.extend(storage::wear(subject.root));
    findings.extend(devices::cameras(subject, system));
    findings.extend(devices::i2c(subject, system));
    findings.extend(devices::spi(subject, system));
    findings.extend(devices::gpio(subject, system));
    findings
}

/// A small file as text; `None` where it is not there or cannot be read.
fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The entries of a folder whose names begin so, in order of their names.
fn entries(folder: &Path, beginning: &str) -> Vec<std::path::PathBuf> {
    const MOST: usize = 1_000;
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
        .map(|entry| entry.path())
        .take(MOST)
        .collect();
    paths.sort();
    paths
}
