//! Windows of sensors, from folders of CSV and raw floats to a head that learned them.

mod support;

use fieldhead::random::SplitMix64;
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use support::{Bench, data};

const LABELS: [&str; 3] = ["line", "saw", "zigzag"];

/// One window of three channels: a shape of its class, somewhere, at some speed, and noise.
fn window(class: usize, random: &mut SplitMix64) -> String {
    let steps = 60 + random.below(60);
    let mut noise = |by: f64| (random.below(2_001) as f64 / 1_000.0 - 1.0) * by;
    let (x, y) = (noise(3.0), noise(3.0));
    let mut text = String::from("x,y,z\n");
    for step in 0..steps {
        let at = step as f64 / steps as f64;
        let up = match class {
            0 => at,
            1 => (3.0 * at).fract(),
            _ => ((4.0 * at).rem_euclid(2.0) - 1.0).abs(),
        };
        let row = [x + at, y + up, 0.0].map(|value| value + noise(0.05));
        writeln!(text, "{:.4},{:.4},{:.4}", row[0], row[1], row[2]).unwrap();
    }
    text
}

/// `n` windows a class in `folder`.
fn write(folder: &Path, n: usize, seed: u64) {
    let mut random = SplitMix64::new(seed);
    for (class, label) in LABELS.iter().enumerate() {
        let folder = folder.join(label);
        fs::create_dir_all(&folder).unwrap();
        for i in 0..n {
            fs::write(
                folder.join(format!("{i:02}.csv")),
                window(class, &mut random),
            )
            .unwrap();
        }
    }
}

fn taught() -> Bench {
    let bench = Bench::new();
    write(&bench.path("train"), 8, 1);
    write(&bench.path("test"), 6, 2);
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["train"]);
    bench
}

#[test]
fn gestures_are_collected_learned_judged_and_corrected_without_naming_a_backbone() {
    let bench = Bench::new();
    write(&bench.path("train"), 8, 1);
    write(&bench.path("test"), 6, 2);
    let after = bench.goes_the_whole_way("window-3", "18 windows", "test/saw/03.csv", "bump");
    assert!(after["scores"]["bump"].as_f64().unwrap() > 0.25, "{after}");
}

#[test]
fn another_kind_of_file_is_skipped_with_the_reason_and_the_next_step() {
    let bench = taught();
    let two = "1,2\n".repeat(40);
    fs::write(bench.path("two.csv"), &two).unwrap();
    fs::write(bench.path("photo.jpg"), b"\xff\xd8\xff\xe0 and so on").unwrap();
    for (file, part) in [
        (
            "two.csv",
            "a window of 2 channels, and the backbone takes windows of 3 channels",
        ),
        (
            "photo.jpg",
            "a picture, and the backbone takes windows of 3 channels",
        ),
    ] {
        bench.refused(&["predict", file], 3, part);
        bench.refused(&["correct", "--label", "saw", file], 3, part);
        let source = format!("file:{file}");
        bench.refused(&["collect", "--label", "saw", "--source", &source], 3, part);
    }
    // The other way round: windows for a backbone of pictures.
    let args = [
        "collect",
        "--from",
        "train",
        "--field",
        "other",
        "--backbone",
        "efficientnet-lite0-int8",
    ];
    bench.refused(
        &args,
        3,
        "a window of 3 channels, and the backbone takes pictures",
    );
    assert!(!bench.path("other").exists());
}

#[test]
fn a_stray_table_among_photos_does_not_make_a_field_of_windows() {
    let bench = Bench::new();
    bench.photos("photos", 3, 1);
    fs::write(bench.path("photos/gear/0.csv"), "1,2,3,4\n".repeat(20)).unwrap();
    bench.ok(&["collect", "--from", "photos"]);
    let settings = fs::read_to_string(bench.path("field/field.toml")).unwrap();
    assert!(settings.contains("efficientnet-lite0-int8"), "{settings}");
    assert_eq!(bench.run(&["samples", "--json"]).json().len(), 9);
}

