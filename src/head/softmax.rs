//! Softmax: multinomial logistic regression with an L2 penalty and a free intercept, trained to its optimum.
//!
//! `min Σ uᵢ log-loss(W zᵢ + b, yᵢ) + λ/2 ‖W‖²`, with `uᵢ = n / (classes · nᵧ)`, so that a rare class counts as much as a common
//! one. By the representer theorem (Kimeldorf and Wahba, 1971) the best `W` is `θᵀ Z`; where there are fewer samples than features
//! the search is for `θ` in the span of the samples, and one step costs n² · classes instead of 2 · n · D · classes.
//!
//! The search is Newton's in the geometry of `W` (see `newton`); it ends when strong convexity proves that the objective is
//! within [`GAP`] of its optimum, or when steps win nothing more.

use super::exp::exp_f32;
use super::gram::vectorized;
use super::newton::{self, Outcome, Point};
use super::{
    Calibration, ClassWeights, Head, HeadError, Learned, Linear, Model, Normalizer, Samples,
    Settings, gram,
};
use crate::backbone::gang::{self, Gang};
use faer::{Mat, MatRef};

/// Relative distance to the optimum at which the search ends. Accuracies do not move below 10⁻³; features carry 10⁻³ of noise.
pub const GAP: f64 = 1e-6;
/// The same for a solution that only compares settings: held-out log-losses settle to three digits.
pub const ROUGH_GAP: f64 = 1e-3;
/// Entries of the matrix of a search from which on its products are shared out.
const SMALL: usize = 100_000;

/// A softmax head that can go on learning.
pub struct Softmax {
    learned: Learned,
    /// Normalized rows.
    z: Samples,
    space: Space,
}

impl Softmax {
    pub fn train(
        samples: &Samples,
        settings: Settings,
        normalizer: Normalizer,
    ) -> Result<Softmax, HeadError> {
        let z = normalizer.apply_all(samples.clone());
        let space = Space::new(&z);
        let linear = Problem::new(&z, &space, settings.class_weights)
            .solve(settings.penalty, None, GAP)?
            .linear;
        Ok(Softmax {
            learned: Learned {
                settings,
                labels: z.names().to_vec(),
                n_samples: z.n() as u64,
                normalizer,
                model: Model::Linear(linear),
                calibration: Calibration::new(1.0),
            },
            z,
            space,
        })
    }

    /// The head as it was kept; nothing is trained until something new comes.
    pub fn resume(samples: Samples, learned: &Learned) -> Softmax {
        let z = learned.normalizer.apply_all(samples);
        Softmax {
            space: Space::new(&z),
            z,
            learned: learned.clone(),
        }
    }

    /// Follows the samples, which changed, in their new space.
    fn adopt(&mut self, space: Space) -> Result<(), HeadError> {
        let start = match &self.learned.model {
            Model::Linear(before) => {
                let (from, to) = (&self.learned.labels, self.z.names());
                Some(carry_over(before, from, to, self.z.width()))
            }
            _ => None,
        };
        let settings = self.learned.settings;
        let problem = Problem::new(&self.z, &space, settings.class_weights);
        let solved = problem.solve(settings.penalty, start.as_ref(), GAP)?;
        self.learned.model = Model::Linear(solved.linear);
        self.learned.labels = self.z.names().to_vec();
        self.learned.n_samples = self.z.n() as u64;
        self.space = space;
        Ok(())
    }
}

impl Head for Softmax {
    fn learned(&self) -> &Learned {
        &self.learned
    }

    fn learn(&mut self, features: &[f32], label: &str, group: u64) -> Result<(), HeadError> {
        crate::features::check(features, self.z.width())?;
        let row = self.learned.normalizer.apply(features);
        let space = self.space.with(&self.z, &row);
        let last = self.z.n();
        self.z.insert(last, &row, label, group)?;
        self.adopt(space).inspect_err(|_| self.z.remove(last))
    }

    fn forget(&mut self, features: &[f32], label: &str) -> Result<(), HeadError> {
        crate::features::check(features, self.z.width())?;
        let row = self.learned.normalizer.apply(features);
        let index = self.z.find(&row, label)?;
        let group = self.z.groups[index];
        let space = self.space.without(index);
        self.z.remove(index);
        let adopted = self.z.check_classes().and_then(|()| self.adopt(space));
        if adopted.is_err() {
            self.z.insert(index, &row, label, group)?;
        }
        adopted
    }

    fn calibrate(&mut self, calibration: Calibration) {
        self.learned.calibration = calibration;
    }
}

