//! Sound, from folders of WAV files to a head that learned them.

mod support;

use fieldhead::backbone::{Backbone, find, kernels};
use fieldhead::features::FeatureSet;
use fieldhead::preprocess::{Capture, Fit, Modality, fit_to};
use fieldhead::random::SplitMix64;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use support::{Bench, data};

const LABELS: [&str; 3] = ["beep", "hiss", "hum"];

/// A recording of integers alone, so that it is the same on every machine: square waves of its class, and noise.
fn recording(class: usize, rate_hz: u32, channels: u16, random: &mut SplitMix64) -> Vec<u8> {
    let steps = rate_hz as usize * (400 + random.below(500)) / 1_000;
    let (pitch, loud) = (90 + random.below(30), 4_000 + random.below(8_000) as i64);
    let mut data = Vec::new();
    for step in 0..steps {
        let square = |hz: usize| match step * 2 * hz / rate_hz as usize % 2 {
            0 => loud,
            _ => -loud,
        };
        let noise = random.below(2_001) as i64 - 1_000;
        let on = (step * 8 / rate_hz as usize).is_multiple_of(2);
        let level = match class {
            0 => i64::from(on) * square(10 * pitch) + noise / 4,
            1 => noise * loud / 1_000,
            _ => square(pitch) + noise / 2,
        };
        for _ in 0..channels {
            data.extend((level as i16).to_le_bytes());
        }
    }
    let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0".to_vec();
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate_hz.to_le_bytes());
    bytes.extend((rate_hz * 2 * u32::from(channels)).to_le_bytes());
    bytes.extend((2 * channels).to_le_bytes());
    bytes.extend(b"\x10\0data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes
}

/// `n` recordings a class in `folder`.
fn write(folder: &Path, n: usize, rate_hz: u32, channels: u16, seed: u64) {
    let mut random = SplitMix64::new(seed);
    for (class, label) in LABELS.iter().enumerate() {
        let folder = folder.join(label);
        fs::create_dir_all(&folder).unwrap();
        for i in 0..n {
            let bytes = recording(class, rate_hz, channels, &mut random);
            fs::write(folder.join(format!("{i:02}.wav")), bytes).unwrap();
        }
    }
}

/// A field that knows two recordings a class.
fn taught(rate_hz: u32) -> Bench {
    let bench = Bench::new();
    write(&bench.path("train"), 2, rate_hz, 1, 1);
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["train"]);
    bench
}

#[test]
fn sounds_are_collected_learned_judged_and_corrected_without_naming_a_backbone() {
    let bench = Bench::new();
    write(&bench.path("train"), 6, 16_000, 1, 1);
    // Another microphone.
    write(&bench.path("test"), 4, 44_100, 2, 2);
    let backbone = "speech-embedding-int8";
    let after = bench.goes_the_whole_way(backbone, "12 recordings", "test/hum/01.wav", "fan");
    assert_eq!(after["label"], "fan", "{after}");
    // Another view later needs no new recording.
    bench.ok(&["train", "--fit", "crop", "--features", "final"]);
    let ranked = bench.run(&["backbones", "--rank", "--json"]).one();
    assert_eq!(
        (&ranked["name"], &ranked["n"]),
        (&Value::from("speech-embedding-int8"), &Value::from(18))
    );
}

#[test]
fn a_microphone_is_collected_from_and_answered() {
    let bench = Bench::new();
    let mut random = SplitMix64::new(5);
    // What a program writes: samples without a header, a window of them.
    let mut heard = |class: usize| {
        let samples = recording(class, 16_000, 1, &mut random).split_off(44);
        fs::write(bench.path("samples"), &samples[..2 * 16 * 400]).unwrap();
        "command,format=s16le,rate=16000,window_ms=400:cat samples"
    };
    for (class, label) in LABELS.iter().enumerate() {
        for _ in 0..4 {
            let source = heard(class);
            bench.ok(&["collect", "--label", label, "--source", source]);
        }
    }
    bench.ok(&["train"]);
    let samples = bench.run(&["samples", "--json"]).json();
    assert_eq!(samples.len(), 12);
    assert_eq!(samples[0]["photo"]["bytes"], 44 + 2 * 16 * 400);
    let said: Vec<Value> = (0..3)
        .map(|class| {
            bench
                .run(&["predict", "--source", heard(class), "--json"])
                .one()["label"]
                .clone()
        })
        .collect();
    assert_eq!(said, LABELS);
}

