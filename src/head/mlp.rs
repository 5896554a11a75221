//! MLP: one hidden layer, for classes that no plane divides.
//!
//! `min Σ uᵢ log-loss(W₂ max(W₁ zᵢ + b₁, 0) + b₂, yᵢ) + λ/2 (‖W₁‖² + ‖W₂‖²)`, with `uᵢ` as in [softmax](super::softmax) and features
//! scaled to a mean square of one; by Adam (Kingma and Ba, 2015) from weights drawn as He et al. (Delving Deep into Rectifiers,
//! 2015) do, with half of the hidden units dropped at every step (Srivastava et al., Dropout, 2014). A part of the bursts is held
//! out; training ends when its log-loss has not fallen for `PATIENCE` epochs, and the best weights are taken.
//!
//! Rows are sorted first and all draws come from one constant seed, so the same samples give the same bytes in any order and on any
//! number of threads. `learn` and `forget` train again from all samples: what is learned and forgotten leaves no trace.

use super::model::{Linear, Mlp};
use super::{
    Calibration, ClassWeights, Head, HeadError, Learned, Model, Normalizer, Samples, Settings,
    gram, probabilities,
};
use crate::learn::splits;
use crate::random::SplitMix64;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// Hidden units: one drawn word drops half of them.
const HIDDEN: usize = 64;
/// Samples a step, the default of Keras; and about how far a step moves a weight, the default of Adam's authors.
const BATCH: usize = 32;
const RATE: f32 = 1e-3;
/// Decay of Adam's two means, and what keeps it from dividing by zero: its authors' defaults.
const DECAY: (f32, f32) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;
/// Epochs without a better held-out log-loss after which training ends. On five photos a class, where an epoch is one step, 15 end it
/// too soon (49 % right); 30 give 54 %, and 40 give 57 % for twice the time.
const PATIENCE: usize = 30;
/// Bounds the time where the held-out log-loss never stops falling.
const MOST_EPOCHS: usize = 300;
/// Epochs where nothing can be held out: so few samples that an epoch is a step or two.
const BLIND_EPOCHS: usize = 60;
/// Of all draws; any number would do.
const SEED: u64 = 0;

/// An MLP head that can go on learning.
pub struct Perceptron {
    learned: Learned,
    /// Normalized rows.
    z: Samples,
}

impl Perceptron {
    pub fn train(
        samples: &Samples,
        settings: Settings,
        normalizer: Normalizer,
    ) -> Result<Perceptron, HeadError> {
        let z = normalizer.apply_all(samples.clone());
        Ok(Perceptron {
            learned: Learned {
                settings,
                labels: z.names().to_vec(),
                n_samples: z.n() as u64,
                normalizer,
                model: Model::Mlp(fit(&z, &settings)?),
                calibration: Calibration::new(1.0),
            },
            z,
        })
    }

    /// The head as it was kept; nothing is trained until something new comes.
    pub fn resume(samples: Samples, learned: &Learned) -> Perceptron {
        Perceptron {
            z: learned.normalizer.apply_all(samples),
            learned: learned.clone(),
        }
    }

    /// Follows the samples, which changed.
    fn adopt(&mut self) -> Result<(), HeadError> {
        self.z.check_classes()?;
        self.learned.model = Model::Mlp(fit(&self.z, &self.learned.settings)?);
        self.learned.labels = self.z.names().to_vec();
        self.learned.n_samples = self.z.n() as u64;
        Ok(())
    }
}

impl Head for Perceptron {
    fn learned(&self) -> &Learned {
        &self.learned
    }

    fn learn(&mut self, features: &[f32], label: &str, group: u64) -> Result<(), HeadError> {
        crate::features::check(features, self.z.width())?;
        let row = self.learned.normalizer.apply(features);
        let last = self.z.n();
        self.z.insert(last, &row, label, group)?;
        self.adopt().inspect_err(|_| self.z.remove(last))
    }

    fn forget(&mut self, features: &[f32], label: &str) -> Result<(), HeadError> {
        crate::features::check(features, self.z.width())?;
        let row = self.learned.normalizer.apply(features);
        let index = self.z.find(&row, label)?;
        let group = self.z.groups[index];
        self.z.remove(index);
        let adopted = self.adopt();
        if adopted.is_err() {
            self.z.insert(index, &row, label, group)?;
        }
        adopted
    }

    fn calibrate(&mut self, calibration: Calibration) {
        self.learned.calibration = calibration;
    }
}

