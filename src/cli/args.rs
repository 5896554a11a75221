//! What can be typed: verbs, options, and help with an example each.

use super::wires::{Contact, Wire};
use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand};
use fieldhead::features::FeatureSet;
use fieldhead::head::{COVERAGE, ClassWeights, HeadKind, Normalization, check_penalty};
use fieldhead::preprocess::Fit;
use fieldhead::preprocess::augment::MOST_COPIES;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Time for choosing a view and features, without --budget-ms.
pub const BUDGET_MS: u32 = 20_000;

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage, 3 bad input, 4 device, 5 store, 6 model or head mismatch";

/// Where pictures come from, for the help of every verb with `--source`.
macro_rules! sources {
    () => {
        "Sources:
  camera[:DEVICE][,width=W,height=H,format=F]
                     a V4L2 camera; F is yuyv, mjpeg, rgb or grey
  command:PROGRAM …  a program that writes JPEG pictures on its standard output
  command,format=F,width=W,height=H:PROGRAM …
                     a program that writes raw frames
  command,format=s16le,rate=16000[,window_ms=1000]:PROGRAM …
                     a program that writes sound: s16le, s32le or f32le
  i2c:BUS:ADDRESS,kind=adxl345[,steps=100]
                     windows of a sensor: adxl345, tmp105 or lm75
  file:PATH          a photo, a sound or a window of a sensor, or a folder
  line:SEED[,light=evening][,part=gear]
                     the simulated line\n\n"
    };
}

