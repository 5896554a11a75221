//! Metrics: what a confusion matrix says. Pure.

/// Counts of true label by given label.
#[derive(Clone, Debug, PartialEq)]
pub struct Confusion {
    labels: Vec<String>,
    /// `rows[truth][given]`
    rows: Vec<Vec<u64>>,
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
}

impl Confusion {
    /// `pairs` are (truth, given), indices into `labels`; others are left out.
    pub fn new(labels: Vec<String>, pairs: &[(usize, usize)]) -> Confusion {
        let mut rows = vec![vec![0; labels.len()]; labels.len()];
        for &(truth, given) in pairs {
            if let Some(count) = rows.get_mut(truth).and_then(|row| row.get_mut(given)) {
                *count += 1;
            }
        }
        Confusion { labels, rows }
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

    /// Share of correct answers; 0 without samples.
    pub fn accuracy(&self) -> f64 {
        self.correct() as f64 / self.n().max(1) as f64
    }

    /// Mean recall over the classes that have samples; 0 without any.
    pub fn balanced_accuracy(&self) -> f64 {
        let recalls: Vec<f64> = self
            .per_class()
            .into_iter()
            .filter_map(|c| c.recall)
            .collect();
        recalls.iter().sum::<f64>() / recalls.len().max(1) as f64
    }

    pub fn per_class(&self) -> Vec<Class> {
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        self.labels
            .iter()
            .enumerate()
            .map(|(i, label)| {
                let n = self.rows[i].iter().sum();
                let given = self.rows.iter().map(|row| row[i]).sum();
                Class {
                    label: label.clone(),
                    n,
                    precision: share(self.rows[i][i], given),
                    recall: share(self.rows[i][i], n),
                }
            })
            .collect()
    }
}

/// Wilson's 95 % interval of a share (Wilson, 1927): it stays inside 0 to 1 and holds for few samples.
pub fn wilson(correct: usize, n: usize) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    // The 97.5 % point of the normal distribution.
    let z = 1.959_964;
    let (n, share) = (n as f64, correct as f64 / n as f64);
    let center = share + z * z / (2.0 * n);
    let spread = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    (
        ((center - spread) / scale).max(0.0),
        ((center + spread) / scale).min(1.0),
    )
}

/// Bins of [`expected_calibration_error`]. Even perfect probabilities give about 0.05 with 240 answers in ten bins, and more in more.
const BINS: usize = 10;

/// Mean distance of confidence from the share of right answers, over bins of equal width, weighted by their answers (Guo et al., On
/// Calibration of Modern Neural Networks, 2017). `answers` are confidences and whether they were right; 0 without any.
pub fn expected_calibration_error(answers: &[(f64, bool)]) -> f64 {
    let mut gaps = [0.0; BINS];
    for &(confidence, right) in answers {
        let bin = ((confidence * BINS as f64) as usize).min(BINS - 1);
        gaps[bin] += confidence - f64::from(u8::from(right));
    }
    gaps.iter().map(|gap| gap.abs()).sum::<f64>() / answers.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
