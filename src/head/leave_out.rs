//! Exact leave-one-burst-out of ridge and LDA, for many penalties from one eigendecomposition.
//!
//! For the regression of one-hot targets `Ŷ = S Y` with residuals `r = Y − Ŷ`, those of burst `B`, had it been left out, are
//! `E = (I − S_BB)⁻¹ r_B` (for single samples `r / (1 − s)`, the PRESS formula of Allen, 1974), and the residuals of all others are
//! `R − r_Bᵀ E`: all that a [`Scoring`](super::regression::Scoring) is made of.

use super::discriminant::reading;
use super::regression::Read;
use super::{ClassWeights, HeadError, HeadKind, Samples, gram};
use faer::prelude::Solve;
use faer::{Mat, Side};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// What each sample would have scored with its burst left out, for one kind of head and one penalty.
pub struct LeftOut {
    pub kind: HeadKind,
    pub penalty: f64,
    /// Raw scores, `[n, classes]`; zeros for a burst that holds all samples of a class, which would not be known without it.
    pub scores: Vec<Vec<f64>>,
}

/// Scores of those of `kinds` that are ridge or LDA, for every penalty. `z` is normalized. A kind and penalty whose arithmetic fails is
/// left out.
///
/// # Errors
/// Features so large that the decomposition fails.
pub fn leave_one_burst_out(
    z: &Samples,
    kinds: &[HeadKind],
    penalties: &[f64],
    weights: ClassWeights,
) -> Result<Vec<LeftOut>, HeadError> {
    let basis = Basis::new(z)?;
    let closed = || kinds.iter().filter(|kind| kind.is_closed());
    let of_penalty = |&penalty: &f64| -> Vec<LeftOut> {
        let parts = basis.parts(z, penalty);
        let of_kind = |&kind: &HeadKind| {
            let (read, _) = reading(kind, weights);
            let scores = scores(z, &parts, read)?;
            Some(LeftOut {
                kind,
                penalty,
                scores,
            })
        };
        closed().filter_map(of_kind).collect()
    };
    let left_out: Vec<Vec<LeftOut>> = penalties.par_iter().map(of_penalty).collect();
    Ok(left_out.into_iter().flatten().collect())
}

/// Eigenvectors `[r, n]`, one column a sample, and eigenvalues `[r]` of the Gram matrix.
struct Basis {
    vectors: Mat<f64>,
    values: Vec<f64>,
    bursts: Vec<Vec<usize>>,
}

/// What is left of one burst for one penalty.
struct Part<'a> {
    rows: &'a [usize],
    /// `E`, `[rows, classes]`.
    errors: Mat<f64>,
    /// Residuals of all other samples, `[classes, classes]`.
    residuals: Mat<f64>,
    /// Other samples of each class.
    counts: Vec<f64>,
}

impl Basis {
    /// From whichever side is smaller.
    fn new(z: &Samples) -> Result<Basis, HeadError> {
        let (n, width) = (z.n(), z.width());
        let span = n <= width;
        let matrix = if span {
            gram::gram_f64(z.rows(), width)
        } else {
            gram::covariance_f64(z.rows(), width)
        };
        let eigen = matrix
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| HeadError::NotFinite)?;
        let spectrum = eigen.S().column_vector();
        let values: Vec<f64> = spectrum.iter().map(|v| v.max(0.0)).collect();
        let vectors = if span {
            eigen.U().transpose().to_owned()
        } else {
            // Left singular vectors from right ones: u = Z v / σ.
            let x = gram::columns(z.rows(), width);
            let wide = Mat::from_fn(width, n, |i, j| f64::from(x[(i, j)]));
            let floor = values.iter().copied().fold(0.0, f64::max) * 1e-12;
            let product = eigen.U().transpose() * wide;
            Mat::from_fn(width, n, |k, i| {
                if values[k] > floor {
                    product[(k, i)] / values[k].sqrt()
                } else {
                    0.0
                }
            })
        };
        let mut bursts: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (row, &group) in z.groups.iter().enumerate() {
            bursts.entry(group).or_default().push(row);
        }
        Ok(Basis {
            vectors,
            values,
            bursts: bursts.into_values().collect(),
        })
    }

    /// What is left of every burst without which all classes are still there.
    fn parts(&self, z: &Samples, penalty: f64) -> Vec<Part<'_>> {
        let (n, classes) = (z.n(), z.classes());
        let hot = |i: usize, c: usize| f64::from(u8::from(z.labels[i] as usize == c));
        let targets = Mat::from_fn(n, classes, hot);
        let rank = self.values.len();
        let roots: Vec<f64> = self
            .values
            .iter()
            .map(|v| (v / (v + penalty)).sqrt())
            .collect();
        // S = HᵀH.
        let half = Mat::from_fn(rank, n, |k, i| roots[k] * self.vectors[(k, i)]);
        let residual = &targets - half.transpose() * (&half * &targets);
        let residuals = targets.transpose() * &residual;
        let part = |rows: &'_ Vec<usize>| {
            let mut counts: Vec<f64> = z.counts().iter().map(|&n| n as f64).collect();
            for &row in rows {
                counts[z.labels[row] as usize] -= 1.0;
            }
            let own = Mat::from_fn(rows.len(), classes, |a, c| residual[(rows[a], c)]);
            let left = Mat::from_fn(rows.len(), rows.len(), |a, b| {
                let (a_half, b_half) = (half.col_as_slice(rows[a]), half.col_as_slice(rows[b]));
                f64::from(u8::from(a == b)) - super::cholesky::dot(a_half, b_half)
            });
            let errors = left.partial_piv_lu().solve(&own);
            let residuals = &residuals - own.transpose() * &errors;
            (errors, residuals, counts)
        };
        self.bursts
            .iter()
            .map(|rows| {
                let (errors, residuals, counts) = part(rows);
                Part {
                    rows,
                    errors,
                    residuals,
                    counts,
                }
            })
            .filter(|part| part.counts.iter().all(|&n| n > 0.0))
            .collect()
    }
}

fn scores(z: &Samples, parts: &[Part<'_>], read: Read) -> Option<Vec<Vec<f64>>> {
    let mut scores = vec![vec![0.0; z.classes()]; z.n()];
    for part in parts {
        let scoring = read(&part.residuals, &part.counts)?;
        for (a, &row) in part.rows.iter().enumerate() {
            let target =
                |c: usize| f64::from(u8::from(z.labels[row] as usize == c)) - part.errors[(a, c)];
            let targets: Vec<f64> = (0..z.classes()).map(target).collect();
            scores[row] = scoring.scores(&targets);
        }
    }
    let finite = scores.iter().flatten().all(|x| x.is_finite());
    finite.then_some(scores)
}
