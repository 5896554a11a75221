//! `fewshot`: accuracy by the number of labelled samples a class.

use super::args::{Choice, Fewshot, Shots};
use super::context::Context;
use super::embed::{self, EmbeddedTree};
use super::eval;
use super::output::{ms_since, round};
use anyhow::Result;
use fieldhead::features::Recipe;
use fieldhead::head::{HeadKind, Request, Samples};
use fieldhead::learn::splits;
use fieldhead::pipeline::{self, PipelineError, TrainingSet};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Instant;

/// One line of the table.
struct Row {
    head: Choice<HeadKind>,
    shots: Shots,
    /// The fewest samples that a class gave.
    drawn: usize,
    seeds: u64,
    balanced_accuracy: f64,
    std: f64,
    train_ms: f64,
    /// View, features and kind of head, and how many seeds chose them.
    chosen: BTreeMap<String, u64>,
}

pub fn run(context: &Context, options: &Fewshot) -> Result<()> {
    let recipes = context.candidates()?;
    let fullest = recipes.iter().max_by_key(|recipe| recipe.width);
    let embedder = match fullest {
        Some(recipe) => context.embedder_of(&context.found()?, recipe)?,
        None => context.embedder()?,
    };
    let train = embed::trees(context, &embedder, &recipes, &options.train)?;
    let test = embed::trees(context, &embedder, &recipes, &options.test)?;
    let samples = train
        .iter()
        .zip(&recipes)
        .map(|(tree, recipe)| samples(tree, recipe.width as usize))
        .collect::<Result<Vec<_>, _>>()?;
    let task = Task {
        recipes,
        samples,
        test,
    };
    let bar = context.out.progress(
        (options.heads.len() * options.shots.len()) as u64,
        "training",
    );
    let mut rows = Vec::new();
    for &shots in &options.shots {
        for &head in &options.heads {
            rows.push(measure(context, options, head, shots, &task)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    report(context, &rows, task.test[0].files.len())
}

/// Both folders, under each recipe that may be chosen.
struct Task {
    recipes: Vec<Recipe>,
    samples: Vec<Samples>,
    test: Vec<EmbeddedTree>,
}

impl Task {
    fn index(&self, recipe: &Recipe) -> usize {
        let found = self.recipes.iter().position(|one| one == recipe);
        found.unwrap_or(0)
    }
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
    head: Choice<HeadKind>,
    shots: Shots,
    task: &Task,
) -> Result<Row> {
    let seeds = match shots {
        Shots::All => 1,
        Shots::Each(_) => options.seeds,
    };
    let labels = &task.samples[0].labels;
    let fewest = task.samples[0].counts().into_iter().min().unwrap_or(0);
    let (mut accuracies, mut ms) = (Vec::new(), 0.0);
    let mut chosen: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 0..seeds {
        let drawn = match shots {
            Shots::All => (0..labels.len()).collect(),
            Shots::Each(shots) => splits::shots(seed, shots, labels),
        };
        let request = Request {
            kind: head.0,
            seed,
            ..context.settings.request()
        };
        let set_of = |recipe: &Recipe| {
            Ok(TrainingSet {
                ids: drawn.iter().map(|&row| row as u64).collect(),
                samples: task.samples[task.index(recipe)].select(&drawn)?,
            })
        };
        let start = Instant::now();
        let found = pipeline::choose(&task.recipes, &request, set_of, || false)?;
        let trained = pipeline::train(&found, &request, 0)?;
        ms += ms_since(start);
        let Recipe { view, set, .. } = &found.recipe;
        let learned = &trained.record.learned;
        let kind = learned.settings.kind;
        *chosen
            .entry(format!("{} {set} {kind}", view.fit))
            .or_default() += 1;
        let confusion = eval::judge(learned, &task.test[task.index(&found.recipe)])?.confusion;
        accuracies.push(confusion.balanced_accuracy());
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
        std: variance.sqrt(),
        train_ms: ms / n,
        chosen,
    })
}

fn report(context: &Context, rows: &[Row], n_test: usize) -> Result<()> {
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
                "std": round(row.std),
                "train_ms": round(row.train_ms),
                "chosen": row.chosen,
            })
        })
        .collect();
    context
        .out
        .json(&json!({"results": results, "n_test": n_test}))?;
    context.out.line(format!(
        "{:>6}  {:9}  {:>19}  {:>6}  {:>10}",
        "shots", "head", "balanced accuracy %", "± std", "train ms"
    ))?;
    for row in rows {
        let shots = match row.shots {
            Shots::Each(shots) => shots.to_string(),
            Shots::All => "all".into(),
        };
        context.out.line(format!(
            "{shots:>6}  {:9}  {:>19.1}  {:>6.1}  {:>10.1}",
            row.head.to_string(),
            row.balanced_accuracy * 100.0,
            row.std * 100.0,
            row.train_ms
        ))?;
    }
    let short = |row: &&Row| matches!(row.shots, Shots::Each(shots) if shots > row.drawn);
    if let Some(row) = rows.iter().find(short) {
        context.out.note(format!(
            "a class has only {} samples: where more shots were asked for, all that are there were taken",
            row.drawn
        ));
    }
    Ok(())
}
