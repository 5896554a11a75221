//! What can go wrong with a device or a program that gives pictures, sound or windows.

use crate::device::DeviceError;
use crate::preprocess::PreprocessError;
use std::io;

/// An error names the device, what was expected, what came, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    #[error(
        "there is no camera {device}; plug it in, or name another with camera:DEVICE (`fieldhead board check` lists them)"
    )]
    NoDevice { device: String },
    #[error(
        "{device} may not be opened; put the user into the group video (`sudo usermod -aG video $USER`) and log in again"
    )]
    Denied { device: String },
    #[error(
        "{device} is used by another program; stop that (`fuser {device}` names it), or take another camera"
    )]
    Busy { device: String },
    #[error(
        "{device} gives no pictures: {what}; name another (`fieldhead board check` lists them)"
    )]
    NotACamera { device: String, what: String },
    #[error("{device} does not offer {wanted}, it offers {offered}; {cure}")]
    NotOffered {
        device: String,
        wanted: String,
        offered: String,
        cure: &'static str,
    },
    #[error(
        "{device} was asked for {asked} and would give {got}; ask for that, or leave width, height and format to it"
    )]
    Substituted {
        device: String,
        asked: String,
        got: String,
    },
    #[error(
        "the USB bus has no room left for what {device} would send; ask for less with width=, height= or format=mjpeg, or plug it elsewhere"
    )]
    NoBandwidth { device: String },
    #[error("{device} was unplugged; plug it in again")]
    Unplugged { device: String },
    #[error("{name} gave no {what} for {seconds} s; check that it is on, and its cable")]
    Silent {
        name: String,
        what: &'static str,
        seconds: u64,
    },
    #[error("{name} gives frames that are no pictures: {source}")]
    Broken {
        name: String,
        source: PreprocessError,
    },
    #[error(transparent)]
    Sensor(#[from] DeviceError),
    #[error("{name} failed: {source}; `fieldhead board check` may say more")]
    Failed { name: String, source: io::Error },
    #[error("there is no program '{program}'; install it, or give its whole path")]
    NoProgram { program: String },
    #[error("'{program}' may not be run; make it executable (`chmod +x`), or check who may")]
    NotExecutable { program: String },
    #[error("'{program}' ended ({status}){said}; try it by itself in a terminal")]
    Died {
        program: String,
        status: String,
        /// What it wrote on its standard error last, or nothing.
        said: String,
    },
    #[error(
        "'{program}' wrote {bytes} bytes without one whole picture; expected {expected} on its standard output"
    )]
    Flood {
        program: String,
        bytes: usize,
        expected: &'static str,
    },
}
