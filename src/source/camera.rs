//! A camera through V4L2: asking for a format, noticing another, and reading frame by frame through unplugging and plugging in.
//!
//! Owns: what is asked of [`Video`], in which order, and what its answers mean. Does not own: the system calls (`v4l2`), the thread
//! (`live`).
//!
//! Invariant: a frame is handed on only in the layout and size that the driver said it gives.

use super::LiveError;
use super::live::{Feed, Form, Shot, Step};
use crate::preprocess::MAX_ENCODED_BYTES;
use crate::preprocess::check_size;
use crate::preprocess::raw::Layout;
use std::io;
use std::path::{Path, PathBuf};

/// What is taken without a `camera:DEVICE`.
pub const DEFAULT_DEVICE: &str = "/dev/video0";
/// What is asked for without `width=` and `height=`: every UVC camera has it, and the backbones see 224 pixels.
const DEFAULT_SIZE: (u32, u32) = (640, 480);
/// How long one step waits for a frame.
const WAIT_MS: u16 = 100;
/// Without a frame for so long, the device is opened anew. Exposures in the dark take a second.
const SILENT_US: u64 = 5_000_000;

/// Pixel formats that are understood, in the order in which they are preferred: linux/videodev2.h.
const FOURCCS: [(&[u8; 4], Layout); 5] = [
    (b"YUYV", Layout::Yuyv),
    (b"MJPG", Layout::Mjpeg),
    (b"JPEG", Layout::Mjpeg),
    (b"RGB3", Layout::Rgb24),
    (b"GREY", Layout::Grey),
];

/// Numbers of errors, from asm-generic/errno.h; the library has no names for them.
const ENXIO: i32 = 6;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const ENOTTY: i32 = 25;
const ENOSPC: i32 = 28;
const ENOSYS: i32 = 38;

/// What `camera[:DEVICE][,width=…,height=…,format=…]` asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraSpec {
    pub device: PathBuf,
    pub size: Option<(u32, u32)>,
    pub layout: Option<Layout>,
}

/// A format as a driver puts it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mode {
    pub fourcc: [u8; 4],
    pub width: u32,
    pub height: u32,
    /// Bytes from one row to the next; 0 where rows have no length.
    pub stride: u32,
}

/// What is asked of V4L2, and nothing above it. A device is opened, given a format, started; then it is waited for and read.
pub trait Video: Send {
    /// Opens a device; the pixel formats in which it captures, none where it does not capture.
    fn open(&mut self, device: &Path) -> io::Result<Vec<[u8; 4]>>;
    /// Asks for a format; what the driver chose instead.
    fn set_mode(&mut self, mode: &Mode) -> io::Result<Mode>;
    fn start(&mut self) -> io::Result<()>;
    /// Waits for a frame; `false` where none came in time.
    fn wait(&mut self, timeout_ms: u16) -> io::Result<bool>;
    /// Takes a frame, at most `limit` bytes of it; `false` where the driver says that it is damaged.
    fn take(&mut self, limit: usize, bytes: &mut Vec<u8>) -> io::Result<bool>;
    fn close(&mut self);
}

/// A camera that is read.
pub(super) struct Camera<V> {
    video: V,
    spec: CameraSpec,
    /// The format, and when the last frame came.
    open: Option<(Layout, Mode, u64)>,
    begun: bool,
}

impl<V: Video> Camera<V> {
    pub(super) fn new(video: V, spec: CameraSpec) -> Camera<V> {
        Camera {
            video,
            spec,
            open: None,
            begun: false,
        }
    }

    fn device(&self) -> String {
        self.spec.device.display().to_string()
    }

    fn start(&mut self) -> Result<(Layout, Mode), LiveError> {
        let opened = negotiate(&mut self.video, &self.spec)?;
        let device = self.device();
        self.video.start().map_err(|e| fault(&device, e))?;
        Ok(opened)
    }

    fn read(&mut self, now_us: u64) -> Result<Step, LiveError> {
        let device = self.device();
        let (layout, mode, last_us) = match self.open {
            Some(open) => open,
            None => {
                let (layout, mode) = self.start()?;
                (layout, mode, now_us)
            }
        };
        self.open = Some((layout, mode, last_us));
        let ready = self.video.wait(WAIT_MS).map_err(|e| fault(&device, e))?;
        if !ready {
            let silent_us = now_us.saturating_sub(last_us);
            return if silent_us > SILENT_US {
                Err(LiveError::Silent {
                    name: device,
                    what: self.gives(),
                    seconds: silent_us / 1_000_000,
                })
            } else {
                Ok(Step::Nothing)
            };
        }
        let limit = match mode.stride {
            0 => MAX_ENCODED_BYTES,
            stride => stride as usize * mode.height as usize,
        };
        let mut bytes = Vec::new();
        let sound = self.video.take(limit, &mut bytes);
        let sound = sound.map_err(|e| fault(&device, e))?;
        self.open = Some((layout, mode, now_us));
        if !sound {
            return Ok(Step::Nothing);
        }
        self.begun = true;
        let shot = Shot {
            form: Form::Picture {
                layout,
                width: mode.width,
                height: mode.height,
            },
            bytes: packed(bytes, layout, &mode),
        };
        Ok(Step::Shot { shot, overtaken: 0 })
    }
}

impl<V: Video> Feed for Camera<V> {
    fn step(&mut self, now_us: u64) -> Step {
        let error = match self.read(now_us) {
            Ok(step) => return step,
            Err(error) => error,
        };
        self.video.close();
        self.open = None;
        Step::Failed(match error {
            LiveError::NoDevice { device } if self.begun => LiveError::Unplugged { device },
            other => other,
        })
    }
}

