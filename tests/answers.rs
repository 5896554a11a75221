//! Real photos: sets of labels hold the right one as often as they say, and photos of a class that was never shown stand out. Skipped,
//! and said so, where the data is absent. Both print the table behind the choice of their score:
//!
//! ```text
//! cargo test --release --test answers -- --nocapture
//! ```

mod support;

use faer::Mat;
use faer::prelude::Solve;
use fieldhead::backbone::find;
use fieldhead::features::FeatureSet;
use fieldhead::head::{self, Learned, Normalization, Normalizer, Request, Samples};
use fieldhead::learn::calibrate::calibrate;
use fieldhead::learn::metrics::auroc;
use fieldhead::learn::{self, select};
use fieldhead::pipeline::Embedder;
use fieldhead::preprocess::Fit;
use fieldhead::random::SplitMix64;
use fieldhead::source::{Payload, folder};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// Both folders of trashnet embedded, each photo a burst of its own; those of the first come first.
struct Trash {
    samples: Samples,
    train: usize,
}

fn trash(set: FeatureSet) -> Option<Trash> {
    let data = support::data("trashnet")?;
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let found = find::find("efficientnet-lite0-int8", &[models]).unwrap();
    let embedder = Embedder::load(&found, Fit::Squash, set, None).unwrap();
    let [train, val] = ["train", "val"].map(|part| folder::scan(&data.join(part)).unwrap().files);
    let files = [&train[..], &val[..]].concat();
    let rows: Vec<Vec<f32>> = files
        .par_iter()
        .map(|file| {
            let payload = Payload::Encoded(folder::read(&file.path).unwrap());
            embedder.embed_payload(&payload, 1).unwrap()
        })
        .collect();
    let mut names: Vec<String> = files.iter().map(|file| file.label.clone()).collect();
    names.sort();
    names.dedup();
    let number = |label| names.binary_search(label).unwrap() as u32;
    let labels = files.iter().map(|file| number(&file.label)).collect();
    let (width, groups) = (rows[0].len(), (0..files.len() as u64).collect());
    let samples = Samples::new(width, rows.concat(), labels, names.clone(), groups).unwrap();
    Some(Trash {
        samples,
        train: train.len(),
    })
}

/// How a set is made of probabilities: the nonconformity of each label.
type Nonconformity = fn(&[f32]) -> Vec<f64>;

/// Adaptive sets (Romano, Sesia and Candès, 2020), without their random part.
fn aps(p: &[f32]) -> Vec<f64> {
    let down_to = |q: f32| p.iter().filter(|&&p| p >= q).map(|&p| f64::from(p)).sum();
    p.iter().map(|&q| down_to(q)).collect()
}

/// Regularized adaptive sets (Angelopoulos et al., 2021): 0.1 for each label after the first.
fn raps(p: &[f32]) -> Vec<f64> {
    let rank = |q: f32| p.iter().filter(|&&p| p > q).count() as f64;
    let pairs = aps(p).into_iter().zip(p);
    pairs.map(|(score, &q)| score + 0.1 * rank(q)).collect()
}

/// Sums over judged photos at one coverage.
#[derive(Clone, Default)]
struct Tally {
    n: f64,
    covered: f64,
    labels: f64,
    /// Covered and all of each class.
    classes: BTreeMap<usize, (f64, f64)>,
}

impl Tally {
    fn add(&mut self, holds: bool, size: usize, class: usize) {
        let covered = f64::from(u8::from(holds));
        let class = self.classes.entry(class).or_default();
        *class = (class.0 + covered, class.1 + 1.0);
        self.n += 1.0;
        self.covered += covered;
        self.labels += size as f64;
    }

    fn line(&self, name: &str, coverage: f64) -> String {
        let shares = self.classes.values().map(|(covered, n)| covered / n);
        format!(
            "{name:8} {:>4.0} %: {:5.1} % covered, worst class {:5.1} %, {:.2} labels",
            100.0 * coverage,
            100.0 * self.covered / self.n,
            100.0 * shares.fold(1.0, f64::min),
            self.labels / self.n
        )
    }
}

const COVERAGES: [f64; 3] = [0.8, 0.9, 0.95];
const SPLITS: u64 = 20;

