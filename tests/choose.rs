//! The choice of view and outputs, changes of whole classes, and changed copies of photos.

mod support;

use fieldhead::features::{FeatureSet, Recipe};
use fieldhead::head::{Request, Samples};
use fieldhead::pipeline::{self, PipelineError, TrainingSet};
use fieldhead::preprocess::{Fit, View};
use fieldhead::random::SplitMix64;
use std::cell::Cell;
use support::Bench;

fn recipe(fit: Fit, set: FeatureSet) -> Recipe {
    Recipe {
        backbone: "drawn".into(),
        backbone_hash: [1; 32],
        view: View {
            fit,
            width: 8,
            height: 8,
            pad: [0; 3],
        },
        set,
        width: 8,
    }
}

/// Two classes whose centres are `distance` apart among noise of one, `a_class` of each, every one its own burst or all of a class
/// the same.
fn drawn(distance: f32, a_class: u32, bursts: bool) -> TrainingSet {
    let mut random = SplitMix64::new(7);
    let labels: Vec<u32> = (0..2 * a_class).map(|i| i % 2).collect();
    let mut rows = Vec::new();
    for &label in &labels {
        for at in 0..8 {
            let noise = random.below(2001) as f32 / 1000.0 - 1.0;
            rows.push(1.0 + noise + if at == label { distance } else { 0.0 });
        }
    }
    let groups = labels.iter().enumerate();
    let groups = groups.map(|(i, &label)| if bursts { i as u64 } else { label.into() });
    let names = vec!["a".to_owned(), "b".to_owned()];
    TrainingSet {
        ids: (1..=u64::from(2 * a_class)).collect(),
        samples: Samples::new(8, rows, labels.clone(), names, groups.collect()).unwrap(),
    }
}

/// Samples that the crop tells apart and the other views do not.
fn crop_is_better(recipe: &Recipe) -> Result<TrainingSet, PipelineError> {
    let distance = if recipe.view.fit == Fit::Crop {
        3.0
    } else {
        0.3
    };
    Ok(drawn(distance, 20, true))
}

#[test]
fn the_view_that_tells_the_classes_apart_is_chosen() {
    let ways = pipeline::candidates(recipe, None, None);
    assert_eq!(ways.len(), 6);
    let chosen = pipeline::choose(&ways, &Request::default(), crop_is_better, || false).unwrap();
    assert_eq!(chosen.recipe.view.fit, Fit::Crop);
    let why = chosen.why.unwrap();
    assert!(
        why.starts_with("crop view") && why.contains("squash"),
        "{why}"
    );
}

#[test]
fn what_the_user_fixed_stays_fixed() {
    let ways = pipeline::candidates(recipe, Some(Fit::Letterbox), None);
    assert!(ways.len() == 2 && ways.iter().all(|way| way.view.fit == Fit::Letterbox));
    let ways = pipeline::candidates(recipe, Some(Fit::Squash), Some(FeatureSet::Final));
    let chosen = pipeline::choose(&ways, &Request::default(), crop_is_better, || false).unwrap();
    assert_eq!((chosen.recipe, chosen.why), (ways[0].clone(), None));
}

#[test]
fn equal_views_stay_the_usual_one() {
    let ways = pipeline::candidates(recipe, None, None);
    let same = |_: &Recipe| Ok(drawn(0.5, 20, true));
    let chosen = pipeline::choose(&ways, &Request::default(), same, || false).unwrap();
    let usual = recipe(Fit::Squash, FeatureSet::Multi);
    assert_eq!(chosen.recipe, usual);
}

#[test]
fn without_bursts_to_hold_out_the_first_is_taken_and_no_other_looked_at() {
    let ways = pipeline::candidates(recipe, None, None);
    let looked = Cell::new(0);
    let set_of = |_: &Recipe| {
        looked.set(looked.get() + 1);
        Ok(drawn(3.0, 4, false))
    };
    let chosen = pipeline::choose(&ways, &Request::default(), set_of, || false).unwrap();
    assert_eq!((chosen.recipe, looked.get()), (ways[0].clone(), 1));
}

#[test]
fn when_time_runs_out_the_usual_way_is_taken_and_it_is_said() {
    let ways = pipeline::candidates(recipe, None, None);
    let chosen = pipeline::choose(&ways, &Request::default(), crop_is_better, || true).unwrap();
    assert_eq!(chosen.recipe, recipe(Fit::Squash, FeatureSet::Multi));
    let why = chosen.why.unwrap();
    assert!(why.contains("--budget-ms"), "{why}");
}

#[test]
fn a_view_without_pictures_is_passed_over_and_it_is_said() {
    let ways = pipeline::candidates(recipe, None, None);
    let set_of = |way: &Recipe| match way.view.fit {
        Fit::Squash => crop_is_better(way),
        _ => Err(PipelineError::NoPicture {
            missing: 3,
            all: 40,
        }),
    };
    let chosen = pipeline::choose(&ways, &Request::default(), set_of, || false).unwrap();
    assert_eq!(chosen.recipe.view.fit, Fit::Squash);
    let why = chosen.why.unwrap();
    assert!(why.contains("3 samples have no kept picture"), "{why}");
}

#[test]
fn a_head_that_sees_by_two_views_predicts_corrects_and_forgets() {
    let bench = Bench::new();
    bench.photos("train", 4, 1);
    bench.photos("new", 1, 5);
    bench.ok(&["collect", "--from", "train"]);
    let trained = bench.ok(&["--fit", "both", "train", "--json"]).one();
    assert_eq!(trained["fit"], "both");
    let before = bench.ok(&["predict", "train/gear", "--json"]).stdout;
    bench.ok(&["correct", "--label", "gear", "new/gear/00.jpg"]);
    let forgot = bench.ok(&["forget", "--sample", "13", "--json"]).one();
    assert_eq!(forgot["version"], 3);
    let strip = |text: &str| -> Vec<serde_json::Value> {
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let scores = lines.map(|line: serde_json::Value| line["scores"].clone());
        scores.collect()
    };
    let after = bench.ok(&["predict", "train/gear", "--json"]).stdout;
    assert_eq!(strip(&before), strip(&after));
}

