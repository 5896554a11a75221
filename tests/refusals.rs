//! Bad input on the command line: one clear line, the documented exit code, nothing lost.

mod support;

use redb::ReadableTable;
use std::fs;
use support::Bench;

#[test]
fn bad_folders_are_told_apart() {
    let bench = Bench::new();
    bench.photos("one", 2, 1);
    for class in ["washer", "gear"] {
        fs::remove_dir_all(bench.path("one").join(class)).unwrap();
    }
    fs::create_dir(bench.path("empty")).unwrap();
    bench.refused(&["collect", "--from", "nowhere"], 3, "nowhere");
    bench.refused(&["collect", "--from", "empty"], 3, "holds no samples");
    for one_class in ["one/screw", "one/screw/00.jpg"] {
        let told = format!("--label NAME --source 'file:{one_class}'`");
        bench.refused(&["collect", "--from", one_class], 3, &told);
    }
    bench.refused(&["eval", "--from", "nowhere"], 5, "collect --from");
    bench.refused(&["train"], 5, "collect --from");
    bench.refused(&["predict", "nowhere.jpg"], 5, "collect --from");
    bench.ok(&["collect", "--from", "one"]);
    bench.refused(&["predict", "nowhere.jpg"], 6, "train");
    bench.refused(&["train"], 3, "two classes");
    bench.refused(&["forget", "--sample", "999"], 3, "999");
}

#[test]
fn files_of_features_that_do_not_fit_are_refused() {
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    let features = |name: &str, set: &str| {
        bench.ok(&[
            "--features",
            set,
            "features",
            "--from",
            "train",
            "--out",
            name,
        ]);
    };
    features("a.npz", "final");
    features("wide.npz", "multi");
    let bytes = fs::read(bench.path("a.npz")).unwrap();
    fs::write(bench.path("cut.npz"), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(bench.path("text.npz"), "a,b,c").unwrap();
    let fewshot = |train: &str, test: &str, code: i32, part: &str| {
        bench.refused(&["fewshot", "--train", train, "--test", test], code, part);
    };
    fewshot("a.npz", "train", 2, "two of a kind");
    fewshot("a.npz", "wide.npz", 3, "numbers each");
    fewshot(
        "cut.npz",
        "a.npz",
        3,
        "cannot read cut.npz: it is not a readable",
    );
    fewshot("a.npz", "text.npz", 3, "text.npz");
    fewshot("a.npz", "none.npz", 3, "none.npz");
}

#[test]
fn damaged_photos_are_skipped_counted_and_named() {
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    let gear = bench.path("train/gear");
    let photo = fs::read(gear.join("00.jpg")).unwrap();
    fs::write(gear.join("cut.jpg"), &photo[..photo.len() / 2]).unwrap();
    fs::write(gear.join("noise.jpg"), [0x5a; 5000]).unwrap();
    fs::write(gear.join("empty.jpg"), []).unwrap();
    support::save(
        &fieldhead::preprocess::Image {
            width: 1,
            height: 1,
            rgb: vec![0; 3],
        },
        &gear.join("dot.png"),
    );
    huge_png(&gear.join("huge.png"));
    fs::write(bench.path("train/stray.jpg"), &photo).unwrap();
    odd_name(&bench.path("train"), &photo);
    let lines = bench.ok(&["collect", "--from", "train", "--json"]).json();
    let summary = lines.last().unwrap();
    assert_eq!(
        (&summary["collected"], &summary["skipped"]),
        (&6.into(), &7.into())
    );
    let reasons: Vec<String> = lines
        .iter()
        .filter(|line| line["reason"].is_string())
        .map(|line| {
            format!(
                "{} {}",
                line["skipped"].as_str().unwrap(),
                line["reason"].as_str().unwrap()
            )
        })
        .collect();
    for part in [
        "cut.jpg the JPEG was cut off",
        "noise.jpg this is neither",
        "empty.jpg the file is empty",
        "dot.png the picture is 1x1",
        "huge.png the picture is 20000x20000",
        "stray.jpg",
        "not UTF-8",
    ] {
        assert!(
            reasons.iter().any(|r| r.contains(part)),
            "{part}: {reasons:?}"
        );
    }
    let again = bench.ok(&["collect", "--from", "train", "--json"]).json();
    assert_eq!(
        again.last().unwrap()["collected"],
        0,
        "nothing is collected twice"
    );
    bench.ok(&["train"]);
    bench.refused(&["predict", "train/gear/cut.jpg"], 3, "cut off");
    bench.refused(
        &["correct", "--label", "gear", "train/gear/noise.jpg"],
        3,
        "neither",
    );
}

/// A PNG of 20,000 x 20,000 black pixels in a few kilobytes.
fn huge_png(path: &std::path::Path) {
    let file = std::io::BufWriter::new(fs::File::create(path).unwrap());
    let encoder = image::codecs::png::PngEncoder::new_with_quality(
        file,
        image::codecs::png::CompressionType::Fast,
        image::codecs::png::FilterType::NoFilter,
    );
    let pixels = vec![0u8; 20_000 * 20_000];
    image::ImageEncoder::write_image(
        encoder,
        &pixels,
        20_000,
        20_000,
        image::ExtendedColorType::L8,
    )
    .unwrap();
}

fn odd_name(train: &std::path::Path, photo: &[u8]) {
    use std::os::unix::ffi::OsStrExt;
    let class = train.join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&class).unwrap();
    fs::write(class.join("1.jpg"), photo).unwrap();
}