#[test]
fn a_head_of_windows_that_was_imported_is_followed_by_windows() {
    let bench = taught();
    bench.ok(&["export", "a.fhead"]);
    let other = ["--field", "other"];
    bench.ok(&[&other[..], &["import", "a.fhead"]].concat());
    bench.ok(&[&other[..], &["collect", "--from", "test"]].concat());
    bench.ok(&[&other[..], &["train"]].concat());
}

#[test]
fn what_only_pictures_have_is_refused_for_windows() {
    let bench = taught();
    let fresh = ["collect", "--from", "train", "--field", "other"];
    bench.refused(
        &[&fresh[..], &["--augment", "2"]].concat(),
        2,
        "--augment changes photos",
    );
    bench.refused(
        &[&fresh[..], &["--fit", "crop"]].concat(),
        2,
        "leave --fit out",
    );
    bench.refused(&["train", "--fit", "crop"], 2, "leave --fit out");
    // All of a window is what squash shows of a picture.
    bench.ok(&["train", "--fit", "squash"]);
    bench.refused(
        &["backbones", "--backbone", "window-17"],
        6,
        "no backbone named 'window-17'",
    );
}

#[test]
fn windows_are_ranked_by_what_takes_them_and_timed() {
    let bench = taught();
    let ranked = bench.run(&["backbones", "--rank", "--json"]).one();
    assert_eq!(
        (&ranked["name"], &ranked["n"]),
        (&Value::from("window-3"), &Value::from(24))
    );
    let timed = bench.run(&["bench", "--runs", "3", "--json"]).one();
    assert_eq!(
        (&timed["backbone"], &timed["kernel"]),
        (&Value::from("window-3"), &Value::from("formulas"))
    );
}

#[test]
fn raw_floats_and_text_of_the_same_numbers_have_the_same_features() {
    let bench = Bench::new();
    for (label, by) in [("even", 2), ("odd", 3)] {
        for kind in ["raw", "text"] {
            fs::create_dir_all(bench.path(kind).join(label)).unwrap();
        }
        let values: Vec<f32> = (0..64).map(|i| (i * i % (7 * by)) as f32 / 8.0).collect();
        let raw: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let text: String = values.iter().map(|value| format!("{value}\n")).collect();
        fs::write(bench.path("raw").join(label).join("1.f32"), raw).unwrap();
        fs::write(bench.path("text").join(label).join("1.csv"), text).unwrap();
    }
    let features = |kind: &str| {
        let out = format!("{kind}.npz");
        let said = bench
            .run(&["features", "--from", kind, "--out", &out, "--json"])
            .one();
        assert_eq!(said["backbone"], "window-1");
        fs::read(bench.path(&out)).unwrap()
    };
    assert_eq!(features("raw"), features("text"));
}

/// Vibration of bearings, motions and gestures; asked of a head that knows five samples a class, over five draws.
#[test]
fn real_recordings_are_told_apart_after_five_samples_a_class() {
    for (train, test, least) in [
        ("basic_motions/train", "basic_motions/val", 0.93),
        ("cwru_bearing/load1/train", "cwru_bearing/load3/val", 0.95),
        ("magic_wand/train", "magic_wand/val", 0.84),
    ] {
        let (Some(train), Some(test)) = (data(train), data(test)) else {
            continue;
        };
        let bench = Bench::new();
        let [train, test] = [train, test].map(|path| path.display().to_string());
        let args = [
            "fewshot", "--train", &train, "--test", &test, "--shots", "5", "--heads", "auto",
            "--json",
        ];
        let result = bench.run(&args).one()["results"][0].clone();
        println!("{train}: {result}");
        assert!(
            result["balanced_accuracy"].as_f64().unwrap() >= least,
            "{train}: {result}"
        );
    }
}
