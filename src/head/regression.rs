//! Least squares of one-hot targets on features: what ridge and LDA are read from, in the smaller of two spaces.
//!
//! With `B = ZᵀZ + λI` it keeps the coefficients `P = B⁻¹ZᵀY` and the residuals `R = YᵀY − YᵀZ P` of the one-hot targets `Y`; see
//! [`ridge::scoring`](super::ridge) and [`lda::scoring`](super::lda) for what they make of them. A sample `z` with target `y` changes
//! both by recursive least squares (Plackett, 1950),
//!
//! `k = B⁻¹z`, `e = y − Pᵀz`, `P += k eᵀ / (1 + zᵀk)`, `R += e eᵀ / (1 + zᵀk)`.
//!
//! While there are no more samples than features, `k` comes from the factor of the Gram matrix `ZZᵀ + λI`, which grows and shrinks
//! with them in O(n²). Beyond that it comes from the factor of `B`, which follows by a rank-one change, and no row is kept: O(D²)
//! time a sample, and memory that does not grow but for a fingerprint each (see [`Members`]). Errors of `P` shrink with every sample
//! and those of the factor stay of rounding's size, so neither is ever made anew.

use super::cholesky::{CANCELLED, Cholesky};
use super::gram::vectorized;
use super::members::Members;
use super::{HeadError, Linear, Samples, gram};
use crate::backbone::gang;
use crate::label::{self, MAX_LABELS};
use faer::prelude::Solve;
use faer::{Mat, MatRef, Side};
use rayon::prelude::*;

/// The most that `zᵀB⁻¹z` of a new sample may be, so that it can be taken out again: a tenth of what a pivot may lose.
const TOO_LARGE: f64 = 0.1 / CANCELLED;

/// The regression of samples that come and go.
pub struct Regression {
    penalty: f64,
    fit: Fit,
    space: Space,
}

enum Space {
    /// Normalized rows, and the factor of `ZZᵀ + λI` in their order.
    Span(Samples, Cholesky),
    /// The factor of `ZᵀZ + λI`.
    Features(Cholesky, Members),
}

/// What the regression found.
#[derive(Clone)]
pub struct Fit {
    /// Sorted.
    pub names: Vec<String>,
    /// Samples of each class.
    pub counts: Vec<f64>,
    /// `P`, `[D, classes]`.
    coefficients: Mat<f64>,
    /// `R`, `[classes, classes]`.
    residuals: Mat<f64>,
}

/// How raw scores are made of regressed targets `u = Pᵀz`: `mixᵀ u + shift`.
pub struct Scoring {
    /// `[classes, classes]`.
    pub mix: Mat<f64>,
    /// `[classes]`.
    pub shift: Vec<f64>,
}

/// A scoring from residuals `[classes, classes]` and the samples of each class; `None` when the residuals are singular.
pub type Read = fn(&Mat<f64>, &[f64]) -> Option<Scoring>;

impl Regression {
    /// Regresses normalized samples.
    pub fn new(z: Samples, penalty: f64) -> Result<Regression, HeadError> {
        let span = z.n() <= z.width();
        let mut matrix = if span {
            gram::gram_f64(z.rows(), z.width())
        } else {
            gram::covariance_f64(z.rows(), z.width())
        };
        add_to_diagonal(&mut matrix, penalty);
        let factor = Cholesky::new(&matrix).ok_or(HeadError::NotFinite)?;
        if span {
            return Ok(Regression::of_span(z, factor, penalty));
        }
        let mut members = Members::default();
        for i in 0..z.n() {
            members.insert(z.row(i), z.label(i));
        }
        Ok(Regression {
            penalty,
            fit: fit_features(&z, &factor),
            space: Space::Features(factor, members),
        })
    }

    fn of_span(z: Samples, factor: Cholesky, penalty: f64) -> Regression {
        Regression {
            penalty,
            fit: fit_span(&z, &factor, penalty),
            space: Space::Span(z, factor),
        }
    }

    pub fn fit(&self) -> &Fit {
        &self.fit
    }

