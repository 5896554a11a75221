//! One sample after the other through ridge and LDA: time a sample and resident memory as they come.
//!
//! `cargo bench --bench stream -- SAMPLES [WIDTH]` (default 3,000 samples of 1,280 features) prints a table a head, on one thread,
//! and how far the scores are from those of a head trained from scratch on the same samples.

use fieldhead::head::{self, ClassWeights, Head, HeadKind, Normalization, Samples, Settings};
use fieldhead::random::SplitMix64;
use std::time::Instant;

const CLASSES: usize = 6;
/// Samples that the head is trained on before the others come.
const START: usize = 60;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let numbers: Vec<usize> = numbers.collect();
    let n = numbers.first().copied().unwrap_or(3_000).max(START);
    let width = numbers.get(1).copied().unwrap_or(1_280);
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build_global()?;
    for kind in [HeadKind::Ridge, HeadKind::Lda] {
        let head = stream(kind, n, width)?;
        compare(&*head, n, width)?;
    }
    Ok(())
}

fn stream(kind: HeadKind, n: usize, width: usize) -> Result<Box<dyn Head + Send>, Failure> {
    let settings = Settings {
        kind,
        normalization: Normalization::L2,
        penalty: 0.1,
        class_weights: ClassWeights::Balanced,
    };
    let mut source = Source::new(width);
    let mut head = head::train(&source.samples(START)?, settings)?;
    println!(
        "{:>8}  {:>9}  {:>7}  {:>7}  {:>11}",
        "samples", kind, "median", "highest", "resident MB"
    );
    let (mut times, mut next) = (Vec::new(), 250);
    for i in START..n {
        let (row, label) = source.next();
        let start = Instant::now();
        head.learn(&row, &name(label), i as u64)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        if i + 1 == next || i + 1 == n {
            times.sort_by(f64::total_cmp);
            let (mean, last) = (
                times.iter().sum::<f64>() / times.len() as f64,
                times.len() - 1,
            );
            println!(
                "{:>8}  {mean:>6.3} ms  {:>7.3}  {:>7.3}  {:>11.1}",
                i + 1,
                times[last / 2],
                times[last],
                resident_mb(),
            );
            times.clear();
            next = if next < 2_000 {
                next * 2
            } else {
                next + 2_000.max(n / 10)
            };
        }
    }
    Ok(head)
}

/// Largest difference of scores to a head trained from scratch, over the largest score.
fn compare(head: &dyn Head, n: usize, width: usize) -> Result<(), Failure> {
    let samples = Source::new(width).samples(n)?;
    let scratch = head::train(&samples, head.learned().settings)?;
    let (mut apart, mut largest) = (0.0f64, 0.0f64);
    for i in (0..n).step_by(n.div_ceil(1_000)) {
        let one = head.learned().raw_scores(samples.row(i))?;
        let other = scratch.learned().raw_scores(samples.row(i))?;
        for (a, b) in one.iter().zip(&other) {
            apart = apart.max((a - b).abs());
            largest = largest.max(b.abs());
            assert!(a.is_finite() && b.is_finite());
        }
    }
    let pairs = || {
        head.learned()
            .model
            .numbers()
            .zip(scratch.learned().model.numbers())
    };
    println!(
        "{} of {} weights differ from a training from scratch in their last bits",
        pairs().filter(|(a, b)| a != b).count(),
        pairs().count()
    );
    println!(
        "scores are {:.1e} of the largest from a training from scratch\n",
        apart / largest
    );
    Ok(())
}

fn name(label: usize) -> String {
    format!("class {label}")
}

/// Rows as a backbone gives them: not negative, most of their spread in few directions, classes that overlap.
struct Source {
    random: SplitMix64,
    centers: Vec<Vec<f32>>,
    directions: Vec<Vec<f32>>,
    drawn: usize,
}

impl Source {
    fn new(width: usize) -> Source {
        let mut random = SplitMix64::new(1);
        let mut rows = |n: usize| -> Vec<Vec<f32>> {
            let mut row = || (0..width).map(|_| uniform(&mut random)).collect();
            (0..n).map(|_| row()).collect()
        };
        Source {
            centers: rows(CLASSES),
            directions: rows(20),
            random,
            drawn: 0,
        }
    }

    fn next(&mut self) -> (Vec<f32>, usize) {
        let label = self.drawn % CLASSES;
        self.drawn += 1;
        let mut row: Vec<f32> = self.centers[label].iter().map(|x| 0.3 * x).collect();
        for direction in &self.directions {
            let weight = 0.5 * uniform(&mut self.random);
            for (x, direction) in row.iter_mut().zip(direction) {
                *x += weight * direction;
            }
        }
        for x in &mut row {
            *x = (*x + uniform(&mut self.random)).max(0.0);
        }
        (row, label)
    }

    fn samples(&mut self, n: usize) -> Result<Samples, Failure> {
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..n {
            let (row, label) = self.next();
            rows.extend(row);
            labels.push(label as u32);
        }
        let names = (0..CLASSES).map(name).collect();
        let width = rows.len() / n;
        Ok(Samples::new(
            width,
            rows,
            labels,
            names,
            (0..n as u64).collect(),
        )?)
    }
}

/// −1 to 1.
fn uniform(random: &mut SplitMix64) -> f32 {
    (random.next_u64() >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// Resident memory; 0 where the system does not tell.
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kb.unwrap_or(0.0) / 1024.0
}
