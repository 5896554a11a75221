//! What the held-out answers say of a training set: the accuracy to expect, and which class needs samples next. Pure.
//!
//! Invariant: an accuracy is given only where every class was judged by samples of bursts that its head never saw; everything else is
//! refused with the reason.

use super::calibrate::HeldOut;
use super::metrics::{Answer, Confusion, Interval};
use super::splits;
use crate::head::Samples;

/// The fewest samples that judge. Of nine, even nine right answers leave the accuracy anywhere from 70 % (Wilson's interval).
pub const MIN_JUDGES: usize = 10;

/// Why no accuracy can be given.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "fewer than two classes have two capture bursts, so no sample can be judged by others; collect more, at another time or place"
    )]
    NothingHeldOut,
    #[error(
        "every sample of '{label}' is of one capture burst, so nothing can judge that class; collect more of it, at another time or place"
    )]
    OneBurst { label: String },
    #[error(
        "only {} can judge, and fewer than {MIN_JUDGES} say nothing; collect more, at another time or place",
        if *n == 1 { "one sample".into() } else { format!("{n} samples") }
    )]
    FewJudges { n: usize },
}

/// Held-out answers of the settings that were chosen. The choice among settings saw them, so the accuracy is a little too high: that
/// of the best of many is lifted by chance.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossValidation {
    pub folds: usize,
    /// Samples that judged.
    pub n: usize,
    pub balanced_accuracy: f64,
    pub balanced_accuracy_95: Interval,
    /// Over all labels of the training set.
    pub confusion: Confusion,
}

/// The accuracy of held-out answers, or why there is none to stand behind.
pub fn cross_validation(
    samples: &Samples,
    held_out: &[HeldOut],
    folds: usize,
) -> Result<CrossValidation, Refusal> {
    if held_out.is_empty() {
        return Err(Refusal::NothingHeldOut);
    }
    let answers: Vec<Answer> = held_out
        .iter()
        .map(|one| Answer {
            truth: one.label,
            given: highest(&one.scores),
            burst: samples.groups[one.row],
        })
        .collect();
    let confusion = Confusion::by_burst(samples.names().to_vec(), &answers);
    if let Some(class) = confusion.per_class().into_iter().find(|class| class.n == 0) {
        return Err(Refusal::OneBurst { label: class.label });
    }
    let n = answers.len();
    if n < MIN_JUDGES {
        return Err(Refusal::FewJudges { n });
    }
    Ok(CrossValidation {
        folds,
        n,
        balanced_accuracy: confusion.balanced_accuracy(),
        balanced_accuracy_95: confusion.balanced_accuracy_95(),
        confusion,
    })
}

/// Index of the highest score; the first of equals.
pub fn highest(scores: &[f64]) -> usize {
    let mut best = 0;
    for (index, &score) in scores.iter().enumerate() {
        if score > scores[best] {
            best = index;
        }
    }
    best
}

/// The class that needs samples next.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    pub label: String,
    /// One sentence.
    pub why: String,
}

/// A recall whose interval begins above this needs nothing.
const ENOUGH: f64 = 0.95;

/// The class that needs samples next: one that nothing can judge; else the one whose recall may be lowest, which is that with the
/// lowest lower end of its interval, be it for mistakes or for want of samples. `None` when every recall is surely above 95 %.
pub fn needs(samples: &Samples, cv: Result<&CrossValidation, &Refusal>) -> Option<Needs> {
    let Ok(cv) = cv else {
        return unjudged(samples);
    };
    let classes = cv.confusion.per_class();
    let (at, class) = classes
        .iter()
        .enumerate()
        .min_by(|(_, a), (_, b)| a.recall_95.0.total_cmp(&b.recall_95.0))?;
    if class.recall_95.0 > ENOUGH {
        return None;
    }
    let recall = class.recall.unwrap_or(0.0);
    let (low, high) = class.recall_95;
    let mut why = format!(
        "{:.0} % of its {} recognized (95 %: {:.0} to {:.0}), the least to rely on",
        recall * 100.0,
        match class.n {
            1 => "one held-out sample is".into(),
            n => format!("{n} held-out samples are"),
        },
        low * 100.0,
        high * 100.0
    );
    if let Some((other, count)) = cv.confusion.mistaken(at) {
        let other = &cv.confusion.labels()[other];
        let were = if count == 1 { "was" } else { "were" };
        why.push_str(&format!("; {count} {were} taken for '{other}'"));
    }
    Some(Needs {
        label: class.label.clone(),
        why,
    })
}

