//! Training times and objectives of the heads on real features, one JSON line a setting.
//!
//! `cargo bench --bench softmax -- FEATURES.npz PENALTY...` reads a file of `fieldhead features` and trains softmax on L2-normalized
//! rows for each penalty, on one thread, seven times; `benches/versus/heads.py` puts scikit-learn beside it.

use fieldhead::head::{
    ClassWeights, Linear, Normalization, Normalizer, Samples,
    softmax::{GAP, Problem, Space},
};
use serde_json::json;
use std::io::Read;
use std::time::Instant;

const RUNS: usize = 7;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"));
    let Some(path) = args.next() else {
        println!("no FEATURES.npz was named: nothing is measured");
        return Ok(());
    };
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build_global()?;
    let samples = read(&path)?;
    for penalty in args {
        let penalty: f64 = penalty.parse()?;
        let mut times = Vec::new();
        let mut last = None;
        for _ in 0..RUNS {
            let start = Instant::now();
            let z = Normalizer::fit(Normalization::L2, &samples).apply_all(samples.clone());
            let space = Space::new(&z);
            let solved =
                Problem::new(&z, &space, ClassWeights::Balanced).solve(penalty, None, GAP)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            last = Some((z, solved));
        }
        times.sort_by(f64::total_cmp);
        let Some((z, solved)) = last else { continue };
        println!(
            "{}",
            json!({
                "n": z.n(), "width": z.width(), "classes": z.classes(), "penalty": penalty,
                "ms_median": times[RUNS / 2], "ms_min": times[0],
                "steps": solved.outcome.steps, "iterations": solved.outcome.iterations,
                "objective": objective(&z, &solved.linear, penalty),
            })
        );
    }
    Ok(())
}

/// Σ log-loss + λ/2 ‖W‖² from its definition, in f64. Classes must be equally large, where class weights are one.
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

fn read(path: &str) -> Result<Samples, Box<dyn std::error::Error>> {
    let mut zip = zip::ZipArchive::new(std::fs::File::open(path)?)?;
    let mut array = |name: &str| -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let mut bytes = Vec::new();
        zip.by_name(name)?.read_to_end(&mut bytes)?;
        let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        Ok(bytes.split_off(10 + header))
    };
    let rows: Vec<f32> = array("features.npy")?
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    let labels: Vec<u32> = array("labels.npy")?
        .chunks_exact(8)
        .map(|b| u32::from(b[0]) + 256 * u32::from(b[1]))
        .collect();
    let classes = labels.iter().max().map_or(0, |&label| label + 1);
    let names = (0..classes).map(|i| format!("{i:04}")).collect();
    let groups = (0..labels.len() as u64).collect();
    Ok(Samples::new(
        rows.len() / labels.len().max(1),
        rows,
        labels,
        names,
        groups,
    )?)
}