/// Trains on normalized rows.
fn fit(z: &Samples, settings: &Settings) -> Result<Mlp, HeadError> {
    let mut order: Vec<usize> = (0..z.n()).collect();
    order.sort_by(|&a, &b| {
        let rows = || z.row(a).iter().zip(z.row(b));
        let by_row = || rows().map(|(a, b)| a.total_cmp(b)).find(|o| o.is_ne());
        let by_label = z.labels[a].cmp(&z.labels[b]);
        by_label
            .then_with(|| by_row().unwrap_or(std::cmp::Ordering::Equal))
            .then(z.groups[a].cmp(&z.groups[b]))
    });
    let z = z.select(&order)?;
    let square = gram::dot(z.rows(), z.rows()) / z.rows().len() as f64;
    let scale = if square > 0.0 {
        (1.0 / square.sqrt()) as f32
    } else {
        1.0
    };
    let z = z.map_rows(|row| row.iter_mut().for_each(|x| *x *= scale));

    let mut random = SplitMix64::new(SEED);
    let fold = splits::folds(SEED, &z).and_then(|folds| folds.into_iter().next());
    let mut net = Net::new(&z, &mut random);
    let mut epoch = |net: &mut Net, z: &Samples| {
        net.epoch(z, settings.penalty, settings.class_weights, &mut random);
    };
    match fold {
        Some(fold) => {
            let (learn, judge) = (z.select(&fold.learn)?, z.select(&fold.judge)?);
            // Every class learns, so the labels of both are numbered alike; those of the judges are numbered anew.
            let numbers = judge
                .names()
                .iter()
                .map(|name| learn.names().binary_search(name));
            let numbers: Vec<usize> = numbers.map(Result::unwrap_or_default).collect();
            let mut best = (f64::INFINITY, net.theta.clone());
            let mut waited = 0;
            for _ in 0..MOST_EPOCHS {
                epoch(&mut net, &learn);
                let loss = net.loss(&judge, &numbers);
                waited += 1;
                if loss < best.0 {
                    best = (loss, net.theta.clone());
                    waited = 0;
                }
                if waited == PATIENCE {
                    break;
                }
            }
            net.theta = best.1;
        }
        None => (0..BLIND_EPOCHS).for_each(|_| epoch(&mut net, &z)),
    }
    net.model(scale)
}

/// The weights in training, with what Adam remembers of each.
struct Net {
    width: usize,
    classes: usize,
    /// `W₁ [hidden, width]`, `b₁`, `W₂ [classes, hidden]`, `b₂`, one after the other.
    theta: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
}

/// The four parts of all weights or of their derivatives.
type Parts<'a> = (&'a mut [f32], &'a mut [f32], &'a mut [f32], &'a mut [f32]);

fn parts(theta: &mut [f32], width: usize, classes: usize) -> Parts<'_> {
    let (w1, rest) = theta.split_at_mut(HIDDEN * width);
    let (b1, rest) = rest.split_at_mut(HIDDEN);
    let (w2, b2) = rest.split_at_mut(classes * HIDDEN);
    (w1, b1, w2, b2)
}

impl Net {
    fn new(z: &Samples, random: &mut SplitMix64) -> Net {
        let (width, classes) = (z.width(), z.classes());
        let mut theta = vec![0.0; HIDDEN * (width + 1) + classes * (HIDDEN + 1)];
        let (w1, _, w2, _) = parts(&mut theta, width, classes);
        for (weights, inputs) in [(w1, width), (w2, HIDDEN)] {
            let most = (6.0 / inputs as f32).sqrt();
            for weight in weights {
                // 24 bits of a draw are a fraction that f32 holds exactly.
                let fraction = (random.next_u64() >> 40) as f32 / (1 << 24) as f32;
                *weight = (2.0 * fraction - 1.0) * most;
            }
        }
        Net {
            width,
            classes,
            first: vec![0.0; theta.len()],
            second: vec![0.0; theta.len()],
            theta,
            steps: 0,
        }
    }

    /// Hidden units `[rows, hidden]` and logits `[rows, classes]` of rows `[rows, width]`. `drop` may change the hidden ones.
    fn forward(&mut self, rows: &[f32], drop: impl FnMut(&mut [f32])) -> (Vec<f32>, Vec<f32>) {
        let n = rows.len() / self.width;
        let (width, classes) = (self.width, self.classes);
        let (w1, b1, w2, b2) = parts(&mut self.theta, width, classes);
        let mut hidden = b1.repeat(n);
        let x = gram::columns(rows, width);
        add_product(&mut hidden, HIDDEN, gram::columns(w1, width).transpose(), x);
        hidden.iter_mut().for_each(|x| *x = x.max(0.0));
        hidden.chunks_exact_mut(HIDDEN).for_each(drop);
        let mut logits = b2.repeat(n);
        let h = gram::columns(&hidden, HIDDEN);
        add_product(
            &mut logits,
            classes,
            gram::columns(w2, HIDDEN).transpose(),
            h,
        );
        (hidden, logits)
    }

