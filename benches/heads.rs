//! Training times of the heads on a file of features, on one thread and on all, one JSON line a setting.
//!
//! `cargo bench --bench heads -- FEATURES.npz auto PENALTY...`: `auto` trains as `fieldhead train` does, settings chosen on the rows,
//! then trains the head that was chosen at those settings alone; a penalty trains softmax at it on L2-normalized rows, and says what
//! objective it reached. `benches/versus/heads.py` puts scikit-learn beside both.

use fieldhead::features::npz;
use fieldhead::head::{
    self, ClassWeights, Linear, Normalization, Normalizer, Request, Samples,
    softmax::{GAP, Problem, Space},
};
use fieldhead::learn;
use serde_json::json;
use std::time::Instant;

const RUNS: usize = 7;
/// The choice takes long enough to need fewer.
const RUNS_AUTO: usize = 3;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"));
    let Some(path) = args.next() else {
        println!("no FEATURES.npz was named: nothing is measured");
        return Ok(());
    };
    let table = npz::decode(&std::fs::read(&path)?)?;
    let n = table.labels.len() as u64;
    let bursts = table.bursts.unwrap_or_else(|| (0..n).collect());
    let samples = Samples::new(table.width, table.rows, table.labels, table.names, bursts)?;
    for arg in args {
        let line = match arg.as_str() {
            "auto" => auto(&samples)?,
            penalty => softmax(&samples, penalty.parse()?)?,
        };
        println!("{line}");
    }
    Ok(())
}

/// Median times in ms on one thread and on all, and what the last run gave.
fn timed<T: Send>(
    runs: usize,
    run: impl Fn() -> Result<T, Failure> + Sync,
) -> Result<([f64; 2], T), Failure> {
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let (alone, _) = median(runs, || one.install(&run))?;
    let (shared, last) = median(runs, &run)?;
    Ok(([alone, shared], last))
}

fn median<T>(runs: usize, run: impl Fn() -> Result<T, Failure>) -> Result<(f64, T), Failure> {
    let mut times = Vec::new();
    loop {
        let start = Instant::now();
        let result = run()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        if times.len() == runs {
            times.sort_by(f64::total_cmp);
            return Ok((times[runs / 2], result));
        }
    }
}

fn auto(samples: &Samples) -> Result<serde_json::Value, Failure> {
    let request = Request::default();
    let (ms_chosen, (head, _)) = timed(RUNS_AUTO, || Ok(learn::train(samples, &request)?))?;
    let settings = head.learned().settings;
    let (ms, _) = timed(RUNS, || Ok(head::train(samples, settings)?))?;
    Ok(json!({
        "kind": settings.kind.to_string(), "normalization": settings.normalization.to_string(),
        "penalty": settings.penalty, "ms_with_choice": ms_chosen, "ms": ms,
    }))
}

fn softmax(samples: &Samples, penalty: f64) -> Result<serde_json::Value, Failure> {
    let (ms, (z, solved)) = timed(RUNS, || {
        let z = Normalizer::fit(Normalization::L2, samples).apply_all(samples.clone());
        let space = Space::new(&z);
        let solved = Problem::new(&z, &space, ClassWeights::None).solve(penalty, None, GAP)?;
        Ok((z, solved))
    })?;
    Ok(json!({
        "penalty": penalty, "ms": ms, "steps": solved.outcome.steps, "iterations": solved.outcome.iterations,
        "objective": objective(&z, &solved.linear, penalty),
    }))
}

/// Σ log-loss + λ/2 ‖W‖² from its definition, in f64; every sample weighs one.
fn objective(z: &Samples, at: &Linear, penalty: f64) -> f64 {
    let loss: f64 = (0..z.n())
        .map(|i| {
            let rows = at.weights.chunks_exact(z.width()).zip(&at.bias);
            let scores: Vec<f64> = rows
                .map(|(w, &b)| {
                    let products = w
                        .iter()
                        .zip(z.row(i))
                        .map(|(w, x)| f64::from(*w) * f64::from(*x));
                    products.sum::<f64>() + f64::from(b)
                })
                .collect();
            let highest = scores.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = scores.iter().map(|s| (s - highest).exp()).sum();
            sum.ln() + highest - scores[z.labels[i] as usize]
        })
        .sum();
    let square: f64 = at.weights.iter().map(|&w| f64::from(w).powi(2)).sum();
    loss + penalty / 2.0 * square
}
