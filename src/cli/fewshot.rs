//! `fewshot`: accuracy by the number of labelled samples a class, on folders of photos or windows, or on features of any origin.

use super::args::{Choice, Fewshot, Shots};
use super::context::Context;
use super::embed::{self, EmbeddedTree};
use super::eval;
use super::exit::{BadInput, Usage};
use super::output::{count, ends, ms_since, range, round};
use anyhow::{Context as _, Result};
use fieldhead::features::{Recipe, npz};
use fieldhead::head::{HeadKind, Learned, Request, Samples};
use fieldhead::learn::metrics::{Interval, mean_interval};
use fieldhead::learn::{self, splits};
use fieldhead::pipeline::{self, PipelineError, TrainingSet};
use fieldhead::source::folder::{self, Labelled};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// One line of the table.
struct Row {
    head: Choice<HeadKind>,
    shots: Shots,
    /// The fewest samples that a class gave.
    drawn: usize,
    seeds: u64,
    balanced_accuracy: f64,
    /// The same of each draw, in order of the seeds.
    draws: Vec<f64>,
    /// For the test photos that were drawn; `std` is of the shots that were drawn.
    interval: Interval,
    std: f64,
    train_ms: f64,
    /// View, features, kind of head and scaling, and how many seeds chose them.
    chosen: BTreeMap<String, u64>,
}

pub fn run(context: &Context, options: &Fewshot) -> Result<()> {
    let task = match [&options.train, &options.test].map(|path| is_npz(path)) {
        [true, true] => tables(&options.train, &options.test)?,
        [false, false] => folders(context, options)?,
        _ => {
            let what =
                "of --train and --test one is a folder and one an .npz file; give two of a kind";
            return Err(Usage(what.into()).into());
        }
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
    let test = &task.test[0];
    report(context, &rows, test)?;
    let unlearned = eval::unlearned(task.samples[0].names(), test);
    eval::note_unlearned(context, unlearned, test, "");
    Ok(())
}

/// What learns and what judges, under each recipe that may be chosen.
struct Task {
    /// Empty where features came as they are.
    recipes: Vec<Recipe>,
    samples: Vec<Samples>,
    test: Vec<EmbeddedTree>,
}

impl Task {
    fn index(&self, recipe: &Recipe) -> usize {
        let found = self.recipes.iter().position(|one| one == recipe);
        found.unwrap_or(0)
    }

    /// A head of the drawn rows, the features it is for, and what was chosen.
    fn train(&self, drawn: &[usize], request: &Request) -> Result<(usize, Learned, String)> {
        let samples = |index: usize| self.samples[index].select(drawn);
        let name = |learned: &Learned| {
            let settings = &learned.settings;
            format!("{} {}", settings.kind, settings.normalization)
        };
        if self.recipes.is_empty() {
            let (head, _) = learn::train(&samples(0)?, request)?;
            return Ok((0, head.learned().clone(), name(head.learned())));
        }
        let set_of = |recipe: &Recipe| {
            Ok(TrainingSet {
                ids: drawn.iter().map(|&row| row as u64).collect(),
                samples: samples(self.index(recipe))?,
            })
        };
        let found = pipeline::choose(&self.recipes, request, set_of, || false)?;
        let learned = pipeline::train(&found, request, 0)?.record.learned;
        let Recipe { view, set, .. } = &found.recipe;
        let chosen = format!("{} {set} {}", view.fit, name(&learned));
        Ok((self.index(&found.recipe), learned, chosen))
    }
}

fn is_npz(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "npz")
}

fn folders(context: &Context, options: &Fewshot) -> Result<Task> {
    let context = &context.suited_anyway(folder::scan(&options.train)?.paths())?;
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
    Ok(Task {
        recipes,
        samples,
        test,
    })
}

/// Features that were computed before, by whatever means.
fn tables(train: &Path, test: &Path) -> Result<Task> {
    let read = |path: &Path| {
        let bytes = folder::read_up_to(npz::MAX_BYTES, path)?;
        npz::decode(&bytes).with_context(|| format!("cannot read {}", path.display()))
    };
    let (learn, judge) = (read(train)?, read(test)?);
    if learn.width != judge.width {
        return Err(BadInput(format!(
            "the features of {} have {} numbers each, those of {} have {}; make both in the same way",
            train.display(),
            learn.width,
            test.display(),
            judge.width
        ))
        .into());
    }
    let n = learn.labels.len() as u64;
    let bursts = learn.bursts.unwrap_or_else(|| (0..n).collect());
    let samples = Samples::new(learn.width, learn.rows, learn.labels, learn.names, bursts);
    let file = |&label: &u32| Labelled {
        label: judge.names[label as usize].clone(),
        path: test.into(),
    };
    Ok(Task {
        recipes: Vec::new(),
        samples: vec![samples.map_err(PipelineError::from)?],
        test: vec![EmbeddedTree {
            files: judge.labels.iter().map(file).collect(),
            features: judge
                .rows
                .chunks_exact(judge.width)
                .map(Vec::from)
                .collect(),
            skipped: Vec::new(),
            noun: "row",
            ms_per_sample: 0.0,
        }],
    })
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
    let (mut accuracies, mut recalls, mut ms) = (Vec::new(), Vec::new(), 0.0);
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
        let start = Instant::now();
        let (index, learned, name) = task.train(&drawn, &request)?;
        ms += ms_since(start);
        *chosen.entry(name).or_default() += 1;
        let confusion = eval::judge(&learned, &task.test[index])?.confusion;
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
        draws: accuracies,
        std: variance.sqrt(),
        train_ms: ms / n,
        chosen,
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
    let n_test = test.files.len();
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
                "draws": row.draws.iter().copied().map(round).collect::<Vec<_>>(),
                "n": n_test,
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
        "judged by n = {}: 95 % is for the choice of these, ± std for that of the shots",
        count(n_test, test.noun)
    ))?;
    let short = |row: &&Row| matches!(row.shots, Shots::Each(shots) if shots > row.drawn);
    if let Some(row) = rows.iter().find(short) {
        context.out.note(format!(
            "a class has only {}: where more shots were asked for, all that are there were taken",
            count(row.drawn, "sample")
        ));
    }
    Ok(())
}