    /// One pass over the samples in a drawn order.
    fn epoch(&mut self, z: &Samples, penalty: f64, weights: ClassWeights, random: &mut SplitMix64) {
        let weights = weights.of(&z.counts());
        let mut order: Vec<usize> = (0..z.n()).collect();
        random.shuffle(&mut order);
        for batch in order.chunks(BATCH) {
            let rows: Vec<f32> = batch.iter().flat_map(|&i| z.row(i)).copied().collect();
            let (hidden, logits) = self.forward(&rows, |units| drop_half(units, random.next_u64()));
            let mut slopes = Vec::with_capacity(logits.len());
            for (&i, logits) in batch.iter().zip(logits.chunks_exact(self.classes)) {
                let label = z.labels[i] as usize;
                let weight = weights[label] / batch.len() as f32;
                let raw: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
                let mut slope = probabilities(&raw, 1.0);
                slope[label] -= 1.0;
                slopes.extend(slope.into_iter().map(|x| x * weight));
            }
            let slope = self.back(&rows, &hidden, &slopes, (penalty / z.n() as f64) as f32);
            self.adam(&slope);
        }
    }

    /// Derivatives by all weights, from those by the logits.
    fn back(&mut self, rows: &[f32], hidden: &[f32], by_logit: &[f32], decay: f32) -> Vec<f32> {
        let (width, classes) = (self.width, self.classes);
        let mut slope = vec![0.0; self.theta.len()];
        let (g1, gb1, g2, gb2) = parts(&mut slope, width, classes);
        let (w1, _, w2, _) = parts(&mut self.theta, width, classes);
        let d2 = gram::columns(by_logit, classes);
        add_product(g2, HIDDEN, gram::columns(hidden, HIDDEN), d2.transpose());
        let mut by_hidden = vec![0.0; hidden.len()];
        add_product(&mut by_hidden, HIDDEN, gram::columns(w2, HIDDEN), d2);
        for (slope, &unit) in by_hidden.iter_mut().zip(hidden) {
            // A unit that is on was doubled when half of them were dropped.
            *slope = if unit > 0.0 { 2.0 * *slope } else { 0.0 };
        }
        let d1 = gram::columns(&by_hidden, HIDDEN);
        add_product(g1, width, gram::columns(rows, width), d1.transpose());
        for (sums, parts) in [(gb1, &by_hidden[..]), (gb2, by_logit)] {
            for part in parts.chunks_exact(sums.len()) {
                sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
            }
        }
        for (slope, weights) in [(g1, w1), (g2, w2)] {
            let pairs = slope.iter_mut().zip(weights);
            pairs.for_each(|(slope, weight)| *slope += decay * *weight);
        }
        slope
    }

    fn adam(&mut self, slope: &[f32]) {
        self.steps += 1;
        let (first, second) = DECAY;
        let (bias1, bias2) = (1.0 - first.powi(self.steps), 1.0 - second.powi(self.steps));
        let memory = self.first.iter_mut().zip(&mut self.second);
        for ((theta, &slope), (m, v)) in self.theta.iter_mut().zip(slope).zip(memory) {
            *m = first * *m + (1.0 - first) * slope;
            *v = second * *v + (1.0 - second) * slope * slope;
            *theta -= RATE * (*m / bias1) / ((*v / bias2).sqrt() + EPSILON);
        }
    }

    /// Mean log-loss of held-out samples, every class counting the same. Their label `i` is ours `numbers[i]`.
    fn loss(&mut self, judge: &Samples, numbers: &[usize]) -> f64 {
        let counts = judge.counts();
        let (_, logits) = self.forward(judge.rows(), |_| {});
        let losses = judge.labels.iter().zip(logits.chunks_exact(self.classes));
        let losses = losses.map(|(&label, logits)| {
            let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = logits.iter().map(|&x| f64::from(x - highest).exp()).sum();
            let margin = f64::from(highest - logits[numbers[label as usize]]);
            (sum.ln() + margin) / counts[label as usize] as f64
        });
        losses.sum::<f64>() / judge.classes() as f64
    }

    /// The weights as they are kept: on features that are not scaled by `scale`.
    fn model(mut self, scale: f32) -> Result<Mlp, HeadError> {
        let (w1, b1, w2, b2) = parts(&mut self.theta, self.width, self.classes);
        Ok(Mlp {
            hidden: Linear {
                weights: w1.iter().map(|x| x * scale).collect(),
                bias: b1.to_vec(),
            }
            .finite()?,
            output: Linear {
                weights: w2.to_vec(),
                bias: b2.to_vec(),
            }
            .finite()?,
        })
    }
}

/// Units whose bit is not set become zero, the others double.
fn drop_half(units: &mut [f32], bits: u64) {
    for (i, unit) in units.iter_mut().enumerate() {
        *unit *= if bits >> (i % 64) & 1 == 1 { 2.0 } else { 0.0 };
    }
}

/// Adds a product to a matrix of `rows` rows, kept column by column.
fn add_product(out: &mut [f32], rows: usize, a: MatRef<'_, f32>, b: MatRef<'_, f32>) {
    let columns = out.len() / rows;
    let out = MatMut::from_column_major_slice_mut(out, rows, columns);
    matmul(out, Accum::Add, a, b, 1.0, Par::Seq);
}
