//! One board, checked: what it is, what hangs on it, and what it has to keep to.

use super::BoardError;
use super::reader::{Reader, number_in};
use crate::source::command::Frames;
use crate::source::{self, Spec};
use std::ops::RangeInclusive;
use toml::{Table, Value};

/// Cores of the largest computer that Linux is built for by default (CONFIG_NR_CPUS of x86-64 is at most 8,192).
const CORES: RangeInclusive<u32> = 1..=8_192;
/// 64 MB to 16 TB.
const MEMORY_MB: RangeInclusive<u32> = 64..=16_777_216;
/// Up to a minute: a backbone that takes longer is of no use.
const LATENCY_MS: RangeInclusive<u32> = 1..=60_000;
/// The header of every board here has 40 pins; 128 leaves room.
const HEADER_PINS: RangeInclusive<u32> = 1..=128;
/// Lines of one chip: the character device counts them in 32 bits, the largest chip has some hundreds.
const LINES: RangeInclusive<u32> = 0..=65_535;
const TARGETS: [&str; 4] = [
    "aarch64-unknown-linux-gnu",
    "aarch64-unknown-linux-musl",
    "x86_64-unknown-linux-gnu",
    "host",
];
const FORMATS: [&str; 4] = ["YUYV", "MJPEG", "RGB", "GREY"];

/// A board.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub name: String,
    pub title: String,
    /// Names in the device tree's root; empty for a board that is taken when no other fits.
    pub compatible: Vec<String>,
    /// What the program is built for.
    pub target: String,
    pub cpu: Cpu,
    pub memory_mb: u32,
    pub budget: Budget,
    pub cameras: Vec<Camera>,
    pub i2c: Vec<Bus>,
    pub spi: Vec<Bus>,
    /// `None` where the header is not known.
    pub gpio: Option<Gpio>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Cpu {
    pub model: String,
    pub cores: u32,
    /// Names in the line `Features` of `/proc/cpuinfo`.
    pub features: Vec<String>,
    /// Threads of one inference; 0 takes all cores.
    pub threads: u32,
}

/// What the board has to keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Of one inference with the default backbone: 99 of 100 take at most so long.
    pub latency_ms_p99_max: u32,
    /// Peak resident memory of the process, in MB (10⁶ bytes).
    pub rss_mb_max: u32,
}

/// A camera that this board may have.
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    pub name: String,
    /// As `--source` takes it.
    pub source: String,
    pub formats: Vec<String>,
}

/// A bus of the header.
#[derive(Clone, Debug, PartialEq)]
pub struct Bus {
    pub device: String,
    /// Numbers on the header.
    pub pins: Vec<u32>,
    /// How to switch it on.
    pub enable: String,
}

/// The pins of the header that are lines of a GPIO chip.
#[derive(Clone, Debug, PartialEq)]
pub struct Gpio {
    /// The chip's label; its number among `/dev/gpiochip*` is the kernel's choice.
    pub chip: String,
    pub pins: Vec<Pin>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Pin {
    /// Number on the header.
    pub header: u32,
    pub name: String,
    /// Number of the line on the chip.
    pub line: u32,
}

impl Profile {
    /// Parses and checks a profile; `file` is what errors call it.
    pub fn parse(file: &str, text: &str) -> Result<Profile, BoardError> {
        let table: Table = toml::from_str(text).map_err(|e| BoardError::Syntax {
            file: file.into(),
            what: e.message().to_owned(),
            line: e.span().map_or(0, |span| line_of(text, span.start)),
        })?;
        let mut root = Reader::new(file, &table);
        let profile = Profile {
            name: root.named("name", "small letters, digits and '-'", name)?,
            title: root.text("title")?.into(),
            compatible: root.texts("compatible")?,
            target: root.named("target", &one_of(&TARGETS), known(&TARGETS))?,
            cpu: cpu(root.table("cpu")?)?,
            memory_mb: memory(root.table("memory")?)?,
            budget: budget(root.table("budget")?)?,
            cameras: each(root.tables("camera")?, camera)?,
            i2c: each(root.tables("i2c")?, bus)?,
            spi: each(root.tables("spi")?, bus)?,
            gpio: root.optional("gpio")?.map(gpio).transpose()?,
        };
        root.finish()?;
        Ok(profile)
    }