#[test]
fn sets_hold_the_right_label_as_often_as_they_say() {
    let Some(trash) = trash(FeatureSet::Final) else {
        return;
    };
    let scores: [Nonconformity; 2] = [aps, raps];
    let mut tallies = vec![vec![Tally::default(); COVERAGES.len()]; scores.len() + 1];
    for seed in 0..SPLITS {
        let mut rows: Vec<usize> = (0..trash.samples.n()).collect();
        SplitMix64::new(seed).shuffle(&mut rows);
        let (learn, judge) = rows.split_at(trash.train);
        let samples = trash.samples.select(learn).unwrap();
        let request = Request {
            seed,
            ..Request::default()
        };
        let choice = select::select(&samples, &request).unwrap();
        let held_out = choice.held_out.unwrap();
        let mut head = head::train(&samples, choice.settings).unwrap();
        head.calibrate(calibrate(&samples, &held_out, 0.02));
        let learned = head.learned();
        let factor = f64::from(learned.calibration.inverse_temperature);
        for (at, &coverage) in COVERAGES.iter().enumerate() {
            let least = learned.calibration.conformal.least(coverage);
            let limits = scores.map(|score| {
                let right = held_out
                    .iter()
                    .map(|one| score(&probabilities(&one.scores, factor))[one.label]);
                let mut right: Vec<f64> = right.collect();
                right.sort_by(f64::total_cmp);
                right[((right.len() + 1) as f64 * coverage).ceil() as usize - 1]
            });
            for &row in judge {
                let class = trash.samples.labels[row] as usize;
                let p = learned.scores(trash.samples.row(row)).unwrap();
                let set = fieldhead::decision::set(&p, least);
                tallies[0][at].add(set.contains(&class), set.len(), class);
                for (index, score) in scores.iter().enumerate() {
                    let scores = score(&p);
                    let size = scores.iter().filter(|&&s| s <= limits[index]).count();
                    tallies[index + 1][at].add(scores[class] <= limits[index], size, class);
                }
            }
        }
    }
    let names = ["stored", "APS", "RAPS"];
    for (name, tallies) in names.iter().zip(&tallies) {
        for (tally, coverage) in tallies.iter().zip(COVERAGES) {
            eprintln!("{}", tally.line(name, coverage));
        }
    }
    for (tally, coverage) in tallies[0].iter().zip(COVERAGES) {
        let covered = tally.covered / tally.n;
        assert!((covered - coverage).abs() < 0.02, "{coverage}: {covered}");
    }
}

fn probabilities(raw: &[f64], factor: f64) -> Vec<f32> {
    let highest = raw.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = raw.iter().map(|x| ((x - highest) * factor).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|p| (p / sum) as f32).collect()
}

#[test]
fn photos_of_a_class_never_shown_stand_out_more_than_by_their_probability() {
    for set in [FeatureSet::Final, FeatureSet::Multi] {
        let Some(trash) = trash(set) else {
            return;
        };
        let mut table: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for out in 0..trash.samples.classes() as u32 {
            let labels = &trash.samples.labels;
            let learn: Vec<usize> = (0..trash.train).filter(|&i| labels[i] != out).collect();
            let samples = trash.samples.select(&learn).unwrap();
            let (head, _) = learn::train(&samples, &Request::default()).unwrap();
            let judge: Vec<&[f32]> = (trash.train..trash.samples.n())
                .map(|row| trash.samples.row(row))
                .collect();
            let unknown: Vec<bool> = labels[trash.train..].iter().map(|&l| l == out).collect();
            for (name, scores) in unknown_scores(head.learned(), &samples, &judge) {
                table.entry(name).or_default().push(area(&scores, &unknown));
            }
        }
        eprintln!("{set}: area under the curve with each class left out, and on average");
        let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
        for (name, areas) in &table {
            let each: Vec<String> = areas.iter().map(|a| format!("{a:.2}")).collect();
            eprintln!("{name:22} {}  {:.3}", each.join(" "), mean(areas));
        }
        let gain = mean(&table["stored"]) - mean(&table["highest probability"]);
        assert!(gain >= 0.05, "{set}: {gain}");
    }
}

