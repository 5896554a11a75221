//! `board`: which board this is, what it has and lacks, and what its sensors say.

use super::bench::peak_rss_mb;
use super::context::Context;
use super::example::Example;
use super::output::{self, fit, ms_since, round};
use super::sound;
use anyhow::Result;
use clap::{Args, Subcommand};
use fieldhead::board::check::{self, Bench, Finding, Severity};
use fieldhead::board::{self, Found, Profile};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub struct Board {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Look for what is missing or wrong, and say what to do about it
    #[command(
        after_help = "Ends with 1 when something failed; warnings alone do not count.\n\nExamples:\n  fieldhead board check\n  fieldhead board check --board raspberry-pi-4 --seconds 0 --json"
    )]
    Check(Check),
    /// List the boards that are known
    #[command(after_help = "Example: fieldhead board list")]
    List,
    /// Print what a sensor on the I2C bus says, or how loud a microphone is
    #[command(after_help = READ)]
    Read(Read),
}

const READ: &str = "\
Kinds: tmp105, lm75 (temperature), adxl345 (acceleration, 100 rows a second)

Sound: any program that writes samples on its standard output, as
  command,format=F[,rate=HZ][,channels=N][,window_ms=MS]:PROGRAM …
F is s16le, s32le or f32le; without more it is 16000 Hz, one channel, windows of
1000 ms. A row is a channel of a window: its peak and root mean square (RMS) in
dB relative to full scale (dBFS; a sine of full scale has an RMS of -3.01), and
the share of samples at the ends of the scale. Digital silence is a window of
equal samples: the microphone is off, muted or not connected.

Examples:
  fieldhead board read i2c:1:0x48,kind=tmp105 --count 5
  fieldhead board read --count 5 \\
    'command,format=s16le,rate=16000:arecord -q -t raw -f S16_LE -r 16000'";

#[derive(Debug, Args)]
pub struct Check {
    /// The board, by name or by file; without it the device tree tells
    #[arg(long, value_name = "NAME|FILE")]
    pub board: Option<String>,
    /// Length of the benchmark; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=3_600))]
    pub seconds: u64,
    /// Where /proc, /sys and /dev are
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub root: PathBuf,
}

#[derive(Debug, Args)]
pub struct Read {
    /// i2c:BUS:ADDRESS,kind=KIND, or command,format=F[,…]:PROGRAM …
    #[arg(value_name = "SENSOR")]
    pub sensor: String,
    /// How many rows to print, of sound how many windows
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub count: u64,
    /// Time between two readings of a sensor; 250 without it
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub interval_ms: Option<u64>,
}

/// Something failed that the check looked at.
#[derive(Debug, thiserror::Error)]
#[error("{0} of the findings above failed; each says what to do")]
struct Failures(usize);

pub fn run(context: &Context, options: &Board) -> Result<()> {
    match &options.verb {
        Verb::Check(options) => check(context, options),
        Verb::List => list(context),
        Verb::Read(options) if options.sensor.starts_with("command") => {
            sound::read(context, options)
        }
        Verb::Read(options) => linux::read(context, options),
    }
}

/// `FIELDHEAD_BOARDS`, then `/usr/share/fieldhead/boards`.
fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("FIELDHEAD_BOARDS")
        .map(|value| std::env::split_paths(&value).collect())
        .unwrap_or_default();
    folders.push("/usr/share/fieldhead/boards".into());
    folders
}

/// The board that is named on the command line or by `FIELDHEAD_BOARD`, or the one this is.
pub fn chosen(named: Option<&str>) -> Result<Found> {
    let usual = std::env::var("FIELDHEAD_BOARD").ok();
    let usual = usual.as_deref().filter(|name| !name.is_empty());
    match named.or(usual) {
        Some(name) => Ok(board::find(name, &folders())?),
        None => here(Path::new("/")),
    }
}

fn here(root: &Path) -> Result<Found> {
    Ok(board::detect(root, std::env::consts::ARCH, &folders())?)
}