#[test]
fn a_file_name_that_is_not_utf8_is_collected() {
    use std::os::unix::ffi::OsStrExt;
    let bench = Bench::new();
    bench.photos("train", 1, 1);
    let odd = bench
        .path("train/gear")
        .join(std::ffi::OsStr::from_bytes(b"\xff.jpg"));
    let mut photo = fs::read(bench.path("train/gear/00.jpg")).unwrap();
    photo.push(0);
    fs::write(odd, photo).unwrap();
    let lines = bench.ok(&["collect", "--from", "train", "--json"]).json();
    assert_eq!(lines.last().unwrap()["collected"], 4);
}

#[test]
fn bad_labels_sources_and_options_are_refused() {
    let bench = Bench::new();
    bench.photos("photos", 1, 1);
    for label in ["", "a/b", "..", "tab\there", "x\u{1b}[2J"] {
        bench.refused(
            &["collect", "--label", label, "--source", "line:1"],
            2,
            "label",
        );
    }
    bench.refused(
        &["collect", "--label", &"x".repeat(65), "--source", "line:1"],
        2,
        "65 bytes",
    );
    bench.refused(
        &["collect", "--label", "a", "--source", "lin:1"],
        2,
        "line:SEED",
    );
    bench.refused(
        &["collect", "--label", "a", "--source", "line:x"],
        2,
        "seed",
    );
    bench.refused(
        &["collect", "--label", "a", "--source", "file:gone.jpg"],
        3,
        "gone.jpg",
    );
    bench.refused(
        &["collect", "--from", "photos", "--burst-regex", "("],
        2,
        "burst-regex",
    );
    bench.refused(&["train", "--head", "tree"], 2, "softmax");
    bench.refused(
        &["--backbone", "resnet", "collect", "--from", "."],
        6,
        "resnet",
    );
    bench.refused(&["collect"], 2, "--from");
    bench.refused(&["fly"], 2, "fly");
    assert!(
        !bench.path("field").exists(),
        "a refused call leaves no trace"
    );
}

