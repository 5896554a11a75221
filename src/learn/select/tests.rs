//! What is chosen, from samples and from held-out answers made up for it.

use super::*;

/// Samples of two classes in turn, each a burst of its own.
fn of_two_classes(n: usize, width: usize, number: impl FnMut(usize) -> f32) -> Samples {
    let rows = (0..n * width).map(number).collect();
    let labels = (0..n as u32).map(|i| i % 2).collect();
    let names = vec!["a".into(), "b".into()];
    Samples::new(width, rows, labels, names, (0..n as u64).collect()).unwrap()
}

#[test]
fn numbers_of_a_converter_of_16_bits_are_learned_as_they_are() {
    let mut random = crate::random::SplitMix64::new(1);
    let (n, width) = (24, 2000);
    let class = |i: usize| (i / width % 2) as f32;
    let number = |i: usize| random.below(65_536) as f32 - 32_768.0 + 900.0 * class(i);
    let samples = of_two_classes(n, width, number);
    for kind in [HeadKind::Softmax, HeadKind::Ridge, HeadKind::Lda] {
        let request = Request {
            kind: Some(kind),
            normalization: Some(Normalization::None),
            ..Request::default()
        };
        let (head, _) = crate::learn::train(&samples, &request).unwrap();
        assert!(PENALTY.contains(&head.learned().settings.penalty), "{kind}");
        let few = samples.select(&[0, 1]).unwrap();
        crate::learn::train(&few, &request).unwrap();
    }
}

#[test]
fn numbers_far_from_zero_are_learned() {
    let mut random = crate::random::SplitMix64::new(1);
    let (n, width) = (24, 40);
    let class = |i: usize| (i / width % 2) as f32;
    let number = |i: usize| 30_000.0 + class(i) + random.below(1000) as f32 / 1000.0;
    let samples = of_two_classes(n, width, number);
    for kind in [HeadKind::Softmax, HeadKind::Ridge, HeadKind::Lda] {
        let request = Request {
            kind: Some(kind),
            ..Request::default()
        };
        let choice = select(&samples, &request).unwrap();
        let accuracy = choice.cv.unwrap().balanced_accuracy;
        assert!(accuracy > 0.9, "{kind}: {accuracy}");
    }
}

#[test]
fn ridge_knows_a_rare_class_at_every_penalty_that_it_is_offered() {
    let mut random = crate::random::SplitMix64::new(1);
    let (width, mut rows, mut labels, mut bursts) = (120, Vec::new(), Vec::new(), Vec::new());
    // Six classes of four bursts, and one of three samples of one burst.
    for i in 0..27u32 {
        let class = if i < 24 { i % 6 } else { 6 };
        let own = |j: usize| j % 7 == class as usize;
        rows.extend((0..width).map(|j| random.below(100) as f32 + if own(j) { 60.0 } else { 0.0 }));
        labels.push(class);
        bursts.push(u64::from(i.min(24)));
    }
    let names = ('a'..='g').map(String::from).collect();
    let samples = Samples::new(width, rows, labels, names, bursts).unwrap();
    let normalization = Normalization::L2;
    let spread = spread(&Normalizer::fit(normalization, &samples).apply_all(samples.clone()));
    for factor in RIDGE_GRID {
        let settings = Settings {
            kind: HeadKind::Ridge,
            normalization,
            penalty: factor * spread,
            class_weights: ClassWeights::Balanced,
        };
        let head = head::train(&samples, settings).unwrap();
        for i in 24..27 {
            let scores = head.learned().raw_scores(samples.row(i)).unwrap();
            let others = &scores[..6];
            assert!(
                others.iter().all(|&it| it < scores[6]),
                "{factor}: {scores:?}"
            );
        }
    }
}

