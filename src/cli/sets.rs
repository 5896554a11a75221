//! How good the sets of labels are that `predict` gives, on labelled photos.

use super::context::Context;
use super::output::round;
use anyhow::Result;
use fieldhead::decision::set;
use fieldhead::head::Learned;
use serde_json::{Value, json};

/// Coverages at which sets of labels are measured.
const COVERAGES: [f64; 3] = [0.8, 0.9, 0.95];

/// Conformal sets at one coverage.
pub struct Sets {
    coverage: f64,
    /// Share of photos whose set holds the right label.
    covered: f64,
    /// That share for the class with the lowest; `None` where no photo is of a class that the head knows.
    worst_class: Option<f64>,
    mean_size: f64,
}

/// Sets at each coverage. `answers` are scores and the right label, where the head knows it.
pub fn measure(learned: &Learned, answers: &[(Vec<f32>, Option<usize>)]) -> Vec<Sets> {
    COVERAGES
        .map(|coverage| at(learned, answers, coverage))
        .into()
}

fn at(learned: &Learned, answers: &[(Vec<f32>, Option<usize>)], coverage: f64) -> Sets {
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
        worst_class: shares.reduce(f64::min),
        mean_size: sizes as f64 / n,
    }
}

pub fn json(all: &[Sets]) -> Vec<Value> {
    let one = |sets: &Sets| {
        json!({
            "coverage": sets.coverage,
            "covered": round(sets.covered),
            "worst_class": sets.worst_class.map(round),
            "mean_size": round(sets.mean_size),
        })
    };
    all.iter().map(one).collect()
}

pub fn lines(context: &Context, all: &[Sets]) -> Result<()> {
    for sets in all {
        let worst = sets.worst_class.map_or(String::new(), |share| {
            format!(" (worst class {:.1} %)", share * 100.0)
        });
        context.out.line(format!(
            "sets of {:.0} %: right label in {:.1} %{worst}, {:.2} labels each",
            sets.coverage * 100.0,
            sets.covered * 100.0,
            sets.mean_size
        ))?;
    }
    Ok(())
}
