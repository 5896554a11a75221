//! What held-out samples said about a head's scores: how sure they are, how many labels it takes to be right, what is unknown.

use super::novelty::Novelty;
use super::{Head, HeadError, Learned};
use serde::{Deserialize, Serialize};

/// How raw scores become probabilities and sets of labels, and when the answer is *unknown*.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Raw scores are multiplied by this before the softmax (1/T of temperature scaling; Guo et al., 2017).
    pub inverse_temperature: f32,
    /// Where there is no `novelty`: a highest probability below this means *unknown*; 0 never does.
    pub unknown_below: f32,
    pub novelty: Option<Novelty>,
    pub conformal: Conformal,
}

impl Calibration {
    /// Before anything was held out: probabilities as they come, nothing unknown, and no set but that of all labels.
    pub fn new(inverse_temperature: f32) -> Calibration {
        Calibration {
            inverse_temperature,
            unknown_below: 0.0,
            novelty: None,
            conformal: Conformal::default(),
        }
    }

    /// Refuses numbers out of range.
    pub(super) fn validate(&self) -> Result<(), HeadError> {
        let warm = self.inverse_temperature > 0.0 && self.inverse_temperature.is_finite();
        let known = (0.0..=1.0).contains(&self.unknown_below);
        let novel = self.novelty.as_ref().is_none_or(Novelty::is_sound);
        (warm && known && novel && self.conformal.is_sound())
            .then_some(())
            .ok_or_else(|| HeadError::Damaged {
                what: "its calibration is out of range".into(),
            })
    }
}

/// Split-conformal sets of labels (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005): what the right label's
/// probability was among held-out samples says which labels cannot be ruled out. A set holds every label at least as probable as that
/// (the least ambiguous sets of Sadinle, Lei and Wasserman, 2019).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conformal {
    /// Held-out samples.
    n: u32,
    /// Probabilities of their right labels, highest first; of more than [`Conformal::MOST`], so many evenly spread ones with the last.
    right: Vec<f32>,
}

impl Conformal {
    /// Numbers that are kept at most: coverage in steps of a tenth of a point.
    pub const MOST: usize = 1024;

    /// From the probabilities that held-out samples gave to their right labels.
    pub fn new(mut right: Vec<f32>) -> Conformal {
        right.sort_by(|a, b| b.total_cmp(a));
        let n = right.len();
        if n > Conformal::MOST {
            let kept = |i: usize| right[Conformal::rank(i, n) - 1];
            right = (0..Conformal::MOST).map(kept).collect();
        }
        Conformal {
            n: n.try_into().unwrap_or(u32::MAX),
            right,
        }
    }

    /// Rank, from 1, of the number kept at `index`.
    fn rank(index: usize, n: usize) -> usize {
        match n {
            0..=Conformal::MOST => index + 1,
            _ => ((index + 1) * n).div_ceil(Conformal::MOST),
        }
    }

    /// The probability from which on a label belongs to the set, so that of all sets a share of `coverage` holds the right label: the
    /// quantile at rank `⌈(n + 1) · coverage⌉`, or the next that is kept. `None` where so few were held out that only all labels do.
    pub fn least(&self, coverage: f64) -> Option<f32> {
        let n = self.n as usize;
        let wanted = ((n as f64 + 1.0) * coverage).ceil() as usize;
        let index = (0..self.right.len()).position(|i| Conformal::rank(i, n) >= wanted);
        index.map(|index| self.right[index])
    }

    /// Held-out samples.
    pub fn n(&self) -> usize {
        self.n as usize
    }

    /// How many have to be held out for a coverage.
    pub fn needed(coverage: f64) -> usize {
        (coverage / (1.0 - coverage) - 1e-9).ceil() as usize
    }

    fn is_sound(&self) -> bool {
        self.right.len() == self.n().min(Conformal::MOST)
            && self.right.iter().all(|p| (0.0..=1.0).contains(p))
            && self.right.is_sorted_by(|a, b| a >= b)
    }
}

/// A head whose calibration follows what it learns: the samples that novelty is measured by come and go with those of the head.
pub(super) struct Calibrated(pub Box<dyn Head + Send>);

impl Calibrated {
    fn follow(&mut self, change: impl FnOnce(&mut Novelty)) {
        let mut calibration = self.0.learned().calibration.clone();
        if let Some(novelty) = &mut calibration.novelty {
            change(novelty);
            self.0.calibrate(calibration);
        }
    }
}

impl Head for Calibrated {
    fn learned(&self) -> &Learned {
        self.0.learned()
    }

    fn learn(&mut self, features: &[f32], label: &str, group: u64) -> Result<(), HeadError> {
        self.0.learn(features, label, group)?;
        self.follow(|novelty| novelty.learn(features));
        Ok(())
    }

    fn forget(&mut self, features: &[f32], label: &str) -> Result<(), HeadError> {
        self.0.forget(features, label)?;
        self.follow(|novelty| novelty.forget(features));
        Ok(())
    }

    fn calibrate(&mut self, calibration: Calibration) {
        self.0.calibrate(calibration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_is_the_finite_sample_one() {
        // Probabilities 0.99, 0.98, … of 19 samples: at 90 % of 20 the 18th, at 95 % the 19th, and more needs more samples.
        let one = Conformal::new((1..=19).map(|i| 1.0 - 0.01 * i as f32).collect());
        assert_eq!(one.least(0.5), Some(0.9));
        assert_eq!(one.least(0.9), Some(1.0 - 0.18));
        assert_eq!(one.least(0.95), Some(1.0 - 0.19));
        assert_eq!(one.least(0.96), None);
        assert_eq!(Conformal::needed(0.95), 19);
        assert_eq!(Conformal::needed(0.9), 9);
        assert_eq!(Conformal::default().least(0.5), None);
    }

    #[test]
    fn a_kept_quantile_never_covers_less_than_the_exact_one() {
        let all: Vec<f32> = (0..5000).map(|i| (i * 37 % 5000) as f32 / 5000.0).collect();
        let kept = Conformal::new(all.clone());
        assert!(kept.is_sound());
        assert_eq!(kept.right.len(), Conformal::MOST);
        for coverage in [0.5, 0.8, 0.9, 0.95, 0.999] {
            let least = kept.least(coverage).unwrap();
            let covered = all.iter().filter(|&&p| p >= least).count() as f64 / 5000.0;
            assert!((coverage..coverage + 0.002).contains(&covered), "{covered}");
        }
    }
}
