//! `eval`: the head in use against labelled photos it has not seen.

use super::args::From;
use super::context::Context;
use super::embed::{self, EmbeddedTree};
use super::output::{fit, round};
use anyhow::Result;
use fieldhead::decision::{Decision, best, decide, set};
use fieldhead::head::Learned;
use fieldhead::learn::metrics::{Confusion, expected_calibration_error, wilson};
use serde_json::json;

pub fn run(context: &Context, options: &From) -> Result<()> {
    let store = context.open_read_only()?;
    let (version, head) = store.current_head()?;
    let embedder = context.embedder_for(&head.recipe)?;
    let tree = embed::tree(context, &embedder, &options.from)?;
    let judged = judge(&head.learned, &tree)?;
    report(context, version, &tree, &judged)
}

/// What a head answers on a tree.
pub struct Judged {
    pub confusion: Confusion,
    /// How many it called unknown.
    unknown: usize,
    calibration_error: f64,
    sets: Vec<Sets>,
}

/// Coverages at which sets of labels are measured.
const COVERAGES: [f64; 3] = [0.8, 0.9, 0.95];

/// Conformal sets at one coverage.
struct Sets {
    coverage: f64,
    /// Share of photos whose set holds the right label.
    covered: f64,
    /// That share for the class with the lowest.
    worst_class: f64,
    mean_size: f64,
}

impl Sets {
    /// `answers` are scores and the right label, where the head knows it.
    fn measure(learned: &Learned, answers: &[(Vec<f32>, Option<usize>)], coverage: f64) -> Sets {
        let least = learned.calibration.conformal.least(coverage);
        let n = answers.len().max(1) as f64;
        let (mut sizes, mut covered) = (0, 0);
        let mut classes = vec![(0, 0); learned.labels.len()];
        for (scores, right) in answers {
            let set = set(scores, least);
            sizes += set.len();
            if let Some(right) = *right {
                let holds = usize::from(set.contains(&right));
                covered += holds;
                classes[right].0 += holds;
                classes[right].1 += 1;
            }
        }
        let judged = classes.iter().filter(|(_, n)| *n > 0);
        let shares = judged.map(|&(holds, n)| holds as f64 / n as f64);
        Sets {
            coverage,
            covered: covered as f64 / n,
            worst_class: shares.fold(1.0, f64::min),
            mean_size: sizes as f64 / n,
        }
    }
}

pub fn judge(learned: &Learned, tree: &EmbeddedTree) -> Result<Judged> {
    let mut labels: Vec<String> = learned.labels.clone();
    labels.extend(tree.files.iter().map(|file| file.label.clone()));
    labels.sort();
    labels.dedup();
    let index = |label: &str| {
        labels
            .binary_search_by(|l| l.as_str().cmp(label))
            .unwrap_or(0)
    };
    let mut unknown = 0;
    let mut pairs = Vec::new();
    let mut answers = Vec::new();
    let mut sets = Vec::new();
    for (file, features) in tree.files.iter().zip(&tree.features) {
        let answer = learned.answer(features)?;
        let scores = answer.scores;
        let (score, above) = (answer.unknown_score, answer.unknown_above);
        let decision = decide(&learned.labels, &scores, score, above);
        unknown += usize::from(matches!(decision, Decision::Unknown { .. }));
        let best = best(&scores);
        pairs.push((index(&file.label), index(&learned.labels[best])));
        answers.push((f64::from(scores[best]), learned.labels[best] == file.label));
        let right = learned.labels.binary_search(&file.label).ok();
        sets.push((scores, right));
    }
    Ok(Judged {
        confusion: Confusion::new(labels.clone(), &pairs),
        unknown,
        calibration_error: expected_calibration_error(&answers),
        sets: COVERAGES
            .map(|coverage| Sets::measure(learned, &sets, coverage))
            .into(),
    })
}

fn report(context: &Context, version: u64, tree: &EmbeddedTree, judged: &Judged) -> Result<()> {
    let Judged {
        confusion, unknown, ..
    } = judged;
    let n = tree.files.len();
    let accuracy = confusion.accuracy();
    let balanced = confusion.balanced_accuracy();
    let correct = (accuracy * n as f64).round() as usize;
    let (low, high) = wilson(correct, n);
    let per_class: serde_json::Map<String, serde_json::Value> = confusion
        .per_class()
        .into_iter()
        .map(|class| {
            let value = json!({
                "n": class.n,
                "precision": class.precision.map(round),
                "recall": class.recall.map(round),
            });
            (class.label, value)
        })
        .collect();
    let skipped: Vec<String> = tree
        .skipped
        .iter()
        .map(|s| s.path.display().to_string())
        .collect();
    context.out.json(&json!({
        "accuracy": round(accuracy),
        "accuracy_95": [round(low), round(high)],
        "balanced_accuracy": round(balanced),
        "n": n,
        "unknown": unknown,
        "calibration_error": round(judged.calibration_error),
        "sets": judged.sets.iter().map(|sets| json!({
            "coverage": sets.coverage,
            "covered": round(sets.covered),
            "worst_class": round(sets.worst_class),
            "mean_size": round(sets.mean_size),
        })).collect::<Vec<_>>(),
        "per_class": per_class,
        "labels": confusion.labels(),
        "confusion": confusion.rows(),
        "ms_per_sample": round(tree.ms_per_sample),
        "skipped": skipped,
        "version": version,
    }))?;
    context.out.line(format!(
        "accuracy {:.1} % (95 %: {:.1} to {:.1}), balanced {:.1} %, n = {n}",
        accuracy * 100.0,
        low * 100.0,
        high * 100.0,
        balanced * 100.0
    ))?;
    context.out.line(format!(
        "head version {version}; {unknown} called unknown; calibration error {:.3}; {:.1} ms a photo; {} skipped",
        judged.calibration_error,
        tree.ms_per_sample,
        skipped.len()
    ))?;
    for sets in &judged.sets {
        context.out.line(format!(
            "sets of {:.0} %: {:.1} % hold the right label (worst class {:.1} %), {:.2} labels on average",
            sets.coverage * 100.0,
            sets.covered * 100.0,
            sets.worst_class * 100.0,
            sets.mean_size
        ))?;
    }
    context.out.line("")?;
    table(context, confusion)
}

fn table(context: &Context, confusion: &Confusion) -> Result<()> {
    let percent = |share: Option<f64>| share.map_or("–".into(), |x| format!("{:.1}", x * 100.0));
    context.out.line(format!(
        "{:24} {:>6} {:>9} {:>11}   {}",
        "class", "n", "recall %", "precision %", "most often taken for"
    ))?;
    for (row, class) in confusion.per_class().into_iter().enumerate() {
        let mistaken = confusion.rows()[row]
            .iter()
            .enumerate()
            .filter(|&(column, &count)| column != row && count > 0)
            .max_by_key(|&(_, &count)| count)
            .map(|(column, count)| format!("{} ({count})", fit(&confusion.labels()[column], 16)));
        context.out.line(format!(
            "{:24} {:>6} {:>9} {:>11}   {}",
            fit(&class.label, 24),
            class.n,
            percent(class.recall),
            percent(class.precision),
            mistaken.unwrap_or_default()
        ))?;
    }
    Ok(())
}
