//! Calibration: held-out raw scores to honest probabilities, to sets of labels, and to a threshold for *unknown*. Pure.

use crate::head::exp::exp_f64;
use crate::head::gram::vectorized;
use crate::head::novelty::{Codes, Novelty, Sign, distances_to_others, doubt};
use crate::head::{Calibration, Conformal, Samples, probabilities};

/// Bounds of the inverse temperature.
const FACTOR: (f64, f64) = (1e-2, 1e3);
/// Halvings of the bracket (in the logarithm): 2 % of the factor, finer than any sample set can tell.
const STEPS: usize = 12;

/// One held-out answer: raw scores, the right class, and how much it counts.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    pub row: usize,
    pub scores: Vec<f64>,
    pub label: usize,
    /// One over the number of held-out samples of its class, so that every class counts the same.
    pub weight: f64,
}

/// The factor that makes the probabilities most likely (temperature scaling; Guo et al., On Calibration of Modern Neural Networks,
/// 2017). The log-likelihood is concave in it: the zero of its derivative is found by bisection of the logarithm.
pub fn inverse_temperature(held_out: &[HeldOut]) -> f64 {
    let below = below_highest(held_out);
    let (mut low, mut high) = (FACTOR.0.ln(), FACTOR.1.ln());
    for _ in 0..STEPS {
        let middle = (low + high) / 2.0;
        if likelihood_slope(held_out, &below, middle.exp()) > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    ((low + high) / 2.0).exp()
}

/// Raw scores less the highest of the same answer, one answer behind the other.
fn below_highest(held_out: &[HeldOut]) -> Vec<f64> {
    let mut below = Vec::with_capacity(held_out.len() * classes(held_out));
    for one in held_out {
        let highest = one.scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        below.extend(one.scores.iter().map(|score| score - highest));
    }
    below
}

/// All answers have a score for every class.
fn classes(held_out: &[HeldOut]) -> usize {
    held_out.first().map_or(1, |one| one.scores.len())
}

fn likelihood_slope(held_out: &[HeldOut], below: &[f64], factor: f64) -> f64 {
    let classes = classes(held_out);
    let powers = powers(below, factor);
    let rows = powers
        .chunks_exact(classes)
        .zip(below.chunks_exact(classes));
    let slope = |(one, (powers, below)): (&HeldOut, (&[f64], &[f64]))| {
        let mean: f64 = powers.iter().zip(below).map(|(p, x)| p * x).sum();
        one.weight * (below[one.label] - mean / powers.iter().sum::<f64>())
    };
    held_out.iter().zip(rows).map(slope).sum()
}

/// Negative log-likelihood of each answer, times its weight.
fn losses(held_out: &[HeldOut], factor: f64) -> Vec<f64> {
    let classes = classes(held_out);
    let below = below_highest(held_out);
    let powers = powers(&below, factor);
    let rows = powers
        .chunks_exact(classes)
        .zip(below.chunks_exact(classes));
    let loss = |(one, (powers, below)): (&HeldOut, (&[f64], &[f64]))| {
        one.weight * (powers.iter().sum::<f64>().ln() - below[one.label] * factor)
    };
    held_out.iter().zip(rows).map(loss).collect()
}

/// Mean negative log-likelihood, every class counting the same.
pub fn log_loss(held_out: &[HeldOut], factor: f64) -> f64 {
    let total: f64 = held_out.iter().map(|one| one.weight).sum();
    losses(held_out, factor).iter().sum::<f64>() / total
}

/// Standard errors by which the loss of `one` is lower than that of `other`, on the same held-out samples in the same order.
pub fn standard_errors(one: &[HeldOut], other: &[HeldOut]) -> f64 {
    let [ours, theirs] = [one, other].map(|answers| losses(answers, inverse_temperature(answers)));
    let total: f64 = one.iter().map(|held_out| held_out.weight).sum();
    let gains = || ours.iter().zip(&theirs).map(|(a, b)| b - a);
    let difference = gains().sum::<f64>() / total;
    let squares = gains()
        .zip(one)
        .map(|(gain, held_out)| (gain - held_out.weight * difference).powi(2));
    let error = squares.sum::<f64>().sqrt() / total;
    if difference == 0.0 {
        0.0
    } else {
        difference / error
    }
}

/// All that held-out answers on `samples` say: temperature, sets of labels, and a threshold above which at most `false_alarm_rate` of
/// them fall.
pub fn calibrate(samples: &Samples, held_out: &[HeldOut], false_alarm_rate: f64) -> Calibration {
    let inverse_temperature = inverse_temperature(held_out) as f32;
    let factor = f64::from(inverse_temperature);
    let right = |one: &HeldOut| probabilities(&one.scores, factor)[one.label];
    let judges: Vec<usize> = held_out.iter().map(|one| one.row).collect();
    let distances = distances_to_others(samples.width(), samples.rows(), &samples.groups, &judges);
    let signs: Vec<Sign> = held_out
        .iter()
        .zip(distances)
        .map(|(one, distance)| Sign {
            doubt: doubt(&one.scores, factor),
            distance,
        })
        .collect();
    let codes = Codes::of(samples.rows().chunks_exact(samples.width()));
    Calibration {
        novelty: Novelty::new(codes, &signs, false_alarm_rate),
        conformal: Conformal::new(held_out.iter().map(right).collect()),
        ..Calibration::new(inverse_temperature)
    }
}

vectorized! {
    fn powers<'a>(below: &'a [f64], factor: f64) -> Vec<f64> {
        below.iter().map(|x| exp_f64(x * factor)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers whose score for the right class is 1 in `right` of 10 cases, else 0 for it and 1 for the other.
    fn answers(right: usize) -> Vec<HeldOut> {
        (0..10)
            .map(|row| HeldOut {
                row,
                scores: if row < right {
                    vec![1.0, 0.0]
                } else {
                    vec![0.0, 1.0]
                },
                label: 0,
                weight: 0.1,
            })
            .collect()
    }

    #[test]
    fn confidence_becomes_the_share_of_right_answers() {
        let factor = inverse_temperature(&answers(9));
        let confidence = probabilities(&[1.0, 0.0], factor)[0];
        assert!((confidence - 0.9).abs() < 0.01, "{confidence}");
        assert!(log_loss(&answers(9), factor) < log_loss(&answers(9), 2.0 * factor));
    }
}
