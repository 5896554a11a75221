//! The system calls of V4L2, by the library linuxvideo.
//!
//! Owns: one device in one of four states. Does not own: what is asked and what answers mean (`camera`).

use super::camera::{Mode, Video};
use linuxvideo::format::{PixFormat, PixelFormat};
use linuxvideo::stream::ReadStream;
use linuxvideo::{BufType, CapabilityFlags, Device, VideoCaptureDevice};
use nix::poll::{PollFd, PollFlags, poll};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// The most pixel formats of one device that are looked at.
const MAX_FORMATS: usize = 64;

/// A V4L2 device.
#[derive(Default)]
pub struct V4l2 {
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Closed,
    Open(Device),
    Set(VideoCaptureDevice),
    Streaming(ReadStream),
}

impl Video for V4l2 {
    fn open(&mut self, path: &Path) -> io::Result<Vec<[u8; 4]>> {
        self.close();
        let device = Device::open(path)?;
        let able = device.capabilities()?.device_capabilities();
        let mut fourccs = Vec::new();
        if able.contains(CapabilityFlags::VIDEO_CAPTURE) {
            for format in device.formats(BufType::VIDEO_CAPTURE).take(MAX_FORMATS) {
                fourccs.push(format?.pixel_format().as_fourcc());
            }
        }
        self.state = State::Open(device);
        Ok(fourccs)
    }

    fn set_mode(&mut self, mode: &Mode) -> io::Result<Mode> {
        let State::Open(device) = std::mem::take(&mut self.state) else {
            return Err(out_of_order());
        };
        let fourcc = PixelFormat::from_fourcc(mode.fourcc);
        let set = device.video_capture(PixFormat::new(mode.width, mode.height, fourcc))?;
        let format = set.format();
        let got = Mode {
            fourcc: format.pixel_format().as_fourcc(),
            width: format.width(),
            height: format.height(),
            stride: format.bytes_per_line(),
        };
        self.state = State::Set(set);
        Ok(got)
    }

    fn start(&mut self) -> io::Result<()> {
        let State::Set(set) = std::mem::take(&mut self.state) else {
            return Err(out_of_order());
        };
        self.state = State::Streaming(set.into_stream()?);
        Ok(())
    }

    fn wait(&mut self, timeout_ms: u16) -> io::Result<bool> {
        let stream = self.stream()?;
        let mut waited = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waited, timeout_ms) {
            // An error of the device is told by taking the frame.
            Ok(ready) => Ok(ready > 0),
            Err(nix::errno::Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn take(&mut self, limit: usize, bytes: &mut Vec<u8>) -> io::Result<bool> {
        self.stream()?.dequeue(|frame| {
            let length = frame.len().min(limit);
            bytes.extend_from_slice(frame.get(..length).unwrap_or_default());
            Ok(!frame.is_error())
        })
    }

    fn close(&mut self) {
        self.state = State::Closed;
    }
}

impl V4l2 {
    fn stream(&mut self) -> io::Result<&mut ReadStream> {
        match &mut self.state {
            State::Streaming(stream) => Ok(stream),
            _ => Err(out_of_order()),
        }
    }
}

fn out_of_order() -> io::Error {
    io::Error::other("the camera is not at this step")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::LiveError;
    use crate::source::camera::{CameraSpec, negotiate};

    fn refused(device: &Path) -> LiveError {
        let spec = CameraSpec {
            device: device.into(),
            size: None,
            layout: None,
        };
        negotiate(&mut V4l2::default(), &spec).unwrap_err()
    }

    #[test]
    fn what_is_not_there_and_what_is_no_camera_are_told_apart_by_the_kernel() {
        assert!(matches!(
            refused(Path::new("/dev/video-none")),
            LiveError::NoDevice { .. }
        ));
        assert!(matches!(
            refused(Path::new("/dev/null")),
            LiveError::NotACamera { .. }
        ));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(refused(file.path()), LiveError::NotACamera { .. }));
    }

    #[test]
    fn steps_out_of_order_are_errors() {
        let mut video = V4l2::default();
        let mode = Mode {
            fourcc: *b"YUYV",
            width: 640,
            height: 480,
            stride: 0,
        };
        assert!(video.set_mode(&mode).is_err() && video.start().is_err());
        assert!(video.wait(0).is_err() && video.take(1, &mut Vec::new()).is_err());
    }
}
