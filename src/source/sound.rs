//! Sound from a program: raw samples, in windows of one length.
//!
//! Owns: what the samples are ([`Sound`]), and reading windows of them ([`Microphone`]). Does not own: the program (`command`), when
//! it is started again (`live`), or how loud a window is ([`super::level`]).
//!
//! Invariant: a window holds whole samples of all channels, as many as were asked for; what is left at the end is dropped.

use super::command::{Command, Frames};
use super::live::{Live, PATIENCE};
use super::{Clock, SourceError, Spec, parse};
use crate::preprocess::sound;
use std::ops::RangeInclusive;

/// Samples a second: from telephones to the converters of sound cards.
pub const RATE_HZ: RangeInclusive<u32> = 8_000..=192_000;
pub const CHANNELS: RangeInclusive<u32> = 1..=8;
/// At 16 kHz, 16 bits and one channel the longest has 160 kB; at the highest rate, with 32 bits and all channels, 31 MB, of which up
/// to four are held: one that is read, one that waits, one that is looked at as bytes and as samples (127 MB measured).
pub const WINDOW_MS: RangeInclusive<u32> = 20..=5_000;

/// How a sample is written, by the names that FFmpeg has for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Little-endian `i16`; `arecord -f S16_LE`.
    S16le,
    /// Little-endian `i32`, as microphones on I2S give; `arecord -f S32_LE`.
    S32le,
    /// Little-endian `f32`; `arecord -f FLOAT_LE`.
    F32le,
}

impl Encoding {
    pub(super) fn named(name: &str) -> Option<Encoding> {
        match name {
            "s16le" => Some(Encoding::S16le),
            "s32le" => Some(Encoding::S32le),
            "f32le" => Some(Encoding::F32le),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Encoding::S16le => 2,
            Encoding::S32le | Encoding::F32le => 4,
        }
    }

    /// Samples of which 1 is full scale; a part of one at the end is left out.
    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let (pairs, _) = bytes.as_chunks();
        let (fours, _) = bytes.as_chunks();
        let short = |&pair| f32::from(i16::from_le_bytes(pair)) / 32_768.0;
        let long = |&four| i32::from_le_bytes(four) as f32 / 2_147_483_648.0;
        match self {
            Encoding::S16le => pairs.iter().map(short).collect(),
            Encoding::S32le => fours.iter().map(long).collect(),
            Encoding::F32le => fours.iter().map(|&four| f32::from_le_bytes(four)).collect(),
        }
    }
}

/// Sound that a program writes: samples of all channels beside each other, without a header. In its bounds by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sound {
    encoding: Encoding,
    rate_hz: u32,
    channels: u32,
    window_ms: u32,
}

impl Sound {
    /// Refuses numbers out of range.
    pub fn new(
        encoding: Encoding,
        rate_hz: u32,
        channels: u32,
        window_ms: u32,
    ) -> Result<Sound, String> {
        for (name, got, range) in [
            ("rate", rate_hz, RATE_HZ),
            ("channels", channels, CHANNELS),
            ("window_ms", window_ms, WINDOW_MS),
        ] {
            if !range.contains(&got) {
                let (first, last) = (range.start(), range.end());
                return Err(format!("expected {name}={first} to {last}, got {got}"));
            }
        }
        Ok(Sound {
            encoding,
            rate_hz,
            channels,
            window_ms,
        })
    }

    pub fn channels(&self) -> usize {
        self.channels as usize
    }

    /// Samples as a WAV file.
    pub(super) fn file(&self, samples: &[u8]) -> Vec<u8> {
        let floats = self.encoding == Encoding::F32le;
        let bytes = self.encoding.bytes() as u16;
        sound::file(floats, bytes, self.channels as u16, self.rate_hz, samples)
    }

    /// Of one window.
    pub(super) fn bytes(&self) -> usize {
        let rows = u64::from(self.rate_hz) * u64::from(self.window_ms) / 1_000;
        rows as usize * self.channels() * self.encoding.bytes()
    }
}

/// A window of sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Counts from 0; a gap means that windows were dropped.
    pub seq: u64,
    /// Monotonic time since the program was opened at which it was whole, in µs.
    pub time_us: u64,
    /// `[time, channels]`, row by row; full scale is 1.
    pub samples: Vec<f32>,
}

/// A program that is listened to. As with pictures, the latest window wins.
pub struct Microphone {
    live: Live,
    sound: Sound,
}

impl Microphone {
    /// Starts the program that a text such as `command,format=s16le,rate=16000:arecord …` names.
    ///
    /// # Errors
    /// A text that is not understood, or that names pictures.
    pub fn open(text: &str, clock: &Clock) -> Result<Microphone, SourceError> {
        let no_sound = || SourceError::NoSound { text: text.into() };
        let Spec::Command(spec) = parse(text)? else {
            return Err(no_sound());
        };
        let Frames::Sound(sound) = spec.frames else {
            return Err(no_sound());
        };
        let name = format!("command:{}", spec.program());
        let live = Live::start(name, Command::new(spec), clock.clone(), PATIENCE)?;
        Ok(Microphone { live, sound })
    }

    pub fn sound(&self) -> Sound {
        self.sound
    }

