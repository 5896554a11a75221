//! The command line as scripts see it: verbs, JSON, help. What bad input gets is in `refusals.rs`.

mod support;

use std::fs;
use support::Bench;

const VERBS: [&str; 19] = [
    "demo",
    "collect",
    "train",
    "eval",
    "predict",
    "correct",
    "forget",
    "samples",
    "class",
    "history",
    "rollback",
    "export",
    "import",
    "features",
    "fewshot",
    "bench",
    "backbones",
    "board",
    "completions",
];

#[test]
fn every_help_text_has_an_example_and_fits_eighty_columns() {
    let bench = Bench::new();
    let mut all = bench.ok(&["--help"]).stdout;
    for verb in VERBS {
        let help = bench.ok(&[verb, "--help"]).stdout;
        assert!(help.contains("Example"), "{verb}");
        all.push_str(&format!("\n==== {verb}\n\n{help}"));
    }
    for line in all.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    insta::assert_snapshot!("help", all);
}

#[test]
fn shells_and_man_know_every_verb() {
    let bench = Bench::new();
    let script = bench.ok(&["completions", "bash"]).stdout;
    bench.ok(&["man", "."]);
    for verb in VERBS {
        let page = bench.path(&format!("fieldhead-{verb}.1"));
        assert!(script.contains(verb) && page.is_file(), "{verb}");
    }
}