#[test]
fn photos_of_classes_that_were_never_learned_are_counted() {
    let bench = Bench::new();
    bench.photos("train", 3, 1);
    bench.photos("val", 2, 2);
    fs::rename(bench.path("val/gear"), bench.path("val/Gear")).unwrap();
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["train"]);
    let told = "2 of the 6 photos are of classes that were never learned";
    let judged = bench.ok(&["eval", "--from", "val", "--json"]);
    assert!(judged.stderr.contains(told), "{}", judged.stderr);
    assert_eq!(judged.one()["unlearned"], 2);
    let fewshot = [
        "fewshot", "--train", "train", "--test", "val", "--seeds", "1",
    ];
    let ran = bench.ok(&fewshot);
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    for class in ["washer", "screw"] {
        fs::remove_dir_all(bench.path("val").join(class)).unwrap();
    }
    let judged = bench.ok(&["eval", "--from", "val", "--json"]).one();
    assert!(judged["sets"][0]["worst_class"].is_null());
    bench.refused(
        &["predict", "val"],
        3,
        "no files in val, and folders inside",
    );
}

#[test]
fn a_name_that_turns_the_text_around_it_is_no_label_and_is_shown_spelled_out() {
    let bench = Bench::new();
    bench.photos("train", 1, 1);
    let turned = bench.path("train/\u{202e}raeg");
    fs::rename(bench.path("train/gear"), turned).unwrap();
    let ran = bench.ok(&["collect", "--from", "train"]);
    assert!(ran.stdout.contains("2 samples of 2 classes, skipped 1"));
    assert!(
        ran.stderr.contains("train/\\u{202e}raeg: the label"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_value_that_is_none_of_a_choice_is_refused_with_all_of_them() {
    let bench = Bench::new();
    for (option, all) in [
        ("--fit", "auto, squash, crop, letterbox or both"),
        ("--features", "auto, final or multi"),
        (
            "--normalization",
            "auto, none, l2, power, standardize or power+standardize",
        ),
        ("--head", "auto, softmax"),
    ] {
        bench.refused(&["train", option, "tree"], 2, all);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn results_that_cannot_be_written_are_an_error_and_those_nobody_reads_are_not() {
    let bench = Bench::new();
    bench.ok(&["collect", "--label", "a", "--source", "line:1"]);
    for verb in [&["samples"][..], &["completions", "bash"]] {
        let full = fs::File::create("/dev/full").unwrap();
        let ran = bench.command(verb).stdout(full).output().unwrap();
        assert_eq!(ran.status.code(), Some(1));
        let told = String::from_utf8(ran.stderr).unwrap();
        assert!(told.contains("standard output"), "{told}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = bench.command(verb).stdout(writer).output().unwrap();
        assert_eq!((ran.status.code(), ran.stderr.len()), (Some(0), 0));
    }
}

#[test]
fn a_field_has_one_writer_and_any_number_of_readers() {
    let bench = Bench::new();
    bench.photos("train", 4, 1);
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["backbones", "--rank"]);
    let more = ["collect", "--label", "b", "--source", "line:2"];
    let held = fieldhead::store::Store::open(&bench.path("field")).unwrap();
    bench.refused(&more, 5, "in use");
    for look in [
        &["samples"][..],
        &["samples", "--suspect"],
        &["backbones", "--rank"],
    ] {
        bench.ok(look);
    }
    drop(held);
    bench.ok(&more);
}

#[test]
fn a_field_that_is_no_field_is_not_touched() {
    let bench = Bench::new();
    fs::create_dir(bench.path("field")).unwrap();
    fs::write(bench.path("field/field.redb"), b"my diary").unwrap();
    bench.refused(
        &["collect", "--label", "a", "--source", "line:1"],
        5,
        "damaged",
    );
    bench.refused(&["samples"], 5, "damaged");
    assert_eq!(
        fs::read(bench.path("field/field.redb")).unwrap(),
        b"my diary"
    );
    fs::write(bench.path("field/field.toml"), "fit = \"stretch\"").unwrap();
    bench.refused(&["samples"], 3, "stretch");
    fs::write(bench.path("field/field.toml"), "coverage = 1.5").unwrap();
    bench.refused(&["samples"], 3, "coverage is 1.5");
    fs::write(bench.path("field/field.toml"), "fit = [").unwrap();
    assert_eq!(bench.run(&["samples"]).stderr.lines().count(), 1);
}

#[test]
fn a_head_file_that_was_tampered_with_is_refused() {
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["train"]);
    bench.ok(&["export", "good.fhead"]);
    let good = fs::read(bench.path("good.fhead")).unwrap();
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("empty", Vec::new(), "cut off"),
        ("short", good[..good.len() / 2].to_vec(), "cut off"),
        (
            "flipped",
            {
                let mut b = good.clone();
                let at = b.len() - 100;
                b[at] ^= 4;
                b
            },
            "checksum",
        ),
        (
            "other",
            b"PK\x03\x04 something else".to_vec(),
            "not a .fhead",
        ),
        ("long", [good.clone(), vec![0]].concat(), "too many"),
    ];
    for (name, bytes, part) in cases {
        fs::write(bench.path(name), bytes).unwrap();
        bench.refused(&["import", name], 6, part);
    }
    bench.refused(&["import", "gone.fhead"], 3, "gone.fhead");
    assert_eq!(
        bench.ok(&["history", "--json"]).json().len(),
        1,
        "the head is as it was"
    );
    bench.refused(
        &["--backbone", "mobilenet-v2-int8", "import", "good.fhead"],
        6,
        "mobilenet-v2-int8",
    );
}

#[test]
fn a_penalty_that_is_no_number_is_refused_with_its_range() {
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    bench.ok(&["collect", "--from", "train"]);
    for (penalty, shown) in [
        ("nan", "NaN"),
        ("inf", "inf"),
        ("0", "0.0"),
        ("-1", "-1.0"),
        ("1e300", "1e300"),
    ] {
        let told = format!("the penalty is {shown}, expected a number from 1e-8 to 1e12");
        bench.refused(&["train", "--penalty", penalty], 2, &told);
    }
}

#[test]
fn a_head_damaged_inside_the_store_says_how_to_go_on() {
    const HEADS: redb::TableDefinition<u64, &[u8]> = redb::TableDefinition::new("heads");
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["train"]);
    bench.ok(&["train", "--head", "ridge"]);
    let mut builder = redb::Builder::new();
    builder.set_concurrency_mode(redb::ConcurrencyMode::SingleWriter);
    let db = builder.open(bench.path("field/field.redb")).unwrap();
    let transaction = db.begin_write().unwrap();
    {
        let mut table = transaction.open_table(HEADS).unwrap();
        let mut bytes = table.get(2).unwrap().unwrap().value().to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        table.insert(2, bytes.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    drop(db);
    bench.refused(&["predict", "train"], 5, "fieldhead rollback");
    bench.refused(&["rollback", "2"], 5, "fieldhead train");
    bench.ok(&["rollback", "1"]);
    bench.ok(&["predict", "train/gear"]);
}

#[test]
fn a_head_whose_backbone_is_not_installed_names_it() {
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["--backbone", "mobilenet-v2-int8", "train"]);
    bench.ok(&["export", "other.fhead"]);
    let mut import = bench.command(&["--field", "new", "import", "other.fhead"]);
    let ran = import.env("FIELDHEAD_MODELS", "none").output().unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(6), "{said}");
    assert!(said.contains("'mobilenet-v2-int8'") && said.contains("not installed"));
}

#[test]
fn a_field_overwritten_by_something_else_is_refused_without_a_crash() {
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["train"]);
    let path = bench.path("field/field.redb");
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    for page in (0..whole.len() / 4096).filter(|page| page % 8 < 2) {
        let mut bytes = whole.clone();
        for byte in &mut bytes[page * 4096 + 512..(page + 1) * 4096] {
            *byte ^= 0xa5;
        }
        for verb in [&["samples"][..], &["history"], &["rollback", "1"]] {
            fs::write(&path, &bytes).unwrap();
            let ran = bench.run(verb);
            assert!([0, 5].contains(&ran.code), "{page}: {}", ran.stderr);
            assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
            refused += usize::from(ran.code == 5);
        }
    }
    assert!(refused > 0);
}
