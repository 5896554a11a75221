//! Suspects: samples whose label their likes contradict, and samples like no class, worst first. Pure.
//!
//! Every sample is judged by heads that never saw its burst. A label that those heads find unlikely is likely wrong: the
//! self-confidence of Confident Learning (Northcutt, Jiang and Chuang, Journal of Artificial Intelligence Research 70, 2021).

use super::calibrate::inverse_temperature;
use super::report::Refusal;
use super::{LearnError, select};
use crate::decision::best;
use crate::head::{Normalization, Normalizer, Request, Samples, probabilities};

/// A judged sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspect {
    pub row: usize,
    /// 0 to 1: one less the probability of its label, and at least [`OUTLIER_SUSPICION`] for an outlier.
    pub suspicion: f64,
    /// Held-out probability of its label.
    pub own: f64,
    /// The most likely other class, and its held-out probability.
    pub likely: usize,
    pub likely_probability: f64,
    /// Like no class: far further from the nearest class mean than the others are.
    pub outlier: bool,
    /// Cosine to the nearest class mean.
    pub nearest: f64,
}

/// An outlier is as suspicious as a label with even odds.
pub const OUTLIER_SUSPICION: f64 = 0.5;

/// Quartile distances behind the third quartile from which on a distance is an outlier: "far out" of Tukey (Exploratory Data Analysis,
/// 1977).
const FAR_OUT: f64 = 3.0;

/// All samples that could be judged, most suspicious first. Classes of a single burst are never judged.
///
/// # Errors
/// [`Refusal::NothingHeldOut`] where nothing can be judged, and what training says.
pub fn suspects(samples: &Samples, request: &Request) -> Result<Vec<Suspect>, LearnError> {
    samples.check_classes()?;
    let choice = select::select(samples, request)?;
    let held_out = choice.held_out.ok_or(Refusal::NothingHeldOut)?;
    let factor = inverse_temperature(&held_out);
    let cosines = nearest_mean_cosines(samples);
    let limit = far_out(&cosines);
    let mut suspects: Vec<Suspect> = held_out
        .iter()
        .map(|one| {
            let mut chances = probabilities(&one.scores, factor);
            let own = f64::from(std::mem::replace(&mut chances[one.label], -1.0));
            let likely = best(&chances);
            let nearest = cosines[one.row];
            let outlier = nearest < limit;
            let floor = if outlier { OUTLIER_SUSPICION } else { 0.0 };
            Suspect {
                row: one.row,
                suspicion: (1.0 - own).max(floor),
                own,
                likely,
                likely_probability: f64::from(chances[likely]),
                outlier,
                nearest,
            }
        })
        .collect();
    suspects.sort_by(|a, b| {
        let order = b.suspicion.total_cmp(&a.suspicion);
        order
            .then(a.nearest.total_cmp(&b.nearest))
            .then(a.row.cmp(&b.row))
    });
    Ok(suspects)
}

/// Of each row, the cosine to the nearest class mean of rows of length one.
fn nearest_mean_cosines(samples: &Samples) -> Vec<f64> {
    let z = Normalizer::fit(Normalization::L2, samples).apply_all(samples.clone());
    let width = z.width();
    let mut means = vec![vec![0.0f64; width]; z.classes()];
    for (row, &label) in z.rows().chunks_exact(width).zip(&z.labels) {
        for (mean, &x) in means[label as usize].iter_mut().zip(row) {
            *mean += f64::from(x);
        }
    }
    for mean in &mut means {
        let length = mean.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        mean.iter_mut().for_each(|x| *x /= length);
    }
    let cosine = |row: &[f32], mean: &[f64]| -> f64 {
        row.iter().zip(mean).map(|(&x, m)| f64::from(x) * m).sum()
    };
    z.rows()
        .chunks_exact(width)
        .map(|row| {
            means
                .iter()
                .map(|mean| cosine(row, mean))
                .fold(-1.0, f64::max)
        })
        .collect()
}

/// The cosine below which a sample is far out.
fn far_out(cosines: &[f64]) -> f64 {
    let mut sorted = cosines.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quartile = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    let (low, high) = (quartile(0.25), quartile(0.75));
    low - FAR_OUT * (high - low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    /// Three noisy clusters of 20, one burst a sample.
    fn clusters() -> (Vec<f32>, Vec<u32>) {
        let mut random = SplitMix64::new(7);
        let mut rows = Vec::new();
        let labels: Vec<u32> = (0..60).map(|i| i / 20).collect();
        for &label in &labels {
            for at in 0..8 {
                let noise = (random.next_u64() % 1000) as f32 / 2000.0;
                rows.push(if at == label {
                    2.0 + noise
                } else {
                    0.5 + noise
                });
            }
        }
        (rows, labels)
    }

    fn samples(rows: Vec<f32>, labels: Vec<u32>) -> Samples {
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let groups = (0..labels.len() as u64).collect();
        Samples::new(8, rows, labels, names, groups).unwrap()
    }

    #[test]
    fn flipped_labels_come_first_with_what_they_should_be() {
        let (rows, mut labels) = clusters();
        let flipped = [3usize, 25, 44];
        for &row in &flipped {
            labels[row] = (labels[row] + 1) % 3;
        }
        let found = suspects(&samples(rows, labels), &Request::default()).unwrap();
        assert_eq!(found.len(), 60);
        let mut first: Vec<usize> = found[..3].iter().map(|s| s.row).collect();
        first.sort_unstable();
        assert_eq!(first, flipped);
        for one in &found[..3] {
            assert_eq!(one.likely, one.row / 20);
            assert!(one.own < 0.5 && one.suspicion == 1.0 - one.own);
        }
    }

    #[test]
    fn a_sample_like_no_class_is_an_outlier() {
        let (mut rows, labels) = clusters();
        for at in 0..8 {
            rows[10 * 8 + at] = if at == 7 { 9.0 } else { 0.0 };
        }
        let found = suspects(&samples(rows, labels), &Request::default()).unwrap();
        let one = found.iter().find(|s| s.row == 10).unwrap();
        assert!(one.outlier && one.suspicion >= OUTLIER_SUSPICION);
        assert_eq!(found.iter().filter(|s| s.outlier).count(), 1);
    }

    #[test]
    fn without_bursts_to_hold_out_nothing_is_judged() {
        let (rows, labels) = clusters();
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let groups = labels.iter().map(|&l| u64::from(l)).collect();
        let one_burst = Samples::new(8, rows, labels, names, groups).unwrap();
        let refused = suspects(&one_burst, &Request::default());
        assert_eq!(refused, Err(Refusal::NothingHeldOut.into()));
    }
}
