//! The Hessian of a softmax problem at one point, on the samples where it bends, and Newton's equation on it.
//!
//! `H = λI + Σ uᵢ zᵢ (diag pᵢ − pᵢ pᵢᵀ) zᵢᵀ`: a sample bends the objective as far as its class is in doubt. Most are not once the
//! search has begun, so the sum runs over the rows A that hold all but a small share of the doubt. Leaving the others out costs a few
//! more steps, each of `m²` for `m = |A|` instead of `n²`: half the time at a thousand samples, and more beyond. A step may be wrong
//! by what was left out; where it leads is judged on all samples.
//!
//! Conjugate gradients begin at the gradient `g`, so all that they come to is `a·g + Z_Aᵀ v`: a vector is kept as `a`, `v`, and the
//! logits that it adds on A.

use super::gram::{self, vectorized};
use super::newton::{Point, add};
use super::softmax::{Problem, Slope, Space, columns_of};
use crate::backbone::gang::Gang;
use std::borrow::Cow;

/// Share of the doubt that may be left out, times how exactly the step is wanted. Of 0, 0.1, 0.2, 0.3, 0.5 and 0.8, on ten problems
/// of 240 to 1,000 samples, the one with the least time in all.
const LEFT_OUT: f64 = 0.2;
/// With this share of the samples or more, all are taken: nothing has to be copied then.
const MOST: f64 = 0.9;
const MAX_ITERATIONS: usize = 200;
/// Columns of the Gram matrix that are copied as one piece of work.
const COPIED: usize = 64;

/// The Hessian at a point.
pub struct Curvature<'a> {
    problem: &'a Problem<'a>,
    /// A, in order.
    rows: Vec<usize>,
    kernel: Kernel<'a>,
    /// Of A: probabilities `[m, classes]`, column by column, and weights in the loss.
    chances: Vec<f32>,
    importance: Vec<f32>,
    penalty: f64,
    gradient: &'a Point,
    /// The gradient's image on A.
    image: Vec<f32>,
    /// Square of the gradient's length without the intercepts.
    square: f64,
}