#[test]
fn a_field_lives_from_the_first_photo_to_the_rollback() {
    let bench = Bench::new();
    bench.photos("train", 6, 1);
    bench.photos("val", 3, 2);
    let collected = bench.ok(&["collect", "--from", "train", "--json"]).json();
    assert_eq!(collected.len(), 19);
    assert_eq!(collected[0]["id"], 1);
    assert_eq!(collected[0]["label"], "gear");
    assert!(
        collected[0]["path"]
            .as_str()
            .unwrap()
            .ends_with("gear/00.jpg")
    );
    assert_eq!(collected[18]["collected"], 18);
    assert_eq!(collected[18]["classes"]["washer"], 6);

    let trained = bench.ok(&["train", "--json"]).one();
    assert_eq!(
        (&trained["version"], &trained["n"]),
        (&1.into(), &18.into())
    );
    assert_eq!(trained["classes"]["screw"], 6);
    assert!(trained["ms"].is_number() && trained["head"].is_string());

    let judged = bench.ok(&["eval", "--from", "val", "--json"]).one();
    assert_eq!(judged["n"], 9);
    assert_eq!(
        judged["labels"],
        serde_json::json!(["gear", "screw", "washer"])
    );
    let total: u64 = judged["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap().iter().map(|x| x.as_u64().unwrap()))
        .sum();
    assert_eq!(total, 9);
    assert!(judged["balanced_accuracy"].as_f64().unwrap() > 0.5);
    assert!(judged["per_class"]["gear"]["recall"].is_number());
    assert!(judged["ms_per_sample"].as_f64().unwrap() > 0.0);

    let answers = bench
        .ok(&["predict", "val/gear", "val/screw/00.jpg", "--json"])
        .json();
    assert_eq!(answers.len(), 4);
    for answer in &answers {
        let sum: f64 = answer["scores"]
            .as_object()
            .unwrap()
            .values()
            .map(|p| p.as_f64().unwrap())
            .sum();
        assert!((sum - 1.0).abs() < 1e-4);
        let label = answer["label"].as_str().unwrap();
        assert_eq!(answer["confidence"], answer["scores"][label]);
        assert!(answer["unknown"].is_boolean() && answer["ms"].is_number());
    }

    let corrected = bench
        .ok(&["correct", "--label", "odd one", "val/gear/00.jpg", "--json"])
        .one();
    assert_eq!(
        (&corrected["version"], &corrected["id"]),
        (&2.into(), &19.into())
    );
    assert!(corrected["ms_learn"].is_number() && corrected["ms_commit"].is_number());
    let answer = bench.ok(&["predict", "val/gear/00.jpg", "--json"]).one();
    assert!(
        answer["scores"]["odd one"].is_number(),
        "a class needs no restart"
    );

    let relabelled = bench
        .ok(&["correct", "--label", "gear", "--sample", "19", "--json"])
        .one();
    assert_eq!(relabelled["version"], 3);
    let samples = bench.ok(&["samples", "--json"]).json();
    assert_eq!(samples.len(), 19);
    assert_eq!(
        (&samples[18]["id"], &samples[18]["label"]),
        (&19.into(), &"gear".into())
    );
    for key in ["id", "label", "burst", "time_us", "source"] {
        assert!(!samples[0][key].is_null(), "{key}");
    }

    let forgotten = bench.ok(&["forget", "--sample", "19", "--json"]).one();
    assert_eq!(forgotten["version"], 4);
    let history = bench.ok(&["history", "--json"]).json();
    let origins: Vec<&str> = history
        .iter()
        .map(|v| v["origin"].as_str().unwrap())
        .collect();
    assert_eq!(origins, ["train", "correct", "correct", "forget"]);

    let said = bench.ok(&["rollback", "1"]).stdout;
    assert!(said.contains("samples stay") && said.contains("forget"));
    bench.ok(&["export", "parts.fhead"]);
    let first = bench.ok(&["predict", "val/gear/00.jpg", "--json"]).one();
    bench.ok(&["--field", "other", "import", "parts.fhead", "--json"]);
    let second = bench
        .ok(&["--field", "other", "predict", "val/gear/00.jpg", "--json"])
        .one();
    assert_eq!(first["scores"], second["scores"]);
    bench.refused(
        &[
            "--field",
            "other",
            "correct",
            "--label",
            "gear",
            "val/gear/00.jpg",
        ],
        6,
        "imported",
    );
    bench.refused(&["rollback", "77"], 3, "history");
}

#[test]
fn a_wrong_label_is_the_first_suspect_and_what_it_should_be_is_said() {
    let bench = Bench::new();
    bench.photos("train", 6, 1);
    std::fs::rename(
        bench.path("train/gear/03.jpg"),
        bench.path("train/screw/gear.jpg"),
    )
    .unwrap();
    bench.ok(&["collect", "--from", "train"]);
    let first = bench
        .ok(&["samples", "--suspect", "--count", "1", "--json"])
        .one();
    assert!(
        first["source"].as_str().unwrap().ends_with("gear.jpg"),
        "{first}"
    );
    assert_eq!(
        (&first["label"], &first["likely"]),
        (&"screw".into(), &"gear".into())
    );
    assert!(first["suspicion"].as_f64().unwrap() > 0.5);
    assert!(first["reason"].as_str().unwrap().contains("gear"));
    bench.refused(&["samples", "--count", "1"], 2, "--suspect");
    bench.refused(&["samples", "--suspect", "--count", "0"], 2, "count");
}

#[test]
fn backbones_are_ranked_on_the_samples_of_the_field() {
    let bench = Bench::new();
    bench.refused(&["backbones", "--rank"], 5, "collect");
    bench.photos("train", 4, 1);
    bench.ok(&["collect", "--from", "train"]);
    let ranked = bench.ok(&["backbones", "--rank", "--json"]).json();
    assert_eq!(ranked.len(), 2);
    assert!(ranked[0]["balanced_accuracy"].as_f64() >= ranked[1]["balanced_accuracy"].as_f64());
    for (place, one) in ranked.iter().enumerate() {
        assert_eq!(one["rank"], place + 1);
        assert_eq!(one["recommended"], place == 0);
        assert_eq!(one["n"], 12);
        let number = |key: &str| one[key].as_f64().unwrap();
        assert!(number("h_score") > 0.0 && number("h_score") < 2.0, "{one}");
        assert!(number("ms") > 0.0 && number("memory_mb") > 2.0, "{one}");
    }
    let [best, second] = [&ranked[0], &ranked[1]].map(|one| one["name"].as_str().unwrap());
    let why = ranked[0]["why"].as_str().unwrap();
    assert!(why.contains(best) && why.contains(second), "{why}");
    assert!(ranked[1]["why"].is_null());
}

#[test]
fn a_backbone_that_lacks_kept_pictures_is_named_and_not_ranked() {
    let bench = Bench::new();
    bench.photos("train", 4, 1);
    fs::create_dir(bench.path("field")).unwrap();
    fs::write(bench.path("field/field.toml"), "photos_mb = 0").unwrap();
    bench.ok(&["collect", "--from", "train"]);
    let said = bench.ok(&["backbones", "--rank"]).stdout;
    assert!(
        said.contains("12 of 12 samples have no kept picture"),
        "{said}"
    );
    assert!(said.contains("is the only one"), "{said}");
    let ranked = bench.ok(&["backbones", "--rank", "--json"]).json();
    assert_eq!(ranked[0]["rank"], 1);
    assert_eq!(ranked[1]["without_picture"], 12);
}

#[test]
fn a_set_holds_more_labels_the_surer_it_has_to_be() {
    let bench = Bench::new();
    bench.photos("train", 6, 1);
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["train"]);
    let set = |coverage: &str| {
        let photo = "train/gear/00.jpg";
        let ran = bench.ok(&["predict", "--coverage", coverage, photo, "--json"]);
        let answer = ran.one();
        assert!(answer["unknown_score"].is_number() && answer["unknown_above"].is_number());
        (answer["set"].clone(), ran.stderr)
    };
    assert_eq!(set("0.9"), (serde_json::json!(["gear"]), String::new()));
    // Eighteen were held out, and 99 % takes 99.
    let (all, said) = set("0.99");
    assert_eq!(all.as_array().unwrap().len(), 3);
    assert!(said.contains("takes 99 held-out samples, and this head has 18"));
    for wrong in ["1.5", "0", "nan", "most"] {
        bench.refused(&["predict", "--coverage", wrong, "x"], 2, "0.5 to 0.999");
    }
    let judged = bench.ok(&["eval", "--from", "train", "--json"]).one();
    let sets = judged["sets"].as_array().unwrap();
    assert_eq!(sets.len(), 3);
    assert!(
        sets.iter()
            .all(|set| set["covered"].as_f64() >= set["coverage"].as_f64())
    );
}