/// The rows of `before` in the order of other labels; zeros for a label that is new.
fn carry_over(before: &Linear, from: &[String], to: &[String], width: usize) -> Linear {
    let mut linear = Linear {
        weights: Vec::with_capacity(to.len() * width),
        bias: Vec::with_capacity(to.len()),
    };
    for label in to {
        match from.binary_search(label) {
            Ok(row) => {
                linear
                    .weights
                    .extend(&before.weights[row * width..(row + 1) * width]);
                linear.bias.push(before.bias[row]);
            }
            Err(_) => {
                linear.weights.extend(std::iter::repeat_n(0.0, width));
                linear.bias.push(0.0);
            }
        }
    }
    linear
}

/// One training set ready to be solved for any penalty.
pub struct Problem<'a> {
    pub(super) z: &'a Samples,
    /// Weight of each sample in the loss.
    pub(super) importance: Vec<f32>,
    pub(super) space: &'a Space,
    /// The intercept is the weight of one more feature of this constant value, so that its steps are of the others' scale.
    pub(super) constant: f32,
}

/// Where the search happens: what of the samples stays the same for every penalty.
pub enum Space {
    /// θ is `[n, classes]`; the Gram matrix takes it to the logits.
    Span(Mat<f32>),
    /// θ is `[D, classes]`, the weights themselves.
    Features,
}

impl Space {
    /// The smaller space of normalized samples.
    pub fn new(z: &Samples) -> Space {
        if z.n() <= z.width() {
            Space::Span(gram::gram_f32(z.rows(), z.width()))
        } else {
            Space::Features
        }
    }

    /// The space with one more row behind those of `z`.
    fn with(&self, z: &Samples, row: &[f32]) -> Space {
        let Space::Span(kernel) = self else {
            return Space::Features;
        };
        let n = z.n();
        let others = z.rows().chunks_exact(z.width());
        let mut border: Vec<f32> = others.map(|other| gram::dot(other, row) as f32).collect();
        border.push(gram::dot(row, row) as f32);
        let mut grown = Mat::zeros(n + 1, n + 1);
        grown.submatrix_mut(0, 0, n, n).copy_from(kernel);
        for (i, &product) in border.iter().enumerate() {
            grown[(i, n)] = product;
            grown[(n, i)] = product;
        }
        Space::Span(grown)
    }

    /// The space without the row at `index`.
    fn without(&self, index: usize) -> Space {
        let Space::Span(kernel) = self else {
            return Space::Features;
        };
        let kept = |i: usize| i + usize::from(i >= index);
        let n = kernel.nrows() - 1;
        Space::Span(Mat::from_fn(n, n, |i, j| kernel[(kept(i), kept(j))]))
    }
}

/// Loss and first derivatives at some logits.
pub struct Slope {
    pub loss: f64,
    /// Probabilities, `[n, classes]`, column by column.
    pub(super) chances: Vec<f32>,
    /// Derivative of the loss by each logit, laid out as the chances are.
    by_logit: Vec<f32>,
}

/// A solution, and where the next one may start.
pub struct Solved {
    pub linear: Linear,
    pub outcome: Outcome,
}