/// `Z_A Z_Aᵀ`, or what gives its products.
enum Kernel<'a> {
    /// All of it, column by column.
    Gram(Vec<&'a [f32]>),
    /// `[m, m]`
    Part(Vec<f32>),
    /// `[m, width]`, row by row, and the width.
    Rows(Cow<'a, [f32]>, usize),
}

/// A vector of the search.
#[derive(Clone)]
struct Vector {
    /// Share of the gradient, without its intercepts.
    along: f64,
    /// `v`, `[m, classes]`, column by column.
    theta: Vec<f32>,
    /// Logits on A, laid out likewise, intercepts not included.
    image: Vec<f32>,
    /// Intercepts.
    bias: Vec<f32>,
}

impl<'a> Curvature<'a> {
    /// At the point that `slope` and `gradient` belong to, for a step that shall be `exactness` exact.
    pub fn new(
        gang: &mut Gang<'_>,
        problem: &'a Problem<'a>,
        slope: &Slope,
        gradient: &'a Point,
        penalty: f64,
        exactness: f64,
    ) -> Curvature<'a> {
        let doubts = problem.doubts(slope);
        let rows = doubtful(&doubts, LEFT_OUT * exactness);
        let n = doubts.len();
        let of_rows = |all: &[f32]| -> Vec<f32> {
            let columns = all.chunks_exact(n);
            columns
                .flat_map(|column| rows.iter().map(|&row| column[row]))
                .collect()
        };
        Curvature {
            kernel: Kernel::new(gang, problem, &rows),
            chances: of_rows(&slope.chances),
            importance: of_rows(&problem.importance),
            image: of_rows(&gradient.image),
            square: problem.square_norm(gradient, gradient),
            problem,
            rows,
            penalty,
            gradient,
        }
    }

    /// Conjugate gradients on `H d = −g` until the squared residual is below `goal`; the step and its number of iterations.
    pub fn newton_step(&self, gang: &mut Gang<'_>, goal: f64) -> (Point, usize) {
        let mut step = Vector {
            along: 0.0,
            theta: vec![0.0; self.image.len()],
            image: Vec::new(),
            bias: vec![0.0; self.gradient.bias.len()],
        };
        let mut residual = Vector {
            along: -1.0,
            theta: step.theta.clone(),
            image: self.image.iter().map(|x| -x).collect(),
            bias: self.gradient.bias.iter().map(|x| -x).collect(),
        };
        let mut direction = residual.clone();
        let mut square = self.inner(&residual, &residual);
        let mut iterations = 0;
        while square > goal && iterations < MAX_ITERATIONS {
            let curved = self.times(&direction);
            let curvature = self.inner(&curved, &direction);
            if !(curvature > 0.0 && curvature.is_finite()) {
                break;
            }
            let length = square / curvature;
            step.add(length, &direction);
            residual.add(-length, &curved);
            residual.image = self.image(gang, &residual);
            let next = self.inner(&residual, &residual);
            direction.follow(next / square, &residual);
            square = next;
            iterations += 1;
        }
        (self.unfold(gang, step), iterations)
    }

    /// `H x` without its image, which nobody asks for.
    fn times(&self, x: &Vector) -> Vector {
        let m = self.rows.len();
        let constant = self.problem.constant;
        let mut curved = bend(self, x);
        let bias = curved.chunks_exact(m).map(|c| gram::sum(c) * constant);
        let bias = bias.collect();
        add(&mut curved, self.penalty, &x.theta);
        Vector {
            along: self.penalty * x.along,
            theta: curved,
            image: Vec::new(),
            bias,
        }
    }

    /// The logits that a vector adds on A.
    fn image(&self, gang: &mut Gang<'_>, x: &Vector) -> Vec<f32> {
        let mut image = self.kernel.product(gang, &x.theta, self.rows.len());
        add(&mut image, x.along, &self.image);
        image
    }

    /// Inner product in the geometry of weights and intercepts; of `a` the image is not needed.
    fn inner(&self, a: &Vector, b: &Vector) -> f64 {
        let gradient = b.along * self.square + gram::dot(&self.image, &b.theta);
        a.along * gradient + gram::dot(&a.theta, &b.image) + gram::dot(&a.bias, &b.bias)
    }

    /// A vector of the search in the coordinates of the problem.
    fn unfold(&self, gang: &mut Gang<'_>, x: Vector) -> Point {
        let mut theta = vec![0.0; self.gradient.theta.len()];
        add(&mut theta, x.along, &self.gradient.theta);
        match &self.kernel {
            Kernel::Gram(_) | Kernel::Part(_) => {
                let n = self.problem.z.n();
                let columns = theta.chunks_exact_mut(n);
                for (to, from) in columns.zip(x.theta.chunks_exact(self.rows.len())) {
                    for (&row, x) in self.rows.iter().zip(from) {
                        to[row] += x;
                    }
                }
            }
            Kernel::Rows(rows, width) => {
                let weights = gram::product(gang, gram::columns(rows, *width), &x.theta);
                add(&mut theta, 1.0, &weights);
            }
        }
        let image = self.problem.image(gang, &theta);
        Point {
            theta,
            image,
            bias: x.bias,
        }
    }
}

impl<'a> Kernel<'a> {
    fn new(gang: &mut Gang<'_>, problem: &Problem<'a>, rows: &[usize]) -> Kernel<'a> {
        let all = rows.len() == problem.z.n();
        match problem.space {
            Space::Span(kernel) if all => Kernel::Gram(columns_of(kernel)),
            Space::Span(kernel) => {
                let m = rows.len();
                let mut part = vec![0.0; m * m];
                let mut blocks: Vec<_> = part
                    .chunks_mut(m * COPIED)
                    .zip(rows.chunks(COPIED))
                    .collect();
                gang.share(&mut blocks, |(block, own)| {
                    for (to, &column) in block.chunks_exact_mut(m).zip(*own) {
                        let column = kernel.col_as_slice(column);
                        for (to, &row) in to.iter_mut().zip(rows) {
                            *to = column[row];
                        }
                    }
                });
                Kernel::Part(part)
            }
            Space::Features => {
                let z = problem.z;
                let some = |&row: &usize| z.row(row).iter().copied();
                let rows = match all {
                    true => Cow::Borrowed(z.rows()),
                    false => rows.iter().flat_map(some).collect(),
                };
                Kernel::Rows(rows, z.width())
            }
        }
    }

    /// `Z_A Z_Aᵀ v`
    fn product(&self, gang: &mut Gang<'_>, v: &[f32], m: usize) -> Vec<f32> {
        match self {
            Kernel::Gram(columns) => gram::inner_products(gang, columns, v),
            Kernel::Part(matrix) => {
                let columns: Vec<&[f32]> = matrix.chunks_exact(m).collect();
                gram::inner_products(gang, &columns, v)
            }
            Kernel::Rows(rows, width) => {
                let weights = gram::product(gang, gram::columns(rows, *width), v);
                let rows: Vec<&[f32]> = rows.chunks_exact(*width).collect();
                gram::inner_products(gang, &rows, &weights)
            }
        }
    }
}

