//! Newton's method for `loss(logits) + λ/2 ‖W‖²`, in whatever coordinates the problem keeps its weights.
//!
//! Each step solves the Newton equation by conjugate gradients (see [`super::curvature`]), no more exactly than the step deserves
//! (Nocedal and Wright, Numerical Optimization, 2nd edition, algorithm 7.1). Every vector carries its image, the logits it adds, so
//! that a line search takes no matrix product. Inner products are those of the weights themselves, whatever the coordinates.

use super::curvature::Curvature;
use super::gram::vectorized;
use super::softmax::{Problem, Slope};
use crate::backbone::gang::Gang;

/// Bound for hostile inputs; real ones take 4 to 12 steps.
const MAX_STEPS: usize = 60;
/// A step that wins less than this share of the gap is the last: the next ones win less still, and rounding is as large.
const NOTHING: f64 = 0.01;
/// A step must bring this share of what its slope promises (Armijo).
const PROMISE: f64 = 1e-4;
const HALVINGS: usize = 30;

/// A vector in the space of weights and intercepts.
#[derive(Clone, Debug)]
pub struct Point {
    /// Coordinates of the weights, column by column, one column a class.
    pub theta: Vec<f32>,
    /// The logits that the weights give, `[n, classes]`, column by column.
    pub image: Vec<f32>,
    /// Intercepts in units of the constant feature.
    pub bias: Vec<f32>,
}

impl Point {
    /// `self + factor · other`
    fn add(&mut self, factor: f64, other: &Point) {
        add(&mut self.theta, factor, &other.theta);
        add(&mut self.image, factor, &other.image);
        add(&mut self.bias, factor, &other.bias);
    }
}

/// `to + factor · from`
pub(super) fn add(to: &mut [f32], factor: f64, from: &[f32]) {
    add_f32(to, factor as f32, from);
}

vectorized! {
    fn add_f32<'a>(to: &'a mut [f32], factor: f32, from: &'a [f32]) -> () {
        for (to, from) in to.iter_mut().zip(from) {
            *to += factor * from;
        }
    }
}

/// How a search ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub objective: f64,
    pub steps: usize,
    /// Iterations of all steps together.
    pub iterations: usize,
}

/// Moves `at` to the minimum. Ends when the objective is proven to be within `gap` (relative) of it: for a function that is
/// λ-strongly convex, `f − f* ≤ ‖∇f‖² / 2λ`.
pub fn minimize(
    problem: &Problem<'_>,
    gang: &mut Gang<'_>,
    at: &mut Point,
    penalty: f64,
    gap: f64,
) -> Outcome {
    let mut logits = problem.logits(at);
    let mut slope = problem.slope(&logits);
    let mut outcome = Outcome {
        objective: slope.loss + penalty / 2.0 * problem.square_norm(at, at),
        steps: 0,
        iterations: 0,
    };
    let mut first_norm = None;
    while outcome.steps < MAX_STEPS {
        let gradient = problem.gradient(gang, at, &slope, penalty);
        let square = problem.inner(&gradient, &gradient);
        let close = square <= 2.0 * penalty * gap * outcome.objective;
        if close || !square.is_finite() {
            break;
        }
        let norm = square.sqrt();
        let first = *first_norm.get_or_insert(norm);
        let exactness = (norm / first).sqrt().min(0.3);
        let goal = (square * exactness * exactness).max(penalty * gap * outcome.objective);
        let curvature = Curvature::new(gang, problem, &slope, &gradient, penalty, exactness);
        let (step, iterations) = curvature.newton_step(gang, goal);
        outcome.iterations += iterations;
        let along = problem.logits(&step);
        let promise = problem.inner(&gradient, &step);
        let Some((length, moved, objective)) = shorten(
            problem,
            &logits,
            &along,
            at,
            &step,
            penalty,
            outcome.objective,
            promise,
        ) else {
            break;
        };
        at.add(length, &step);
        add(&mut logits, length, &along);
        slope = moved;
        let won = outcome.objective - objective;
        outcome.objective = objective;
        outcome.steps += 1;
        if won <= NOTHING * gap * objective {
            break;
        }
    }
    outcome
}

/// Halves the step until the objective falls as its slope promised; `None` when rounding is all that is left to win.
#[expect(
    clippy::too_many_arguments,
    reason = "the state of the search, spelled out once"
)]
fn shorten(
    problem: &Problem<'_>,
    logits: &[f32],
    along: &[f32],
    at: &Point,
    step: &Point,
    penalty: f64,
    objective: f64,
    promise: f64,
) -> Option<(f64, Slope, f64)> {
    let (here, cross, ahead) = (
        problem.square_norm(at, at),
        problem.square_norm(at, step),
        problem.square_norm(step, step),
    );
    let mut length = 1.0;
    for _ in 0..HALVINGS {
        let mut tried = logits.to_vec();
        add(&mut tried, length, along);
        let slope = problem.slope(&tried);
        let square = here + 2.0 * length * cross + length * length * ahead;
        let value = slope.loss + penalty / 2.0 * square;
        if value <= objective + PROMISE * length * promise {
            return Some((length, slope, value));
        }
        length /= 2.0;
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::head::softmax::{GAP, Problem, Space};
    use crate::head::{ClassWeights, Samples};
    use crate::random::SplitMix64;

    /// Two classes of unit rows that a plane tells apart, `width` numbers each.
    fn separable(n: usize, width: usize) -> Samples {
        let mut random = SplitMix64::new(3);
        let mut rows = Vec::new();
        for i in 0..n {
            let mut row: Vec<f32> = (0..width).map(|_| random.below(1000) as f32).collect();
            row[0] = if i % 2 == 0 { 1000.0 } else { -1000.0 };
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            rows.extend(row.iter().map(|x| x / length));
        }
        let labels = (0..n as u32).map(|i| i % 2).collect();
        let names = vec!["a".into(), "b".into()];
        Samples::new(width, rows, labels, names, (0..n as u64).collect()).unwrap()
    }

    #[test]
    fn sure_classes_do_not_stall_the_search() {
        for (n, width) in [(40, 100), (200, 20)] {
            let z = separable(n, width);
            let space = Space::new(&z);
            let problem = Problem::new(&z, &space, ClassWeights::Balanced);
            for penalty in [1e-2, 1e-3, 1e-4, 1e-5, 1e-6] {
                let solved = problem.solve(penalty, None, GAP).unwrap();
                let (steps, objective) = (solved.outcome.steps, solved.outcome.objective);
                assert!(steps <= 30, "{n} x {width}, {penalty}: {steps} steps");
                // Nobody else comes to less: a search from there ends where it began.
                let again = problem.solve(penalty, Some(&solved.linear), GAP).unwrap();
                let won = objective - again.outcome.objective;
                assert!(
                    won <= 1e-4 * objective,
                    "{n} x {width}, {penalty}: {won:e} of {objective:e}"
                );
            }
        }
    }
}