/// The head's own score and the published ones; higher is less known.
fn unknown_scores(
    learned: &Learned,
    samples: &Samples,
    judge: &[&[f32]],
) -> Vec<(&'static str, Vec<f64>)> {
    let factor = f64::from(learned.calibration.inverse_temperature);
    let each = |score: &(dyn Fn(&[f32]) -> f64 + Sync)| -> Vec<f64> {
        judge.par_iter().map(|row| score(row)).collect()
    };
    let raw = |row: &[f32]| learned.raw_scores(row).unwrap();
    let highest = |row: &[f32]| raw(row).into_iter().fold(f64::MIN, f64::max);
    let z = Normalizer::fit(Normalization::L2, samples).apply_all(samples.clone());
    let unit = |row: &[f32]| Normalizer::fit(Normalization::L2, samples).apply(row);
    let nearest = |row: &[f32], k: usize| {
        let row = unit(row);
        let others = z.rows().chunks_exact(z.width());
        let away = |other: &[f32]| {
            let pairs = row.iter().zip(other);
            pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        };
        let mut away: Vec<f64> = others.map(away).collect();
        away.sort_by(f64::total_cmp);
        away[k - 1]
    };
    let units: Vec<Vec<f32>> = judge.iter().map(|row| unit(row)).collect();
    let (mahalanobis, relative) = mahalanobis(&z, &units);
    vec![
        (
            "stored",
            each(&|row| learned.answer(row).unwrap().unknown_score),
        ),
        (
            // Hendrycks and Gimpel, 2017.
            "highest probability",
            each(&|row| {
                let scores = learned.scores(row).unwrap();
                -f64::from(scores.into_iter().fold(0.0, f32::max))
            }),
        ),
        // Hendrycks et al., 2022.
        ("highest score", each(&|row| -highest(row))),
        (
            // Liu et al., 2020.
            "energy",
            each(&|row| {
                let highest = factor * highest(row);
                let powers = raw(row).into_iter().map(|x| (factor * x - highest).exp());
                -highest - powers.sum::<f64>().ln()
            }),
        ),
        // Sun et al., 2022.
        ("nearest neighbour", each(&|row| nearest(row, 1))),
        ("tenth neighbour", each(&|row| nearest(row, 10))),
        // Lee et al., 2018, and Ren et al., 2021.
        ("Mahalanobis", mahalanobis),
        ("relative Mahalanobis", relative),
    ]
}

/// Distances to the nearest class with the covariance that all share, and what is left of them without the distance to all samples.
/// Covariances are shrunk: 0.3 of their mean variance is added.
fn mahalanobis(z: &Samples, rows: &[Vec<f32>]) -> (Vec<f64>, Vec<f64>) {
    let classes: Vec<usize> = z.labels.iter().map(|&label| label as usize).collect();
    let own = distances(z, &classes, rows);
    let all = distances(z, &vec![0; z.n()], rows);
    let relative = own.iter().zip(&all).map(|(a, b)| a - b).collect();
    (own, relative)
}

fn distances(z: &Samples, classes: &[usize], rows: &[Vec<f32>]) -> Vec<f64> {
    let (n, width) = (z.n(), z.width());
    let count = classes.iter().max().unwrap() + 1;
    let mut means = vec![vec![0.0f64; width]; count];
    for (i, &class) in classes.iter().enumerate() {
        let members = classes.iter().filter(|&&c| c == class).count() as f64;
        for (mean, &x) in means[class].iter_mut().zip(z.row(i)) {
            *mean += f64::from(x) / members;
        }
    }
    let away = Mat::from_fn(width, n, |j, i| {
        f64::from(z.row(i)[j]) - means[classes[i]][j]
    });
    let mut covariance = &away * away.transpose() * faer::Scale(1.0 / n as f64);
    let trace: f64 = (0..width).map(|j| covariance[(j, j)]).sum();
    for j in 0..width {
        covariance[(j, j)] += 0.3 * trace / width as f64;
    }
    let factor = covariance.llt(faer::Side::Lower).unwrap();
    let centers = Mat::from_fn(width, count, |j, c| means[c][j]);
    let judged = Mat::from_fn(width, rows.len(), |j, i| f64::from(rows[i][j]));
    let (turned_centers, turned) = (factor.solve(&centers), factor.solve(&judged));
    let inner = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let to = |i: usize, c: usize| {
        let (row, center) = (judged.col_as_slice(i), centers.col_as_slice(c));
        inner(row, turned.col_as_slice(i)) - 2.0 * inner(row, turned_centers.col_as_slice(c))
            + inner(center, turned_centers.col_as_slice(c))
    };
    (0..rows.len())
        .map(|i| (0..count).map(|c| to(i, c)).fold(f64::MAX, f64::min))
        .collect()
}

fn area(scores: &[f64], unknown: &[bool]) -> f64 {
    let of = |wanted: bool| -> Vec<f64> {
        let scores = scores.iter().zip(unknown);
        scores
            .filter(|&(_, &is)| is == wanted)
            .map(|(&score, _)| score)
            .collect()
    };
    auroc(&of(true), &of(false))
}