#[test]
fn a_class_is_renamed_merged_and_removed_with_the_head() {
    let bench = Bench::new();
    bench.photos("train", 4, 1);
    bench.ok(&["collect", "--from", "train"]);
    bench.ok(&["train"]);
    let renamed = bench
        .ok(&["class", "rename", "washer", "ring", "--json"])
        .one();
    assert_eq!(
        (&renamed["relabelled"], &renamed["version"]),
        (&4.into(), &2.into())
    );
    let classes = bench.ok(&["class", "--json"]).json();
    let of = |classes: &[serde_json::Value]| -> Vec<(String, u64)> {
        let pair = |c: &serde_json::Value| {
            (
                c["class"].as_str().unwrap().into(),
                c["n"].as_u64().unwrap(),
            )
        };
        classes.iter().map(pair).collect()
    };
    let expected = [("gear", 4), ("ring", 4), ("screw", 4)].map(|(c, n)| (c.to_owned(), n));
    assert_eq!(of(&classes), expected);
    let scores = bench.ok(&["predict", "train/washer", "--json"]).json();
    assert!(scores[0]["scores"]["ring"].is_number() && scores[0]["scores"]["washer"].is_null());

    bench.ok(&["class", "merge", "ring", "screw"]);
    let classes = bench.ok(&["class", "--json"]).json();
    assert_eq!(
        of(&classes),
        [("gear", 4), ("screw", 8)].map(|(c, n)| (c.to_owned(), n))
    );
    // With one class left no head could be made: nothing changes.
    bench.refused(&["class", "remove", "gear"], 3, "two classes");
    assert_eq!(bench.ok(&["class", "--json"]).json().len(), 2);
    let history = bench.ok(&["history", "--json"]).json();
    let origins: Vec<&str> = history
        .iter()
        .map(|line| line["origin"].as_str().unwrap())
        .collect();
    assert_eq!(origins, ["train", "rename", "rename"]);
    assert_eq!([&history[2]["class"], &history[2]["to"]], ["ring", "screw"]);
    let table = bench.ok(&["history"]).stdout;
    assert!(table.contains("rename (washer to ring)"), "{table}");
}

#[test]
fn merging_classes_gives_the_head_of_samples_collected_so() {
    let (merged, at_once) = (Bench::new(), Bench::new());
    for bench in [&merged, &at_once] {
        bench.photos("train", 4, 1);
    }
    merged.ok(&["collect", "--from", "train"]);
    merged.ok(&["train"]);
    merged.ok(&["class", "merge", "washer", "gear"]);
    for (number, photo) in ["00", "01", "02", "03"].iter().enumerate() {
        let from = at_once.path(&format!("train/washer/{photo}.jpg"));
        std::fs::rename(from, at_once.path(&format!("train/gear/1{number}.jpg"))).unwrap();
    }
    std::fs::remove_dir(at_once.path("train/washer")).unwrap();
    at_once.ok(&["collect", "--from", "train"]);
    at_once.ok(&["train"]);
    let label = |bench: &Bench, photo: &str| {
        let line = bench.ok(&["predict", photo, "--json"]).one();
        (line["label"].clone(), line["unknown"].clone())
    };
    for photo in ["train/screw/00.jpg", "train/gear/00.jpg"] {
        assert_eq!(label(&merged, photo), label(&at_once, photo));
    }
}

#[test]
fn changes_of_classes_that_are_not_there_are_refused() {
    let bench = Bench::new();
    bench.photos("train", 2, 1);
    bench.ok(&["collect", "--from", "train"]);
    bench.refused(&["class", "rename", "nut", "bolt"], 3, "no class 'nut'");
    bench.refused(&["class", "rename", "gear", "screw"], 3, "class merge");
    bench.refused(&["class", "rename", "gear", ""], 2, "label");
    bench.refused(&["class", "merge", "gear", "nut"], 3, "no class 'nut'");
    for change in ["merge", "rename"] {
        bench.refused(
            &["class", change, "gear", "gear"],
            3,
            "both names are 'gear'",
        );
    }
    bench.refused(&["class", "remove", "nut"], 3, "no class 'nut'");
    bench.ok(&["class", "remove", "gear"]);
    assert_eq!(bench.ok(&["class", "--json"]).json().len(), 2);
}

#[test]
fn changed_copies_are_learned_with_their_photo_and_never_judge_it() {
    let bench = Bench::new();
    bench.photos("train", 3, 1);
    let collected = bench.ok(&["collect", "--from", "train", "--augment", "2", "--json"]);
    let summary = collected.json().pop().unwrap();
    assert_eq!(summary["collected"], 27);
    let samples = bench.ok(&["samples", "--json"]).json();
    assert!(samples.chunks(3).all(|of_one| {
        let same = of_one.iter().all(|one| one["burst"] == of_one[0]["burst"]);
        same && of_one[1]["source"].as_str().unwrap().contains("copy 1")
    }));
    // Collected again, a photo is known, and so are its copies.
    let again = bench.ok(&["collect", "--from", "train", "--augment", "2", "--json"]);
    assert_eq!(again.json().pop().unwrap()["collected"], 0);
    bench.refused(&["collect", "--from", "train", "--augment", "17"], 2, "17");
}