    /// The pin with this name, or with this number on the header (`GPIO17`, `11`).
    pub fn pin(&self, name: &str) -> Result<(&Gpio, &Pin), BoardError> {
        let found = self.gpio.as_ref().and_then(|gpio| {
            let mut pins = gpio.pins.iter();
            pins.find(|pin| pin.name == name || pin.header.to_string() == name)
                .map(|pin| (gpio, pin))
        });
        found.ok_or_else(|| BoardError::NoPin {
            board: self.name.clone(),
            pin: name.into(),
            known: match &self.gpio {
                Some(gpio) => {
                    let names: Vec<&str> = gpio.pins.iter().map(|pin| &*pin.name).collect();
                    names.join(", ")
                }
                None => "none".into(),
            },
        })
    }
}

fn each<T>(
    readers: Vec<Reader<'_>>,
    read: impl Fn(Reader<'_>) -> Result<T, BoardError>,
) -> Result<Vec<T>, BoardError> {
    readers.into_iter().map(read).collect()
}

fn cpu(mut table: Reader<'_>) -> Result<Cpu, BoardError> {
    let cpu = Cpu {
        model: table.text("model")?.into(),
        cores: table.number("cores", CORES)?,
        features: table.texts("features")?,
        threads: table.number("threads", 0..=*CORES.end())?,
    };
    table.finish()?;
    Ok(cpu)
}

fn memory(mut table: Reader<'_>) -> Result<u32, BoardError> {
    let mb = table.number("mb", MEMORY_MB)?;
    table.finish()?;
    Ok(mb)
}

fn budget(mut table: Reader<'_>) -> Result<Budget, BoardError> {
    let budget = Budget {
        latency_ms_p99_max: table.number("latency_ms_p99_max", LATENCY_MS)?,
        rss_mb_max: table.number("rss_mb_max", 1..=*MEMORY_MB.end())?,
    };
    table.finish()?;
    Ok(budget)
}

fn camera(mut table: Reader<'_>) -> Result<Camera, BoardError> {
    let camera = Camera {
        name: table.text("name")?.into(),
        source: table.named(
            "source",
            "camera:… or command:… as --source takes it",
            |text| {
                let parsed = source::parse(text);
                let pictures = match parsed {
                    Ok(Spec::Camera(_)) => true,
                    Ok(Spec::Command(spec)) => !matches!(spec.frames, Frames::Sound(_)),
                    _ => false,
                };
                pictures.then(|| text.to_owned())
            },
        )?,
        formats: table.each("formats", &one_of(&FORMATS), |value| {
            known(&FORMATS)(value.as_str()?)
        })?,
    };
    table.finish()?;
    Ok(camera)
}

fn bus(mut table: Reader<'_>) -> Result<Bus, BoardError> {
    let bus = Bus {
        device: table.named("device", "a path below /dev", |text| {
            text.starts_with("/dev/").then(|| text.to_owned())
        })?,
        pins: table.each("pins", "a number of the header's pins", |value| {
            number_in(value, &HEADER_PINS)
        })?,
        enable: table.text("enable")?.into(),
    };
    table.finish()?;
    Ok(bus)
}

fn gpio(mut table: Reader<'_>) -> Result<Gpio, BoardError> {
    let expected = "[number on the header, name, line of the chip]";
    let gpio = Gpio {
        chip: table.text("chip")?.into(),
        pins: table.each("pins", expected, pin)?,
    };
    let twice = gpio.pins.iter().enumerate().find(|(at, pin)| {
        let mut earlier = gpio.pins.iter().take(*at);
        earlier.any(|other| {
            other.header == pin.header || other.name == pin.name || other.line == pin.line
        })
    });
    if let Some((at, pin)) = twice {
        let key = format!("pins[{at}]");
        let expected = "a number, a name and a line that no other pin has";
        return Err(table.wrong(&key, expected.into(), &pin.name.as_str().into()));
    }
    table.finish()?;
    Ok(gpio)
}

fn pin(value: &Value) -> Option<Pin> {
    let [header, name, line] = value.as_array()?.as_slice() else {
        return None;
    };
    Some(Pin {
        header: number_in(header, &HEADER_PINS)?,
        name: name.as_str().filter(|name| !name.is_empty())?.to_owned(),
        line: number_in(line, &LINES)?,
    })
}

fn name(text: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.chars().all(fits).then(|| text.to_owned())
}

fn known(names: &'static [&'static str]) -> impl Fn(&str) -> Option<String> {
    |text| names.contains(&text).then(|| text.to_owned())
}

fn one_of(names: &[&str]) -> String {
    format!("one of {}", names.join(", "))
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    before.filter(|&&byte| byte == b'\n').count() + 1
}