#[test]
fn a_source_of_another_kind_is_refused_before_it_is_opened() {
    let bench = taught(16_000);
    let pictures = "command:sh -c 'touch started'";
    let part = "a picture, and the backbone takes sound";
    bench.refused(&["predict", "--source", pictures], 3, part);
    bench.refused(
        &["collect", "--label", "hum", "--source", pictures],
        3,
        part,
    );
    bench.refused(&["predict", "--source", "line:1"], 3, part);
    let sound = "command,format=s16le,rate=16000:sh -c 'touch started'";
    let named = [
        "--backbone",
        "mobilenet-v2-int8",
        "--field",
        "other",
        "collect",
        "--source",
        sound,
    ];
    let part = "a sound, and the backbone takes pictures";
    bench.refused(&[&named[..], &["--label", "hum"]].concat(), 3, part);
    let buttons = ["--button", "hum=GPIO17", "--board", "raspberry-pi-4"];
    bench.refused(&[&named[..], &buttons].concat(), 3, part);
    for left in ["other", "started"] {
        assert!(!bench.path(left).exists(), "{left}");
    }
}

#[test]
fn another_kind_of_file_is_refused_with_the_next_step() {
    let bench = taught(8_000);
    let sound = fs::read(bench.path("train/hum/00.wav")).unwrap();
    fs::write(bench.path("cut.wav"), &sound[..sound.len() / 2]).unwrap();
    fs::write(bench.path("window.csv"), "1,2\n".repeat(40)).unwrap();
    fs::write(bench.path("photo.jpg"), b"\xff\xd8\xff\xe0 and so on").unwrap();
    fs::write(bench.path("words.txt"), "words").unwrap();
    for (file, part) in [
        ("cut.wav", "cut off"),
        (
            "window.csv",
            "a window of 2 channels, and the backbone takes sound",
        ),
        ("photo.jpg", "a picture, and the backbone takes sound"),
        ("words.txt", "no WAV file"),
    ] {
        bench.refused(&["predict", file], 3, part);
    }
    let pictures = [
        "collect",
        "--from",
        "train",
        "--field",
        "other",
        "--backbone",
        "mobilenet-v2-int8",
    ];
    bench.refused(&pictures, 3, "a sound, and the backbone takes pictures");
    let windows = [
        "collect",
        "--from",
        "train",
        "--field",
        "other",
        "--backbone",
        "window-1",
    ];
    bench.refused(
        &windows,
        3,
        "a sound, and the backbone takes windows of 1 channel",
    );
    let copies = [
        "collect",
        "--from",
        "train",
        "--field",
        "other",
        "--augment",
        "1",
    ];
    bench.refused(&copies, 2, "--augment changes photos");
    assert!(!bench.path("other").exists());
}

#[test]
fn the_committed_features_of_sound_come_from_every_kernel() {
    let name = find::usual_for(Modality::Sound);
    let found = find::find(&name, &[]).unwrap();
    let mut random = SplitMix64::new(9);
    let rates = [8_000, 16_000, 44_100];
    let sounds: Vec<Vec<u8>> = (0..3)
        .map(|class| recording(class, rates[class], 1, &mut random))
        .collect();
    for kernel in kernels() {
        let backbone = Backbone::load(&found, FeatureSet::Multi, Some(kernel)).unwrap();
        assert!(backbone.left_in_floats().is_empty());
        let view = backbone.recipe(Fit::Crop).view;
        let mut digest = Sha256::new();
        for sound in &sounds {
            let Capture::Picture(image) = Modality::Sound.decode(sound).unwrap() else {
                panic!("a sound is looked at as a picture");
            };
            for fit in [Fit::Crop, Fit::Squash] {
                let pixels = fit_to(&image, fit, view.width, view.height, view.pad).unwrap();
                let features = backbone.embed_on(&pixels, 2).unwrap();
                features
                    .iter()
                    .for_each(|number| digest.update(number.to_le_bytes()));
            }
        }
        let got: String = digest
            .finalize()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(
            got, "35bd81e94ff9a90388f37c8b38f6b4c5ab05b5deedff64804c37cd1f12a08d01",
            "{kernel}"
        );
    }
}

#[test]
fn spoken_digits_are_told_apart_after_five_samples_each() {
    let (Some(train), Some(test)) = (data("fsdd/train"), data("fsdd/val")) else {
        return;
    };
    let bench = Bench::new();
    let [train, test] = [train, test].map(|path| path.display().to_string());
    let args = [
        "fewshot", "--train", &train, "--test", &test, "--shots", "5", "--heads", "auto", "--json",
    ];
    let result = bench.run(&args).one()["results"][0].clone();
    println!("{result}");
    assert!(
        result["balanced_accuracy"].as_f64().unwrap() >= 0.87,
        "{result}"
    );
}
