//! Metrics: what answers say of a head, and how far each figure can be trusted. Pure.
//!
//! Every interval is of 95 %. Answers on samples of one capture burst may all be right or wrong together, so an interval counts them
//! as one (Kish's effective sample size, Survey Sampling, 1965, for full correlation within a cluster): too wide rather than too narrow.

use std::collections::BTreeMap;

/// Lower and upper end of a 95 % interval of a share, 0 to 1.
pub type Interval = (f64, f64);

/// One answer on a sample of known label, as indices into the labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    pub truth: usize,
    pub given: usize,
    /// Capture burst of the sample.
    pub burst: u64,
}

/// Counts of true label by given label.
#[derive(Clone, Debug, PartialEq)]
pub struct Confusion {
    labels: Vec<String>,
    /// `rows[truth][given]`
    rows: Vec<Vec<u64>>,
    /// Effective number of samples of each class, and of all.
    effective: Vec<f64>,
    effective_all: f64,
    bursts: usize,
}

/// One class of a confusion matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    pub label: String,
    /// Samples that are of this class.
    pub n: u64,
    /// Of those called so, the share that is so; `None` when nothing was called so.
    pub precision: Option<f64>,
    /// Of those that are so, the share that was called so; `None` without samples.
    pub recall: Option<f64>,
    pub recall_95: Interval,
}

impl Confusion {
    /// Answers on samples that each stand alone: (truth, given), indices into `labels`; others are left out.
    pub fn new(labels: Vec<String>, pairs: &[(usize, usize)]) -> Confusion {
        let alone = pairs.iter().zip(0..);
        let answers: Vec<Answer> = alone
            .map(|(&(truth, given), burst)| Answer {
                truth,
                given,
                burst,
            })
            .collect();
        Confusion::by_burst(labels, &answers)
    }

    /// Answers on samples of capture bursts; those outside `labels` are left out.
    pub fn by_burst(labels: Vec<String>, answers: &[Answer]) -> Confusion {
        let classes = labels.len();
        let mut rows = vec![vec![0; classes]; classes];
        let mut sizes: BTreeMap<(usize, u64), f64> = BTreeMap::new();
        let mut whole: BTreeMap<u64, f64> = BTreeMap::new();
        for answer in answers {
            let count = rows
                .get_mut(answer.truth)
                .and_then(|row: &mut Vec<u64>| row.get_mut(answer.given));
            if let Some(count) = count {
                *count += 1;
                *sizes.entry((answer.truth, answer.burst)).or_default() += 1.0;
                *whole.entry(answer.burst).or_default() += 1.0;
            }
        }
        let of = |class: usize| sizes.range((class, 0)..=(class, u64::MAX)).map(|(_, &n)| n);
        Confusion {
            effective: (0..classes).map(|class| effective(of(class))).collect(),
            effective_all: effective(whole.values().copied()),
            bursts: whole.len(),
            labels,
            rows,
        }
    }

    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    pub fn rows(&self) -> &[Vec<u64>] {
        &self.rows
    }

    /// Samples on the diagonal.
    pub fn correct(&self) -> u64 {
        (0..self.rows.len()).map(|i| self.rows[i][i]).sum()
    }

    pub fn n(&self) -> u64 {
        self.rows.iter().flatten().sum()
    }

    /// Capture bursts that the samples are of.
    pub fn bursts(&self) -> usize {
        self.bursts
    }

    /// Share of correct answers; 0 without samples.
    pub fn accuracy(&self) -> f64 {
        self.correct() as f64 / self.n().max(1) as f64
    }

    pub fn accuracy_95(&self) -> Interval {
        wilson_share(self.accuracy(), self.effective_all)
    }

    /// Mean recall over the classes that have samples; 0 without any.
    pub fn balanced_accuracy(&self) -> f64 {
        let recalls = self.recalls();
        recalls.iter().map(|(recall, _)| recall).sum::<f64>() / recalls.len().max(1) as f64
    }

    pub fn balanced_accuracy_95(&self) -> Interval {
        mean_interval(&self.recalls())
    }

    /// Of each class that has samples: recall, and effective number of samples.
    pub fn recalls(&self) -> Vec<(f64, f64)> {
        let classes = self.per_class().into_iter().zip(&self.effective);
        classes
            .filter_map(|(class, &n)| Some((class.recall?, n)))
            .collect()
    }

    pub fn per_class(&self) -> Vec<Class> {
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        self.labels
            .iter()
            .enumerate()
            .map(|(i, label)| {
                let n = self.rows[i].iter().sum();
                let given = self.rows.iter().map(|row| row[i]).sum();
                let recall = share(self.rows[i][i], n);
                Class {
                    label: label.clone(),
                    n,
                    precision: share(self.rows[i][i], given),
                    recall,
                    recall_95: wilson_share(recall.unwrap_or(0.0), self.effective[i]),
                }
            })
            .collect()
    }

