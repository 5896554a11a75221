//! What training and evaluation report: every accuracy with its n and its interval, or the reason why there is none; and the page.

mod support;

use regex::Regex;
use serde_json::Value;
use std::fs;
use support::Bench;

/// A text with every number replaced, so that its words and its shape are what is compared.
fn shape(text: &str) -> String {
    let number = Regex::new(r"\d+(\.\d+)?(e-?\d+)?").unwrap();
    let spaces = Regex::new(r" {2,}").unwrap();
    let words = number.replace_all(text, "#");
    spaces.replace_all(&words, "  ").into_owned()
}

/// A field of 12 drawn parts a class, and 3 others of each in `val`.
fn field() -> Bench {
    let bench = Bench::new();
    bench.photos("train", 12, 1);
    bench.photos("val", 3, 2);
    bench.ok(&["collect", "--from", "train"]);
    bench
}

/// Every accuracy anywhere in a JSON value has an interval around it and a number of judges beside it.
fn check_accuracies(value: &Value, found: &mut usize) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| check_accuracies(one, found)),
        Value::Object(map) => {
            for (key, value) in map {
                let is_one = ["accuracy", "balanced_accuracy", "recall"].contains(&key.as_str())
                    || key.starts_with("accuracy_") && !key.ends_with("_95");
                if is_one && value.is_number() {
                    let share = value.as_f64().unwrap();
                    let ends = &map[&format!("{key}_95")];
                    let end = |at: usize| ends[at].as_f64().unwrap();
                    assert!(end(0) <= share && share <= end(1), "{key} {share} {ends}");
                    let judges = map.get("n").or(map.get("frames"));
                    assert!(judges.unwrap().as_u64().unwrap() > 0, "{key}");
                    *found += 1;
                }
                check_accuracies(value, found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_accuracy_comes_with_its_judges_and_its_interval() {
    let bench = field();
    let fewshot = [
        "fewshot", "--train", "train", "--test", "val", "--shots", "1,4", "--seeds", "2",
        "--heads", "ridge",
    ];
    let line = Regex::new(r"accuracy +\d+\.\d % \(95 %: \d+\.\d to \d+\.\d\), n = \d+").unwrap();
    for (args, lines, values) in [
        (&["train"][..], 1, 8),
        (&["eval", "--from", "val"], 2, 5),
        (&fewshot, 0, 2),
        (&["backbones", "--rank"], 0, 2),
    ] {
        let text = bench.ok(args).stdout;
        assert_eq!(line.find_iter(&text).count(), lines, "{text}");
        assert!(
            text.contains("95 %") && (text.contains("n = ") || text.contains(" n ")),
            "{text}"
        );
        for line in text
            .lines()
            .filter(|line| line.contains('–') || line.contains("  "))
        {
            assert!(line.chars().count() <= 80, "{line}");
        }
        let mut found = 0;
        for value in bench.ok(&[args, &["--json"]].concat()).json() {
            check_accuracies(&value, &mut found);
        }
        assert!(found >= values, "{args:?}: {found}");
    }
    let said = bench.ok(&["--field", "demo", "demo", "--json"]).one();
    let mut found = 0;
    check_accuracies(&said, &mut found);
    assert_eq!(found, 4);
}

#[test]
fn training_says_what_to_expect_and_what_to_collect() {
    let bench = field();
    let said = bench.ok(&["train", "--json"]).one();
    assert_eq!(
        said["labels"],
        serde_json::json!(["gear", "screw", "washer"])
    );
    assert_eq!(
        (&said["cv"]["n"], &said["cv"]["bursts"]),
        (&36.into(), &36.into())
    );
    assert_eq!(said["cv_refused"], Value::Null);
    let rows = said["confusion"].as_array().unwrap();
    let judged = rows.iter().flat_map(|row| row.as_array().unwrap());
    assert_eq!(judged.map(|n| n.as_u64().unwrap()).sum::<u64>(), 36);
    assert_eq!(said["per_class"]["gear"]["n"], 12);
    let curve = said["learning_curve"].as_array().unwrap();
    let sizes: Vec<u64> = curve
        .iter()
        .map(|point| point["samples_per_class"].as_u64().unwrap())
        .collect();
    assert!(sizes.len() >= 4 && sizes.is_sorted(), "{sizes:?}");
    assert!(curve.iter().all(|point| point["n"] == 36));
    // Nine samples a class are too few to be continued to 22.
    assert_eq!(said["next_10"], Value::Null);
    assert!(
        said["next_10_refused"]
            .as_str()
            .unwrap()
            .contains("cannot say")
    );
    let needs = &said["needs"];
    assert!(said["classes"][needs["label"].as_str().unwrap()].is_number());
    assert!(needs["why"].as_str().unwrap().contains("95 %"));
    insta::assert_snapshot!("train", shape(&bench.ok(&["train"]).stdout));
    insta::assert_snapshot!("eval", shape(&bench.ok(&["eval", "--from", "val"]).stdout));
}

#[test]
fn twenty_samples_a_class_say_what_the_next_ten_would_bring() {
    let bench = Bench::new();
    bench.photos("train", 20, 1);
    bench.ok(&["collect", "--from", "train"]);
    let said = bench.ok(&["train", "--json"]).one();
    let next = &said["next_10"];
    assert_eq!((&next["from"], &next["to"]), (&20.into(), &30.into()));
    assert_eq!(said["next_10_refused"], Value::Null);
    let [gain, low, high] = [&next["gain"], &next["gain_95"][0], &next["gain_95"][1]]
        .map(|value| value.as_f64().unwrap());
    assert!((0.0..0.1).contains(&gain) && low <= gain && gain <= high);
}

#[test]
fn an_accuracy_that_cannot_be_had_fairly_is_refused_with_the_reason() {
    let bench = Bench::new();
    bench.photos("train", 6, 1);
    let cases = [
        // One burst for everything that the name says nothing else of.
        ("one", "^(0)", "train", "fewer than two classes"),
        ("three", "^(.*)$", "few", "only 9 samples can judge"),
    ];
    bench.photos("few", 3, 1);
    for (field, regex, from, reason) in cases {
        bench.ok(&[
            "--field",
            field,
            "collect",
            "--from",
            from,
            "--burst-regex",
            regex,
        ]);
        let said = bench.ok(&["--field", field, "train", "--json"]).one();
        assert_eq!(said["cv"], Value::Null);
        assert_eq!(
            (&said["per_class"], &said["confusion"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(said["learning_curve"], serde_json::json!([]));
        for key in ["cv_refused", "next_10_refused"] {
            assert!(
                said[key].as_str().unwrap().contains(reason),
                "{key}: {said}"
            );
        }
        assert!(
            said["needs"]["why"].as_str().unwrap().contains("sample"),
            "{said}"
        );
        let text = bench.ok(&["--field", field, "train"]).stdout;
        assert!(
            text.contains("no accuracy to report: ") && text.contains(reason),
            "{text}"
        );
    }
    bench.refused(&["--field", "one", "backbones", "--rank"], 3, "burst");
    // Two classes of many bursts, and one of a single burst.
    let gears: Vec<_> = fs::read_dir(bench.path("train/gear"))
        .unwrap()
        .flatten()
        .collect();
    for file in gears {
        let name = format!("roll_{}", file.file_name().to_str().unwrap());
        fs::rename(file.path(), bench.path("train/gear").join(name)).unwrap();
    }
    bench.ok(&[
        "--field",
        "roll",
        "collect",
        "--from",
        "train",
        "--burst-regex",
        r"^(roll|\d+)",
    ]);
    let said = bench.ok(&["--field", "roll", "train", "--json"]).one();
    let reason = said["cv_refused"].as_str().unwrap();
    assert!(
        reason.contains("every sample of 'gear' is of one capture burst"),
        "{reason}"
    );
    assert_eq!(said["needs"]["label"], "gear");
}

#[test]
fn photos_that_were_learned_from_are_counted_and_said() {
    let bench = field();
    bench.ok(&["train"]);
    let judged = bench.ok(&["eval", "--from", "train", "--json"]);
    assert_eq!(judged.one()["learned_from"], 36);
    assert!(judged.stderr.contains("too high"), "{}", judged.stderr);
    let fresh = bench.ok(&["eval", "--from", "val", "--json"]);
    assert_eq!(fresh.one()["learned_from"], 0);
    assert_eq!(fresh.stderr, "");
}

#[test]
fn the_page_is_whole_in_itself_and_no_name_becomes_markup() {
    let bench = Bench::new();
    bench.photos("train", 4, 1);
    let hostile = "<script>alert(1)<b a='\"&amp;";
    fs::rename(bench.path("train/gear"), bench.path("train").join(hostile)).unwrap();
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["train"]);
    // Gears under another name: mistakes with thumbnails, and a file whose name tries as well.
    bench.photos("val", 3, 2);
    fs::rename(
        bench.path("val/gear/00.jpg"),
        bench.path("val/gear/\"><img src=x onerror=alert(1)>.jpg"),
    )
    .unwrap();
    let args = ["eval", "--from", "val", "--html", "page.html", "--json"];
    let said = bench.ok(&args).one();
    assert_eq!(
        (&said["html"], &said["n"]),
        (&"page.html".into(), &9.into())
    );
    let page = fs::read_to_string(bench.path("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    let base64 = Regex::new("base64,[^\"]*").unwrap();
    let words = base64.replace_all(&page, "");
    for markup in [
        "<script", "<b a=", "<img src", "http://", "https://", "url(", "@import", "NaN",
    ] {
        assert!(!words.contains(markup), "{markup}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;b a=&#39;&quot;&amp;amp;"));
    assert!(page.contains("&quot;&gt;&lt;img src=x onerror=alert(1)&gt;.jpg"));
    let thumbnails = page.matches("src=\"data:image/jpeg;base64,").count();
    let mistakes = 9.0 - 9.0 * said["accuracy"].as_f64().unwrap();
    assert_eq!(thumbnails, mistakes.round() as usize);
    assert!(thumbnails >= 3);
    assert_eq!(page.matches("<svg viewBox").count(), 3);
    assert!(page.contains("prefers-color-scheme: dark"));
    let percent = format!(
        "{:.1} %",
        100.0 * said["balanced_accuracy"].as_f64().unwrap()
    );
    assert!(page.contains(&percent) && page.contains("n = 9"));
    // The same again: the page is replaced whole, and nothing is left beside it.
    bench.ok(&args);
    assert_eq!(fs::read_to_string(bench.path("page.html")).unwrap(), page);
    let left = fs::read_dir(bench.dir.path()).unwrap().flatten();
    assert!(
        left.map(|e| e.file_name())
            .all(|name| !name.to_string_lossy().ends_with(".part"))
    );
}

#[test]
fn only_a_page_is_replaced_by_a_page() {
    let bench = field();
    bench.ok(&["train"]);
    let to = |file: &'static str| ["eval", "--from", "val", "--html", file];
    bench.refused(&to("val/gear/00.jpg"), 3, "no .html file");
    bench.refused(&to("val"), 3, "folder");
    bench.refused(&to("nowhere/page.html"), 1, "nowhere");
    bench.ok(&to("new-page"));
    assert!(
        fs::read_to_string(bench.path("new-page"))
            .unwrap()
            .contains("</html>")
    );
}

#[test]
fn photos_of_none_of_the_classes_are_judged_by_whether_they_are_called_unknown() {
    let bench = field();
    bench.ok(&["class", "remove", "gear"]);
    bench.ok(&["train"]);
    let classes = ["screw", "washer"].map(|class| bench.path("val").join(class));
    let before = {
        let gears = bench.path("gears");
        fs::rename(bench.path("val/gear"), &gears).unwrap();
        let said = bench.ok(&["eval", "--from", "val", "--json"]).one();
        fs::rename(&gears, bench.path("val/Unknown")).unwrap();
        said
    };
    assert!(before["strangers"].is_null());
    let words = ["eval", "--from", "val", "--html", "page.html"];
    let said = bench.ok(&[&words[..], &["--json"]].concat()).one();
    for key in ["accuracy", "n", "unlearned", "unknown", "sets", "confusion"] {
        assert_eq!(said[key], before[key], "{key}");
    }
    let strangers = &said["strangers"];
    let number = |key: &str| strangers[key].as_f64().unwrap();
    assert_eq!(number("n"), 3.0);
    assert!((number("share") - number("called_unknown") / 3.0).abs() < 1e-6);
    assert!(number("auroc") > 0.5, "{strangers}");
    let told = "3 samples of none of the classes: ";
    assert!(bench.ok(&words).stdout.contains(told));
    assert!(
        fs::read_to_string(bench.path("page.html"))
            .unwrap()
            .contains(told)
    );
    // A folder that only looks like it is a class that was never learned.
    fs::rename(bench.path("val/Unknown"), bench.path("val/unknowns")).unwrap();
    assert_eq!(
        bench.ok(&["eval", "--from", "val", "--json"]).one()["unlearned"],
        3
    );
    fs::rename(bench.path("val/unknowns"), bench.path("val/unknown")).unwrap();
    for class in classes {
        fs::remove_dir_all(class).unwrap();
    }
    bench.refused(&words, 3, "some of the classes beside them");
}