#[test]
fn suspects_need_bursts_to_judge_each_other() {
    let bench = Bench::new();
    bench.photos("train", 3, 1);
    bench.ok(&["collect", "--from", "train", "--burst-regex", "^(0)"]);
    bench.refused(&["samples", "--suspect"], 3, "burst");
}

#[test]
fn forgetting_gives_the_head_that_never_saw_the_sample() {
    let bench = Bench::new();
    bench.photos("train", 4, 1);
    bench.ok(&["--field", "a", "collect", "--from", "train"]);
    bench.ok(&["--field", "a", "train"]);
    bench.ok(&["--field", "a", "forget", "--sample", "12"]);
    fs::remove_file(bench.path("train/washer/03.jpg")).unwrap();
    bench.ok(&["--field", "b", "collect", "--from", "train"]);
    bench.ok(&["--field", "b", "train"]);
    let answer = |field: &str| {
        let ran = bench.ok(&["--field", field, "predict", "train/gear", "--json"]);
        ran.json()
            .iter()
            .map(|a| a["scores"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(answer("a"), answer("b"));
}

#[test]
fn another_view_needs_no_new_photos() {
    let bench = Bench::new();
    bench.photos("train", 4, 1);
    bench.ok(&["collect", "--from", "train"]);
    let fixed = ["--fit", "squash", "--features", "final", "train", "--json"];
    let squashed = bench.ok(&fixed).one();
    fs::remove_dir_all(bench.path("train")).unwrap();
    let many = bench
        .ok(&["--fit", "crop", "--features", "multi", "train", "--json"])
        .one();
    assert_eq!(
        (&many["fit"], &many["features"]),
        (&"crop".into(), &"multi".into())
    );
    assert!(many["width"].as_u64() > squashed["width"].as_u64());
    let other = bench
        .ok(&["--backbone", "mobilenet-v2-int8", "train", "--json"])
        .one();
    assert_eq!(other["version"], 3);
    bench.refused(
        &[
            "--backbone",
            "efficientnet-lite0-int8",
            "predict",
            "--source",
            "line:1",
        ],
        6,
        "train again",
    );
}

#[test]
fn features_are_written_as_numpy_reads_them() {
    let bench = Bench::new();
    bench.photos("train", 1, 1);
    let said = bench
        .ok(&["features", "--from", "train", "--out", "f.npz", "--json"])
        .one();
    assert_eq!(said["n"], 3);
    let mut zip = zip::ZipArchive::new(fs::File::open(bench.path("f.npz")).unwrap()).unwrap();
    for (name, descr, shape) in [
        ("features.npy", "'<f4'", "(3, 1280)"),
        ("labels.npy", "'<i8'", "(3,)"),
        ("label_names.npy", "'<U6'", "(3,)"),
    ] {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut zip.by_name(name).unwrap(), &mut bytes).unwrap();
        assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"));
        let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((10 + length) % 64, 0);
        let header = String::from_utf8_lossy(&bytes[10..10 + length]).into_owned();
        assert!(header.contains(descr) && header.contains(shape), "{header}");
    }
}

#[test]
fn fewshot_reports_every_head_and_number_of_shots() {
    let bench = Bench::new();
    bench.photos("train", 4, 1);
    bench.photos("val", 2, 2);
    let said = bench
        .ok(&[
            "fewshot", "--train", "train", "--test", "val", "--shots", "1,all", "--seeds", "2",
            "--json",
        ])
        .one();
    let short = bench.ok(&[
        "fewshot", "--train", "train", "--test", "val", "--shots", "100", "--seeds", "1",
        "--heads", "ridge", "--json",
    ]);
    assert_eq!(short.one()["results"][0]["drawn"], 4);
    assert!(short.stderr.contains("only 4 samples"), "{}", short.stderr);
    let results = said["results"].as_array().unwrap();
    assert_eq!(results.len(), 10);
    assert_eq!(
        (&results[0]["shots"], &results[9]["shots"]),
        (&1.into(), &"all".into())
    );
    for key in "head shots seeds balanced_accuracy std train_ms".split(' ') {
        assert!(!results[0][key].is_null(), "{key}");
    }
    let draws: Vec<f64> = serde_json::from_value(results[0]["draws"].clone()).unwrap();
    assert_eq!(results[0]["seeds"], draws.len());
    let mean = draws.iter().sum::<f64>() / draws.len() as f64;
    assert!((results[0]["balanced_accuracy"].as_f64().unwrap() - mean).abs() < 1e-4);
}

#[test]
fn fewshot_on_written_features_says_what_it_says_on_the_photos() {
    let bench = Bench::new();
    bench.photos("train", 4, 1);
    bench.photos("val", 2, 2);
    for name in ["train", "val"] {
        bench.ok(&["features", "--from", name, "--out", &format!("{name}.npz")]);
    }
    let results = |train: &str, test: &str| {
        // Written features are those of one view.
        let words = "--shots 1,3 --heads auto,lda --fit squash --features final --json";
        let words: Vec<&str> = words.split(' ').collect();
        let ran = bench.ok(&[&["fewshot", "--train", train, "--test", test], &words[..]].concat());
        let mut said = ran.one();
        for result in said["results"].as_array_mut().unwrap() {
            result["train_ms"].take();
            assert!(!result["chosen"].take().as_object().unwrap().is_empty());
        }
        said
    };
    assert_eq!(results("train", "val"), results("train.npz", "val.npz"));
}

#[test]
fn every_head_trains_corrects_forgets_and_travels() {
    let bench = Bench::new();
    bench.photos("train", 4, 1);
    bench.photos("new", 1, 2);
    bench.ok(&["collect", "--from", "train"]);
    for head in ["softmax", "ridge", "prototype", "lda", "mlp"] {
        let trained = bench.ok(&["train", "--head", head, "--json"]).one();
        assert_eq!(trained["head"], head);
        let learned = bench.ok(&["correct", "--label", "gear", "new/screw/00.jpg", "--json"]);
        let id = learned.one()["id"].to_string();
        bench.ok(&["export", "head.fhead"]);
        bench.ok(&["forget", "--sample", &id]);
        bench.ok(&["import", "head.fhead"]);
        let seen = bench.ok(&["predict", "new/gear", "--json"]).json();
        assert_eq!(seen[0]["label"], "gear", "{head}");
    }
    std::fs::write(bench.path("field/field.toml"), "head = \"lda\"").unwrap();
    assert_eq!(bench.ok(&["train", "--json"]).one()["head"], "lda");
    bench.refused(&["train", "--head", "forest"], 2, "prototype, lda, mlp");
}

#[test]
fn the_demonstration_tells_the_whole_story_and_leaves_a_field() {
    let bench = Bench::new();
    let said = bench.ok(&["demo", "--json"]).one();
    assert_eq!(said["identical_after_reopening"], said["frames"]);
    let share = |key: &str| said[key].as_f64().unwrap();
    assert!(share("accuracy_day") > 0.9);
    assert!(share("accuracy_evening") < share("accuracy_day") - 0.1);
    assert!(share("accuracy_evening_corrected") > share("accuracy_day") - 0.05);
    let versions = bench.ok(&["history", "--json"]).json().len() as u64;
    assert_eq!(Some(versions), said["version"].as_u64());
    bench.ok(&[
        "predict",
        "--source",
        "line:9,light=evening",
        "--count",
        "2",
    ]);
    bench.ok(&[
        "--field", "mine", "collect", "--label", "a", "--source", "line:1",
    ]);
    bench.refused(&["--field", "mine", "demo"], 3, "yours");
    bench.ok(&["collect", "--label", "mine", "--source", "line:1"]);
    bench.refused(&["demo"], 3, "yours");
    let samples = bench.ok(&["samples", "--json"]).json();
    assert_eq!(samples.last().unwrap()["label"], "mine");
}

#[test]
fn forgetting_the_only_sample_of_a_class_learns_from_what_was_corrected_since() {
    let bench = Bench::new();
    bench.photos("train", 8, 1);
    let collect = |field: &str, label: &str, source: &str| {
        bench.ok(&[
            "--field", field, "collect", "--label", label, "--source", source,
        ]);
    };
    collect("x", "a", "file:train/gear/00.jpg");
    collect("x", "b", "file:train/washer");
    bench.ok(&["--field", "x", "train"]);
    let corrected = ["correct", "--label", "a", "train/gear/01.jpg"];
    bench.ok(&[&["--field", "x"], &corrected[..]].concat());
    bench.ok(&["--field", "x", "forget", "--sample", "1"]);
    collect("y", "b", "file:train/washer");
    collect("y", "a", "file:train/gear/01.jpg");
    bench.ok(&["--field", "y", "train"]);
    let answer = |field: &str| {
        let ran = bench.ok(&["--field", field, "predict", "train/gear", "--json"]);
        let answers = ran.json();
        answers
            .iter()
            .map(|a| a["scores"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(answer("x"), answer("y"));
    bench.refused(
        &["--field", "x", "forget", "--sample", "10"],
        3,
        "all 8 samples are labelled 'b'",
    );
}
