//! `fewshot`: accuracy by the number of labelled samples a class.

use super::args::{Choice, Fewshot, Shots};
use super::context::Context;
use super::embed::{self, EmbeddedTree};
use super::eval;
use super::output::{ends, ms_since, range, round};
use anyhow::Result;
use fieldhead::head::{Request, Samples};
use fieldhead::learn::metrics::{Interval, mean_interval};
use fieldhead::learn::{self, splits};
use fieldhead::pipeline::PipelineError;
use serde_json::json;
use std::time::Instant;

/// One line of the table.
struct Row {
    head: Choice,
    shots: Shots,
    /// The fewest samples that a class gave.
    drawn: usize,
    seeds: u64,
    balanced_accuracy: f64,
    /// For the test photos that were drawn; `std` is of the shots that were drawn.
    interval: Interval,
    std: f64,
    train_ms: f64,
}

pub fn run(context: &Context, options: &Fewshot) -> Result<()> {
    let embedder = context.embedder()?;
    let train = embed::tree(context, &embedder, &options.train)?;
    let test = embed::tree(context, &embedder, &options.test)?;
    let samples = samples(&train, embedder.recipe().width as usize)?;
    let bar = context.out.progress(
        (options.heads.len() * options.shots.len()) as u64,
        "training",
    );
    let mut rows = Vec::new();
    for &shots in &options.shots {
        for &head in &options.heads {
            rows.push(measure(context, options, head, shots, &samples, &test)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    report(context, &rows, &test)
}

/// Each file is its own burst here: the test folder, not a split, judges.
fn samples(tree: &EmbeddedTree, width: usize) -> Result<Samples, PipelineError> {
    let mut names: Vec<String> = tree.files.iter().map(|f| f.label.clone()).collect();
    names.sort();
    names.dedup();
    let labels = tree
        .files
        .iter()
        .map(|f| names.binary_search(&f.label).unwrap_or(0) as u32)
        .collect();
    let groups = (0..tree.files.len() as u64).collect();
    let rows = tree.features.concat();
    Ok(Samples::new(width, rows, labels, names, groups)?)
}

fn measure(
    context: &Context,
    options: &Fewshot,
    head: Choice,
    shots: Shots,
    samples: &Samples,
    test: &EmbeddedTree,
) -> Result<Row> {
    let seeds = match shots {
        Shots::All => 1,
        Shots::Each(_) => options.seeds,
    };
    let fewest = samples.counts().into_iter().min().unwrap_or(0);
    let (mut accuracies, mut recalls, mut ms) = (Vec::new(), Vec::new(), 0.0);
    for seed in 0..seeds {
        let drawn = match shots {
            Shots::All => samples.clone(),
            Shots::Each(shots) => samples.select(&splits::shots(seed, shots, &samples.labels))?,
        };
        let request = Request {
            kind: head.0,
            false_alarm_rate: context.settings.false_alarm_rate,
            seed,
            ..Request::default()
        };
        let start = Instant::now();
        let (trained, _) = learn::train(&drawn, &request)?;
        ms += ms_since(start);
        let confusion = eval::judge(trained.learned(), test)?.confusion;
        accuracies.push(confusion.balanced_accuracy());
        recalls.push(confusion.recalls());
    }
    let n = accuracies.len() as f64;
    let mean = accuracies.iter().sum::<f64>() / n;
    let variance = accuracies.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / n;
    Ok(Row {
        head,
        shots,
        drawn: match shots {
            Shots::All => fewest,
            Shots::Each(shots) => shots.min(fewest),
        },
        seeds,
        balanced_accuracy: mean,
        interval: mean_interval(&mean_recalls(&recalls)),
        std: variance.sqrt(),
        train_ms: ms / n,
    })
}

/// Mean recall of each class over the draws, which the same test photos judged.
fn mean_recalls(draws: &[Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    let Some(first) = draws.first() else {
        return Vec::new();
    };
    let mean = |class: usize| {
        let recalls = draws.iter().filter_map(|recalls| recalls.get(class));
        recalls.map(|(recall, _)| recall).sum::<f64>() / draws.len() as f64
    };
    let classes = first.iter().enumerate();
    classes.map(|(class, &(_, n))| (mean(class), n)).collect()
}

fn report(context: &Context, rows: &[Row], test: &EmbeddedTree) -> Result<()> {
    let results: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "head": row.head.to_string(),
                "shots": match row.shots {
                    Shots::Each(shots) => json!(shots),
                    Shots::All => json!("all"),
                },
                "drawn": row.drawn,
                "seeds": row.seeds,
                "balanced_accuracy": round(row.balanced_accuracy),
                "balanced_accuracy_95": ends(row.interval),
                "n": test.files.len(),
                "std": round(row.std),
                "train_ms": round(row.train_ms),
            })
        })
        .collect();
    context
        .out
        .json(&json!({"results": results, "n_test": test.files.len()}))?;
    context.out.line(format!(
        "{:>6}  {:9}  {:>19}  {:>12}  {:>6}  {:>10}",
        "shots", "head", "balanced accuracy %", "95 %", "± std", "train ms"
    ))?;
    for row in rows {
        let shots = match row.shots {
            Shots::Each(shots) => shots.to_string(),
            Shots::All => "all".into(),
        };
        context.out.line(format!(
            "{shots:>6}  {:9}  {:>19.1}  {:>12}  {:>6.1}  {:>10.1}",
            row.head.to_string(),
            row.balanced_accuracy * 100.0,
            range(row.interval),
            row.std * 100.0,
            row.train_ms
        ))?;
    }
    context.out.line(format!(
        "judged by n = {} photos: 95 % is for the choice of these, ± std for that of the shots",
        test.files.len()
    ))?;
    let short = |row: &&Row| matches!(row.shots, Shots::Each(shots) if shots > row.drawn);
    if let Some(row) = rows.iter().find(short) {
        context.out.note(format!(
            "a class has only {} samples: where more shots were asked for, all that are there were taken",
            row.drawn
        ));
    }
    Ok(())
}
