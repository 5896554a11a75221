//! Decisions: scores to a label, to a set of labels, or to *unknown*. Pure.

/// What the board says.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Known {
        label: String,
        confidence: f32,
    },
    /// Nothing it knows; `nearest` is what came closest.
    Unknown {
        nearest: String,
        confidence: f32,
    },
}

impl Decision {
    /// The label, where it is known.
    pub fn label(&self) -> Option<&str> {
        match self {
            Decision::Known { label, .. } => Some(label),
            Decision::Unknown { .. } => None,
        }
    }
}

/// Index of the highest score; the first of equals.
pub fn best(scores: &[f32]) -> usize {
    let mut best = 0;
    for (index, &score) in scores.iter().enumerate() {
        if score > scores[best] {
            best = index;
        }
    }
    best
}

/// The label with the highest probability, or *unknown* when `unknown_score` is above `unknown_above`.
///
/// `labels` and `scores` have one entry a class; without any, nothing is known.
pub fn decide(
    labels: &[String],
    scores: &[f32],
    unknown_score: f64,
    unknown_above: f64,
) -> Decision {
    let best = best(scores);
    let nearest = labels.get(best).cloned().unwrap_or_default();
    let confidence = scores.get(best).copied().unwrap_or(0.0);
    if labels.is_empty() || unknown_score > unknown_above {
        Decision::Unknown {
            nearest,
            confidence,
        }
    } else {
        Decision::Known {
            label: nearest,
            confidence,
        }
    }
}

/// The labels that a conformal set holds, most probable first: those whose probability is at least `least`; all without one. A set is
/// empty where no label is as probable as the right one usually is.
pub fn set(scores: &[f32], least: Option<f32>) -> Vec<usize> {
    let least = least.unwrap_or(0.0);
    let mut set: Vec<usize> = (0..scores.len()).filter(|&i| scores[i] >= least).collect();
    set.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<String> {
        ["a", "b", "c"].map(String::from).to_vec()
    }

    #[test]
    fn the_highest_score_wins_and_the_first_of_equals() {
        let known = |label: &str, confidence| Decision::Known {
            label: label.into(),
            confidence,
        };
        assert_eq!(
            decide(&labels(), &[0.2, 0.5, 0.3], 1.0, 1.0),
            known("b", 0.5)
        );
        assert_eq!(
            decide(&labels(), &[0.4, 0.4, 0.2], 0.0, 1.0),
            known("a", 0.4)
        );
    }

    #[test]
    fn a_high_unknown_score_is_unknown_and_names_the_nearest() {
        let unknown = Decision::Unknown {
            nearest: "b".into(),
            confidence: 0.5,
        };
        assert_eq!(decide(&labels(), &[0.2, 0.5, 0.3], 1.5, 1.0), unknown);
        assert!(matches!(
            decide(&[], &[], 0.0, 1.0),
            Decision::Unknown { .. }
        ));
    }

    #[test]
    fn a_set_holds_what_is_probable_enough_most_probable_first() {
        assert_eq!(set(&[0.2, 0.5, 0.3], Some(0.3)), [1, 2]);
        assert!(set(&[0.2, 0.5, 0.3], Some(0.6)).is_empty());
        assert_eq!(set(&[0.2, 0.5, 0.3], None), [1, 2, 0]);
    }
}
