//! Photos as they lie about on a disk: copies, odd names, pipes, empty folders, and what becomes of them in a field.

mod support;

use serde_json::Value;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::Command;
use support::Bench;

fn collected(lines: &[Value]) -> (u64, u64) {
    let summary = lines.last().unwrap();
    let number = |key: &str| summary[key].as_u64().unwrap();
    (number("collected"), number("skipped"))
}

fn pipe(path: &std::path::Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// `one.jpg` as sample 1 'a' and sample 2 'b', and two more of each.
fn twins(bench: &Bench) {
    bench.photos("train", 3, 1);
    for (label, source) in [
        ("a", "file:train/gear/00.jpg"),
        ("b", "file:train/gear/00.jpg"),
        ("a", "file:train/screw"),
        ("b", "file:train/washer"),
    ] {
        bench.ok(&["collect", "--label", label, "--source", source]);
    }
    bench.ok(&["train"]);
}

#[test]
fn a_picture_under_two_labels_is_corrected_by_the_label_asked_for() {
    let bench = Bench::new();
    twins(&bench);
    let photo = "train/gear/00.jpg";
    bench.refused(&["correct", "--label", "b", photo], 3, "sample 2 already");
    bench.refused(
        &["correct", "--label", "b", "--sample", "1"],
        3,
        "forget --sample 1",
    );
    bench.ok(&["forget", "--sample", "1"]);
    bench.refused(&["correct", "--label", "b", photo], 3, "sample 2 already");
}

#[test]
fn a_picture_is_one_burst_wherever_it_stands_and_its_name_makes_none() {
    let bench = Bench::new();
    twins(&bench);
    bench.photos("more", 1, 9);
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["collect", "--from", "more"]);
    let samples = bench.ok(&["samples", "--json"]).json();
    let burst = |id: usize| samples[id - 1]["burst"].as_str().unwrap();
    let of = |source: &str| {
        let found = samples
            .iter()
            .find(|s| s["source"].as_str().unwrap().ends_with(source));
        found.unwrap()["burst"].as_str().unwrap()
    };
    assert_eq!(burst(1), burst(2));
    assert_eq!(burst(1), of("train/gear/00.jpg"));
    assert_ne!(of("train/gear/00.jpg"), of("more/gear/00.jpg"));
}

#[test]
fn names_that_are_not_utf8_make_bursts_of_their_own() {
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    let gear = bench.path("train/gear");
    for (from, to) in [("00.jpg", &b"\xfe.jpg"[..]), ("01.jpg", &b"\xff.jpg"[..])] {
        fs::rename(gear.join(from), gear.join(std::ffi::OsStr::from_bytes(to))).unwrap();
    }
    bench.ok(&["collect", "--from", "train", "--burst-regex", r"^(.*)\.jpg"]);
    let samples = bench.ok(&["samples", "--json"]).json();
    assert_eq!(
        (&samples[0]["burst"], &samples[1]["burst"]),
        (&r"\xfe".into(), &r"\xff".into())
    );
}

#[test]
fn letters_and_digits_of_any_script_tell_a_burst() {
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    let gear = bench.path("train/gear");
    fs::rename(gear.join("00.jpg"), gear.join("Ö٣a.jpg")).unwrap();
    let pattern = r"^(\p{Lu}?\p{Nd})";
    bench.ok(&["collect", "--from", "train", "--burst-regex", pattern]);
    let samples = bench.ok(&["samples", "--json"]).json();
    assert!(samples.iter().any(|sample| sample["burst"] == "Ö٣"));
}

#[test]
fn a_source_of_files_skips_what_a_folder_would_skip() {
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    let gear = bench.path("train/gear");
    fs::write(gear.join("noise.jpg"), [0x5a; 500]).unwrap();
    symlink("nowhere", gear.join("gone.jpg")).unwrap();
    let args = [
        "collect",
        "--label",
        "gear",
        "--source",
        "file:train/gear",
        "--json",
    ];
    assert_eq!(collected(&bench.ok(&args).json()), (2, 2));
    let again = bench.ok(&args);
    assert_eq!(collected(&again.json()), (0, 4));
    assert!(again.stdout.contains("collected before, as sample 1"));
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["train"]);
    let answers = bench.run(&["predict", "--source", "file:train/gear", "--json"]);
    assert_eq!((answers.code, answers.json().len()), (3, 4));
    fs::create_dir(bench.path("empty")).unwrap();
    let empty = ["--source", "file:empty"];
    bench.refused(&[&["predict"], &empty[..]].concat(), 3, "holds no files");
    let collect = ["collect", "--label", "a"];
    bench.refused(&[&collect, &empty[..]].concat(), 3, "holds no files");
}

