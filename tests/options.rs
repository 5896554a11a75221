//! What options may say: values, what they go with, and what their answers look like.

mod support;

use fieldhead::store::Store;
use std::fs;
use support::Bench;

#[test]
fn a_bad_value_of_an_option_is_a_usage_error_everywhere() {
    let bench = Bench::new();
    for (args, part) in [
        ("train --penalty 1e13", "1e-8 to 1e12"),
        ("train --penalty much", "1e-8 to 1e12"),
        ("train --budget-ms 0", "budget-ms"),
        ("train --threads 257", "0..=256"),
        ("train --seed -1", "-1"),
        ("train --class-weights rare", "class-weights"),
        ("predict --coverage 1.5 x", "0.5 to 0.999"),
        ("collect --from x --augment 200", "augment"),
        ("collect --label a/b --source line:1", "the label"),
        (
            "collect --label unknown --source line:1",
            "cannot be a label",
        ),
        (
            "collect --label a --source line:1,part=gear,part=gear",
            "part= is given twice",
        ),
        (
            "collect --source line:1 --button unknown=GPIO4",
            "cannot be a label",
        ),
        (
            "collect --source line:1 --button a=GPIO4 --board b",
            "no board 'b'",
        ),
        (
            "collect --source line:1 --button a=GPIO99 --button b=GPIO4 --board raspberry-pi-4",
            "no pin 'GPIO99'",
        ),
        ("correct --label a/b x.jpg", "the label"),
        ("fewshot --train x --test x --shots 0", "shots"),
        ("fewshot --train x --test x --seeds 1001", "seeds"),
        ("demo --frames 0", "frames"),
        ("bench --runs 0", "runs"),
        ("board check --seconds 9999", "seconds"),
        ("board check --board b", "no board 'b'"),
        ("board read i2c:1:0x48,kind=x", "adxl345"),
    ] {
        let args: Vec<&str> = args.split(' ').collect();
        bench.refused(&args, 2, part);
    }
    assert!(!bench.path("field").exists());
}

#[test]
fn a_kernel_that_this_processor_lacks_is_a_usage_error_that_names_those_it_has() {
    let bench = Bench::new();
    let mut ran = bench.command(&["bench", "--runs", "1"]);
    let ran = ran.env("FIELDHEAD_KERNEL", "cray").output().unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{told}");
    for part in ["'cray'", "portable", "tract", "unset it"] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn backbones_lists_the_one_that_is_named_and_refuses_what_is_none() {
    let bench = Bench::new();
    let args = ["backbones", "--backbone", "./nope"];
    bench.refused(&args, 6, "cannot read ./nope/card.toml");
    assert_eq!(bench.run(&args).stdout, "");
    bench.refused(&["backbones", "--backbone", "nope"], 6, "no backbone named");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models/mobilenet-v2-int8");
    let names = |args: &[&str]| {
        let mut command = bench.command(&[&["backbones", "--json"], args].concat());
        let out = command.env("FIELDHEAD_MODELS", "none").output().unwrap();
        String::from_utf8(out.stdout).unwrap().lines().count()
    };
    // Those in the program: of pictures, of sound, and of windows of one channel.
    assert_eq!(names(&[]), 3);
    assert_eq!(names(&["--backbone", folder]), 4);
    assert_eq!(names(&["--backbone", "efficientnet-lite0-int8"]), 3);
    assert_eq!(names(&["--backbone", "window-6"]), 4);
}

#[test]
fn what_the_head_was_not_trained_with_is_refused_where_it_would_be_ignored() {
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    bench.photos("val", 1, 2);
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["--fit", "squash", "--features", "final", "train"]);
    bench.ok(&["export", "a.fhead"]);
    for verb in [
        &["predict", "val/gear"][..],
        &["eval", "--from", "val"],
        &["correct", "--label", "gear", "val/gear/00.jpg"],
        &["correct", "--label", "gear", "--sample", "6"],
        &["forget", "--sample", "1"],
        &["class", "remove", "gear"],
        &["--field", "new", "import", "a.fhead"],
    ] {
        for (given, part) in [
            (
                "--fit crop",
                "trained with --fit squash, and --fit crop was given",
            ),
            ("--features multi", "trained with --features final"),
            ("--backbone mobilenet-v2-int8", "name the right one"),
        ] {
            let given: Vec<&str> = given.split(' ').collect();
            bench.refused(&[&given[..], verb].concat(), 6, part);
        }
    }
    assert!(!bench.path("new").exists());
    assert_eq!(bench.ok(&["history", "--json"]).json().len(), 1);
    for same in [
        ["--fit", "squash"],
        ["--fit", "auto"],
        ["--features", "final"],
    ] {
        bench.ok(&[&same[..], &["predict", "val/gear"]].concat());
    }
    // What is collected is seen as it is asked for, and can be learned so without its pictures.
    fs::create_dir(bench.path("other")).unwrap();
    fs::write(bench.path("other/field.toml"), "photos_mb = 0").unwrap();
    let other = ["--field", "other", "--features", "final", "--fit"];
    bench.ok(&[&other[..], &["crop", "collect", "--from", "train"]].concat());
    bench.ok(&[&other[..], &["crop", "train"]].concat());
    let squashed = [&other[..], &["squash", "train"]].concat();
    bench.refused(&squashed, 3, "no kept picture");
}

