//! `bench`: what this machine needs for each step of the job.

use super::args::Bench;
use super::context::{Context, now_us};
use super::output::{ms_since, round};
use anyhow::Result;
use fieldhead::head::{Request, Samples};
use fieldhead::pipeline::{self, Embedder, Naming, TrainingSet};
use fieldhead::preprocess::Fit;
use fieldhead::source::line::{Light, Line};
use fieldhead::store::{NewSample, Origin, Sample, Store};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Samples and classes of the training bench: those of the photos the project is judged on.
const SAMPLES: usize = 480;
const CLASSES: usize = 6;

pub fn run(context: &Context, options: &Bench) -> Result<()> {
    let start = Instant::now();
    let embedder = context.embedder()?;
    let load_ms = ms_since(start);
    let backbone_ms = time_inference(&embedder, options.runs)?;
    let heads = time_heads(context, &embedder)?;
    let median = backbone_ms[backbone_ms.len() / 2];
    let min = backbone_ms[0];
    let macs = embedder.backbone().card().macs as f64;
    let gmac_s = macs / median / 1e6;
    let rss_mb = peak_rss_mb();
    let kernel = embedder.backbone().kernel();
    context.out.json(&json!({
        "backbone": embedder.recipe().backbone,
        "load_ms": round(load_ms),
        "backbone_ms": {"min": round(min), "median": round(median)},
        "runs": options.runs,
        "kernel": kernel,
        "threads": context.threads,
        "macs": macs as u64,
        "gmac_s": round(gmac_s),
        "train_ms": round(heads.train),
        "train_samples": SAMPLES,
        "train_classes": CLASSES,
        "width": embedder.recipe().width,
        "correct_ms": round(heads.learn + heads.commit),
        "correct_learn_ms": round(heads.learn),
        "correct_commit_ms": round(heads.commit),
        "rss_mb": rss_mb.map(round),
    }))?;
    let width = embedder.recipe().width;
    let rss = rss_mb.map_or("?".into(), |mb| format!("{mb:.1} MB"));
    for (what, figure) in [
        ("backbone loaded", format!("{load_ms:.1} ms")),
        ("one picture", format!("{median:.2} ms (best {min:.2})")),
        ("arithmetic", format!("{kernel}, {gmac_s:.1} GMAC/s")),
        (
            "train",
            format!(
                "{:.1} ms ({SAMPLES} × {width}, {CLASSES} classes)",
                heads.train
            ),
        ),
        (
            "correct",
            format!(
                "{:.1} ms to learn, {:.1} ms to commit",
                heads.learn, heads.commit
            ),
        ),
        ("peak memory", rss),
    ] {
        context.out.line(format!("{what:18} {figure}"))?;
    }
    Ok(())
}

/// Times of `runs` inferences in ms, sorted.
fn time_inference(embedder: &Embedder, runs: u32) -> Result<Vec<f64>> {
    let (_, image) = Line::new(1, Light::day()).next();
    let view = &embedder.recipe().view;
    let pixels =
        fieldhead::preprocess::fit_to(&image, Fit::Squash, view.width, view.height, view.pad)?;
    embedder.backbone().embed(&pixels)?;
    let mut times = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        embedder.backbone().embed(&pixels)?;
        times.push(ms_since(start));
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

struct HeadTimes {
    train: f64,
    learn: f64,
    commit: f64,
}

/// Trains, corrects and commits on drawn features in a store of its own on the field's disk.
fn time_heads(context: &Context, embedder: &Embedder) -> Result<HeadTimes> {
    let recipe = embedder.recipe();
    let set = TrainingSet {
        ids: (1..=SAMPLES as u64).collect(),
        samples: drawn_samples(recipe.width as usize)?,
    };
    let start = Instant::now();
    let change = pipeline::train(&set, recipe, &Request::default(), 0)?;
    let train = ms_since(start);

    let scratch = Scratch::new(&context.folder)?;
    let store = Store::create(&scratch.0, now_us())?;
    pipeline::put_head(&store, &change.record, Origin::Train)?;
    let naming = Naming {
        label: "class 0".into(),
        burst: "bench".into(),
        source: "bench".into(),
        time_us: 0,
    };
    let features = set
        .samples
        .row(0)
        .iter()
        .map(|x| x * 0.9)
        .collect::<Vec<_>>();
    let mut learner = pipeline::resume(&change.record, set)?;
    let start = Instant::now();
    let record = pipeline::correct(&change.record, &mut *learner, &features, &naming)?;
    let learn = ms_since(start);
    let new = NewSample {
        sample: Sample {
            label: naming.label,
            burst: naming.burst,
            time_us: 0,
            source: naming.source,
            content: [0; 32],
            photo: None,
        },
        features,
        photo: Some(vec![0; 40_000]),
    };
    let start = Instant::now();
    store.write(|tx| {
        let id = tx.add_sample(&new, recipe)?;
        tx.put_head(&record, Origin::Correct { sample: id })
    })?;
    let commit = ms_since(start);
    Ok(HeadTimes {
        train,
        learn,
        commit,
    })
}

/// Features that look like a backbone's: non-negative, a third of them zero, with a direction of its own for each class.
fn drawn_samples(width: usize) -> Result<Samples> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let centers: Vec<f32> = (0..CLASSES * width)
        .map(|_| (uniform() - 0.5).max(0.0))
        .collect();
    let mut rows = Vec::with_capacity(SAMPLES * width);
    for sample in 0..SAMPLES {
        let class = sample % CLASSES;
        for feature in 0..width {
            rows.push((centers[class * width + feature] + uniform() * 1.5 - 0.5).max(0.0));
        }
    }
    let labels = (0..SAMPLES).map(|s| (s % CLASSES) as u32).collect();
    let names = (0..CLASSES).map(|c| format!("class {c}")).collect();
    let groups = (0..SAMPLES as u64).collect();
    Ok(Samples::new(width, rows, labels, names, groups)?)
}

/// A folder that is gone when the bench is.
struct Scratch(PathBuf);

impl Scratch {
    fn new(field: &Path) -> Result<Scratch> {
        let parent = if field.is_dir() {
            field.to_path_buf()
        } else {
            std::env::temp_dir()
        };
        let folder = parent.join(format!("bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Scratch(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left-overs of a bench are harmless; there is nobody to tell at this point.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Peak resident memory of this process, from `VmHWM` in /proc/self/status (proc(5)).
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}
