//! `eval`: the head in use against labelled photos it has not seen.

use super::args::From;
use super::context::Context;
use super::embed::{self, EmbeddedTree};
use super::output::{fit, round};
use anyhow::Result;
use fieldhead::decision::{Decision, best, decide};
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
    for (file, features) in tree.files.iter().zip(&tree.features) {
        let scores = learned.scores(features)?;
        if matches!(
            decide(&learned.labels, &scores, learned.calibration.unknown_below),
            Decision::Unknown { .. }
        ) {
            unknown += 1;
        }
        let best = best(&scores);
        pairs.push((index(&file.label), index(&learned.labels[best])));
        answers.push((f64::from(scores[best]), learned.labels[best] == file.label));
    }
    Ok(Judged {
        confusion: Confusion::new(labels.clone(), &pairs),
        unknown,
        calibration_error: expected_calibration_error(&answers),
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