/// A classifier that learns where it works.
#[derive(Debug, Parser)]
#[command(name = "fieldhead", version, after_help = EXIT_CODES, max_term_width = 80)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Folder of the field: its samples, heads, journal and settings
    #[arg(long, global = true, value_name = "DIR", default_value = "field")]
    pub field: PathBuf,
    /// Backbone by name, or a folder with card.toml
    #[arg(long, global = true, value_name = "NAME|DIR")]
    pub backbone: Option<String>,
    /// How a photo is fitted to the backbone: auto, squash, crop, letterbox or both
    #[arg(long, global = true, value_name = "FIT", value_parser = choice::<Fit>)]
    pub fit: Option<Choice<Fit>>,
    /// Which outputs are features: auto, final or multi. Like --fit, it becomes a setting of a new field
    #[arg(long = "features", global = true, value_name = "SET", value_parser = choice::<FeatureSet>)]
    pub set: Option<Choice<FeatureSet>>,
    /// Threads for embedding photos, up to 256; 0 takes all cores
    #[arg(long, global = true, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=256))]
    pub threads: u16,
    /// Print JSON on stdout, nothing else
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Collect, train, shift, correct and reload on the simulated line; no device
    #[command(after_help = "Example: fieldhead demo --seed 3")]
    Demo(Demo),
    /// Take in labelled samples
    #[command(
        after_help = concat!(sources!(), "Examples:\n  fieldhead collect --from photos --burst-regex '^(tile[0-9]+)_'\n  fieldhead collect --from gestures\n  fieldhead collect --label washer --source line:7,part=washer --count 10\n  fieldhead collect --label washer --source camera --count 10\n  fieldhead collect --label bearing --source i2c:1:0x53,kind=adxl345 --count 10\n  fieldhead collect --source camera --button gear=GPIO17 --button nut=GPIO27")
    )]
    Collect(Collect),
    /// Train a head on the samples of the field
    #[command(after_help = "Example: fieldhead train --head softmax")]
    Train(Train),
    /// Measure the head on a folder of labelled samples that it has not seen
    #[command(
        after_help = "Examples:\n  fieldhead eval --from photos/val --json\n  fieldhead eval --from photos/val --html report.html"
    )]
    Eval(Eval),
    /// Say what photos show
    #[command(
        after_help = concat!(sources!(), "Examples:\n  fieldhead predict new/*.jpg\n  fieldhead predict --coverage 0.95 new\n  fieldhead predict --source line:9 --count 5\n  fieldhead predict --source camera --count 1000 --lamp gear=GPIO5\n  fieldhead predict --source camera --wrong GPIO22 --button gear=GPIO17")
    )]
    Predict(Predict),
    /// Answer what a source gives without end, by the head in use at that time
    #[command(
        after_help = concat!(sources!(), "What another call trains, corrects or rolls back is in use from the next frame on.\n\nExamples:\n  fieldhead run --source camera --lamp gear=GPIO5\n  fieldhead run --source camera --wrong GPIO22 --button gear=GPIO17 --json")
    )]
    Run(Run),
    /// Show the field in a browser: live answers, collecting, training, correcting
    #[command(
        after_help = concat!(sources!(), "Beyond this machine a token is asked for, and nothing is encrypted: in a network that others use too,\ngo through ssh -L 8080:localhost:8080 BOARD instead.\n\nExamples:\n  fieldhead serve --source camera\n  head -c 18 /dev/urandom | base64 > token\n  fieldhead serve --source camera --listen 0.0.0.0:8080 --token-file token")
    )]
    Serve(Serve),
    /// Learn from one mistake at once
    #[command(
        after_help = "Examples:\n  fieldhead correct --label gear wrong.jpg\n  fieldhead correct --label gear --sample 17"
    )]
    Correct(Correct),
    /// Make the head as if a sample had never been collected
    #[command(after_help = "Example: fieldhead forget --sample 17")]
    Forget(Forget),
    /// List the samples of the field
    #[command(
        after_help = "--suspect trains heads that never saw the sample they judge, and lists first what they doubt most.\n\nExample: fieldhead samples --suspect --count 20"
    )]
    Samples(SamplesOptions),
    /// List classes, or rename, merge and remove them
    #[command(
        after_help = "The head in use is trained again, as if all samples had been collected so.\n\nExamples:\n  fieldhead class\n  fieldhead class rename grey-bird sparrow\n  fieldhead class merge hen rooster\n  fieldhead class remove blurred"
    )]
    Class(Class),
    /// List the versions of the head
    #[command(after_help = "Example: fieldhead history")]
    History,
    /// Put an earlier version of the head back in use; samples stay
    #[command(
        after_help = "Samples stay: the next correct, forget or train learns from all of them again.\n`fieldhead forget --sample ID` takes out what was wrong.\n\nExample: fieldhead rollback 3"
    )]
    Rollback(Rollback),
    /// Write the head in use to a file
    #[command(after_help = "Example: fieldhead export birds.fhead")]
    Export(File),
    /// Take in a head from a file
    #[command(after_help = "Example: fieldhead import birds.fhead")]
    Import(File),
    /// Write the features of a folder of labelled samples for numpy
    #[command(after_help = "Example: fieldhead features --from photos --out photos.npz")]
    Features(Features),
    /// Measure accuracy by the number of samples a class
    #[command(
        after_help = "Features that were computed elsewhere come as two .npz files with the arrays features (f32), labels (i64), label_names and, if known, bursts (i64), as numpy.savez writes them.\n\nExamples:\n  fieldhead fewshot --train photos/train --test photos/val --shots 1,5,20,all\n  fieldhead fewshot --train train.npz --test test.npz"
    )]
    Fewshot(Fewshot),
    /// Measure this machine: loading, inference, training, correcting, memory
    #[command(after_help = "Example: fieldhead bench --threads 1 --json")]
    Bench(Bench),
    /// List the installed backbones, or rank them on the samples of the field
    #[command(
        after_help = "--rank embeds the kept photos by each backbone and compares cross-validated accuracy, transferability, time and memory.\n\nExample: fieldhead backbones --rank"
    )]
    Backbones(Backbones),
    /// Check the board this runs on, list those that are known, read a sensor
    #[command(after_help = "Example: fieldhead board check")]
    Board(super::board::Board),
    /// Print what a shell needs to complete these commands
    #[command(
        after_help = "Examples:\n  fieldhead completions bash > ~/.local/share/bash-completion/completions/fieldhead\n  source <(fieldhead completions zsh)"
    )]
    Completions(super::complete::Completions),
    /// Write the manual pages to a folder
    #[command(hide = true, after_help = "Example: fieldhead man /tmp/man1")]
    Man(super::complete::Man),
}

#[derive(Debug, ClapArgs)]
pub struct Demo {
    /// Seed of the simulated line
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Fresh frames for each accuracy; fewer take less time and tell less
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub frames: u32,
}