impl<'a> Problem<'a> {
    /// `z` is normalized and has at least two classes.
    pub fn new(z: &'a Samples, space: &'a Space, weights: ClassWeights) -> Problem<'a> {
        let weights = weights.of(&z.counts());
        let importance = z.labels.iter().map(|&label| weights[label as usize]);
        let square = match space {
            Space::Span(kernel) => (0..z.n()).map(|i| f64::from(kernel[(i, i)])).sum(),
            Space::Features => gram::dot(z.rows(), z.rows()),
        };
        Problem {
            importance: importance.collect(),
            space,
            constant: (square / z.n() as f64).sqrt().max(1e-6) as f32,
            z,
        }
    }

    /// The optimum for a penalty, to within `gap` of the objective (relative). `start` saves steps when it is the solution of a similar problem.
    pub fn solve(
        &self,
        penalty: f64,
        start: Option<&Linear>,
        gap: f64,
    ) -> Result<Solved, HeadError> {
        gang::with(self.threads(), |mut gang| {
            self.solve_with(&mut gang, penalty, start, gap)
        })
    }

    /// A search that is soon over is not worth waking anyone.
    fn threads(&self) -> usize {
        let (n, width) = (self.z.n(), self.z.width());
        match n * n.min(width) < SMALL {
            true => 1,
            false => rayon::current_num_threads(),
        }
    }

    fn solve_with(
        &self,
        gang: &mut Gang<'_>,
        penalty: f64,
        start: Option<&Linear>,
        gap: f64,
    ) -> Result<Solved, HeadError> {
        let classes = self.z.classes();
        let mut at = self.zero();
        if let Some(start) = start {
            let near = self.project(gang, start, penalty);
            // Far from a solution the projection can be worse than no start at all.
            if self.objective(&near, penalty) < self.objective(&at, penalty) {
                at = near;
            }
        }
        let outcome = newton::minimize(self, gang, &mut at, penalty, gap);
        let weights = match self.space {
            Space::Features => at.theta,
            Space::Span(_) => gram::product(gang, self.columns(), &at.theta),
        };
        // Adding a number to all intercepts changes no probability; of all such solutions take the one around zero.
        let middle = at.bias.iter().sum::<f32>() / classes as f32;
        let bias: Vec<f32> = at
            .bias
            .iter()
            .map(|b| (b - middle) * self.constant)
            .collect();
        let finite = weights.iter().chain(&bias).all(|x| x.is_finite());
        if !finite || !outcome.objective.is_finite() {
            return Err(HeadError::NotFinite);
        }
        Ok(Solved {
            linear: Linear { weights, bias },
            outcome,
        })
    }

    fn objective(&self, at: &Point, penalty: f64) -> f64 {
        self.slope(&self.logits(at)).loss + penalty / 2.0 * self.square_norm(at, at)
    }

    fn zero(&self) -> Point {
        let (n, classes) = (self.z.n(), self.z.classes());
        let rows = match self.space {
            Space::Span(_) => n,
            Space::Features => self.z.width(),
        };
        Point {
            theta: vec![0.0; rows * classes],
            image: vec![0.0; n * classes],
            bias: vec![0.0; classes],
        }
    }

    /// The point of given weights. In the span, where a solution satisfies `λθ = −∂loss/∂logits`, that equation gives θ.
    fn project(&self, gang: &mut Gang<'_>, linear: &Linear, penalty: f64) -> Point {
        let mut point = self.zero();
        for (to, &from) in point.bias.iter_mut().zip(&linear.bias) {
            *to = from / self.constant;
        }
        match self.space {
            Space::Features => point.theta.copy_from_slice(&linear.weights),
            Space::Span(_) => {
                point.image = gram::inner_products(gang, &self.rows(), &linear.weights);
                let slope = self.slope(&self.logits(&point));
                for (theta, slope) in point.theta.iter_mut().zip(slope.by_logit) {
                    *theta = (-f64::from(slope) / penalty) as f32;
                }
            }
        }
        point.image = self.image(gang, &point.theta);
        point
    }

    /// `Zᵀ`
    fn columns(&self) -> MatRef<'_, f32> {
        gram::columns(self.z.rows(), self.z.width())
    }

    /// `Z`, row by row.
    fn rows(&self) -> Vec<&[f32]> {
        self.z.rows().chunks_exact(self.z.width()).collect()
    }

    /// The logits of a point or a direction, intercepts included.
    pub(super) fn logits(&self, at: &Point) -> Vec<f32> {
        let mut logits = at.image.clone();
        for (column, &bias) in logits.chunks_exact_mut(self.z.n()).zip(&at.bias) {
            for x in column {
                *x += bias * self.constant;
            }
        }
        logits
    }

    /// The logits that coordinates give.
    pub(super) fn image(&self, gang: &mut Gang<'_>, theta: &[f32]) -> Vec<f32> {
        match self.space {
            Space::Features => gram::inner_products(gang, &self.rows(), theta),
            // The Gram matrix is symmetric.
            Space::Span(kernel) => gram::inner_products(gang, &columns_of(kernel), theta),
        }
    }

    /// Inner product of two vectors in the geometry of weights and intercepts.
    pub(super) fn inner(&self, a: &Point, b: &Point) -> f64 {
        let theta = match self.space {
            Space::Span(_) => gram::dot(&a.theta, &b.image),
            Space::Features => gram::dot(&a.theta, &b.theta),
        };
        theta + gram::dot(&a.bias, &b.bias)
    }

    /// Loss, probabilities and derivatives at given logits.
    pub(super) fn slope(&self, logits: &[f32]) -> Slope {
        slope(self, logits)
    }

    /// The gradient of the whole objective.
    pub(super) fn gradient(
        &self,
        gang: &mut Gang<'_>,
        at: &Point,
        slope: &Slope,
        penalty: f64,
    ) -> Point {
        let (theta, bias) = self.pull_back(gang, slope.by_logit.clone(), &at.theta, penalty);
        let image = self.image(gang, &theta);
        Point { theta, image, bias }
    }

    /// How much each sample bends the objective, about: its weight times the largest `p (1 − p)` of its classes.
    pub(super) fn doubts(&self, slope: &Slope) -> Vec<f32> {
        let n = self.z.n();
        let mut doubts = vec![0.0f32; n];
        for column in slope.chances.chunks_exact(n) {
            for (doubt, chance) in doubts.iter_mut().zip(column) {
                *doubt = doubt.max(chance * (1.0 - chance));
            }
        }
        for (doubt, importance) in doubts.iter_mut().zip(&self.importance) {
            *doubt *= importance;
        }
        doubts
    }

    /// A derivative by logits as one by coordinates and intercepts, with the penalty's share added.
    fn pull_back(
        &self,
        gang: &mut Gang<'_>,
        by_logit: Vec<f32>,
        at: &[f32],
        penalty: f64,
    ) -> (Vec<f32>, Vec<f32>) {
        let sums = by_logit.chunks_exact(self.z.n()).map(gram::sum);
        let bias = sums.map(|sum| sum * self.constant).collect();
        let mut theta = match self.space {
            Space::Span(_) => by_logit,
            Space::Features => gram::product(gang, self.columns(), &by_logit),
        };
        newton::add(&mut theta, penalty, at);
        (theta, bias)
    }

    /// Inner product of the penalized parts: the weights without the intercepts.
    pub(super) fn square_norm(&self, a: &Point, b: &Point) -> f64 {
        self.inner(a, b) - gram::dot(&a.bias, &b.bias)
    }
}