impl Vector {
    /// `self + factor · other`; the image stays behind.
    fn add(&mut self, factor: f64, other: &Vector) {
        self.along += factor * other.along;
        add(&mut self.theta, factor, &other.theta);
        add(&mut self.bias, factor, &other.bias);
    }

    /// `other + factor · self`
    fn follow(&mut self, factor: f64, other: &Vector) {
        self.along = factor * self.along + other.along;
        let factor = factor as f32;
        let pairs = [
            (&mut self.theta, &other.theta),
            (&mut self.image, &other.image),
            (&mut self.bias, &other.bias),
        ];
        for (to, from) in pairs {
            follow(to, factor, from);
        }
    }
}

/// The rows with most doubt that hold all but `left_out` of it, in order.
fn doubtful(doubts: &[f32], left_out: f64) -> Vec<usize> {
    let n = doubts.len();
    let mut rows: Vec<usize> = (0..n).collect();
    rows.sort_by(|&a, &b| doubts[b].total_cmp(&doubts[a]).then(a.cmp(&b)));
    let all: f64 = doubts.iter().map(|&x| f64::from(x)).sum();
    let mut held = 0.0;
    let needed = rows.iter().position(|&row| {
        held += f64::from(doubts[row]);
        held >= (1.0 - left_out) * all
    });
    let needed = needed.map_or(n, |last| last + 1);
    if (needed as f64) < MOST * n as f64 {
        rows.truncate(needed);
    }
    rows.sort_unstable();
    rows
}

vectorized! {
    /// How the derivatives of the loss by the logits on A change.
    fn bend<'a>(of: &'a Curvature<'a>, x: &'a Vector) -> Vec<f32> {
        let m = of.rows.len();
        let mut curved = x.image.clone();
        let mut means = vec![0.0f32; m];
        let chances = of.chances.chunks_exact(m).zip(&x.bias);
        for (column, (chances, bias)) in curved.chunks_exact_mut(m).zip(chances) {
            let constant = bias * of.problem.constant;
            for ((x, chance), mean) in column.iter_mut().zip(chances).zip(&mut means) {
                *x += constant;
                *mean += chance * *x;
            }
        }
        let chances = of.chances.chunks_exact(m);
        for (column, chances) in curved.chunks_exact_mut(m).zip(chances) {
            let rows = column.iter_mut().zip(chances).zip(&means);
            for (((x, chance), mean), importance) in rows.zip(&of.importance) {
                *x = importance * chance * (*x - mean);
            }
        }
        curved
    }
}

vectorized! {
    fn follow<'a>(to: &'a mut [f32], factor: f32, from: &'a [f32]) -> () {
        for (to, from) in to.iter_mut().zip(from) {
            *to = factor * *to + from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_doubt_are_left_out_and_few_of_them_are_not() {
        let doubts: Vec<f32> = (0..100)
            .map(|i| if i % 4 == 1 { 0.2 } else { 1e-6 })
            .collect();
        let kept = doubtful(&doubts, 0.01);
        assert_eq!(kept, (0..100).filter(|i| i % 4 == 1).collect::<Vec<_>>());
        let few: Vec<f32> = (0..100).map(|i| if i < 5 { 0.0 } else { 0.2 }).collect();
        assert_eq!(doubtful(&few, 0.01).len(), 100);
        assert_eq!(doubtful(&[0.0; 3], 0.06).len(), 1);
        assert_eq!(doubtful(&[f32::NAN; 3], 0.06).len(), 3);
    }
}