#[derive(Debug, ClapArgs)]
pub struct Collect {
    /// Folder of classes: DIR/<label>/<file>, photos (JPEG, PNG), sounds (WAV), or windows of a sensor (CSV with a row a time step and
    /// a column a channel, or raw little-endian .f32)
    #[arg(long, value_name = "DIR", conflicts_with_all = ["label", "source"], required_unless_present_any = ["label", "buttons", "source"])]
    pub from: Option<PathBuf>,
    /// With --from: what in a file's name tells its capture burst (first group, or the whole match)
    #[arg(long, value_name = "REGEX", requires = "from")]
    pub burst_regex: Option<String>,
    /// With --from: learn so many changed copies of each photo too, mirrored, cut closer and in other light; try it, it seldom
    /// helps
    #[arg(long, value_name = "N", default_value_t = 0, requires = "from", value_parser = clap::value_parser!(u8).range(0..=MOST_COPIES as i64))]
    pub augment: u8,
    /// Label of everything that the source gives
    #[arg(long, requires = "source")]
    pub label: Option<String>,
    /// camera[:DEVICE], command:PROGRAM …, i2c:…, file:PATH or line:SEED
    #[arg(long, conflicts_with = "from")]
    pub source: Option<String>,
    /// How many to take; without it all that a recording has, one from a live source, and with buttons no end
    #[arg(long, value_name = "N", requires = "source")]
    pub count: Option<u64>,
    /// A button that collects its label while it is held: a pin of the header, to ground (PIN:high to the supply)
    #[arg(long = "button", value_name = "LABEL=PIN", requires = "source", conflicts_with_all = ["from", "label"], value_parser = Wire::button)]
    pub buttons: Vec<Wire>,
    /// The board whose pins these are, by name or by file; without it the device tree tells
    #[arg(long, value_name = "NAME|FILE", requires = "buttons")]
    pub board: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub struct Train {
    /// Kind of head: auto, softmax, ridge, prototype, lda or mlp; without it the field's setting
    #[arg(long, value_name = "HEAD", value_parser = choice::<HeadKind>)]
    pub head: Option<Choice<HeadKind>>,
    /// Seed of the splits
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Scaling of features: auto, none, l2, power (square root, then l2), standardize or power+standardize
    #[arg(long, value_name = "SCALING", default_value = "auto", value_parser = choice::<Normalization>)]
    pub normalization: Choice<Normalization>,
    /// Penalty on the weights (1/C), 1e-8 to 1e12; without it chosen on the samples
    #[arg(long, allow_negative_numbers = true, value_parser = penalty)]
    pub penalty: Option<f64>,
    /// How much rare classes count: balanced (as much as common ones) or none (every sample the same); without it the field's
    /// setting
    #[arg(long, value_name = "WEIGHTS")]
    pub class_weights: Option<ClassWeights>,
    /// Time after which no further view or features are tried, in ms
    #[arg(long, value_name = "MS", default_value_t = BUDGET_MS, value_parser = clap::value_parser!(u32).range(1..))]
    pub budget_ms: u32,
}

#[derive(Debug, ClapArgs)]
pub struct Eval {
    /// Folder of classes: DIR/<label>/<file>; in DIR/unknown what is of none of them, judged by whether it is called unknown
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Write a page to look at: confusion, calibration, the worst mistakes, a map
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct Predict {
    /// Photos, sounds or windows of a sensor, or folders of them
    #[arg(
        value_name = "PATH",
        required_unless_present = "source",
        conflicts_with_all = ["source", "lamps", "wrong", "buttons", "board"]
    )]
    pub paths: Vec<PathBuf>,
    /// camera[:DEVICE], command:PROGRAM …, i2c:…, file:PATH or line:SEED
    #[arg(long)]
    pub source: Option<String>,
    /// How many frames to take from a source; without it one, and with buttons no end
    #[arg(long, value_name = "N", requires = "source", conflicts_with = "paths")]
    pub count: Option<u64>,
    #[command(flatten)]
    pub wires: Wires,
    #[command(flatten)]
    pub sets: Sets,
}

#[derive(Debug, ClapArgs)]
pub struct Run {
    /// camera[:DEVICE], command:PROGRAM …, i2c:… or line:SEED
    #[arg(long)]
    pub source: String,
    /// How many frames to take; without it no end
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    #[command(flatten)]
    pub wires: Wires,
    #[command(flatten)]
    pub sets: Sets,
}

/// How large the sets of labels are that answers come with.
#[derive(Debug, ClapArgs)]
pub struct Sets {
    /// Share of answers whose set of labels should hold the right one, 0.5 to 0.999; without it the field's setting
    #[arg(long, value_name = "SHARE", value_parser = coverage)]
    pub coverage: Option<f64>,
}

/// What hangs on the board's header beside a source.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("wires").args(["lamps", "wrong"]).multiple(true))]
pub struct Wires {
    /// A lamp or relay that is on while its label is seen: a pin of the header (PIN:low if low means on); the label may be unknown
    #[arg(long = "lamp", value_name = "LABEL=PIN", requires = "source", value_parser = Wire::parse)]
    pub lamps: Vec<Wire>,
    /// A button that says that the last answer was wrong; a label's button within ten seconds says what it is, and that is learned
    /// as by `fieldhead correct`
    #[arg(long, value_name = "PIN", requires_all = ["source", "buttons"], value_parser = Contact::parse)]
    pub wrong: Option<Contact>,
    /// A label's button; pressed without --wrong before it, it does nothing. Pins as for collect
    #[arg(long = "button", value_name = "LABEL=PIN", requires_all = ["source", "wrong"], value_parser = Wire::button)]
    pub buttons: Vec<Wire>,
    /// The board whose pins these are, by name or by file; without it the device tree tells
    #[arg(long, value_name = "NAME|FILE", requires = "wires")]
    pub board: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// Address and port; beyond this machine only with a token
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// File that holds the token which requests have to carry
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// camera[:DEVICE], command:PROGRAM …, i2c:… or line:SEED: what the page shows, answers and learns from
    #[arg(long)]
    pub source: Option<String>,
    #[command(flatten)]
    pub sets: Sets,
}