/// Of the classes with the fewest bursts the one with the fewest samples.
fn unjudged(samples: &Samples) -> Option<Needs> {
    let bursts = splits::bursts_of(samples);
    let counts = samples.counts();
    let at = (0..samples.classes()).min_by_key(|&class| (bursts[class], counts[class]))?;
    let many = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    Some(Needs {
        label: samples.names()[at].clone(),
        why: format!(
            "it has {} of {}, the fewest of all classes",
            many(counts[at], "sample"),
            many(bursts[at], "capture burst")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` samples of each of three classes, two of a burst.
    fn samples(n: usize) -> Samples {
        let labels: Vec<u32> = (0..3 * n).map(|i| (i / n) as u32).collect();
        let groups = (0..labels.len() as u64).map(|i| i / 2).collect();
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let rows = (0..labels.len()).map(|i| i as f32).collect();
        Samples::new(1, rows, labels, names, groups).unwrap()
    }

    /// Answers on all samples but those of `without`: right, but that the first `wrong` of class b are taken for a.
    fn held_out(samples: &Samples, wrong: usize, without: Option<u32>) -> Vec<HeldOut> {
        let rows = (0..samples.n()).filter(|&row| Some(samples.labels[row]) != without);
        let mut left = wrong;
        rows.map(|row| {
            let label = samples.labels[row] as usize;
            let mut scores = vec![0.0; 3];
            if label == 1 && left > 0 {
                left -= 1;
                scores[0] = 1.0;
            } else {
                scores[label] = 1.0;
            }
            HeldOut {
                row,
                scores,
                label,
                weight: 1.0,
            }
        })
        .collect()
    }

    #[test]
    fn an_accuracy_nobody_can_stand_behind_is_refused_with_the_reason() {
        let refused = |samples: &Samples, held_out: &[HeldOut]| {
            cross_validation(samples, held_out, 3).unwrap_err()
        };
        let all = samples(6);
        assert_eq!(refused(&all, &[]), Refusal::NothingHeldOut);
        let label = "c".to_string();
        let without_c = held_out(&all, 0, Some(2));
        assert_eq!(refused(&all, &without_c), Refusal::OneBurst { label });
        let few = samples(3);
        let answers = held_out(&few, 0, None);
        assert_eq!(refused(&few, &answers), Refusal::FewJudges { n: 9 });
        for reason in [Refusal::NothingHeldOut, Refusal::FewJudges { n: 9 }] {
            assert!(reason.to_string().contains("collect more"));
        }
    }

    #[test]
    fn an_accuracy_comes_with_its_judges_and_counts_bursts_in_its_interval() {
        let all = samples(20);
        let cv = cross_validation(&all, &held_out(&all, 6, None), 5).unwrap();
        assert_eq!((cv.n, cv.folds, cv.confusion.bursts()), (60, 5, 30));
        assert!((cv.balanced_accuracy - 0.9).abs() < 1e-12);
        // Six of twenty wrong, but only ten bursts: Wilson's interval of 7 of 10 for that class.
        let class = &cv.confusion.per_class()[1];
        assert_eq!(class.recall_95, crate::learn::metrics::wilson(7, 10));
    }

    #[test]
    fn the_class_to_collect_next_is_the_one_to_rely_on_least() {
        let all = samples(20);
        let cv = cross_validation(&all, &held_out(&all, 6, None), 5).unwrap();
        let next = needs(&all, Ok(&cv)).unwrap();
        assert_eq!(next.label, "b");
        assert!(next.why.contains("70 % of its 20"), "{}", next.why);
        assert!(next.why.contains("6 were taken for 'a'"), "{}", next.why);
        let many = samples(300);
        let cv = cross_validation(&many, &held_out(&many, 0, None), 5).unwrap();
        assert_eq!(needs(&many, Ok(&cv)), None);
    }

    #[test]
    fn without_judges_the_class_with_the_fewest_bursts_needs_samples() {
        let names = ["a", "b"].map(String::from).to_vec();
        let groups = vec![1, 2, 3, 4, 4, 4];
        let few = Samples::new(1, vec![1.0; 6], vec![0, 0, 0, 1, 1, 1], names, groups).unwrap();
        let next = needs(&few, Err(&Refusal::NothingHeldOut)).unwrap();
        assert_eq!(next.label, "b");
        assert!(
            next.why.contains("3 samples of 1 capture burst,"),
            "{}",
            next.why
        );
    }
}