#[test]
fn what_gives_no_sample_leaves_no_field() {
    let bench = Bench::new();
    bench.photos("photos", 1, 1);
    fs::create_dir_all(bench.path("bad/a")).unwrap();
    fs::write(bench.path("bad/a/1.jpg"), b"no photo").unwrap();
    bench.refused(&["collect", "--from", "bad"], 3, "nothing could be");
    let none = ["--label", "a", "--count", "0", "--source"];
    for source in ["line:1", "file:photos/gear"] {
        bench.ok(&[&["collect"], &none[..], &[source]].concat());
    }
    bench.refused(
        &["collect", "--label", "a", "--source", "file:bad/a"],
        3,
        "nothing could be",
    );
    assert!(!bench.path("field").exists());
}

#[test]
fn a_pipe_among_photos_is_skipped_and_named_and_refused_outright() {
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    pipe(&bench.path("train/gear/pipe.jpg"));
    let lines = bench.ok(&["collect", "--from", "train", "--json"]);
    assert_eq!(collected(&lines.json()), (6, 1));
    assert!(lines.stdout.contains("pipe, a socket or a device"));
    bench.ok(&["train"]);
    let path = "train/gear/pipe.jpg";
    bench.refused(&["predict", path], 3, "only files are read");
    bench.refused(&["correct", "--label", "a", path], 3, "only files are read");
    bench.refused(&["import", path], 3, "not a file");
}

#[test]
fn only_a_file_is_replaced_and_a_link_stays_a_link() {
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["train"]);
    pipe(&bench.path("pipe"));
    symlink("nowhere", bench.path("loose")).unwrap();
    for (target, part) in [
        ("pipe", "a device, a pipe"),
        ("train", "a folder"),
        ("loose", "leads nowhere"),
        ("/dev/null", "a device, a pipe"),
    ] {
        bench.refused(&["export", target], 3, part);
        bench.refused(&["features", "--from", "train", "--out", target], 3, part);
    }
    fs::create_dir(bench.path("elsewhere")).unwrap();
    fs::write(bench.path("elsewhere/head"), b"old").unwrap();
    fs::write(bench.path("elsewhere/head.part"), b"mine").unwrap();
    symlink("elsewhere/head", bench.path("link")).unwrap();
    bench.ok(&["export", "link"]);
    assert!(bench.path("link").is_symlink());
    assert!(
        fs::read(bench.path("elsewhere/head"))
            .unwrap()
            .starts_with(b"\x89FHEAD")
    );
    assert_eq!(
        fs::read(bench.path("elsewhere/head.part")).unwrap(),
        b"mine"
    );
    assert_eq!(fs::read_dir(bench.path("elsewhere")).unwrap().count(), 2);
}

#[test]
fn samples_without_their_picture_are_told_once() {
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    fs::create_dir(bench.path("field")).unwrap();
    fs::write(bench.path("field/field.toml"), "photos_mb = 0").unwrap();
    let ran = bench.ok(&["collect", "--from", "train", "--json"]);
    assert_eq!(ran.json().last().unwrap()["without_picture"], 6);
    assert_eq!(ran.stderr.matches("photos_mb").count(), 2, "{}", ran.stderr);
    bench.ok(&["train"]);
    bench.photos("more", 1, 5);
    let corrected = bench.ok(&["correct", "--label", "gear", "more/gear/00.jpg"]);
    assert!(corrected.stderr.contains("without a picture: 1"));
}

#[test]
fn control_characters_of_a_name_do_not_reach_the_terminal() {
    let bench = Bench::new();
    bench.photos("train", 1, 1);
    fs::write(bench.path("train/gear/\u{1b}[2J\n.jpg"), b"no photo").unwrap();
    let ran = bench.ok(&["collect", "--from", "train"]);
    assert!(ran.stderr.contains(r"\u{1b}[2J\n.jpg"), "{}", ran.stderr);
    assert!(!ran.stderr.contains('\u{1b}'));
    let lines = bench.ok(&["collect", "--from", "train", "--json"]).json();
    assert!(lines.iter().any(|l| {
        l["skipped"]
            .as_str()
            .is_some_and(|p| p.contains("\u{1b}[2J\n"))
    }));
}

#[test]
fn an_expression_that_finds_no_burst_is_told() {
    let bench = Bench::new();
    bench.photos("train", 1, 1);
    let args = ["collect", "--from", "train", "--burst-regex", "^tile"];
    let ran = bench.ok(&args);
    assert!(
        ran.stderr.contains("matches no file name"),
        "{}",
        ran.stderr
    );
}
