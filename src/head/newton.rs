//! Newton's method for `loss(logits) + λ/2 ‖W‖²`, in whatever coordinates the problem keeps its weights.
//!
//! Each step solves the Newton equation by conjugate gradients (see [`super::curvature`]), no more exactly than the step deserves
//! (Nocedal and Wright, Numerical Optimization, 2nd edition, algorithm 7.1). Every vector carries its image, the logits it adds, so
//! that a line search takes no matrix product. Inner products are those of the weights themselves, whatever the coordinates.

use super::curvature::Curvature;
use super::gram::vectorized;
use super::softmax::{Problem, Slope};

/// Bound for hostile inputs; real ones take 4 to 12 steps.
const MAX_STEPS: usize = 60;
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
    let factor = factor as f32;
    vectorized(|| {
        for (to, from) in to.iter_mut().zip(from) {
            *to += factor * from;
        }
    });
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
pub fn minimize(problem: &Problem<'_>, at: &mut Point, penalty: f64, gap: f64) -> Outcome {
    let mut logits = problem.logits(at);
    let mut slope = problem.slope(&logits);
    let mut outcome = Outcome {
        objective: slope.loss + penalty / 2.0 * problem.square_norm(at, at),
        steps: 0,
        iterations: 0,
    };
    let mut first_norm = None;
    while outcome.steps < MAX_STEPS {
        let gradient = problem.gradient(at, &slope, penalty);
        let square = problem.inner(&gradient, &gradient);
        let close = square <= 2.0 * penalty * gap * outcome.objective;
        if close || !square.is_finite() {
            break;
        }
        let norm = square.sqrt();
        let first = *first_norm.get_or_insert(norm);
        let exactness = (norm / first).sqrt().min(0.3);
        let goal = (square * exactness * exactness).max(penalty * gap * outcome.objective);
        let curvature = Curvature::new(problem, &slope, &gradient, penalty, exactness);
        let (step, iterations) = curvature.newton_step(goal);
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
        outcome.objective = objective;
        outcome.steps += 1;
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