fn list(context: &Context) -> Result<()> {
    let here = here(Path::new("/"))?;
    for found in board::all(&folders())? {
        let profile = &found.profile;
        let this = *profile == here.profile;
        context.out.json(&listed(&found, this))?;
        let mark = if this { '*' } else { ' ' };
        context.out.line(format!(
            "{mark} {:22} {:44} {:>5} ms",
            fit(&profile.name, 22),
            fit(&profile.title, 44),
            profile.budget.latency_ms_p99_max
        ))?;
        for camera in &profile.cameras {
            context
                .out
                .line(format!("    --source '{}'", camera.source))?;
        }
    }
    context
        .out
        .line("* is this board; ms is what 99 of 100 inferences may take")?;
    Ok(())
}

fn listed(found: &Found, this: bool) -> Value {
    let profile = &found.profile;
    json!({
        "name": profile.name,
        "title": profile.title,
        "this": this,
        "path": found.path.as_ref().map(|path| path.display().to_string()),
        "target": profile.target,
        "cpu": profile.cpu.model,
        "cores": profile.cpu.cores,
        "threads": profile.cpu.threads,
        "memory_mb": profile.memory_mb,
        "latency_ms_p99_max": profile.budget.latency_ms_p99_max,
        "rss_mb_max": profile.budget.rss_mb_max,
        "sources": profile.cameras.iter().map(|it| &it.source).collect::<Vec<_>>(),
        "i2c": profile.i2c.iter().map(|it| &it.device).collect::<Vec<_>>(),
        "pins": profile.gpio.as_ref().map(|gpio| {
            gpio.pins.iter().map(|pin| (pin.name.clone(), pin.header.into())).collect::<serde_json::Map<_, _>>()
        }),
    })
}

fn check(context: &Context, options: &Check) -> Result<()> {
    let found = match &options.board {
        Some(name) => chosen(Some(name))?,
        None => here(&options.root)?,
    };
    let profile = &found.profile;
    // First, so that heat and power are those of a board that works.
    let bench = (options.seconds > 0)
        .then(|| measure(context, profile, options.seconds))
        .transpose()?;
    let mut findings = linux::check(context, profile, &options.root)?;
    findings.extend(bench.iter().flat_map(|bench| check::bench(profile, bench)));
    let count = |severity| findings.iter().filter(|it| it.severity == severity).count();
    let (ok, warn, fail) = (
        count(Severity::Ok),
        count(Severity::Warn),
        count(Severity::Fail),
    );
    context.out.json(&json!({
        "board": profile.name,
        "findings": findings.iter().map(|it| json!({
            "area": it.area,
            "severity": it.severity.name(),
            "found": it.found,
            "cure": it.cure,
        })).collect::<Vec<_>>(),
        "ok": ok,
        "warn": warn,
        "fail": fail,
        "bench": bench.as_ref().map(|it| json!({
            "kernel": it.kernel,
            "threads": it.threads,
            "runs": it.latencies_ms.len(),
            "latency_ms": {"median": round(it.quantile_ms(0.5)), "p99": round(it.quantile_ms(0.99))},
            "rss_mb": it.rss_mb.map(round),
        })),
    }))?;
    for finding in &findings {
        for line in shown(finding) {
            context.out.line(line)?;
        }
    }
    context.out.line(format!(
        "{ok} ok, {}, {}",
        output::count(warn, "warning"),
        output::count(fail, "failure")
    ))?;
    match fail {
        0 => Ok(()),
        _ => Err(Failures(fail).into()),
    }
}

