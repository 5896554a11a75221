//! Sources: where pictures, sound and windows of sensors come from.
//!
//! Owns: reading pictures from files and folders ([`folder`]), from cameras ([`camera`]) and other programs ([`command`]), and drawing
//! them ([`mod@line`]); what gives frames one after the other stands behind one seam ([`Source`]). Programs that write sound give
//! windows of it ([`sound`]), and are listened to ([`level`]); sensors on the header give windows too ([`mod@sensor`]). Does not own: decoding or fitting pictures (`preprocess`).
//!
//! Invariant: a source is bounded in memory: one picture at a time (two of a device: one waits, one is being read), and none larger
//! than [`crate::preprocess::MAX_ENCODED_BYTES`] or [`crate::preprocess::MAX_PIXELS`]; of sound, one window of those that [`sound`]
//! allows.

pub mod camera;
pub mod command;
mod fault;
pub mod folder;
pub mod level;
pub mod line;
mod live;
mod mjpeg;
mod parse;
mod program;
pub mod sensor;
mod simulated;
pub mod sound;
#[cfg(test)]
mod tests;
#[cfg(target_os = "linux")]
pub mod v4l2;

pub use fault::LiveError;
pub use parse::parse;
pub use simulated::LineSource;

use crate::preprocess::{Image, Modality};
use camera::CameraSpec;
use command::{Command, CommandSpec, Frames};
use live::{Live, PATIENCE};
use sensor::{SensorFeed, SensorSource};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Monotonic time in µs, from any beginning: only the command line reads a clock, and lends it.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What can go wrong with a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot read {path}: {source}; check the path and its permissions", path = path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is not a folder of classes; expected DIR/<label>/<file>; files of one class are collected with `fieldhead collect --label NAME --source 'file:{path}'`", path = path.display())]
    NotAFolder { path: PathBuf },
    #[error("{path} holds no samples; expected DIR/<label>/<file>, such as <photo.jpg>", path = path.display())]
    Empty { path: PathBuf },
    #[error("{path} holds no files; put some there, or name another", path = path.display())]
    NoFiles { path: PathBuf },
    #[error("{path} is a pipe, a socket or a device, and only files are read; name one", path = path.display())]
    NotAFile { path: PathBuf },
    #[error("{path} has {bytes} bytes, at most {limit} are read; is this the right file?", path = path.display())]
    TooLarge {
        path: PathBuf,
        bytes: u64,
        limit: u64,
    },
    #[error(
        "the source '{text}' is not known: {what}; use file:PATH, camera[:DEVICE], command:PROGRAM …, i2c:BUS:ADDRESS,kind=… or line:SEED"
    )]
    Unknown { text: String, what: String },
    #[error(
        "'{text}' gives pictures, not sound; see them with `fieldhead predict --source`, or name a program that writes samples: command,format=s16le,rate=16000:PROGRAM …"
    )]
    NoSound { text: String },
    #[error(transparent)]
    Live(#[from] LiveError),
}

/// What came: a file, or a picture.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A JPEG, PNG or WAV file, or a window.
    Encoded(Vec<u8>),
    Decoded(Image),
}

/// One picture, or window of sound, from a source.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Counts from 0; a gap means that frames were dropped.
    pub seq: u64,
    /// Monotonic time since the source was opened, in µs.
    pub time_us: u64,
    /// What to call it: the source and its number.
    pub name: String,
    pub payload: Payload,
}

/// Something that gives pictures one after the other; `None` when a recording ends.
pub trait Source {
    fn next(&mut self) -> Result<Option<Frame>, SourceError>;
}

/// What the text of a source names.
pub enum Spec {
    /// A file, or a folder of files.
    Files(PathBuf),
    Camera(CameraSpec),
    Command(CommandSpec),
    Sensor(SensorSource),
    Line(Box<LineSource>),
}

/// A source that was opened.
pub enum Opened {
    /// The one file, or the files of the folder in order of their names; at least one. Each can be read or not by itself.
    Files(Vec<PathBuf>),
    /// Frames that have nothing to do with each other.
    Frames(Box<dyn Source>),
    /// Frames of a device, one shortly after the other: a burst.
    Live(Box<dyn Source>),
}

/// What a source gives; files may be of any kind.
pub fn gives(text: &str) -> Result<Option<Modality>, SourceError> {
    Ok(match parse(text)? {
        Spec::Files(_) => None,
        Spec::Command(spec) if matches!(spec.frames, Frames::Sound(_)) => Some(Modality::Sound),
        Spec::Sensor(sensor) => Some(Modality::Window {
            channels: sensor.spec.chip.channels(),
        }),
        Spec::Camera(_) | Spec::Command(_) | Spec::Line(_) => Some(Modality::Picture),
    })
}

/// Opens the source that a text names. A device is opened by whoever asks for its first frame.
pub fn open(text: &str, clock: &Clock) -> Result<Opened, SourceError> {
    match parse(text)? {
        Spec::Files(path) => {
            let files = folder::list(&path)?;
            if files.is_empty() {
                return Err(SourceError::NoFiles { path });
            }
            Ok(Opened::Files(files))
        }
        Spec::Line(line) => Ok(Opened::Frames(line)),
        Spec::Camera(spec) => Ok(Opened::Live(open_camera(spec, clock)?)),
        Spec::Sensor(sensor) => Ok(Opened::Live(open_sensor(&sensor, clock)?)),
        Spec::Command(spec) => {
            let name = format!("command:{}", spec.program());
            let live = Live::start(name, Command::new(spec), clock.clone(), PATIENCE)?;
            Ok(Opened::Live(Box::new(live)))
        }
    }
}

#[cfg(target_os = "linux")]
fn open_sensor(sensor: &SensorSource, clock: &Clock) -> Result<Box<dyn Source>, SourceError> {
    let spec = sensor.spec.clone();
    let name = format!("i2c:{}:{:#04x}", spec.bus, spec.address);
    let open = move || spec.start(crate::device::linux::open_bus(&spec.bus)?);
    let patience = PATIENCE + Duration::from_millis(sensor.window_ms());
    let feed = SensorFeed::new(sensor, open);
    Ok(Box::new(Live::start(name, feed, clock.clone(), patience)?))
}

#[cfg(not(target_os = "linux"))]
fn open_sensor(sensor: &SensorSource, _: &Clock) -> Result<Box<dyn Source>, SourceError> {
    Err(SourceError::Live(LiveError::Sensor(
        crate::device::DeviceError::Missing {
            device: sensor.spec.bus.clone(),
            cure: "sensors are read on Linux".into(),
        },
    )))
}

#[cfg(target_os = "linux")]
fn open_camera(spec: CameraSpec, clock: &Clock) -> Result<Box<dyn Source>, SourceError> {
    let name = format!("camera:{}", spec.device.display());
    let camera = camera::Camera::new(v4l2::V4l2::default(), spec);
    Ok(Box::new(Live::start(
        name,
        camera,
        clock.clone(),
        PATIENCE,
    )?))
}

#[cfg(not(target_os = "linux"))]
fn open_camera(spec: CameraSpec, _: &Clock) -> Result<Box<dyn Source>, SourceError> {
    Err(SourceError::Live(LiveError::NotACamera {
        device: spec.device.display().to_string(),
        what: "cameras are read through V4L2, which only Linux has".into(),
    }))
}