/// Its columns, each in one piece.
pub(super) fn columns_of(matrix: &Mat<f32>) -> Vec<&[f32]> {
    (0..matrix.ncols())
        .map(|column| matrix.col_as_slice(column))
        .collect()
}

vectorized! {
    /// Loss, probabilities and derivatives at given logits.
    fn slope<'a>(problem: &'a Problem<'a>, logits: &'a [f32]) -> Slope {
        let (n, labels) = (problem.z.n(), &problem.z.labels);
        let mut highest = vec![f32::NEG_INFINITY; n];
        for column in logits.chunks_exact(n) {
            for (highest, &x) in highest.iter_mut().zip(column) {
                *highest = highest.max(x);
            }
        }
        let mut chances = logits.to_vec();
        // Of `Σ eˣ` the ones of the highest apart from the rest, which would be lost beside them where a class is almost sure.
        let (mut ones, mut rest) = (vec![0.0f32; n], vec![0.0f32; n]);
        let mut own = vec![0.0f32; n];
        for (class, column) in (0u32..).zip(chances.chunks_exact_mut(n)) {
            let rows = column.iter_mut().zip(&highest).zip(labels);
            let parts = ones.iter_mut().zip(&mut rest).zip(&mut own);
            for (((x, highest), &label), ((ones, rest), own)) in rows.zip(parts) {
                let below = *x - highest;
                *own = if label == class { below } else { *own };
                *x = exp_f32(below);
                *ones += if below == 0.0 { 1.0 } else { 0.0 };
                *rest += if below == 0.0 { 0.0 } else { *x };
            }
        }
        let losses = problem
            .importance
            .iter()
            .zip(ones.iter().zip(&rest).zip(&own));
        let loss = losses
            .map(|(&u, ((&ones, &rest), &own))| {
                let others = f64::from(ones) - 1.0 + f64::from(rest);
                f64::from(u) * (others.ln_1p() - f64::from(own))
            })
            .sum();
        // The derivative by the logit of a sample's own class is −Σ of the others: no cancellation where its chance is almost 1.
        let mut others = vec![0.0f32; n];
        for (class, column) in (0u32..).zip(chances.chunks_exact_mut(n)) {
            let rows = column.iter_mut().zip(ones.iter().zip(&rest)).zip(labels);
            for (((x, (ones, rest)), &label), others) in rows.zip(&mut others) {
                *x /= ones + rest;
                *others += if label == class { 0.0 } else { *x };
            }
        }
        let mut by_logit = chances.clone();
        for (class, column) in (0u32..).zip(by_logit.chunks_exact_mut(n)) {
            let rows = column.iter_mut().zip(&problem.importance).zip(labels);
            for (((x, importance), &label), others) in rows.zip(&others) {
                *x = importance * if label == class { -others } else { *x };
            }
        }
        Slope {
            loss,
            chances,
            by_logit,
        }
    }
}