/// Inferences of the default backbone for so many seconds.
fn measure(context: &Context, profile: &Profile, seconds: u64) -> Result<Bench> {
    let embedder = context.embedder()?;
    let threads = match profile.cpu.threads as usize {
        0 => context.threads,
        threads => threads.min(context.threads),
    };
    let backbone = embedder.backbone();
    let example = Example::of(backbone, embedder.recipe())?;
    // The first runs find their memory and wake the processor.
    for _ in 0..3 {
        example.run(backbone, threads)?;
    }
    let bar = context.out.progress(seconds, "measuring");
    let mut latencies_ms = Vec::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        let one = Instant::now();
        example.run(backbone, threads)?;
        latencies_ms.push(ms_since(one));
        bar.set_position(start.elapsed().as_secs());
    }
    bar.finish_and_clear();
    Ok(Bench {
        kernel: backbone.kernel().to_owned(),
        threads,
        latencies_ms,
        rss_mb: peak_rss_mb(),
    })
}

/// A finding and its cure, wrapped to 80 columns.
fn shown(finding: &Finding) -> Vec<String> {
    let head = format!("{:4}  {:8}", finding.severity.name(), finding.area);
    let mut lines = wrapped(&head, &finding.found);
    if let Some(cure) = &finding.cure {
        lines.extend(wrapped("            →", cure));
    }
    lines
}

fn wrapped(head: &str, text: &str) -> Vec<String> {
    const WIDTH: usize = 80;
    let indent = head.chars().count() + 1;
    let mut lines = Vec::new();
    let mut line = head.to_owned();
    for word in text.split_whitespace() {
        let longer = line.chars().count() + 1 + word.chars().count();
        if longer > WIDTH && line.trim() != head.trim() && !line.trim().is_empty() {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent - 1)));
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{Context, Duration, Finding, Path, Profile, Read, Result, json};
    use fieldhead::board::check::{self, Linux, Subject};
    use fieldhead::device::linux::open_bus;
    use fieldhead::device::sensor::SensorSpec;
    use serde_json::Map;

    const INTERVAL_MS: u64 = 250;

    pub fn check(context: &Context, profile: &Profile, root: &Path) -> Result<Vec<Finding>> {
        let store = context.open_read_only().ok();
        let used = store.and_then(|store| store.photo_bytes().ok());
        let room = context.settings.photo_budget_bytes;
        let subject = Subject {
            profile,
            root,
            arch: std::env::consts::ARCH,
            field: &context.folder,
            photo_bytes: room.saturating_sub(used.unwrap_or(0)),
        };
        let mut system = Linux {
            root: root.into(),
            path: std::env::var_os("PATH").unwrap_or_default(),
        };
        Ok(check::check(&subject, &mut system))
    }

    pub fn read(context: &Context, options: &Read) -> Result<()> {
        let spec = SensorSpec::parse(&options.sensor)?;
        let mut sensor = spec.start(open_bus(&spec.bus)?)?;
        let channels = sensor.channels();
        let interval_ms = options.interval_ms.unwrap_or(INTERVAL_MS);
        context.out.line(channels.join(","))?;
        let mut seq = 0;
        while seq < options.count {
            // A sensor that was only just set up has nothing to say yet.
            std::thread::sleep(Duration::from_millis(interval_ms));
            let mut rows = Vec::new();
            sensor.read(&mut rows)?;
            let time_us = (context.clock)();
            for row in rows.chunks(channels.len()) {
                if seq == options.count {
                    break;
                }
                let mut object = Map::new();
                object.insert("seq".into(), json!(seq));
                object.insert("time_us".into(), json!(time_us));
                for (name, value) in channels.iter().zip(row) {
                    object.insert((*name).into(), json!(value));
                }
                context.out.json(&object)?;
                let numbers: Vec<String> = row.iter().map(f32::to_string).collect();
                context.out.line(numbers.join(","))?;
                seq += 1;
            }
        }
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod linux {
    use super::super::exit::Usage;
    use super::{Context, Finding, Path, Profile, Read, Result};

    pub fn check(_: &Context, _: &Profile, _: &Path) -> Result<Vec<Finding>> {
        Err(Usage("a board is checked on Linux".into()).into())
    }

    pub fn read(_: &Context, _: &Read) -> Result<()> {
        Err(Usage("sensors are read on Linux".into()).into())
    }
}