    /// What samples of a class were most often taken for, and how many; `None` where all were right.
    pub fn mistaken(&self, class: usize) -> Option<(usize, u64)> {
        let row = self.rows.get(class)?.iter().copied().enumerate();
        row.filter(|&(given, count)| given != class && count > 0)
            .max_by_key(|&(given, count)| (count, std::cmp::Reverse(given)))
    }
}

/// Samples that stand alone and say as much as clusters of these sizes, whose members are all alike: `(Σm)² / Σm²`.
pub(super) fn effective(sizes: impl Iterator<Item = f64>) -> f64 {
    let (sum, squares) = sizes.fold((0.0, 0.0), |(sum, squares), m| (sum + m, squares + m * m));
    if squares > 0.0 {
        sum * sum / squares
    } else {
        0.0
    }
}

/// Area under the receiver's curve: the chance that one of `above` is higher than one of `below`, a tie counting half. 0.5 without any.
pub fn auroc(above: &[f64], below: &[f64]) -> f64 {
    let mut below = below.to_vec();
    below.sort_by(f64::total_cmp);
    let pairs = above.len() * below.len();
    if pairs == 0 {
        return 0.5;
    }
    let won = |score: &f64| {
        let lower = below.partition_point(|other| other < score);
        let no_higher = below.partition_point(|other| other <= score);
        (lower + no_higher) as f64 / 2.0
    };
    above.iter().map(won).sum::<f64>() / pairs as f64
}

/// Wilson's 95 % interval of a share (Wilson, 1927): it stays inside 0 to 1 and holds for few samples.
pub fn wilson(correct: usize, n: usize) -> Interval {
    wilson_share(correct as f64 / n.max(1) as f64, n as f64)
}

/// The same of a share and an effective number of samples, which need not be whole.
pub fn wilson_share(share: f64, n: f64) -> Interval {
    if n <= 0.0 {
        return (0.0, 1.0);
    }
    // The 97.5 % point of the normal distribution.
    let z = 1.959_964;
    let center = share + z * z / (2.0 * n);
    let spread = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    (
        ((center - spread) / scale).max(0.0).min(share),
        ((center + spread) / scale).min(1.0).max(share),
    )
}

/// 95 % interval of the mean of independent shares, each with its effective number of samples: Wilson's interval of each, and the
/// distances of its ends from the share added in squares (the method of variance estimates recovery; Zou and Donner, 2008). Unlike
/// the normal interval it stays inside 0 to 1, and a share of 0 or 1 of few samples leaves it wide. Of one share it is Wilson's.
pub fn mean_interval(shares: &[(f64, f64)]) -> Interval {
    if shares.is_empty() {
        return (0.0, 1.0);
    }
    let (mut mean, mut below, mut above) = (0.0, 0.0, 0.0);
    for &(share, n) in shares {
        let (low, high) = wilson_share(share, n);
        mean += share;
        below += (share - low).powi(2);
        above += (high - share).powi(2);
    }
    let k = shares.len() as f64;
    (
        ((mean - below.sqrt()) / k).max(0.0),
        ((mean + above.sqrt()) / k).min(1.0),
    )
}

/// Bins of a reliability diagram. Even perfect probabilities give a calibration error of about 0.05 with 240 answers in ten bins, and
/// a larger one in more.
const BINS: usize = 10;

/// Answers of about the same confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    pub n: usize,
    pub right: usize,
    /// Mean confidence; 0 without answers.
    pub confidence: f64,
}

/// Answers by their confidence, in bins of equal width. `answers` are confidences, 0 to 1, and whether they were right.
pub fn reliability(answers: &[(f64, bool)]) -> [Bin; BINS] {
    let mut bins = [Bin::default(); BINS];
    for &(confidence, right) in answers {
        let bin = &mut bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
        bin.n += 1;
        bin.right += usize::from(right);
        bin.confidence += confidence;
    }
    for bin in &mut bins {
        bin.confidence /= bin.n.max(1) as f64;
    }
    bins
}