/// The pixel formats in which a device captures; none where it does not.
pub fn offered(video: &mut impl Video, device: &Path) -> Result<Vec<[u8; 4]>, LiveError> {
    let offered = video.open(device);
    video.close();
    offered.map_err(|e| fault(&device.display().to_string(), e))
}

/// Opens a device and agrees with its driver on a format.
pub(super) fn negotiate(
    video: &mut impl Video,
    spec: &CameraSpec,
) -> Result<(Layout, Mode), LiveError> {
    let device = spec.device.display().to_string();
    let offered = video.open(&spec.device).map_err(|e| fault(&device, e))?;
    let (width, height) = spec.size.unwrap_or(DEFAULT_SIZE);
    let (fourcc, layout) = choose(spec, &offered).ok_or_else(|| not_offered(spec, &offered))?;
    let asked = Mode {
        fourcc,
        width,
        height,
        stride: 0,
    };
    let mut got = video.set_mode(&asked).map_err(|e| fault(&device, e))?;
    let other_size = spec.size.is_some() && (got.width, got.height) != (width, height);
    if got.fourcc != fourcc || other_size {
        return Err(LiveError::Substituted {
            device,
            asked: named(&asked),
            got: named(&got),
        });
    }
    let row = u64::from(got.width) * layout.bytes_a_pixel() as u64;
    let stride = if got.stride == 0 {
        row
    } else {
        got.stride.into()
    };
    // Rows are padded to some power of two; four times their length is no padding.
    let sound = check_size(got.width.into(), got.height.into()).is_ok()
        && (row..=4 * row).contains(&stride);
    if layout == Layout::Mjpeg {
        got.stride = 0;
    } else if sound {
        got.stride = stride as u32;
    } else {
        return Err(LiveError::NotACamera {
            device,
            what: format!("{} with {stride} bytes a row is no picture", named(&got)),
        });
    }
    Ok((layout, got))
}

/// The best of what is offered: YUYV needs no decoding, but above VGA a USB 2 bus carries only some frames a second of it.
fn choose(spec: &CameraSpec, offered: &[[u8; 4]]) -> Option<([u8; 4], Layout)> {
    let (width, height) = spec.size.unwrap_or(DEFAULT_SIZE);
    let large = u64::from(width) * u64::from(height) > 640 * 480;
    let mut known: Vec<_> = FOURCCS
        .into_iter()
        .filter(|(fourcc, layout)| {
            offered.contains(fourcc) && spec.layout.is_none_or(|asked| asked == *layout)
        })
        .collect();
    known.sort_by_key(|(_, layout)| large && *layout == Layout::Yuyv);
    known.first().map(|(fourcc, layout)| (**fourcc, *layout))
}

fn not_offered(spec: &CameraSpec, offered: &[[u8; 4]]) -> LiveError {
    let device = spec.device.display().to_string();
    if offered.is_empty() {
        return LiveError::NotACamera {
            device,
            what: "it does not capture".into(),
        };
    }
    let wanted = match spec.layout {
        Some(layout) => layout.name().into(),
        None => "YUYV, MJPEG, RGB or GREY".into(),
    };
    let mut known: Vec<&str> = offered
        .iter()
        .filter_map(layout_of)
        .map(Layout::name)
        .collect();
    known.dedup();
    let (offered, cure) = match known.is_empty() {
        true => (
            offered.iter().map(text).collect::<Vec<_>>().join(", "),
            "use the board's own program as command:… (`fieldhead board list`)",
        ),
        false => (known.join(", "), "name one of these with format="),
    };
    LiveError::NotOffered {
        device,
        wanted,
        offered,
        cure,
    }
}

/// The layout of a pixel format, where it is understood.
pub fn layout_of(fourcc: &[u8; 4]) -> Option<Layout> {
    let known = FOURCCS.iter().find(|(known, _)| *known == fourcc);
    known.map(|(_, layout)| *layout)
}

/// The letters of a pixel format; its highest bit says big-endian (linux/videodev2.h, `v4l2_fourcc_be`).
pub fn text(fourcc: &[u8; 4]) -> String {
    let [a, b, c, d] = *fourcc;
    let letters = [a, b, c, d & 0x7f].escape_ascii().to_string();
    let order = if d & 0x80 == 0 { "" } else { "-BE" };
    format!("{}{order}", letters.trim_end())
}

fn named(mode: &Mode) -> String {
    format!("{}x{} {}", mode.width, mode.height, text(&mode.fourcc))
}

/// A frame without the gaps between its rows.
fn packed(bytes: Vec<u8>, layout: Layout, mode: &Mode) -> Vec<u8> {
    let row = mode.width as usize * layout.bytes_a_pixel();
    let stride = mode.stride as usize;
    if stride == 0 || stride == row {
        return bytes;
    }
    let rows = bytes.chunks(stride).filter_map(|line| line.get(..row));
    rows.take(mode.height as usize).flatten().copied().collect()
}

/// What an error of a system call means to the one who looks after the camera.
pub(super) fn fault(device: &str, error: io::Error) -> LiveError {
    let device = device.to_owned();
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::NotFound, _) => LiveError::NoDevice { device },
        (io::ErrorKind::PermissionDenied, _) => LiveError::Denied { device },
        (io::ErrorKind::ResourceBusy, _) => LiveError::Busy { device },
        (_, Some(ENODEV | ENXIO)) => LiveError::Unplugged { device },
        (_, Some(ENOTTY | EINVAL | ENOSYS)) => LiveError::NotACamera {
            device,
            what: format!("its driver does not know what was asked ({error})"),
        },
        (_, Some(ENOSPC)) => LiveError::NoBandwidth { device },
        _ => LiveError::Failed {
            name: device,
            source: error,
        },
    }
}
