//! L-BFGS for `loss(logits) + λ/2 ‖W‖²`, in whatever coordinates the problem keeps its weights.
//!
//! Every vector carries its image, the logits it adds. A direction is a sum of vectors seen before, so its image is the same sum,
//! and a line search costs no matrix product: one step takes one product, for the new gradient (Nocedal and Wright, Numerical
//! Optimization, 2nd edition, algorithm 7.4, with inner products in the geometry of the weights).

use super::softmax::Problem;

/// Pairs remembered. More did not save steps on 480 × 1,280 photos.
const MEMORY: usize = 12;
/// A step along the line is good when the slope there is this share of the slope at its start.
const SLOPE: f64 = 0.1;
const LINE_STEPS: usize = 12;

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
    fn add(&mut self, factor: f64, other: &Point) {
        let factor = factor as f32;
        let pairs = [
            (&mut self.theta, &other.theta),
            (&mut self.image, &other.image),
            (&mut self.bias, &other.bias),
        ];
        for (to, from) in pairs {
            for (to, from) in to.iter_mut().zip(from) {
                *to += factor * from;
            }
        }
    }

    fn scale(&mut self, factor: f64) {
        let factor = factor as f32;
        for part in [&mut self.theta, &mut self.image, &mut self.bias] {
            for x in part {
                *x *= factor;
            }
        }
    }
}

/// How a search ended.
pub struct Outcome {
    pub objective: f64,
    pub steps: usize,
}

struct Pair {
    step: Point,
    change: Point,
    /// 1 / ⟨change, step⟩
    rho: f64,
}

/// Moves `at` to the minimum. Ends when the objective is proven to be within `gap` (relative) of it: for a function that is
/// λ-strongly convex, `f − f* ≤ ‖∇f‖² / 2λ`.
pub fn minimize(
    problem: &Problem<'_>,
    at: &mut Point,
    penalty: f64,
    gap: f64,
    max_steps: usize,
) -> Outcome {
    let mut logits = problem.logits(at);
    let mut slope = vec![0.0; logits.len()];
    let mut loss = problem.loss(&logits, &mut slope);
    let mut gradient = problem.gradient(at, &slope, penalty);
    let mut pairs: Vec<Pair> = Vec::new();
    for step in 0..max_steps {
        let objective = loss + penalty / 2.0 * problem.square_norm(at, at);
        let square = problem.inner(&gradient, &gradient);
        let done = square <= 2.0 * penalty * gap * objective || !square.is_finite();
        if done {
            return Outcome {
                objective,
                steps: step,
            };
        }
        let mut direction = descend(problem, &gradient, &pairs);
        if problem.inner(&direction, &gradient) >= 0.0 {
            // Rounding spoiled the memory: begin again from steepest descent.
            pairs.clear();
            direction = descend(problem, &gradient, &pairs);
        }
        let along = problem.logits(&direction);
        let first = pairs.is_empty();
        let line = Line {
            problem,
            logits: &logits,
            along: &along,
            at_direction: problem.square_norm(at, &direction),
            direction: problem.square_norm(&direction, &direction),
            penalty,
        };
        let start = if first { line.first_guess() } else { 1.0 };
        let Some(t) = line.search(start, loss, &mut slope) else {
            return Outcome {
                objective,
                steps: step,
            };
        };
        direction.scale(t);
        at.add(1.0, &direction);
        for (x, &d) in logits.iter_mut().zip(&along) {
            *x += t as f32 * d;
        }
        loss = problem.loss(&logits, &mut slope);
        let next = problem.gradient(at, &slope, penalty);
        let mut change = next.clone();
        change.add(-1.0, &gradient);
        gradient = next;
        remember(problem, &mut pairs, direction, change);
    }
    let objective = loss + penalty / 2.0 * problem.square_norm(at, at);
    Outcome {
        objective,
        steps: max_steps,
    }
}

fn remember(problem: &Problem<'_>, pairs: &mut Vec<Pair>, step: Point, change: Point) {
    let curvature = problem.inner(&change, &step);
    // A pair without positive curvature is rounding noise.
    if curvature > 1e-12 * problem.inner(&step, &step) {
        if pairs.len() == MEMORY {
            pairs.remove(0);
        }
        pairs.push(Pair {
            step,
            change,
            rho: 1.0 / curvature,
        });
    }
}

/// The two loops: minus the approximate inverse Hessian times the gradient.
fn descend(problem: &Problem<'_>, gradient: &Point, pairs: &[Pair]) -> Point {
    let mut direction = gradient.clone();
    let mut factors = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let factor = pair.rho * problem.inner(&pair.step, &direction);
        direction.add(-factor, &pair.change);
        factors.push(factor);
    }
    if let Some(last) = pairs.last() {
        direction.scale(1.0 / (last.rho * problem.inner(&last.change, &last.change)));
    }
    for (pair, factor) in pairs.iter().zip(factors.into_iter().rev()) {
        let back = pair.rho * problem.inner(&pair.change, &direction);
        direction.add(factor - back, &pair.step);
    }
    direction.scale(-1.0);
    direction
}

/// The objective along one direction.
struct Line<'a> {
    problem: &'a Problem<'a>,
    logits: &'a [f32],
    /// Logits that one unit of the direction adds.
    along: &'a [f32],
    at_direction: f64,
    direction: f64,
    penalty: f64,
}

impl Line<'_> {
    /// A first step that moves no logit by more than one: steepest descent has no scale of its own.
    fn first_guess(&self) -> f64 {
        let largest = self.along.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        1.0 / f64::from(largest).max(1e-12)
    }

    /// Loss and slope of the whole objective at `t`.
    fn at(&self, t: f64, slope: &mut [f32]) -> (f64, f64) {
        let logits: Vec<f32> = self
            .logits
            .iter()
            .zip(self.along)
            .map(|(&x, &d)| x + t as f32 * d)
            .collect();
        let loss = self.problem.loss(&logits, slope);
        let steep = super::gram::dot(slope, self.along)
            + self.penalty * (self.at_direction + t * self.direction);
        let square = 2.0 * t * self.at_direction + t * t * self.direction;
        (loss + self.penalty / 2.0 * square, steep)
    }

    /// A point of the line where the slope has nearly gone, by the secant rule between brackets.
    fn search(&self, start: f64, value: f64, slope: &mut [f32]) -> Option<f64> {
        let (_, steep) = self.at(0.0, slope);
        let (mut low, mut low_steep) = (0.0, steep);
        let (mut high, mut high_steep) = (f64::INFINITY, f64::NAN);
        let mut t = start;
        let mut best = None;
        for _ in 0..LINE_STEPS {
            let (here, slope_here) = self.at(t, slope);
            if here.is_finite() && here <= value {
                best = Some(t);
                if slope_here.abs() <= SLOPE * steep.abs() {
                    return best;
                }
            }
            if slope_here > 0.0 || !here.is_finite() {
                (high, high_steep) = (t, slope_here);
            } else {
                (low, low_steep) = (t, slope_here);
            }
            t = if high.is_infinite() {
                let secant = low - low_steep * (low / (low_steep - steep)).abs();
                secant.clamp(1.5 * low, 4.0 * low)
            } else if high_steep.is_finite() {
                let secant = low - low_steep * (high - low) / (high_steep - low_steep);
                let margin = 0.05 * (high - low);
                secant.clamp(low + margin, high - margin)
            } else {
                (low + high) / 2.0
            };
        }
        best.filter(|_| low > 0.0).or((low > 0.0).then_some(low))
    }
}
