//! `bench`: what this machine needs for each step of the job.

use super::args::Bench;
use super::context::{Context, in_floats, now_us};
use super::example::Example;
use super::output::{count, ms_since, round};
use anyhow::Result;
use fieldhead::backbone::Operator;
use fieldhead::features::Recipe;
use fieldhead::head::{Request, Samples};
use fieldhead::pipeline::{self, Embedder, Naming, TrainingSet};
use fieldhead::store::{NewSample, Origin, Sample, Store};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Samples and classes of the training bench: those of the photos the project is judged on.
const SAMPLES: usize = 480;
const CLASSES: usize = 6;

/// Rounds of the peak loop: some tens of milliseconds.
const PEAK_ROUNDS: usize = 2_000_000;

pub fn run(context: &Context, options: &Bench) -> Result<()> {
    let start = Instant::now();
    let embedder = context.embedder()?;
    let load_ms = ms_since(start);
    let inference = Inference::measure(context, &embedder, options.runs)?;
    let heads = time_heads(context, &embedder)?;
    let rss_mb = peak_rss_mb();
    let backbone = embedder.backbone();
    let kernel = backbone.kernel();
    let macs = backbone.card().macs;
    let gmac_s = macs as f64 / inference.median_ms / 1e6;
    let share = (inference.peak_gmac_s > 0.0)
        .then(|| gmac_s / inference.peak_gmac_s / context.threads as f64);
    context.out.json(&json!({
        "backbone": embedder.recipe().backbone,
        "load_ms": round(load_ms),
        "backbone_ms": {"min": round(inference.min_ms), "median": round(inference.median_ms)},
        "runs": options.runs,
        "kernel": kernel,
        "threads": context.threads,
        "macs": macs,
        "gmac_s": round(gmac_s),
        "peak_gmac_s": round(inference.peak_gmac_s),
        "share_of_peak": share.map(round),
        "left_in_floats": backbone.left_in_floats(),
        "operators": inference.operators.iter().map(|(operator, us)| json!({
            "name": operator.name,
            "kind": operator.kind,
            "macs": operator.macs,
            "us": round(*us),
        })).collect::<Vec<_>>(),
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
    let mut lines = vec![
        ("backbone loaded", format!("{load_ms:.1} ms")),
        (
            "one inference",
            format!(
                "{:.2} ms (best {:.2}), {kernel}, {}",
                inference.median_ms,
                inference.min_ms,
                count(context.threads, "thread")
            ),
        ),
    ];
    if macs > 0 {
        lines.push(("arithmetic", arithmetic(gmac_s, share)));
    }
    for (kind, us) in inference.by_kind() {
        lines.push(("", format!("{kind:12} {us:8.0} µs")));
    }
    if let Some(floats) = in_floats(backbone) {
        lines.push(("in floats", floats));
    }
    lines.extend([
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
        (
            "peak memory",
            rss_mb.map_or("?".into(), |mb| format!("{mb:.1} MB")),
        ),
    ]);
    for (what, figure) in lines {
        context.out.line(format!("{what:18} {figure}"))?;
    }
    Ok(())
}

fn arithmetic(gmac_s: f64, share: Option<f64>) -> String {
    let share = share.map_or(String::new(), |share| {
        format!(", {:.0} % of what this processor can", 100.0 * share)
    });
    format!("{gmac_s:.1} GMAC/s{share}")
}

/// What one inference takes.
struct Inference {
    min_ms: f64,
    median_ms: f64,
    /// On one core; 0 where floats run.
    peak_gmac_s: f64,
    /// Median of each operator, in µs.
    operators: Vec<(Operator, f64)>,
}

impl Inference {
    fn measure(context: &Context, embedder: &Embedder, runs: u32) -> Result<Inference> {
        let backbone = embedder.backbone();
        let example = Example::of(backbone, embedder.recipe())?;
        // The first runs find their memory and wake the processor.
        for _ in 0..3 {
            example.run(backbone, context.threads)?;
        }
        let mut whole = Vec::new();
        for _ in 0..runs {
            let start = Instant::now();
            example.run(backbone, context.threads)?;
            whole.push(ms_since(start));
        }
        whole.sort_by(f64::total_cmp);
        let operators = backbone.operators();
        let mut times = vec![Vec::new(); operators.len()];
        for _ in 0..runs {
            let mut last = Instant::now();
            example.watch(backbone, context.threads, &mut |index| {
                times[index].push(ms_since(last) * 1e3);
                last = Instant::now();
            })?;
        }
        let median = |mut times: Vec<f64>| {
            times.sort_by(f64::total_cmp);
            times.get(times.len() / 2).copied().unwrap_or(0.0)
        };
        let start = Instant::now();
        let macs = backbone.peak(PEAK_ROUNDS);
        let peak_ms = ms_since(start);
        Ok(Inference {
            min_ms: whole[0],
            median_ms: whole[whole.len() / 2],
            peak_gmac_s: macs as f64 / peak_ms.max(1e-6) / 1e6,
            operators: operators
                .into_iter()
                .zip(times)
                .map(|(operator, times)| (operator, median(times)))
                .collect(),
        })
    }

    /// Sums of the operators of each kind, largest first.
    fn by_kind(&self) -> Vec<(&'static str, f64)> {
        let mut kinds: Vec<(&'static str, f64)> = Vec::new();
        for (operator, us) in &self.operators {
            match kinds.iter_mut().find(|(kind, _)| *kind == operator.kind) {
                Some((_, sum)) => *sum += us,
                None => kinds.push((operator.kind, *us)),
            }
        }
        kinds.sort_by(|a, b| b.1.total_cmp(&a.1));
        kinds
    }
}

struct HeadTimes {
    train: f64,
    learn: f64,
    commit: f64,
}

/// Trains, corrects and commits on drawn features in a store of its own on the field's disk.
fn time_heads(context: &Context, embedder: &Embedder) -> Result<HeadTimes> {
    let recipe = embedder.recipe();
    let samples = drawn_samples(recipe.width as usize)?;
    let drawn = |_: &Recipe| {
        Ok(TrainingSet {
            ids: (1..=SAMPLES as u64).collect(),
            samples: samples.clone(),
        })
    };
    let request = Request::default();
    let start = Instant::now();
    let chosen = pipeline::choose(std::slice::from_ref(recipe), &request, drawn, || false)?;
    let change = pipeline::train(&chosen, &request, 0)?;
    let train = ms_since(start);
    let set = chosen.set;

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
pub(super) fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}