    /// Adds a normalized row; gives its weights, and is what it was after an error.
    pub fn learn(
        &mut self,
        row: &[f32],
        label: &str,
        group: u64,
        read: Read,
    ) -> Result<Linear, HeadError> {
        crate::features::check(row, row.len())?;
        label::check(label)?;
        let known = self
            .fit
            .names
            .binary_search_by(|name| name.as_str().cmp(label));
        if known.is_err() && self.fit.names.len() == MAX_LABELS {
            return Err(HeadError::TooManyClasses {
                got: MAX_LABELS + 1,
                max: MAX_LABELS,
            });
        }
        match &mut self.space {
            Space::Span(z, factor) => {
                let last = z.n();
                let (half, gain) = gain_in_span(z, factor, row, self.penalty);
                let corner = gram::dot(row, row) + self.penalty;
                if last == z.width() || factor.append(&half, corner).is_none() {
                    return self.learn_anew(row, label, group, read);
                }
                let fit = self.fit.with(&wide(row), &gain, label);
                let linear = fit.linear(read).inspect_err(|_| factor.remove(last))?;
                z.insert(last, row, label, group)
                    .inspect_err(|_| factor.remove(last))?;
                self.fit = fit;
                Ok(linear)
            }
            Space::Features(factor, members) => {
                let (z, half, gain) = gain(factor, row);
                if inner(&half, &half) > TOO_LARGE {
                    return Err(HeadError::NotFinite);
                }
                let fit = self.fit.with(&z, &gain, label);
                let linear = fit.linear(read)?;
                factor.update(&half).ok_or(HeadError::NotFinite)?;
                members.insert(row, label);
                self.fit = fit;
                Ok(linear)
            }
        }
    }

    /// Regresses all rows and this one, in the space that is the smaller one then.
    fn learn_anew(
        &mut self,
        row: &[f32],
        label: &str,
        group: u64,
        read: Read,
    ) -> Result<Linear, HeadError> {
        let Space::Span(z, _) = &self.space else {
            return Err(HeadError::NotFinite);
        };
        let mut z = z.clone();
        z.insert(z.n(), row, label, group)?;
        let next = Regression::new(z, self.penalty)?;
        let linear = next.fit.linear(read)?;
        *self = next;
        Ok(linear)
    }

    /// Takes a normalized row out; gives its weights, and is what it was after an error.
    pub fn forget(&mut self, row: &[f32], label: &str, read: Read) -> Result<Linear, HeadError> {
        match &mut self.space {
            Space::Span(z, factor) => {
                let index = z.find(row, label)?;
                let (mut z, mut factor) = (z.clone(), factor.clone());
                z.remove(index);
                z.check_classes()?;
                factor.remove(index);
                let next = Regression::of_span(z, factor, self.penalty);
                let linear = next.fit.linear(read)?;
                *self = next;
                Ok(linear)
            }
            Space::Features(factor, members) => {
                members.check(row, label)?;
                let (z, half, gain) = gain(factor, row);
                let fit = self.fit.without(&z, &gain, label)?;
                let linear = fit.linear(read)?;
                factor.downdate(&half).ok_or(HeadError::NotFinite)?;
                members.remove(row, label);
                self.fit = fit;
                Ok(linear)
            }
        }
    }
}

/// Fits of the same normalized samples at several penalties, to compare them; `None` where the arithmetic fails. With the Gram matrix
/// of the rows in f32, which is half the time, where its digits are enough; without it by way of the features.
pub fn fits(z: &Samples, gram: Option<MatRef<'_, f32>>, penalties: &[f64]) -> Vec<Option<Fit>> {
    if let Some(gram) = gram {
        let exact = |penalty| Some(Regression::new(z.clone(), penalty).ok()?.fit);
        let fit = |&penalty: &f64| rough_fit(z, gram, penalty).or_else(|| exact(penalty));
        return penalties.iter().map(fit).collect();
    }
    let mut matrix = gram::covariance_f64(z.rows(), z.width());
    let mut added = 0.0;
    let fit = |&penalty: &f64| {
        add_to_diagonal(&mut matrix, penalty - added);
        added = penalty;
        Some(fit_features(z, &Cholesky::new(&matrix)?))
    };
    penalties.iter().map(fit).collect()
}

