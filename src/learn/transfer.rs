//! How well a backbone's features suit a task, before any head is trained. Pure.

use super::LearnError;
use crate::head::gram::{covariance_f64, dot, gram_f64};
use crate::head::{HeadError, Samples};
use faer::prelude::Solve;
use faer::{Mat, Side};

/// The shrunk H-score of features `[n, D]`: the variance between the class means, measured in units of the variance of all features,
/// `(1 − α) tr(Σ⁻¹ Σ_between)`, with the covariance Σ shrunk by α, Ledoit and Wolf's factor, toward a multiple of the identity (Bao et
/// al., An Information-Theoretic Approach to Transferability, 2019; Ibrahim et al., Newer is not always better, 2021). From 0 up to the number
/// of classes less one; compare it only between features of the same samples.
///
/// # Errors
/// Fewer than two classes; features that are all alike.
pub fn h_score(samples: &Samples) -> Result<f64, LearnError> {
    samples.check_classes()?;
    let (n, width) = (samples.n(), samples.width());
    let rows = centered(samples);
    let in_span = n <= width;
    let mut matrix = if in_span {
        gram_f64(&rows, width)
    } else {
        covariance_f64(&rows, width)
    };
    let squares: Vec<f64> = rows.chunks_exact(width).map(|row| dot(row, row)).collect();
    let variance = squares.iter().sum::<f64>() / (n * width) as f64;
    if !(variance > 0.0 && variance.is_finite()) {
        return Err(HeadError::NotFinite.into());
    }
    let shrinkage = shrinkage(&matrix, &squares, width, variance);
    // Σ = a I + b XᵀX.
    let (a, b) = (shrinkage * variance, (1.0 - shrinkage) / n as f64);
    let means = class_means(samples, &rows);
    // In the span of the samples: Σ⁻¹ m = (m − Xᵀ (a/b I + X Xᵀ)⁻¹ X m) / a.
    let right = if in_span {
        let x = Mat::from_fn(n, width, |i, j| f64::from(rows[i * width + j]));
        x * &means
    } else {
        means.clone()
    };
    for i in 0..matrix.nrows() {
        matrix[(i, i)] += a / b;
    }
    let factor = matrix.llt(Side::Lower).map_err(|_| HeadError::NotFinite)?;
    let solved = factor.solve(&right);
    let product = |x: &Mat<f64>, y: &Mat<f64>, class: usize| -> f64 {
        (0..x.nrows()).map(|i| x[(i, class)] * y[(i, class)]).sum()
    };
    let counts = samples.counts();
    let between = |class: usize| {
        let explained = product(&right, &solved, class);
        let distance = match in_span {
            true => (product(&means, &means, class) - explained) / a,
            false => explained / b,
        };
        counts[class] as f64 / n as f64 * distance
    };
    let score: f64 = (0..samples.classes()).map(between).sum();
    let finite = score.is_finite().then_some(score);
    Ok(finite.ok_or(HeadError::NotFinite)? * (1.0 - shrinkage))
}

/// Means of the classes, `[D, classes]`.
fn class_means(samples: &Samples, rows: &[f32]) -> Mat<f64> {
    let mut means = Mat::zeros(samples.width(), samples.classes());
    let counts = samples.counts();
    for (row, &label) in rows.chunks_exact(samples.width()).zip(&samples.labels) {
        let label = label as usize;
        for (i, &x) in row.iter().enumerate() {
            means[(i, label)] += f64::from(x) / counts[label] as f64;
        }
    }
    means
}

/// The rows less their mean.
fn centered(samples: &Samples) -> Vec<f32> {
    let (n, width) = (samples.n() as f64, samples.width());
    let mut mean = vec![0.0f64; width];
    for row in samples.rows().chunks_exact(width) {
        for (mean, &x) in mean.iter_mut().zip(row) {
            *mean += f64::from(x) / n;
        }
    }
    let less_mean = |(&x, mean): (&f32, &f64)| (f64::from(x) - mean) as f32;
    let rows = samples.rows().chunks_exact(width);
    rows.flat_map(|row| row.iter().zip(&mean).map(less_mean))
        .collect()
}

/// Ledoit and Wolf's factor (A well-conditioned estimator for large-dimensional covariance matrices, 2004), from 0 to 1, from products of
/// centred samples on either side and the samples' squared lengths.
fn shrinkage(products: &Mat<f64>, squares: &[f64], width: usize, variance: f64) -> f64 {
    let n = squares.len() as f64;
    // The lower triangle stands for both.
    let column = |j: usize| -> f64 {
        let below: f64 = (j + 1..products.nrows())
            .map(|i| products[(i, j)].powi(2))
            .sum();
        products[(j, j)].powi(2) + 2.0 * below
    };
    let square = (0..products.ncols()).map(column).sum::<f64>() / (n * n);
    let fourth: f64 = squares.iter().map(|x| x * x).sum::<f64>() / n;
    let distance = (square - width as f64 * variance * variance).max(f64::MIN_POSITIVE);
    let error = ((fourth - square) / n).clamp(0.0, distance);
    (error / distance).clamp(LEAST, 1.0 - LEAST)
}

/// The least shrinkage, which leaves the covariance of fewer samples than features an inverse; and what the samples keep at least.
const LEAST: f64 = 1e-4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    /// Two classes whose first feature differs by `gap` of its noise, among 20 of noise.
    fn samples(gap: f32) -> Samples {
        let mut random = SplitMix64::new(3);
        let labels: Vec<u32> = (0..60).map(|i| i % 2).collect();
        let mut rows = Vec::new();
        for &label in &labels {
            for at in 0..20 {
                let noise: f32 = (0..12)
                    .map(|_| (random.next_u64() % 1000) as f32 / 1000.0)
                    .sum();
                rows.push(noise - 6.0 + if at == 0 { gap * label as f32 } else { 0.0 });
            }
        }
        let names = ["a", "b"].map(String::from).to_vec();
        Samples::new(20, rows, labels, names, (0..60).collect()).unwrap()
    }

    #[test]
    fn the_score_grows_with_the_distance_of_the_classes_and_stays_below_their_number() {
        let scores: Vec<f64> = [0.0, 1.0, 3.0, 30.0]
            .map(|gap| h_score(&samples(gap)).unwrap())
            .to_vec();
        assert!(scores.is_sorted() && scores[0] >= 0.0, "{scores:?}");
        assert!(scores[3] > 0.8 && scores[3] < 1.0, "{scores:?}");
    }

    #[test]
    fn more_features_than_samples_have_a_score_too() {
        let wide = samples(3.0).select(&(0..12).collect::<Vec<_>>()).unwrap();
        assert!(wide.n() < wide.width());
        let score = h_score(&wide).unwrap();
        assert!(score.is_finite() && score > 0.0);
    }

    #[test]
    fn features_that_are_all_alike_are_refused() {
        let names = ["a", "b"].map(String::from).to_vec();
        let alike = Samples::new(2, vec![1.0; 8], vec![0, 1, 0, 1], names, vec![0, 1, 2, 3]);
        assert!(h_score(&alike.unwrap()).is_err());
    }
}
