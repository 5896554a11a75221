//! Any program's standard output as a camera or a microphone: a stream of JPEG pictures, raw frames of a given size, or raw sound.
//!
//! Owns: what the program and its frames are, and noticing that it died, stalls or floods. Does not own: the process and its pipes
//! (`program`), when it is started again (`live`).
//!
//! Invariant: no more than one picture, or window of sound, and one piece of the pipe is held.

use super::LiveError;
use super::live::{Feed, Form, Shot, Step};
use super::program::Running;
use super::sound::Sound;
use crate::preprocess::raw::Layout;
use nix::poll::poll;
use std::io::{self, ErrorKind};

/// Without a picture for so long, the program is started anew. Starting a camera's pipeline takes some seconds on a Jetson.
const SILENT_US: u64 = 10_000_000;
/// How long a program may take to end after it closed its output.
const ENDING_US: u64 = 1_000_000;

/// What `command[,OPTIONS]:PROGRAM …` names.
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
    /// Samples of sound without a header, in windows.
    Sound(Sound),
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
                what: self.gives(),
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
                let told = match running.begun {
                    true => status.to_string(),
                    false => format!("{status}, without a {}", self.gives()),
                };
                Err(died(told, running.said()))
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
        let form = match self.spec.frames {
            Frames::Mjpeg => Form::Picture {
                layout: Layout::Mjpeg,
                width: 0,
                height: 0,
            },
            Frames::Raw {
                layout,
                width,
                height,
                ..
            } => Form::Picture {
                layout,
                width,
                height,
            },
            Frames::Sound(sound) => Form::Sound(sound),
        };
        Shot { form, bytes }
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

    fn gives(&self) -> &'static str {
        match self.spec.frames {
            Frames::Sound(_) => "window of sound",
            Frames::Mjpeg | Frames::Raw { .. } => "picture",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sound::Encoding;
    use super::*;

    /// A JPEG of the least length that is one by its markers.
    const JPEG: &str = r"\377\330\377\331";
    const JPEG_FORM: Form = Form::Picture {
        layout: Layout::Mjpeg,
        width: 0,
        height: 0,
    };

    fn shell(script: &str, frames: Frames) -> Command {
        let words = ["sh", "-c", script].map(str::to_owned).to_vec();
        Command::new(CommandSpec { words, frames })
    }

    fn raw(bytes: usize) -> Frames {
        Frames::Raw {
            layout: Layout::Grey,
            width: 8,
            height: 8,
            bytes,
        }
    }

    /// Windows of 320 bytes.
    fn sound() -> Frames {
        Frames::Sound(Sound::new(Encoding::S16le, 8_000, 1, 20).unwrap())
    }

    /// Steps until something comes of it, at a standing clock.
    fn outcome(command: &mut Command) -> Step {
        loop {
            match command.step(0) {
                Step::Nothing => {}
                other => return other,
            }
        }
    }

    fn failure(command: &mut Command) -> LiveError {
        match outcome(command) {
            Step::Failed(error) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pictures_come_as_they_were_written_and_the_end_is_the_end() {
        let script = format!("printf 'words {JPEG}'; printf words >&2");
        let mut command = shell(&script, Frames::Mjpeg);
        let Step::Shot { shot, .. } = outcome(&mut command) else {
            panic!()
        };
        assert_eq!(
            (shot.form, &*shot.bytes),
            (JPEG_FORM, &b"\xff\xd8\xff\xd9"[..])
        );
        assert!(matches!(outcome(&mut command), Step::Ended));
    }

    #[test]
    fn raw_frames_are_cut_by_their_size() {
        let mut command = shell("printf 'aabbccd'", raw(2));
        let Step::Shot { shot, overtaken } = outcome(&mut command) else {
            panic!()
        };
        assert_eq!((&*shot.bytes, overtaken), (&b"cc"[..], 2));
        assert!(matches!(outcome(&mut command), Step::Ended));
    }

    #[test]
    fn a_program_that_is_not_there_or_may_not_be_run_is_told() {
        let words = vec!["/no/such/program".to_owned()];
        let frames = Frames::Mjpeg;
        let error = failure(&mut Command::new(CommandSpec { words, frames }));
        assert!(matches!(error, LiveError::NoProgram { .. }), "{error}");
        let words = vec!["/dev/null".to_owned()];
        let error = failure(&mut Command::new(CommandSpec { words, frames }));
        assert!(matches!(error, LiveError::NotExecutable { .. }), "{error}");
    }

    #[test]
    fn a_program_that_dies_is_told_with_its_last_words_and_started_again() {
        let script = "echo first >&2; echo 'no cameras available' >&2; exit 3";
        let mut command = shell(script, Frames::Mjpeg);
        for _ in 0..2 {
            let error = failure(&mut command).to_string();
            for part in [
                "exit status: 3",
                "without a picture",
                "saying: no cameras available",
            ] {
                assert!(error.contains(part), "{error}");
            }
        }
        let mut killed = shell("kill -9 $$", Frames::Mjpeg);
        assert!(failure(&mut killed).to_string().contains("signal: 9"));
        // Success without a picture is none.
        let error = failure(&mut shell("true", Frames::Mjpeg)).to_string();
        assert!(
            error.contains("exit status: 0, without a picture"),
            "{error}"
        );
    }

    #[test]
    fn a_program_that_stalls_is_told_and_ended_with_all_that_it_started() {
        let mut command = shell("sleep 1000 & echo $! >&2; wait", Frames::Mjpeg);
        let mut child = String::new();
        while child.is_empty() {
            assert!(matches!(command.step(0), Step::Nothing));
            let running = command.running.as_ref().unwrap();
            child = String::from_utf8(running.said.clone()).unwrap();
        }
        let Step::Failed(error) = command.step(SILENT_US + 1) else {
            panic!()
        };
        assert!(
            matches!(error, LiveError::Silent { seconds: 10, .. }),
            "{error}"
        );
        assert!(command.running.is_none());
        let status = format!("/proc/{}/status", child.trim());
        let gone = || match std::fs::read_to_string(&status) {
            Ok(text) => text.contains("State:\tZ"),
            Err(_) => true,
        };
        // The signal was sent; its receiver ends when the kernel comes to it.
        while !gone() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_microphone_that_stalls_within_a_window_is_told_and_started_again() {
        let mut command = shell("head -c 479 /dev/zero; exec sleep 1000", sound());
        let heard = Sound::new(Encoding::S16le, 8_000, 1, 20).unwrap();
        for _ in 0..2 {
            let Step::Shot { shot, overtaken } = outcome(&mut command) else {
                panic!()
            };
            assert_eq!(
                (shot.form, shot.bytes.len(), overtaken),
                (Form::Sound(heard), 320, 0)
            );
            let Step::Failed(error) = command.step(SILENT_US + 1) else {
                panic!()
            };
            let said = error.to_string();
            assert!(said.contains("no window of sound for 10 s"), "{said}");
            assert!(command.running.is_none());
        }
    }

    #[test]
    fn a_program_that_floods_is_told_within_a_bound_and_frames_are_passed_over() {
        let mut command = shell("cat /dev/zero", Frames::Mjpeg);
        let error = failure(&mut command);
        assert!(matches!(error, LiveError::Flood { .. }), "{error}");
        let mut command = shell("cat /dev/zero", raw(64));
        for _ in 0..50 {
            let Step::Shot { shot, .. } = outcome(&mut command) else {
                panic!()
            };
            assert_eq!(shot.bytes.len(), 64);
        }
    }

    #[test]
    fn a_program_that_closes_its_output_and_goes_on_is_ended() {
        for frames in [Frames::Mjpeg, sound()] {
            let mut command = shell("exec >&-; sleep 1000", frames);
            while command
                .running
                .as_ref()
                .is_none_or(|r| r.closed_us.is_none())
            {
                assert!(matches!(command.step(0), Step::Nothing));
            }
            let Step::Failed(error) = command.step(ENDING_US + 1) else {
                panic!()
            };
            assert!(error.to_string().contains("went on"), "{error}");
        }
    }

    #[test]
    fn a_flood_of_words_is_heard_within_a_bound() {
        let script = "head -c 100000 /dev/zero | tr '\\0' 'x' >&2; echo >&2; echo end >&2";
        let error = failure(&mut shell(script, Frames::Mjpeg)).to_string();
        assert!(
            error.contains("saying: end") && error.len() < 300,
            "{error}"
        );
    }
}
