//! The text of `--source`.
//!
//! Owns: `file:PATH`, `camera[:DEVICE][,OPTIONS]`, `command[,OPTIONS]:PROGRAM …`, `i2c:BUS:ADDRESS,kind=…[,steps=N]`,
//! `line:SEED[,light=day|evening][,part=NAME]`.
//! Invariant: a text that is not understood is refused, naming what was expected.

use super::camera::{CameraSpec, DEFAULT_DEVICE};
use super::command::{CommandSpec, Frames};
use super::line::{Light, Line, Part};
use super::sensor::SensorSource;
use super::simulated::LineSource;
use super::sound::{Encoding, Sound};
use super::{SourceError, Spec};
use crate::preprocess::check_size;
use crate::preprocess::raw::Layout;
use std::path::PathBuf;

/// Understands the text of a source, and opens nothing.
pub fn parse(text: &str) -> Result<Spec, SourceError> {
    let unknown = |what: String| SourceError::Unknown {
        text: text.into(),
        what,
    };
    let (kind, rest) = match text.find([':', ',']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let behind_colon = || {
        rest.strip_prefix(':')
            .ok_or_else(|| format!("expected ':' behind {kind}"))
    };
    let spec = match kind {
        "file" => behind_colon().map(|path| Spec::Files(PathBuf::from(path))),
        "line" => behind_colon().and_then(|rest| line(text, rest)),
        "camera" => camera(rest).map(Spec::Camera),
        "command" => command(rest).map(Spec::Command),
        "i2c" => SensorSource::parse(text).map(Spec::Sensor),
        _ => Err("expected file, camera, command, i2c or line before the first ':'".into()),
    };
    spec.map_err(unknown)
}

/// `SEED[,light=…][,part=…]`; `text` is what frames are called by.
fn line(text: &str, rest: &str) -> Result<Spec, String> {
    let mut fields = rest.split(',');
    let seed = fields.next().unwrap_or_default();
    let seed: u64 = seed
        .parse()
        .map_err(|_| "the seed is not a whole number".to_owned())?;
    let (mut light, mut only) = (None, None);
    for field in fields {
        match field.split_once('=') {
            Some(("light", "day")) => once(field, &mut light, Light::day())?,
            Some(("light", "evening")) => once(field, &mut light, Light::evening())?,
            Some(("part", name)) => once(field, &mut only, part(name)?)?,
            _ => return Err(format!("'{field}' is not an option")),
        }
    }
    let light = light.unwrap_or(Light::day());
    let line = Line::new(seed, light);
    Ok(Spec::Line(Box::new(LineSource::new(line, text, only))))
}

/// Takes the value of an option that was not given before.
fn once<T>(field: &str, option: &mut Option<T>, value: T) -> Result<(), String> {
    match option.replace(value) {
        None => Ok(()),
        Some(_) => {
            let name = field.split('=').next().unwrap_or_default();
            Err(format!("{name}= is given twice; leave one out"))
        }
    }
}

fn part(name: &str) -> Result<Part, String> {
    let parts = Part::ALL;
    parts
        .into_iter()
        .find(|part| part.label() == name)
        .ok_or_else(|| {
            let known: Vec<&str> = parts.iter().map(|part| part.label()).collect();
            format!("part is one of {}", known.join(", "))
        })
}

/// `[:DEVICE][,OPTIONS]`
fn camera(rest: &str) -> Result<CameraSpec, String> {
    let (device, options) = rest.split_once(',').unwrap_or((rest, ""));
    let device = match device.strip_prefix(':') {
        None => DEFAULT_DEVICE,
        Some(path) if path.starts_with('/') => path,
        Some(other) => {
            return Err(format!(
                "expected a device such as {DEFAULT_DEVICE}, got '{other}'"
            ));
        }
    };
    let options = Options::parse(options)?;
    if options.sound()?.is_some() {
        return Err(
            "a camera gives no sound; name a program: command,format=s16le:arecord …".into(),
        );
    }
    Ok(CameraSpec {
        device: device.into(),
        size: options.size()?,
        layout: options.layout(),
    })
}

/// `[,OPTIONS]:PROGRAM …`
fn command(rest: &str) -> Result<CommandSpec, String> {
    let expected = "expected command:PROGRAM …, or options between: command,format=rgb,width=640,height=480:PROGRAM …";
    let (options, line) = rest.split_once(':').ok_or(expected)?;
    let options = Options::parse(options.strip_prefix(',').unwrap_or(options))?;
    let words = words(line)?;
    if words.first().is_none_or(String::is_empty) {
        return Err(expected.into());
    }
    if let Some(sound) = options.sound()? {
        let frames = Frames::Sound(sound);
        return Ok(CommandSpec { words, frames });
    }
    let frames = match (options.layout().unwrap_or(Layout::Mjpeg), options.size()?) {
        (Layout::Mjpeg, None) => Frames::Mjpeg,
        (Layout::Mjpeg, Some(_)) => {
            return Err(
                "MJPEG pictures say their size themselves; leave width and height out".into(),
            );
        }
        (layout, None) => {
            return Err(format!(
                "raw frames need their size: command,format={},width=640,height=480:PROGRAM …",
                layout.name().to_lowercase()
            ));
        }
        (layout, Some((width, height))) => Frames::Raw {
            layout,
            width,
            height,
            bytes: width as usize * height as usize * layout.bytes_a_pixel(),
        },
    };
    Ok(CommandSpec { words, frames })
}

enum Format {
    Picture(Layout),
    Sound(Encoding),
}

/// What stands between commas.
#[derive(Default)]
struct Options {
    width: Option<u32>,
    height: Option<u32>,
    format: Option<Format>,
    rate_hz: Option<u32>,
    channels: Option<u32>,
    window_ms: Option<u32>,
}

impl Options {
    fn parse(text: &str) -> Result<Options, String> {
        let mut options = Options::default();
        for field in text.split(',').filter(|field| !field.is_empty()) {
            match field.split_once('=') {
                Some(("width", value)) => once(field, &mut options.width, side(value)?)?,
                Some(("height", value)) => once(field, &mut options.height, side(value)?)?,
                Some(("format", value)) => once(field, &mut options.format, format(value)?)?,
                Some(("rate", value)) => once(field, &mut options.rate_hz, whole(value)?)?,
                Some(("channels", value)) => once(field, &mut options.channels, whole(value)?)?,
                Some(("window_ms", value)) => once(field, &mut options.window_ms, whole(value)?)?,
                _ => {
                    return Err(format!(
                        "'{field}' is not an option; expected width=, height= or format=, and of sound rate=, channels= or window_ms="
                    ));
                }
            }
        }
        Ok(options)
    }

    /// A microphone's usual 16 kHz, one channel, and windows of a second where nothing else is said.
    fn sound(&self) -> Result<Option<Sound>, String> {
        let numbers = [self.rate_hz, self.channels, self.window_ms];
        let Some(Format::Sound(encoding)) = self.format else {
            return match numbers {
                [None, None, None] => Ok(None),
                _ => {
                    Err("rate, channels and window_ms go with format=s16le, s32le or f32le".into())
                }
            };
        };
        if self.width.is_some() || self.height.is_some() {
            return Err("sound has no width and no height".into());
        }
        let [rate_hz, channels, window_ms] = numbers;
        Sound::new(
            encoding,
            rate_hz.unwrap_or(16_000),
            channels.unwrap_or(1),
            window_ms.unwrap_or(1_000),
        )
        .map(Some)
    }

    fn layout(&self) -> Option<Layout> {
        match self.format {
            Some(Format::Picture(layout)) => Some(layout),
            _ => None,
        }
    }

    fn size(&self) -> Result<Option<(u32, u32)>, String> {
        match (self.width, self.height) {
            (None, None) => Ok(None),
            (Some(width), Some(height)) => {
                check_size(width.into(), height.into()).map_err(|e| e.to_string())?;
                Ok(Some((width, height)))
            }
            _ => Err("width and height go together".into()),
        }
    }
}

fn whole(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("expected a whole number, got '{text}'"))
}