/// A candidate of two classes whose answers are right by a score of `lead` each, but for the first `wrong`.
fn candidate_of(kind: HeadKind, samples: &Samples, wrong: usize, lead: f64) -> Candidate {
    let settings = Settings {
        kind,
        normalization: Normalization::L2,
        penalty: 1.0,
        class_weights: ClassWeights::Balanced,
    };
    let answer = |row: usize| {
        let label = samples.labels[row] as usize;
        let mut scores = vec![0.0; 2];
        // Not all alike, as answers are.
        scores[(label + usize::from(row < wrong)) % 2] = lead + (row % 3) as f64 / 10.0;
        HeldOut {
            row,
            scores,
            label,
            weight: 0.0,
        }
    };
    candidate(samples, settings, (0..samples.n()).map(answer).collect())
}

#[test]
fn few_samples_get_lda_and_many_softmax_unless_the_other_is_better_beyond_chance() {
    use HeadKind::{Lda, Softmax};
    let chosen = |n: usize, errors_of_lda: usize, errors_of_softmax: usize| {
        let samples = of_two_classes(n, 1, |i| i as f32);
        let candidates = vec![
            candidate_of(Softmax, &samples, errors_of_softmax, 1.0),
            candidate_of(Lda, &samples, errors_of_lda, 1.0),
        ];
        best(&samples, candidates).unwrap().settings.kind
    };
    assert_eq!(chosen(40, 5, 5), Lda);
    assert_eq!(chosen(40, 5, 4), Lda);
    assert_eq!(chosen(40, 16, 1), Softmax);
    assert_eq!(chosen(400, 50, 50), Softmax);
    assert_eq!(chosen(400, 20, 50), Lda);
}

#[test]
fn softmax_that_answers_all_rightly_and_more_surely_is_taken_with_few_samples_too() {
    let samples = of_two_classes(40, 1, |i| i as f32);
    let candidates = vec![
        candidate_of(HeadKind::Softmax, &samples, 0, 1.0),
        candidate_of(HeadKind::Lda, &samples, 1, 1.0),
    ];
    let best = best(&samples, candidates).unwrap();
    assert_eq!(best.settings.kind, HeadKind::Softmax);
}

/// Samples of ten numbers each, one of them `first` and so many of them zero.
fn activations(n: usize, first: f32, zeros: usize) -> Samples {
    of_two_classes(n, 10, |i| match i % 10 {
        0 => first,
        column if column <= zeros => 0.0,
        _ => 1.0 + i as f32,
    })
}

#[test]
fn one_sample_a_class_is_scaled_by_itself() {
    let scaling = |rows: [f32; 4]| {
        let samples = of_two_classes(2, 2, |i| rows[i]);
        let choice = select(&samples, &Request::default()).unwrap();
        choice.settings.normalization
    };
    assert_eq!(scaling([1.0, 1.0, 2.0, 3.0]), Normalization::L2);
    assert_eq!(scaling([1.0, 1.0, -2.0, 3.0]), Normalization::None);
    assert_eq!(scaling([0.0, 1.0, 2.0, 3.0]), Normalization::Power);
}

#[test]
fn sparse_features_are_standardized_behind_the_power_scaling_and_many_also_compete_as_they_are() {
    use Normalization::{L2, None, PowerStandardize, Standardize};
    let of = |n, first, zeros| scalings(&activations(n, first, zeros), &AUTO);
    assert_eq!(of(24, 1.0, 0), [L2, Standardize]);
    assert_eq!(of(24, -1.0, 0), [None, Standardize]);
    assert_eq!(of(24, 1.0, 1), [PowerStandardize]);
    assert_eq!(of(99, 1.0, 1), [PowerStandardize]);
    assert_eq!(of(100, 1.0, 1), [L2, PowerStandardize]);
    assert_eq!(of(100, -1.0, 1), [None, PowerStandardize]);
    let of_mlp = scalings(&activations(24, 1.0, 1), &[HeadKind::Mlp]);
    assert_eq!(of_mlp, [L2, PowerStandardize]);
}
