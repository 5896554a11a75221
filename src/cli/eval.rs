//! `eval`: the head in use against labelled photos it has not seen.

use super::args::Eval;
use super::context::Context;
use super::embed::{self, EmbeddedTree};
use super::exit::BadInput;
use super::export::{target, write_whole};
use super::output::{are, are_samples, count, ends, round, with_interval};
use super::page;
use super::per_class;
use super::sets::{self, Sets};
use super::strangers::{self, Strangers};
use anyhow::Result;
use fieldhead::decision::{Decision, best, decide};
use fieldhead::head::Learned;
use fieldhead::learn::metrics::{Confusion, expected_calibration_error};
use fieldhead::pipeline::content_hash;
use fieldhead::source::Payload;
use fieldhead::source::folder::{self, Labelled};
use fieldhead::store::Store;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

pub fn run(context: &Context, options: &Eval) -> Result<()> {
    // Refused before the work, not after it.
    options.html.as_deref().map(check_page).transpose()?;
    let store = context.open_read_only()?;
    let (version, head) = store.current_head()?;
    context.check_asked(&head.recipe)?;
    let embedder = context.embedder_for(&head.recipe)?;
    let mut tree = embed::tree(context, &embedder, &options.from)?;
    let strangers = strangers::part(&head.learned, &mut tree)?;
    let judged = judge(&head.learned, &tree)?;
    let strangers = strangers::measure(&head.learned, &strangers, &judged.answers)?;
    let known = known(&store, &tree)?;
    let unlearned = unlearned(&head.learned.labels, &tree);
    if let Some(path) = &options.html {
        let about = page::About {
            folder: &options.from,
            version,
            head: &head,
            known,
            strangers: strangers.as_ref(),
        };
        write_whole(path, page::page(&about, &tree, &judged)?.as_bytes())?;
    }
    let page = options.html.as_deref();
    let others = (strangers.as_ref(), [known, unlearned]);
    report(context, version, &tree, &judged, others, page)
}

/// Refuses to replace what is no page.
fn check_page(path: &Path) -> Result<()> {
    let there = target(path)?.exists();
    let ending = path.extension().and_then(|ending| ending.to_str());
    let page = ending.is_some_and(|e| ["html", "htm"].contains(&e.to_ascii_lowercase().as_str()));
    if there && !page {
        return Err(BadInput(format!(
            "{} is there already and is no .html file; name another file",
            path.display()
        ))
        .into());
    }
    Ok(())
}

/// How many of the photos are samples of the field, byte for byte: those are not held out.
fn known(store: &Store, tree: &EmbeddedTree) -> Result<usize> {
    let samples = store.samples()?;
    let contents: BTreeSet<_> = samples.values().map(|sample| sample.content).collect();
    let is_known = |file: &&Labelled| {
        let bytes = folder::read(&file.path);
        bytes.is_ok_and(|bytes| contents.contains(&content_hash(&Payload::Encoded(bytes))))
    };
    Ok(tree.files.iter().filter(is_known).count())
}

/// How many of the photos are of classes that a head with these labels never learned.
pub fn unlearned(labels: &[String], tree: &EmbeddedTree) -> usize {
    let strange = |file: &&Labelled| !labels.contains(&file.label);
    tree.files.iter().filter(strange).count()
}

/// Says of photos of classes that were never learned what they do to the figures, and what else may help.
pub fn note_unlearned(context: &Context, unlearned: usize, tree: &EmbeddedTree, help: &str) {
    let (n, noun) = (tree.files.len(), tree.noun);
    if unlearned > 0 {
        context.out.note(format!(
            "{unlearned} of the {} {} of classes that were never learned, and no answer on them can be right: compare the names of the \
             folders, and see `fieldhead class`{help}",
            count(n, noun),
            are(unlearned)
        ));
    }
}

/// What a head answers on a tree.
pub struct Judged {
    pub confusion: Confusion,
    /// One a file, in the order of the files.
    pub answers: Vec<Answer>,
    /// How many it called unknown.
    unknown: usize,
    pub calibration_error: f64,
    /// What one of the files is called.
    pub noun: &'static str,
    sets: Vec<Sets>,
}

/// What it answers on a file; labels are indices into those of the confusion.
pub struct Answer {
    pub truth: usize,
    pub given: usize,
    pub confidence: f64,
    pub unknown: bool,
    pub unknown_score: f64,
}