    /// Waits for the next window; `None` when the program ended well. After an error it may be asked again: the program is
    /// started anew.
    pub fn window(&mut self) -> Result<Option<Window>, SourceError> {
        let taken = self.live.take()?;
        Ok(taken.map(|(seq, time_us, shot)| Window {
            seq,
            time_us,
            samples: self.sound.encoding.decode(&shot.bytes),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn open(text: &str) -> Microphone {
        Microphone::open(text, &(Arc::new(|| 7_u64) as Clock)).unwrap()
    }

    fn refused(text: &str) -> String {
        let clock: Clock = Arc::new(|| 7);
        Microphone::open(text, &clock).err().unwrap().to_string()
    }

    #[test]
    fn windows_are_whole_and_what_is_left_is_dropped() {
        // 20 ms at 8 kHz are 160 samples of two channels, 640 bytes.
        let text = "command,format=s16le,rate=8000,channels=2,window_ms=20:head -c 700 /dev/zero";
        let mut microphone = open(text);
        assert_eq!(microphone.sound().channels(), 2);
        let window = microphone.window().unwrap().unwrap();
        assert_eq!((window.seq, window.samples), (0, vec![0.0; 320]));
        assert_eq!(microphone.window().unwrap(), None);
    }

    #[test]
    fn samples_are_little_endian_and_one_is_full_scale() {
        for (encoding, bytes, samples) in [
            (
                Encoding::S16le,
                &b"\x00\x40\x00\x80\xff\x7f\x01"[..],
                vec![0.5, -1.0, 32_767.0 / 32_768.0],
            ),
            (
                Encoding::S32le,
                b"\0\0\0\x40\0\0\0\x80\0\0\xff\x7f",
                vec![0.5, -1.0, 32_767.0 / 32_768.0],
            ),
            (
                Encoding::F32le,
                b"\0\0\0\x3f\0\0\x80\xbf\xff",
                vec![0.5, -1.0],
            ),
        ] {
            assert_eq!(encoding.decode(bytes), samples, "{encoding:?}");
        }
        let quiet = "head -c 640 /dev/zero | tr '\\000' '\\001'";
        let text = format!("command,format=s32le,rate=8000,window_ms=20:sh -c \"{quiet}\"");
        let window = open(&text).window().unwrap().unwrap();
        assert_eq!(window.samples, [0x0101_0101 as f32 / 2_147_483_648.0; 160]);
    }

    #[test]
    fn a_program_that_floods_is_read_within_a_bound_and_what_was_passed_over_is_a_gap() {
        let mut flood = open("command,format=s16le,rate=8000,window_ms=20:cat /dev/zero");
        let mut last = None;
        for _ in 0..5 {
            let window = flood.window().unwrap().unwrap();
            assert!(last < Some(window.seq) && window.samples.len() == 160);
            last = Some(window.seq);
        }
        // A pipe brings more than is looked at: the numbers tell.
        assert!(last > Some(5), "{last:?}");
    }

    #[test]
    fn a_program_that_fails_is_told_at_first_and_started_again_later() {
        let options = "command,format=s16le,rate=8000,window_ms=20";
        for (program, parts) in [
            ("/no/such/program", &["there is no program"][..]),
            ("/dev/null", &["may not be run"]),
            (
                "sh -c 'echo no such card >&2; exit 2'",
                &["exit status: 2, without a window", "no such card"],
            ),
            (
                "head -c 319 /dev/zero",
                &["exit status: 0, without a window"],
            ),
        ] {
            let error = open(&format!("{options}:{program}")).window().unwrap_err();
            for part in parts {
                assert!(error.to_string().contains(part), "{program}: {error}");
            }
        }
        let mut dies = open(&format!(
            "{options}:sh -c 'head -c 320 /dev/zero; echo gone >&2; exit 1'"
        ));
        let first = dies.window().unwrap().unwrap();
        let second = dies.window().unwrap().unwrap();
        assert!(
            first.seq == 0 && second.seq >= 2,
            "{} {}",
            first.seq,
            second.seq
        );
    }

    #[test]
    fn pictures_are_no_sound() {
        for text in ["camera", "command:true", "line:1", "file:x"] {
            assert!(refused(text).contains("gives pictures"), "{text}");
        }
    }

    #[test]
    fn a_window_as_a_file_says_what_its_samples_say() {
        for (encoding, bytes) in [
            (Encoding::S16le, [1, 2, 3, 4].repeat(1_000)),
            (Encoding::S32le, [5, 0, 7, 0xc0, 1, 2, 3, 4].repeat(1_000)),
            (
                Encoding::F32le,
                [0.5f32, -0.25].map(f32::to_le_bytes).concat().repeat(1_000),
            ),
        ] {
            let sound = Sound::new(encoding, 8_000, 2, 100).unwrap();
            let read = crate::preprocess::sound::parse(&sound.file(&bytes)).unwrap();
            let pairs = encoding.decode(&bytes);
            let mean = |pair: &[f32]| (f64::from(pair[0]) + f64::from(pair[1])) / 2.0;
            let expected: Vec<f64> = pairs.chunks_exact(2).map(mean).collect();
            assert_eq!((read.rate_hz, read.samples.len()), (8_000, 1_000));
            for (a, b) in read.samples.iter().zip(expected) {
                assert!((a - b).abs() < 1e-7, "{a} {b}");
            }
        }
    }
}
