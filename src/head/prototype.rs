//! Prototype: the class whose mean direction is nearest in angle.
//!
//! Every normalized sample is scaled to length one, a class is the direction of the mean of its samples, and raw scores are cosines:
//! imprinting (Qi, Brown and Lowe, Low-Shot Learning with Imprinted Weights, 2018). It works from one sample a class, has no weights
//! to punish (the penalty is kept but changes nothing), and a change costs as much as scoring one sample.
//!
//! Sums are kept in integers, so samples may come and go in any order and what is left is the same to the last bit.

use super::members::Members;
use super::model::Cosine;
use super::{Calibration, Head, HeadError, Learned, Model, Normalizer, Samples, Settings, gram};
use crate::features;
use crate::label::{self, MAX_LABELS};
use std::collections::BTreeMap;

/// Cosines of photos lie close together: makes a lead of 0.1 in the cosine 4 to 1 until calibration finds better.
const INVERSE_TEMPERATURE: f32 = 15.0;
/// One, in the integers that sums are kept in: 2⁻³² is finer than the f32 of a feature, and 2³¹ samples a class have room.
const ONE: f64 = 4_294_967_296.0;

/// A prototype head that can go on learning.
pub struct Prototype {
    learned: Learned,
    /// By label.
    classes: BTreeMap<String, Class>,
    members: Members,
}

/// The samples of one label.
#[derive(Default)]
struct Class {
    n: u64,
    /// Sum of the unit vectors, `[D]`, in steps of 2⁻³²; empty before the first.
    sum: Vec<i64>,
}

impl Prototype {
    pub fn train(
        samples: &Samples,
        settings: Settings,
        normalizer: Normalizer,
    ) -> Result<Prototype, HeadError> {
        let learned = Learned {
            settings,
            labels: Vec::new(),
            n_samples: 0,
            normalizer,
            model: Model::Cosine(Cosine {
                directions: Vec::new(),
            }),
            calibration: Calibration::new(INVERSE_TEMPERATURE),
        };
        let mut head = Prototype::resume(samples, &learned)?;
        head.settle();
        Ok(head)
    }

    /// The head as it was kept, with its sums made again from the samples.
    pub fn resume(samples: &Samples, learned: &Learned) -> Result<Prototype, HeadError> {
        let mut head = Prototype {
            learned: learned.clone(),
            classes: BTreeMap::new(),
            members: Members::default(),
        };
        for i in 0..samples.n() {
            let z = learned.normalizer.apply(samples.row(i));
            features::check(&z, samples.width())?;
            head.add(&z, samples.label(i));
        }
        Ok(head)
    }

    fn add(&mut self, z: &[f32], label: &str) {
        let class = self.classes.entry(label.to_owned()).or_default();
        class.n += 1;
        class.sum.resize(z.len(), 0);
        for (sum, x) in class.sum.iter_mut().zip(unit(z)) {
            *sum = sum.wrapping_add(x);
        }
        self.members.insert(z, label);
    }

    /// Takes over the sums.
    fn settle(&mut self) {
        let directions = self.classes.values().flat_map(Class::direction).collect();
        self.learned.model = Model::Cosine(Cosine { directions });
        self.learned.labels = self.classes.keys().cloned().collect();
        self.learned.n_samples = self.classes.values().map(|class| class.n).sum();
    }
}

impl Head for Prototype {
    fn learned(&self) -> &Learned {
        &self.learned
    }

    fn learn(&mut self, features: &[f32], label: &str, _group: u64) -> Result<(), HeadError> {
        label::check(label)?;
        features::check(features, self.learned.width())?;
        let z = self.learned.normalizer.apply(features);
        features::check(&z, z.len())?;
        if self.classes.len() == MAX_LABELS && !self.classes.contains_key(label) {
            return Err(HeadError::TooManyClasses {
                got: MAX_LABELS + 1,
                max: MAX_LABELS,
            });
        }
        self.add(&z, label);
        self.settle();
        Ok(())
    }

    fn forget(&mut self, features: &[f32], label: &str) -> Result<(), HeadError> {
        features::check(features, self.learned.width())?;
        let z = self.learned.normalizer.apply(features);
        self.members.check(&z, label)?;
        let others = self.classes.iter().filter(|(name, _)| *name != label);
        if let [(only, class)] = others.collect::<Vec<_>>()[..]
            && self.classes[label].n == 1
        {
            return Err(HeadError::OneClass {
                label: only.clone(),
                n: class.n as usize,
            });
        }
        self.members.remove(&z, label);
        if let Some(class) = self.classes.get_mut(label) {
            class.n -= 1;
            for (sum, x) in class.sum.iter_mut().zip(unit(&z)) {
                *sum = sum.wrapping_sub(x);
            }
        }
        self.classes.retain(|_, class| class.n > 0);
        self.settle();
        Ok(())
    }

    fn calibrate(&mut self, calibration: Calibration) {
        self.learned.calibration = calibration;
    }
}

/// The vector of length one, in steps of 2⁻³²; zeros of zeros.
fn unit(z: &[f32]) -> impl Iterator<Item = i64> {
    let length = gram::dot(z, z).sqrt();
    let factor = if length > 0.0 { ONE / length } else { 0.0 };
    z.iter()
        .map(move |&x| (f64::from(x) * factor).round() as i64)
}

impl Class {
    /// The mean, scaled to length one; zeros where the samples cancel.
    fn direction(&self) -> impl Iterator<Item = f32> {
        let square: f64 = self.sum.iter().map(|&x| (x as f64).powi(2)).sum();
        let factor = if square > 0.0 {
            1.0 / square.sqrt()
        } else {
            0.0
        };
        self.sum.iter().map(move |&x| (x as f64 * factor) as f32)
    }
}
