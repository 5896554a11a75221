//! A process and its pipes.
//!
//! Owns: starting a program, reading what it writes and says without ever waiting long, and ending it with all that it started. Does
//! not own: what its end means (`command`).
//!
//! Invariant: no program outlives its [`Running`].

use super::command::{CommandSpec, Frames};
use super::mjpeg::{Cut, Flood, Splitter};
use crate::preprocess::MAX_ENCODED_BYTES;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Stdio};

/// How long one step waits for output.
const WAIT_MS: u16 = 100;
/// A pipe holds 64 KiB (pipe(7)).
const PIECE_BYTES: usize = 64 * 1024;
/// What is kept of the program's last words.
const SAID_BYTES: usize = 300;

/// A program and what came of it.
pub(super) struct Running {
    pub(super) child: Child,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
    buffer: Vec<u8>,
    frames: Cutter,
    pub(super) said: Vec<u8>,
    /// When the last picture or window came, or the program was started.
    pub(super) last_us: u64,
    pub(super) begun: bool,
    /// When its output ended.
    pub(super) closed_us: Option<u64>,
}

enum Cutter {
    Mjpeg(Splitter),
    Raw { bytes: usize, frame: Vec<u8> },
}

impl Running {
    pub(super) fn start(spec: &CommandSpec, now_us: u64) -> io::Result<Running> {
        let mut child = std::process::Command::new(spec.program())
            .args(spec.words.iter().skip(1))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that all that it starts can be ended with it.
            .process_group(0)
            .spawn()?;
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        Ok(Running {
            child,
            stdout: stdout.ok_or_else(|| io::Error::other("it has no output"))?,
            stderr,
            buffer: vec![0; PIECE_BYTES],
            frames: match spec.frames {
                Frames::Mjpeg => Cutter::Mjpeg(Splitter::new(MAX_ENCODED_BYTES)),
                Frames::Raw { bytes, .. } => Cutter::Raw {
                    bytes,
                    frame: Vec::new(),
                },
                Frames::Sound(sound) => Cutter::Raw {
                    bytes: sound.bytes(),
                    frame: Vec::new(),
                },
            },
            said: Vec::new(),
            last_us: now_us,
            begun: false,
            closed_us: None,
        })
    }

    /// Waits a little for output and reads a piece of it: its length, 0 at the end; `None` where none came.
    pub(super) fn piece(&mut self) -> io::Result<Option<usize>> {
        let mut waited = vec![PollFd::new(self.stdout.as_fd(), PollFlags::POLLIN)];
        if let Some(stderr) = &self.stderr {
            waited.push(PollFd::new(stderr.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut waited, WAIT_MS) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = waited.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        if ready.get(1) == Some(&true) {
            self.hear();
        }
        if ready.first() != Some(&true) {
            return Ok(None);
        }
        match self.stdout.read(&mut self.buffer) {
            Ok(length) => Ok(Some(length)),
            Err(e) if e.kind() == ErrorKind::Interrupted => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub(super) fn cut(&mut self, length: usize) -> Result<Cut, Flood> {
        let piece = self.buffer.get(..length).unwrap_or_default();
        match &mut self.frames {
            Cutter::Mjpeg(splitter) => splitter.push(piece),
            Cutter::Raw { bytes, frame } => Ok(cut_raw(frame, *bytes, piece)),
        }
    }

    /// Reads what the program says; the end of it closes the ear.
    fn hear(&mut self) {
        let mut words = [0; 4096];
        let Some(stderr) = &mut self.stderr else {
            return;
        };
        match stderr.read(&mut words) {
            Ok(length @ 1..) => {
                self.said.extend(words.iter().take(length));
                let surplus = self.said.len().saturating_sub(SAID_BYTES);
                self.said.drain(..surplus);
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            _ => self.stderr = None,
        }
    }

    /// Reads what was said and not heard yet, without waiting, within a bound.
    pub(super) fn listen(&mut self) {
        for _ in 0..16 {
            let Some(stderr) = &self.stderr else {
                return;
            };
            let mut waited = [PollFd::new(stderr.as_fd(), PollFlags::POLLIN)];
            if poll(&mut waited, 0u8) != Ok(1) {
                return;
            }
            self.hear();
        }
    }

    /// The program's last words as part of a sentence.
    pub(super) fn said(&self) -> String {
        let text = String::from_utf8_lossy(&self.said);
        let mut lines = text.lines().rev().map(str::trim);
        match lines.find(|line| !line.is_empty()) {
            Some(line) => {
                let plain: String = line.chars().filter(|c| !c.is_control()).collect();
                format!(", saying: {plain}")
            }
            None => String::new(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Those that ended already cannot be told to; all others end by this signal.
        let group = i32::try_from(self.child.id()).unwrap_or(0);
        if group > 1 {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// Frames, or windows, of `bytes` bytes each.
fn cut_raw(frame: &mut Vec<u8>, bytes: usize, mut piece: &[u8]) -> Cut {
    let mut cut = Cut::default();
    while !piece.is_empty() {
        let missing = bytes.saturating_sub(frame.len()).max(1);
        let (part, rest) = piece.split_at(missing.min(piece.len()));
        if frame.is_empty() {
            // Grown by doubling, it would hold up to twice as much.
            frame.reserve_exact(bytes);
        }
        frame.extend_from_slice(part);
        piece = rest;
        if frame.len() >= bytes {
            let whole = std::mem::take(frame);
            cut.overtaken += u64::from(cut.picture.replace(whole).is_some());
        }
    }
    cut
}