fn side(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("expected a number of pixels, got '{text}'"))
}

fn format(text: &str) -> Result<Format, String> {
    if let Some(encoding) = Encoding::named(text) {
        return Ok(Format::Sound(encoding));
    }
    let layout = match text {
        "yuyv" => Layout::Yuyv,
        "mjpeg" => Layout::Mjpeg,
        "rgb" => Layout::Rgb24,
        "grey" => Layout::Grey,
        other => {
            return Err(format!(
                "expected format=yuyv, mjpeg, rgb or grey, or for sound s16le, s32le or f32le, got '{other}'"
            ));
        }
    };
    Ok(Format::Picture(layout))
}

/// Words between spaces; what stands in '…' or "…" is one word. No shell: nothing else has a meaning.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let (mut word, mut begun, mut quote) = (String::new(), false, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => (quote, begun) = (Some(c), true),
            (None, c) if c.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (None, c) => {
                word.push(c);
                begun = true;
            }
        }
    }
    if let Some(open) = quote {
        return Err(format!("a {open} is not closed"));
    }
    if begun {
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::option;
    use proptest::prelude::*;

    fn refused(text: &str) -> String {
        match parse(text) {
            Ok(_) => panic!("{text}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_camera_is_named_by_device_size_and_format_or_not_at_all() {
        let camera = |text: &str| match parse(text) {
            Ok(Spec::Camera(spec)) => spec,
            _ => panic!("{text}"),
        };
        let plain = CameraSpec {
            device: "/dev/video0".into(),
            size: None,
            layout: None,
        };
        assert_eq!(camera("camera"), plain);
        assert_eq!(camera("camera:/dev/video0"), plain);
        let asked = camera("camera:/dev/v4l/by-id/usb-a:b,width=1280,height=720,format=mjpeg");
        assert_eq!(asked.device, PathBuf::from("/dev/v4l/by-id/usb-a:b"));
        assert_eq!(
            (asked.size, asked.layout),
            (Some((1280, 720)), Some(Layout::Mjpeg))
        );
        assert_eq!(camera("camera,format=grey").layout, Some(Layout::Grey));
    }

    #[test]
    fn a_command_is_a_program_with_its_words_and_what_it_writes() {
        let command = |text: &str| match parse(text) {
            Ok(Spec::Command(spec)) => spec,
            _ => panic!("{text}"),
        };
        let spec = command("command:sh -c 'a | b' \"c d\"e  -o -");
        assert_eq!(spec.words, ["sh", "-c", "a | b", "c de", "-o", "-"]);
        assert_eq!(spec.frames, Frames::Mjpeg);
        let spec = command("command,format=yuyv,width=16,height=8:cam a:b,c=d");
        assert_eq!(spec.words, ["cam", "a:b,c=d"]);
        assert!(matches!(spec.frames, Frames::Raw { bytes: 256, .. }));
        assert_eq!(command("command:x ''").words, ["x", ""]);
    }

    proptest! {
        #[test]
        fn sound_is_what_its_options_say_or_is_refused_out_of_bounds(
            name in "s16le|s32le|f32le",
            rate_hz in option::of(0u32..400_000),
            channels in option::of(0u32..12),
            window_ms in option::of(0u32..7_000),
            backwards: bool,
        ) {
            let fields = [("rate", rate_hz), ("channels", channels), ("window_ms", window_ms)];
            let mut options: Vec<String> = fields
                .iter()
                .filter_map(|(name, value)| value.map(|value| format!("{name}={value}")))
                .collect();
            options.push(format!("format={name}"));
            if backwards {
                options.reverse();
            }
            let parsed = parse(&format!("command,{}:arecord -t raw", options.join(",")));
            let encoding = Encoding::named(&name).unwrap();
            let [rate_hz, channels, window_ms] =
                [rate_hz.unwrap_or(16_000), channels.unwrap_or(1), window_ms.unwrap_or(1_000)];
            match (parsed, Sound::new(encoding, rate_hz, channels, window_ms)) {
                (Ok(Spec::Command(spec)), Ok(sound)) => {
                    prop_assert_eq!(spec.frames, Frames::Sound(sound));
                    prop_assert_eq!(spec.words, ["arecord", "-t", "raw"]);
                }
                (Err(SourceError::Unknown { what, .. }), Err(said)) => prop_assert_eq!(what, said),
                _ => prop_assert!(false, "{:?}", options),
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_was_expected() {
        for (text, part) in [
            ("", "expected file, camera"),
            ("video", "expected file, camera"),
            ("file", "expected ':' behind file"),
            ("line,1", "expected ':'"),
            ("line:x", "seed"),
            ("line:1,light=noon", "light=noon"),
            ("line:1,part=wheel", "one of"),
            ("camera:video0", "such as /dev/video0"),
            ("camera:", "such as /dev/video0"),
            ("camera,width=640", "go together"),
            ("camera,width=0,height=0", "at least 8x8"),
            ("camera,width=x,height=1", "pixels, got 'x'"),
            ("camera,width=90000,height=90000", "at most"),
            ("camera,format=h264", "got 'h264'"),
            ("camera,fps=3", "fps=3"),
            ("command", "command:PROGRAM"),
            ("command:", "command:PROGRAM"),
            ("command:  ", "command:PROGRAM"),
            ("command:''", "command:PROGRAM"),
            ("command:'a", "not closed"),
            ("command,format=rgb:a", "need their size"),
            ("command,width=64,height=64:a", "themselves"),
            ("command,colour=1:a", "colour=1"),
            ("command,rate=8000:a", "go with format=s16le"),
            (
                "command,format=rgb,width=8,height=8,rate=8000:a",
                "go with format=s16le",
            ),
            (
                "command,format=s16le,rate=7999:a",
                "rate=8000 to 192000, got 7999",
            ),
            ("command,format=s16le,rate=192001:a", "got 192001"),
            (
                "command,format=s16le,rate=16kHz:a",
                "whole number, got '16kHz'",
            ),
            ("command,format=s32le,rate=-1:a", "whole number, got '-1'"),
            ("command,format=s16le,rate=99999999999:a", "whole number"),
            (
                "command,format=f32le,channels=0:a",
                "channels=1 to 8, got 0",
            ),
            (
                "command,format=s16le,channels=9:a",
                "channels=1 to 8, got 9",
            ),
            (
                "command,format=s16le,window_ms=19:a",
                "window_ms=20 to 5000, got 19",
            ),
            ("command,format=s16le,window_ms=5001:a", "got 5001"),
            ("command,format=s16le,width=8,height=8:a", "no width"),
            (
                "command,format=s16le,format=rgb:a",
                "format= is given twice",
            ),
            (
                "command,format=s16le,format=s32le:a",
                "format= is given twice",
            ),
            (
                "command,format=s16le,rate=8000,rate=8000:a",
                "rate= is given twice",
            ),
            (
                "camera,width=64,height=64,width=32",
                "width= is given twice",
            ),
            ("line:1,light=day,light=evening", "light= is given twice"),
            ("line:1,part=gear,part=screw", "part= is given twice"),
            ("command,format=s24le:a", "s32le or f32le, got 's24le'"),
            ("command,format=s16le:", "command:PROGRAM"),
            ("camera,format=s16le", "gives no sound"),
        ] {
            let error = refused(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
