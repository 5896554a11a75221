//! Photos of none of the classes, in a folder called `unknown`: `eval` judges how many of them are called unknown.
//!
//! Owns: telling them from the photos of classes, what is measured of them and how it is said. Does not own: when an answer is unknown
//! (`decision`), the score that says so (`head::novelty`).

use super::embed::EmbeddedTree;
use super::eval::Answer;
use super::exit::BadInput;
use super::output::{count, ends, round, with_interval};
use anyhow::Result;
use fieldhead::decision::{Decision, decide};
use fieldhead::head::Learned;
use fieldhead::label::UNKNOWN;
use fieldhead::learn::metrics::{Interval, auroc, wilson};
use serde_json::{Value, json};

/// How well strangers are told from the classes.
pub struct Strangers {
    n: usize,
    called_unknown: usize,
    /// Area under the curve of the unknown score: the chance that a stranger has a higher one than a photo of a class.
    auroc: f64,
}

/// The features of the photos in folders called `unknown`, taken out of the tree; none if the head learned a class of that name.
pub fn part(learned: &Learned, tree: &mut EmbeddedTree) -> Result<Vec<Vec<f32>>> {
    let is_stranger =
        |label: &String| label.eq_ignore_ascii_case(UNKNOWN) && !learned.labels.contains(label);
    let all = tree.files.drain(..).zip(tree.features.drain(..));
    let (strangers, classes): (Vec<_>, Vec<_>) =
        all.partition(|(file, _)| is_stranger(&file.label));
    if classes.is_empty() {
        return Err(BadInput(format!(
            "all samples are of '{UNKNOWN}'; give some of the classes beside them, since what is called unknown says nothing without \
             what is called so wrongly"
        ))
        .into());
    }
    (tree.files, tree.features) = classes.into_iter().unzip();
    Ok(strangers
        .into_iter()
        .map(|(_, features)| features)
        .collect())
}

/// What a head says of strangers, beside its answers on photos of the classes; `None` without any.
pub fn measure(
    learned: &Learned,
    strangers: &[Vec<f32>],
    answers: &[Answer],
) -> Result<Option<Strangers>> {
    if strangers.is_empty() {
        return Ok(None);
    }
    let (mut scores, mut called_unknown) = (Vec::new(), 0);
    for features in strangers {
        let answer = learned.answer(features)?;
        let (score, above) = (answer.unknown_score, answer.unknown_above);
        let decision = decide(&learned.labels, &answer.scores, score, above);
        called_unknown += usize::from(matches!(decision, Decision::Unknown { .. }));
        scores.push(score);
    }
    let known: Vec<f64> = answers.iter().map(|answer| answer.unknown_score).collect();
    Ok(Some(Strangers {
        n: strangers.len(),
        called_unknown,
        auroc: auroc(&scores, &known),
    }))
}

impl Strangers {
    fn share(&self) -> (f64, Interval) {
        let share = self.called_unknown as f64 / self.n as f64;
        (share, wilson(self.called_unknown, self.n))
    }

    pub fn json(&self) -> Value {
        let (share, interval) = self.share();
        json!({
            "n": self.n,
            "called_unknown": self.called_unknown,
            "share": round(share),
            "share_95": ends(interval),
            "auroc": round(self.auroc),
        })
    }

    /// What is said of them on one line.
    pub fn words(&self) -> String {
        let (share, interval) = self.share();
        format!(
            "{} of none of the classes: {} called unknown, area {:.3}",
            count(self.n, "sample"),
            with_interval(share, interval),
            self.auroc
        )
    }
}
