//! What several tests need: drawn samples, a field in a folder, the program.
#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod disk;

use fieldhead::head::Samples;
use fieldhead::random::SplitMix64;

/// The shape of a drawn training set.
#[derive(Clone, Copy)]
pub struct Blob {
    pub n: usize,
    pub width: usize,
    pub classes: usize,
}

impl Blob {
    /// Fewer samples than features.
    pub const FEW: Blob = Blob {
        n: 24,
        width: 40,
        classes: 3,
    };
    /// More samples than features.
    pub const MANY: Blob = Blob {
        n: 90,
        width: 12,
        classes: 3,
    };
}

/// Clouds around one centre a class; two samples share a burst.
pub fn blobs(blob: &Blob, seed: u64) -> Samples {
    let mut random = SplitMix64::new(seed);
    let mut uniform = move || random.below(2_000_001) as f32 / 1e6 - 1.0;
    let centers: Vec<f32> = (0..blob.classes * blob.width).map(|_| uniform()).collect();
    let mut rows = Vec::new();
    for i in 0..blob.n {
        let class = i % blob.classes;
        let center = &centers[class * blob.width..][..blob.width];
        rows.extend(center.iter().map(|c| c + 0.6 * uniform()));
    }
    let labels = (0..blob.n).map(|i| (i % blob.classes) as u32).collect();
    let names = (0..blob.classes).map(|i| format!("class {i}")).collect();
    let groups =
        (0..blob.n).map(|i| ((i / blob.classes / 2) * blob.classes + i % blob.classes) as u64);
    Samples::new(blob.width, rows, labels, names, groups.collect()).unwrap()
}

use fieldhead::preprocess::Image;
use fieldhead::source::line::{Light, Line, Part};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `FIELDHEAD_DATA`, or the folder `shared/data` beside the repository.
pub fn data(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let data = std::env::var_os("FIELDHEAD_DATA").map_or(beside, PathBuf::from);
    let folder = data.join(name).canonicalize().ok();
    if folder.is_none() {
        eprintln!("skipped: no data in {}", data.join(name).display());
    }
    folder
}

/// A folder for one test, and the program run on the field inside it.
pub struct Bench {
    pub dir: tempfile::TempDir,
}

/// What a run of the program gave.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The lines of stdout as JSON objects; anything else there fails the test.
    pub fn json(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// The only JSON object.
    pub fn one(&self) -> Value {
        let mut all = self.json();
        assert_eq!(all.len(), 1, "{}{}", self.stdout, self.stderr);
        all.remove(0)
    }
}

impl Bench {
    pub fn new() -> Bench {
        Bench {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fieldhead"));
        command.args(args).current_dir(self.dir.path()).env(
            "FIELDHEAD_MODELS",
            concat!(env!("CARGO_MANIFEST_DIR"), "/models"),
        );
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(args).output().unwrap();
        Ran {
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    /// Runs and expects success.
    pub fn ok(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.stdout, ran.stderr);
        ran
    }

    /// Runs and expects an exit code and one clear line that holds `part`.
    pub fn refused(&self, args: &[&str], code: i32, part: &str) {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "{args:?}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(part), "{args:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }

    /// Collects `train`, learns, judges on `test`, corrects a file of it to be `other` and forgets that again, without naming a
    /// backbone. `judges` is what the page says of `test`, such as `12 recordings`. Gives the answer after the correction.
    pub fn goes_the_whole_way(
        &self,
        backbone: &str,
        judges: &str,
        file: &str,
        other: &str,
    ) -> Value {
        self.ok(&["collect", "--from", "train"]);
        self.ok(&["train"]);
        let settings = std::fs::read_to_string(self.path("field/field.toml")).unwrap();
        assert!(settings.contains(&format!("\"{backbone}\"")), "{settings}");
        let eval = ["eval", "--from", "test", "--html", "a.html", "--json"];
        let judged = self.run(&eval).one();
        let n: u64 = judges.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(judged["n"], n);
        let accuracy = judged["balanced_accuracy"].as_f64().unwrap();
        assert!(accuracy > 0.85, "{judged}");
        let page = std::fs::read_to_string(self.path("a.html")).unwrap();
        assert!(page.contains(&format!("{judges} judged")) && !page.contains("photos"));
        let answer = || self.run(&["predict", file, "--json"]).one();
        let before = answer();
        let label = Path::new(file).parent().and_then(Path::file_name).unwrap();
        assert_eq!(before["path"], file);
        assert_eq!(before["label"].as_str(), label.to_str(), "{before}");
        let correct = ["correct", "--label", other, file, "--json"];
        assert_eq!(self.run(&correct).one()["version"], 2);
        let after = answer();
        let learned = self.run(&["samples", "--json"]).json();
        let id = learned.last().unwrap()["id"].to_string();
        self.ok(&["forget", "--sample", &id]);
        assert_eq!(answer()["scores"], before["scores"]);
        after
    }

    /// A folder-per-class tree of drawn parts.
    pub fn photos(&self, name: &str, a_class: usize, seed: u64) {
        let mut line = Line::new(seed, Light::day());
        for part in [Part::Washer, Part::Screw, Part::Gear] {
            let class = self.path(name).join(part.label());
            std::fs::create_dir_all(&class).unwrap();
            for number in 0..a_class {
                save(&line.frame(part), &class.join(format!("{number:02}.jpg")));
            }
        }
    }
}

/// Writes a picture as JPEG or PNG, as its name ends.
pub fn save(image: &Image, path: &Path) {
    let rgb = image::RgbImage::from_raw(image.width, image.height, image.rgb.clone()).unwrap();
    rgb.save(path).unwrap();
}