/// As [`fit_span`], in f32.
fn rough_fit(z: &Samples, gram: MatRef<'_, f32>, penalty: f64) -> Option<Fit> {
    let (n, classes) = (z.n(), z.classes());
    let mut matrix = gram.to_owned();
    add_to_diagonal(&mut matrix, penalty as f32);
    let hot = |i: usize, c: usize| f32::from(u8::from(z.labels[i] as usize == c));
    let duals = matrix
        .llt(Side::Lower)
        .ok()?
        .solve(Mat::from_fn(n, classes, hot));
    let mut residuals = Mat::zeros(classes, classes);
    let mut flat = Vec::with_capacity(n * classes);
    for (class, dual) in duals.col_iter().enumerate() {
        for (&label, &dual) in z.labels.iter().zip(dual.iter()) {
            residuals[(label as usize, class)] += penalty * f64::from(dual);
            flat.push(dual);
        }
    }
    let rows = gram::columns(z.rows(), z.width());
    let sums = gang::with(1, |mut gang| gram::product(&mut gang, rows, &flat));
    let sums = gram::columns(&sums, z.width());
    let coefficients = Mat::from_fn(z.width(), classes, |i, c| f64::from(sums[(i, c)]));
    Some(Fit::new(z, coefficients, residuals))
}

fn add_to_diagonal<T: Copy + std::ops::AddAssign>(matrix: &mut Mat<T>, number: T) {
    for i in 0..matrix.nrows() {
        matrix[(i, i)] += number;
    }
}

/// A row widened, halfway through its solve, and solved: `z`, `L⁻¹z` and `B⁻¹z`.
fn gain(factor: &Cholesky, row: &[f32]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let z = wide(row);
    let mut half = z.clone();
    factor.half_solve(&mut half);
    let mut gain = half.clone();
    factor.finish_solve(&mut gain);
    (z, half, gain)
}

/// The same in the span: `L⁻¹Zz` of the Gram matrix's factor, and `B⁻¹z = (z − Zᵀ(ZZᵀ + λI)⁻¹Zz) / λ`.
fn gain_in_span(z: &Samples, factor: &Cholesky, row: &[f32], penalty: f64) -> (Vec<f64>, Vec<f64>) {
    let others = || z.rows().chunks_exact(z.width());
    let mut half: Vec<f64> = others().map(|other| gram::dot(other, row)).collect();
    factor.half_solve(&mut half);
    let mut dual = half.clone();
    factor.finish_solve(&mut dual);
    let mut gain = wide(row);
    for (other, dual) in others().zip(dual) {
        for (gain, &x) in gain.iter_mut().zip(other) {
            *gain -= dual * f64::from(x);
        }
    }
    gain.iter_mut().for_each(|x| *x /= penalty);
    (half, gain)
}

fn wide(row: &[f32]) -> Vec<f64> {
    row.iter().map(|&x| f64::from(x)).collect()
}

fn fit_span(z: &Samples, factor: &Cholesky, penalty: f64) -> Fit {
    let classes = z.classes();
    let of_class = |class: usize| {
        let hot = |&label: &u32| f64::from(u8::from(label as usize == class));
        let mut dual: Vec<f64> = z.labels.iter().map(hot).collect();
        factor.solve(&mut dual);
        let sum = weighted_sum(z, &dual);
        (dual, sum)
    };
    let solved: Vec<_> = (0..classes).into_par_iter().map(of_class).collect();
    let mut coefficients = Mat::zeros(z.width(), classes);
    let mut residuals = Mat::zeros(classes, classes);
    for (class, (dual, sum)) in solved.iter().enumerate() {
        coefficients.col_as_slice_mut(class).copy_from_slice(sum);
        // R = YᵀY − YᵀK(K + λI)⁻¹Y = λ Yᵀ(K + λI)⁻¹Y: nothing cancels.
        for (&label, dual) in z.labels.iter().zip(dual) {
            residuals[(label as usize, class)] += penalty * dual;
        }
    }
    Fit::new(z, coefficients, residuals)
}

fn fit_features(z: &Samples, factor: &Cholesky) -> Fit {
    let classes = z.classes();
    let mut sums = Mat::<f64>::zeros(z.width(), classes);
    for i in 0..z.n() {
        let sum = sums.col_as_slice_mut(z.labels[i] as usize);
        for (sum, &x) in sum.iter_mut().zip(z.row(i)) {
            *sum += f64::from(x);
        }
    }
    let mut coefficients = sums.clone();
    for class in 0..classes {
        factor.solve(coefficients.col_as_slice_mut(class));
    }
    let explained = sums.transpose() * &coefficients;
    let counts = z.counts();
    let residuals = Mat::from_fn(classes, classes, |a, b| {
        let count = if a == b { counts[a] as f64 } else { 0.0 };
        count - explained[(a, b)]
    });
    Fit::new(z, coefficients, residuals)
}

impl Fit {
    fn new(z: &Samples, coefficients: Mat<f64>, residuals: Mat<f64>) -> Fit {
        Fit {
            names: z.names().to_vec(),
            counts: z.counts().iter().map(|&n| n as f64).collect(),
            coefficients,
            residuals,
        }
    }