/// Mean distance of confidence from the share of right answers, over [`reliability`]'s bins, weighted by their answers (Guo et al., On
/// Calibration of Modern Neural Networks, 2017); 0 without any.
pub fn expected_calibration_error(answers: &[(f64, bool)]) -> f64 {
    let gap = |bin: &Bin| (bin.confidence * bin.n as f64 - bin.right as f64).abs();
    reliability(answers).iter().map(gap).sum::<f64>() / answers.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;
    use proptest::prelude::*;

    #[test]
    fn a_rare_class_counts_as_much_as_a_common_one() {
        let labels = ["common", "rare", "absent"].map(String::from).to_vec();
        let mut pairs = vec![(0, 0); 98];
        pairs.extend([(1, 0), (1, 1)]);
        let confusion = Confusion::new(labels, &pairs);
        assert_eq!(
            (confusion.accuracy(), confusion.balanced_accuracy()),
            (0.99, 0.75)
        );
        let classes = confusion.per_class();
        assert_eq!(
            (classes[1].precision, classes[1].recall),
            (Some(1.0), Some(0.5))
        );
        assert_eq!((classes[2].precision, classes[2].recall), (None, None));
    }

    #[test]
    fn area_under_the_curve_counts_pairs_and_ties_half() {
        assert_eq!(auroc(&[3.0, 4.0], &[1.0, 2.0]), 1.0);
        assert_eq!(auroc(&[1.0, 2.0], &[2.0, 3.0]), 0.125);
        assert_eq!(auroc(&[1.0, 1.0], &[1.0]), 0.5);
        assert_eq!(auroc(&[], &[1.0]), 0.5);
    }

    #[test]
    fn calibration_error_is_the_gap_between_confidence_and_right_answers() {
        let answers =
            |right: usize| -> Vec<(f64, bool)> { (0..10).map(|i| (0.75, i < right)).collect() };
        assert_eq!(expected_calibration_error(&[]), 0.0);
        assert!((expected_calibration_error(&answers(5)) - 0.25).abs() < 1e-12);
        // Gaps of opposite signs in different bins do not cancel.
        let two = [(0.9, false), (0.1, true)];
        assert!((expected_calibration_error(&two) - 0.9).abs() < 1e-12);
        assert!((expected_calibration_error(&[(1.0, true)])).abs() < 1e-12);
    }

    #[test]
    fn wilsons_interval_is_the_textbook_one() {
        let (low, high) = wilson(8, 10);
        assert!((low - 0.4902).abs() < 1e-4 && (high - 0.9433).abs() < 1e-4);
        assert_eq!(wilson(0, 0), (0.0, 1.0));
        assert!(wilson(10, 10).1 > 0.999_999 && wilson(0, 10).0 < 1e-6);
    }

    #[test]
    fn samples_of_one_burst_count_as_one_in_an_interval() {
        let labels = ["a", "b"].map(String::from).to_vec();
        let answers = |a_burst: u64| -> Vec<Answer> {
            let one = |i: u64| Answer {
                truth: (i % 2) as usize,
                given: 0,
                burst: i / a_burst,
            };
            (0..80).map(one).collect()
        };
        let alone = Confusion::by_burst(labels.clone(), &answers(1));
        let by_four = Confusion::by_burst(labels, &answers(4));
        assert_eq!((alone.bursts(), by_four.bursts()), (80, 20));
        assert_eq!(alone.accuracy_95(), wilson(40, 80));
        assert_eq!(by_four.accuracy_95(), wilson(10, 20));
        // Two samples of each class in a burst.
        assert_eq!(by_four.per_class()[0].recall_95, wilson(20, 20));
        assert_eq!(alone.per_class()[0].recall_95, wilson(40, 40));
        assert!(by_four.balanced_accuracy_95().0 < alone.balanced_accuracy_95().0);
    }

    #[test]
    fn the_interval_of_a_balanced_accuracy_covers_it_19_times_of_20() {
        let classes = [(0.95, 8), (0.6, 30), (0.99, 15), (0.8, 100)];
        let truth = classes.iter().map(|(p, _)| p).sum::<f64>() / 4.0;
        let mut random = SplitMix64::new(11);
        let trials = 4000;
        let covered = (0..trials).filter(|_| {
            let shares = classes.map(|(p, n)| {
                let right = (0..n).filter(|_| (random.below(1_000_000) as f64) < p * 1e6);
                (right.count() as f64 / f64::from(n), f64::from(n))
            });
            let (low, high) = mean_interval(&shares);
            low <= truth && truth <= high
        });
        let share = covered.count() as f64 / f64::from(trials);
        assert!((0.94..0.985).contains(&share), "{share}");
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_share_stays_in_bounds_and_narrows_with_samples(
            shares in proptest::collection::vec((0u32..=100, 0u32..100), 1..9)
        ) {
            let of = |factor: f64| -> Vec<(f64, f64)> {
                let one = |&(right, wrong): &(u32, u32)| {
                    let n = f64::from((right + wrong).max(1));
                    (f64::from(right) / n, n * factor)
                };
                shares.iter().map(one).collect()
            };
            let mean = of(1.0).iter().map(|(share, _)| share).sum::<f64>() / shares.len() as f64;
            let (low, high) = mean_interval(&of(1.0));
            prop_assert!(0.0 <= low && low <= mean + 1e-12 && mean <= high + 1e-12 && high <= 1.0);
            let (nearer_low, nearer_high) = mean_interval(&of(4.0));
            prop_assert!(low <= nearer_low + 1e-12 && nearer_high <= high + 1e-12);
            if shares.len() == 1 {
                let (share, n) = of(1.0)[0];
                let (a, b) = wilson_share(share, n);
                prop_assert!((a - low).abs() < 1e-12 && (b - high).abs() < 1e-12);
            }
        }
    }
}