impl Answer {
    pub fn right(&self) -> bool {
        self.truth == self.given
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
    let mut answers = Vec::new();
    let mut sets = Vec::new();
    for (file, features) in tree.files.iter().zip(&tree.features) {
        let answer = learned.answer(features)?;
        let scores = answer.scores;
        let (score, above) = (answer.unknown_score, answer.unknown_above);
        let decision = decide(&learned.labels, &scores, score, above);
        let best = best(&scores);
        answers.push(Answer {
            truth: index(&file.label),
            given: index(&learned.labels[best]),
            confidence: f64::from(scores[best]),
            unknown: matches!(decision, Decision::Unknown { .. }),
            unknown_score: score,
        });
        sets.push((scores, learned.labels.binary_search(&file.label).ok()));
    }
    let pairs: Vec<(usize, usize)> = answers.iter().map(|a| (a.truth, a.given)).collect();
    Ok(Judged {
        noun: tree.noun,
        confusion: Confusion::new(labels, &pairs),
        unknown: answers.iter().filter(|answer| answer.unknown).count(),
        calibration_error: expected_calibration_error(&confidences(&answers)),
        sets: sets::measure(learned, &sets),
        answers,
    })
}

/// Of each answer its confidence, and whether it is right.
pub fn confidences(answers: &[Answer]) -> Vec<(f64, bool)> {
    answers.iter().map(|a| (a.confidence, a.right())).collect()
}

fn report(
    context: &Context,
    version: u64,
    tree: &EmbeddedTree,
    judged: &Judged,
    (strangers, [known, unlearned]): (Option<&Strangers>, [usize; 2]),
    html: Option<&Path>,
) -> Result<()> {
    let Judged {
        confusion, unknown, ..
    } = judged;
    let n = tree.files.len();
    let skipped: Vec<String> = tree
        .skipped
        .iter()
        .map(|s| s.path.display().to_string())
        .collect();
    let html = html.map(|path| path.display().to_string());
    let mut said = json!({
        "accuracy": round(confusion.accuracy()),
        "accuracy_95": ends(confusion.accuracy_95()),
        "balanced_accuracy": round(confusion.balanced_accuracy()),
        "balanced_accuracy_95": ends(confusion.balanced_accuracy_95()),
        "n": n,
        "learned_from": known,
        "unlearned": unlearned,
        "unknown": unknown,
        "strangers": strangers.map(Strangers::json),
        "calibration_error": round(judged.calibration_error),
        "sets": sets::json(&judged.sets),
        "per_class": per_class::json(confusion),
        "labels": confusion.labels(),
        "confusion": confusion.rows(),
        "ms_per_sample": round(tree.ms_per_sample),
        "skipped": skipped,
        "version": version,
    });
    if let Some(path) = &html {
        said["html"] = json!(path);
    }
    context.out.json(&said)?;
    for (name, share, interval) in [
        (
            "balanced accuracy",
            confusion.balanced_accuracy(),
            confusion.balanced_accuracy_95(),
        ),
        ("accuracy", confusion.accuracy(), confusion.accuracy_95()),
    ] {
        context.out.line(format!(
            "{name:18}{}, n = {n}",
            with_interval(share, interval)
        ))?;
    }
    context.out.line(format!(
        "head version {version}; {unknown} called unknown; {} skipped; {:.1} ms a {}",
        skipped.len(),
        tree.ms_per_sample,
        tree.noun
    ))?;
    if let Some(strangers) = strangers {
        context.out.line(strangers.words())?;
    }
    let error = judged.calibration_error;
    context.out.line(format!("calibration error {error:.3}"))?;
    sets::lines(context, &judged.sets)?;
    context.out.line("")?;
    per_class::table(context, confusion, usize::MAX)?;
    if let Some(path) = html {
        context.out.line("")?;
        context.out.line(format!("page written to {path}"))?;
    }
    let help = "; what is of none of the classes belongs in a folder named unknown";
    note_unlearned(context, unlearned, tree, help);
    if known > 0 {
        context.out.note(format!(
            "{known} of the {} {} of this field, and a head does better on what it learned from than on anything new: these figures are \
             too high",
            count(n, tree.noun),
            are_samples(known)
        ));
    }
    Ok(())
}