    /// Weights `P mix` and intercepts.
    pub fn linear(&self, read: Read) -> Result<Linear, HeadError> {
        let scoring = read(&self.residuals, &self.counts).ok_or(HeadError::NotFinite)?;
        let weights = &self.coefficients * &scoring.mix;
        let columns = (0..weights.ncols()).flat_map(|class| weights.col_as_slice(class));
        Linear {
            weights: columns.map(|&x| x as f32).collect(),
            bias: scoring.shift.iter().map(|&x| x as f32).collect(),
        }
        .finite()
    }

    /// After one more row `z`; `gain` is `B⁻¹z` without it.
    fn with(&self, z: &[f64], gain: &[f64], label: &str) -> Fit {
        let mut fit = self.clone();
        let class = fit.names.binary_search_by(|name| name.as_str().cmp(label));
        let class = class.unwrap_or_else(|class| {
            fit.names.insert(class, label.to_owned());
            fit.counts.insert(class, 0.0);
            let old = |i: usize| i - usize::from(i > class);
            fit.coefficients = Mat::from_fn(z.len(), fit.names.len(), |i, c| {
                if c == class {
                    0.0
                } else {
                    self.coefficients[(i, old(c))]
                }
            });
            fit.residuals = Mat::from_fn(fit.names.len(), fit.names.len(), |a, b| {
                let new = a == class || b == class;
                if new {
                    0.0
                } else {
                    self.residuals[(old(a), old(b))]
                }
            });
            class
        });
        fit.counts[class] += 1.0;
        fit.step(z, gain, class, 1.0);
        fit
    }

    /// After the row `z`, which is there, is gone; `gain` is `B⁻¹z` with it.
    fn without(&self, z: &[f64], gain: &[f64], label: &str) -> Result<Fit, HeadError> {
        let mut fit = self.clone();
        let class = fit.names.binary_search_by(|name| name.as_str().cmp(label));
        let class = class.map_err(|_| HeadError::NotLearned {
            label: label.into(),
        })?;
        fit.counts[class] -= 1.0;
        fit.step(z, gain, class, -1.0);
        if fit.counts[class] > 0.0 {
            return Ok(fit);
        }
        fit.names.remove(class);
        fit.counts.remove(class);
        if let [only] = fit.names.as_slice() {
            return Err(HeadError::OneClass {
                label: only.clone(),
                n: fit.counts[0] as usize,
            });
        }
        let (classes, old) = (fit.names.len(), |i: usize| i + usize::from(i >= class));
        fit.coefficients = Mat::from_fn(z.len(), classes, |i, c| fit.coefficients[(i, old(c))]);
        fit.residuals = Mat::from_fn(classes, classes, |a, b| fit.residuals[(old(a), old(b))]);
        Ok(fit)
    }

    /// One step of recursive least squares, forward (`sign` 1) or back (−1).
    fn step(&mut self, z: &[f64], gain: &[f64], class: usize, sign: f64) {
        let scale = sign / (1.0 + sign * inner(z, gain));
        let classes = 0..self.names.len();
        let error = |c: usize| {
            f64::from(u8::from(c == class)) - inner(z, self.coefficients.col_as_slice(c))
        };
        let errors: Vec<f64> = classes.clone().map(error).collect();
        for c in classes.clone() {
            let step = errors[c] * scale;
            for (p, k) in self.coefficients.col_as_slice_mut(c).iter_mut().zip(gain) {
                *p += step * k;
            }
            for a in classes.clone() {
                self.residuals[(a, c)] += errors[a] * step;
            }
        }
    }
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    super::cholesky::dot(a, b)
}

/// The inverse of a symmetric positive definite matrix.
pub fn inverse(matrix: &Mat<f64>) -> Option<Mat<f64>> {
    let factor = matrix.llt(Side::Lower).ok()?;
    let n = matrix.nrows();
    Some(factor.solve(Mat::<f64>::identity(n, n)))
}

vectorized! {
    fn weighted_sum<'a>(z: &'a Samples, weights: &'a [f64]) -> Vec<f64> {
        let mut sum = vec![0.0f64; z.width()];
        for (row, weight) in z.rows().chunks_exact(z.width()).zip(weights) {
            for (sum, &x) in sum.iter_mut().zip(row) {
                *sum += weight * f64::from(x);
            }
        }
        sum
    }
}