#[test]
fn a_folder_called_unknown_is_no_class() {
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    fs::rename(bench.path("train/gear"), bench.path("train/Unknown")).unwrap();
    let ran = bench.ok(&["collect", "--from", "train"]);
    assert!(
        ran.stdout
            .starts_with("collected 4 samples of 2 classes, skipped 1\n")
    );
    assert!(
        ran.stderr
            .contains("train/Unknown: 'Unknown' cannot be a label")
    );
    assert!(ran.stderr.contains("choose another name"));
    let rename = ["class", "rename", "screw", "unknown"];
    bench.refused(&rename, 2, "cannot be a label");
    bench.ok(&["train"]);
    let photo = "train/Unknown/00.jpg";
    bench.refused(&["correct", "--label", "unknown", photo], 2, "cannot be");
}

#[test]
fn a_class_called_unknown_of_an_older_field_still_works_and_can_be_renamed() {
    let bench = Bench::new();
    bench.photos("val", 1, 2);
    fs::rename(bench.path("val/gear"), bench.path("val/unknown")).unwrap();
    bench.photos("train", 4, 1);
    bench.ok(&["collect", "--from", "train"]);
    let store = Store::open(&bench.path("field")).unwrap();
    let mut gears = store.samples().unwrap();
    gears.retain(|_, sample| sample.label == "gear");
    store
        .write(|tx| {
            gears
                .keys()
                .try_for_each(|&id| tx.relabel(id, "unknown", 0))
        })
        .unwrap();
    drop(store);
    bench.ok(&["train"]);
    bench.ok(&["export", "a.fhead"]);
    bench.ok(&["--field", "new", "import", "a.fhead"]);
    let judged = bench.ok(&["eval", "--from", "val", "--json"]).one();
    assert_eq!(judged["per_class"]["unknown"]["n"], 1);
    bench.ok(&["correct", "--label", "screw", "val/screw/00.jpg"]);
    bench.ok(&["forget", "--sample", "1"]);
    bench.refused(
        &["class", "merge", "screw", "unknown"],
        2,
        "cannot be a label",
    );
    bench.ok(&["class", "rename", "unknown", "gear"]);
    let answer = bench.ok(&["predict", "val/unknown", "--json"]).one();
    assert!(answer["scores"]["gear"].is_number());
}

#[test]
fn tables_fit_eighty_columns_with_the_longest_labels_and_one_is_no_plural() {
    let bench = Bench::new();
    bench.photos("train", 4, 1);
    let one = bench.ok(&[
        "--field", "one", "collect", "--label", "a", "--source", "line:1",
    ]);
    assert!(
        one.stdout
            .starts_with("collected 1 sample of 1 class, skipped 0\n")
    );
    for (number, class) in ["gear", "screw", "washer"].into_iter().enumerate() {
        let long = bench.path("train").join(number.to_string().repeat(64));
        fs::rename(bench.path("train").join(class), long).unwrap();
    }
    bench.ok(&["collect", "--from", "train"]);
    // A wrong label, so that something is taken for something else.
    let ids = bench.ok(&["samples", "--json"]).json();
    assert_eq!(ids.len(), 12);
    bench.ok(&["train"]);
    let taken = ["correct", "--label", &"2".repeat(64), "--sample", "1"];
    bench.ok(&taken);
    for table in [
        &["eval", "--from", "train"][..],
        &["samples", "--suspect"],
        &["samples"],
        &["class"],
        &["history"],
        &["rollback", "1"],
    ] {
        for line in bench.ok(table).stdout.lines() {
            assert!(line.chars().count() <= 80, "{table:?}: {line}");
            assert_eq!(line, line.trim_end());
        }
    }
    let deep = bench.ok(&["eval", "--from", "train"]).stderr;
    assert!(deep.contains("12 of the 12 photos are samples of this field"));
    let nested = bench.path("photos");
    fs::create_dir(&nested).unwrap();
    fs::rename(bench.path("train"), nested.join("train")).unwrap();
    let told = "if photos/train holds the classes, name that";
    bench.refused(&["collect", "--from", "photos"], 3, told);
    bench.refused(
        &["eval", "--from", "photos"],
        3,
        "no photo in photos could be read",
    );
}
