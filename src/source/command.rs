//! Any program's standard output as a camera: a stream of JPEG pictures, or raw frames of a given size.
//!
//! Owns: starting the program, cutting its output into frames, noticing that it died, stalls or floods, and ending it with all that it
//! started. Does not own: when it is started again (`live`).
//!
//! Invariant: no more than one picture and one piece of the pipe is held, and no program outlives its source.

use super::LiveError;
use super::live::{Feed, Shot, Step};
use super::mjpeg::{Cut, Flood, Splitter};
use crate::preprocess::MAX_ENCODED_BYTES;
use crate::preprocess::raw::Layout;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, ExitStatus, Stdio};

/// How long one step waits for output.
const WAIT_MS: u16 = 100;
/// Without a picture for so long, the program is started anew. Starting a camera's pipeline takes some seconds on a Jetson.
const SILENT_US: u64 = 10_000_000;
/// How long a program may take to end after it closed its output.
const ENDING_US: u64 = 1_000_000;
/// A pipe holds 64 KiB (pipe(7)).
const PIECE_BYTES: usize = 64 * 1024;
/// What is kept of the program's last words.
const SAID_BYTES: usize = 300;

/// What `command[,format=…,width=…,height=…]:PROGRAM …` names.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandSpec {
    /// The program and its arguments; at least the program.
    pub words: Vec<String>,
    pub frames: Frames,
}

/// What a program writes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Frames {
    /// JPEG pictures, with anything between them.
    Mjpeg,
    /// Frames of one size, with nothing between them.
    Raw {
        layout: Layout,
        width: u32,
        height: u32,
        bytes: usize,
    },
}

impl CommandSpec {
    /// The program without its arguments.
    pub fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

/// A program that is run.
pub(super) struct Command {
    spec: CommandSpec,
    running: Option<Running>,
    silent_us: u64,
}

impl Command {
    pub(super) fn new(spec: CommandSpec) -> Command {
        Command {
            spec,
            running: None,
            silent_us: SILENT_US,
        }
    }

    fn read(&mut self, now_us: u64) -> Result<Step, LiveError> {
        let mut running = match self.running.take() {
            Some(running) => running,
            None => Running::start(&self.spec, now_us).map_err(|e| self.not_started(e))?,
        };
        let step = self.read_from(&mut running, now_us)?;
        self.running = Some(running);
        Ok(step)
    }

    fn read_from(&self, running: &mut Running, now_us: u64) -> Result<Step, LiveError> {
        if let Some(closed_us) = running.closed_us {
            return self.end(running, now_us.saturating_sub(closed_us));
        }
        let failed = |source| LiveError::Failed {
            name: self.program(),
            source,
        };
        if let Some(piece) = running.piece().map_err(failed)? {
            if piece == 0 {
                running.closed_us = Some(now_us);
                return Ok(Step::Nothing);
            }
            let cut = running.cut(piece).map_err(|flood| LiveError::Flood {
                program: self.program(),
                bytes: flood.bytes,
                expected: "JPEG pictures",
            })?;
            if let Some(bytes) = cut.picture {
                running.begun = true;
                running.last_us = now_us;
                let shot = self.shot(bytes);
                let overtaken = cut.overtaken;
                return Ok(Step::Shot { shot, overtaken });
            }
        }
        let silent_us = now_us.saturating_sub(running.last_us);
        if silent_us > self.silent_us {
            return Err(LiveError::Silent {
                name: format!("'{}'", self.program()),
                seconds: silent_us / 1_000_000,
            });
        }
        Ok(Step::Nothing)
    }

    /// Behind the end of the output: how the program ended.
    fn end(&self, running: &mut Running, waited_us: u64) -> Result<Step, LiveError> {
        let died = |status: String, said: String| LiveError::Died {
            program: self.program(),
            status,
            said,
        };
        let ended = running.child.try_wait();
        let ended = ended.map_err(|source| LiveError::Failed {
            name: self.program(),
            source,
        })?;
        match ended {
            Some(status) => {
                running.listen();
                if status.success() && running.begun {
                    return Ok(Step::Ended);
                }
                Err(died(told(status, running.begun), running.said()))
            }
            None if waited_us > ENDING_US => {
                let status = "it closed its output and went on".to_owned();
                Err(died(status, running.said()))
            }
            None => {
                // Nothing to wait for but time; an interrupted wait is as good.
                let _ = poll(&mut [], 10u8);
                Ok(Step::Nothing)
            }
        }
    }

    fn shot(&self, bytes: Vec<u8>) -> Shot {
        let (layout, width, height) = match self.spec.frames {
            Frames::Mjpeg => (Layout::Mjpeg, 0, 0),
            Frames::Raw {
                layout,
                width,
                height,
                ..
            } => (layout, width, height),
        };
        Shot {
            layout,
            width,
            height,
            bytes,
        }
    }

    fn program(&self) -> String {
        self.spec.program().to_owned()
    }

    fn not_started(&self, error: io::Error) -> LiveError {
        let program = self.program();
        match error.kind() {
            ErrorKind::NotFound => LiveError::NoProgram { program },
            ErrorKind::PermissionDenied => LiveError::NotExecutable { program },
            _ => LiveError::Failed {
                name: format!("'{program}'"),
                source: error,
            },
        }
    }
}

impl Feed for Command {
    fn step(&mut self, now_us: u64) -> Step {
        // On an error the program went with what was taken out.
        self.read(now_us).unwrap_or_else(Step::Failed)
    }
}

/// A program and what came of it.
struct Running {
    child: Child,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
    buffer: Vec<u8>,
    frames: Cutter,
    said: Vec<u8>,
    /// When the last picture came, or the program was started.
    last_us: u64,
    begun: bool,
    /// When its output ended.
    closed_us: Option<u64>,
}

enum Cutter {
    Mjpeg(Splitter),
    Raw { bytes: usize, frame: Vec<u8> },
}

impl Running {
    fn start(spec: &CommandSpec, now_us: u64) -> io::Result<Running> {
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
            },
            said: Vec::new(),
            last_us: now_us,
            begun: false,
            closed_us: None,
        })
    }

    /// Waits a little for output and reads a piece of it: its length, 0 at the end; `None` where none came.
    fn piece(&mut self) -> io::Result<Option<usize>> {
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

    fn cut(&mut self, length: usize) -> Result<Cut, Flood> {
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
    fn listen(&mut self) {
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
    fn said(&self) -> String {
        let text = String::from_utf8_lossy(&self.said);
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        match lines.next_back() {
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

/// Frames of `bytes` bytes each.
fn cut_raw(frame: &mut Vec<u8>, bytes: usize, mut piece: &[u8]) -> Cut {
    let mut cut = Cut::default();
    while !piece.is_empty() {
        let missing = bytes.saturating_sub(frame.len()).max(1);
        let (part, rest) = piece.split_at(missing.min(piece.len()));
        frame.extend_from_slice(part);
        piece = rest;
        if frame.len() >= bytes {
            let whole = std::mem::take(frame);
            cut.overtaken += u64::from(cut.picture.replace(whole).is_some());
        }
    }
    cut
}

fn told(status: ExitStatus, begun: bool) -> String {
    let how = status.to_string();
    match begun {
        true => how,
        false => format!("{how}, without a picture"),
    }
}

#[cfg(test)]
mod tests;