#[derive(Debug, ClapArgs)]
pub struct Correct {
    /// What it really is
    #[arg(long)]
    pub label: String,
    /// The photo, sound or window that was taken for something else
    #[arg(
        value_name = "PATH",
        required_unless_present = "sample",
        conflicts_with = "sample"
    )]
    pub path: Option<PathBuf>,
    /// A sample of the field that carries a wrong label
    #[arg(long, value_name = "ID")]
    pub sample: Option<u64>,
}

#[derive(Debug, ClapArgs)]
pub struct Forget {
    /// Number of the sample
    #[arg(long, value_name = "ID")]
    pub sample: u64,
}

#[derive(Debug, ClapArgs)]
pub struct Class {
    #[command(subcommand)]
    pub change: Option<ClassChange>,
}

#[derive(Debug, Subcommand)]
pub enum ClassChange {
    /// Give a class another name
    #[command(after_help = "Example: fieldhead class rename grey-bird sparrow")]
    Rename {
        #[arg(value_name = "CLASS")]
        from: String,
        #[arg(value_name = "NAME")]
        to: String,
    },
    /// Make one class part of another
    #[command(after_help = "Example: fieldhead class merge hen rooster")]
    Merge {
        #[arg(value_name = "CLASS")]
        from: String,
        #[arg(value_name = "INTO")]
        to: String,
    },
    /// Forget all samples of a class
    #[command(after_help = "Example: fieldhead class remove blurred")]
    Remove {
        #[arg(value_name = "CLASS")]
        class: String,
    },
}

#[derive(Debug, ClapArgs)]
pub struct Rollback {
    /// Number of the version
    #[arg(value_name = "VERSION")]
    pub version: u64,
}

#[derive(Debug, ClapArgs)]
pub struct File {
    /// A .fhead file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct Features {
    /// Folder of classes: DIR/<label>/<file>
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Where to write the .npz file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct Fewshot {
    /// Folder of classes to draw shots from, or a file of features
    #[arg(long, value_name = "DIR|FILE.npz")]
    pub train: PathBuf,
    /// Folder of classes to test on, always whole, or a file of features
    #[arg(long, value_name = "DIR|FILE.npz")]
    pub test: PathBuf,
    /// Samples a class, comma-separated; 'all' takes the whole folder
    #[arg(long, value_delimiter = ',', default_value = "1,5,20", value_parser = shots)]
    pub shots: Vec<Shots>,
    /// How often the shots are drawn (seeds 0, 1, …)
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// Kinds of head, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "auto,softmax,ridge,prototype,lda", value_parser = choice::<HeadKind>)]
    pub heads: Vec<Choice<HeadKind>>,
}

#[derive(Debug, ClapArgs)]
pub struct Backbones {
    /// Score each on the samples of the field, best first
    #[arg(long)]
    pub rank: bool,
}

#[derive(Debug, ClapArgs)]
pub struct SamplesOptions {
    /// Only doubtful ones: likely wrong labels and outliers, worst first, with the reason
    #[arg(long)]
    pub suspect: bool,
    /// List at most so many of the doubtful
    #[arg(long, requires = "suspect", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Seed of the splits
    #[arg(long, default_value_t = 0, requires = "suspect")]
    pub seed: u64,
}

#[derive(Debug, ClapArgs)]
pub struct Bench {
    /// Inferences to time
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub runs: u32,
}

/// A fixed value, or the choice left to the samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice<T>(pub Option<T>);

impl<T: std::fmt::Display> std::fmt::Display for Choice<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            None => f.write_str("auto"),
            Some(value) => value.fmt(f),
        }
    }
}

/// A number of samples a class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shots {
    Each(usize),
    All,
}

fn choice<T: std::str::FromStr>(text: &str) -> Result<Choice<T>, T::Err> {
    match text {
        "auto" => Ok(Choice(None)),
        value => value.parse().map(|value| Choice(Some(value))),
    }
}

fn penalty(text: &str) -> Result<f64, String> {
    let penalty: f64 = text
        .parse()
        .map_err(|_| "expected a number from 1e-8 to 1e12")?;
    check_penalty(penalty).map_err(|e| e.to_string())?;
    Ok(penalty)
}

fn coverage(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if COVERAGE.contains(&share) => Ok(share),
        _ => Err("expected a share from 0.5 to 0.999".into()),
    }
}

fn shots(text: &str) -> Result<Shots, String> {
    match text {
        "all" => Ok(Shots::All),
        number => match number.parse() {
            Ok(shots @ 1..=100_000) => Ok(Shots::Each(shots)),
            _ => Err("expected a number of samples from 1, or 'all'".into()),
        },
    }
}
