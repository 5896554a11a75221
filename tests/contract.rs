//! One contract for every head, and the mathematics each promises.

mod support;

use faer::Mat;
use faer::prelude::Solve;
use fieldhead::head::{
    self, ClassWeights, Head, HeadError, HeadKind, Learned, Linear, Model, Normalization, Request,
    Samples, Settings,
};
use proptest::prelude::*;
use support::{Blob, blobs};

fn settings(kind: HeadKind, normalization: Normalization) -> Settings {
    Settings {
        kind,
        normalization,
        penalty: match normalization {
            Normalization::Standardize | Normalization::PowerStandardize => 10.0,
            _ => 0.1,
        },
        class_weights: ClassWeights::Balanced,
    }
}

const NORMALIZATIONS: [Normalization; 5] = [
    Normalization::None,
    Normalization::L2,
    Normalization::Power,
    Normalization::Standardize,
    Normalization::PowerStandardize,
];

/// Every head on few and on many samples, so that both of its ways to solve are taken.
fn every_head(mut check: impl FnMut(&(dyn Fn(&Samples) -> Box<dyn Head + Send> + Sync), &Samples)) {
    for kind in HeadKind::ALL {
        for normalization in NORMALIZATIONS {
            for blob in [Blob::FEW, Blob::MANY] {
                let settings = settings(kind, normalization);
                let samples = blobs(&blob, 1);
                check(&|samples| head::train(samples, settings).unwrap(), &samples);
            }
        }
    }
}

fn linear(learned: &Learned) -> &Linear {
    match &learned.model {
        Model::Linear(linear) => linear,
        other => panic!("{other:?}"),
    }
}

/// Largest difference of two heads' numbers, relative to the largest number.
fn distance(a: &Learned, b: &Learned) -> f64 {
    assert_eq!(a.labels, b.labels);
    let (a, b) = (&a.model, &b.model);
    assert_eq!(a.numbers().count(), b.numbers().count());
    let scale = a.numbers().fold(0.0f32, |m, x| m.max(x.abs()));
    let pairs = a.numbers().zip(b.numbers());
    pairs.fold(0.0, |m, (x, y)| f64::from((x - y).abs() / scale).max(m))
}

#[test]
fn a_head_knows_what_it_learned() {
    every_head(|train, samples| {
        let head = train(samples);
        let right = (0..samples.n()).filter(|&i| {
            let scores = head.learned().scores(samples.row(i)).unwrap();
            head.learned().labels[fieldhead::decision::best(&scores)] == samples.label(i)
        });
        assert!(right.count() * 10 >= samples.n() * 9);
    });
}

#[test]
fn scores_are_probabilities_in_order_of_sorted_labels() {
    every_head(|train, samples| {
        let head = train(samples);
        let scores = head.learned().scores(samples.row(0)).unwrap();
        assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert!(scores.iter().all(|p| (0.0..=1.0).contains(p)));
        assert!(head.learned().labels.is_sorted());
    });
}

#[test]
fn the_order_in_which_labels_are_named_does_not_matter() {
    every_head(|train, samples| {
        let names: Vec<String> = samples.names().iter().rev().cloned().collect();
        let last = names.len() as u32 - 1;
        let labels = samples.labels.iter().map(|label| last - label).collect();
        let rows = samples.rows().to_vec();
        let other = Samples::new(samples.width(), rows, labels, names, samples.groups.clone());
        assert_eq!(train(samples).learned(), train(&other.unwrap()).learned());
    });
}

#[test]
fn the_order_of_samples_does_not_matter_beyond_rounding() {
    every_head(|train, samples| {
        let backwards: Vec<usize> = (0..samples.n()).rev().collect();
        let other = samples.select(&backwards).unwrap();
        // Sums in another order stop the search of softmax at another point of the same small gap.
        assert!(distance(train(samples).learned(), train(&other).learned()) < 5e-3);
    });
}

#[test]
fn the_same_samples_give_the_same_bytes() {
    every_head(|train, samples| {
        let bytes = || postcard::to_stdvec(train(samples).learned()).unwrap();
        assert_eq!(bytes(), with_threads(1, bytes));
    });
}

#[test]
fn the_number_of_threads_that_share_a_training_changes_no_byte() {
    // Fewer samples than features, and more; enough that work is shared.
    let sizes = [(700, 720), (900, 600)];
    for (n, width) in sizes {
        let classes = 5;
        let samples = blobs(&Blob { n, width, classes }, 2);
        for kind in [HeadKind::Softmax, HeadKind::Lda] {
            let settings = settings(kind, Normalization::Standardize);
            let bytes = || {
                let head = head::train(&samples, settings).unwrap();
                postcard::to_stdvec(head.learned()).unwrap()
            };
            let one = with_threads(1, bytes);
            for threads in [2, 3, 8] {
                assert!(one == with_threads(threads, bytes), "{kind}, {threads}");
            }
        }
    }
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap().install(work)
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    for kind in [None].into_iter().chain(HeadKind::ALL.map(Some)) {
        let samples = blobs(&Blob::FEW, 4);
        let request = Request {
            kind,
            seed: 3,
            ..Request::default()
        };
        let bytes = || {
            let (head, _) = fieldhead::learn::train(&samples, &request).unwrap();
            postcard::to_stdvec(head.learned()).unwrap()
        };
        assert_eq!(bytes(), bytes(), "{kind:?}");
    }
}

#[test]
fn a_head_that_was_kept_goes_on_as_if_it_never_stopped() {
    every_head(|train, samples| {
        let row: Vec<f32> = samples.row(0).iter().map(|x| x * 0.7 + 0.01).collect();
        let mut whole = train(samples);
        let bytes = postcard::to_stdvec(whole.learned()).unwrap();
        let kept: Learned = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(&kept, whole.learned());
        let mut resumed = head::resume(&kept, samples.clone()).unwrap();
        assert_eq!(resumed.learned(), whole.learned());
        whole.learn(&row, "class 1", 99).unwrap();
        resumed.learn(&row, "class 1", 99).unwrap();
        assert_eq!(resumed.learned(), whole.learned());
    });
}

#[test]
fn a_class_is_added_by_its_first_sample_and_goes_with_its_last() {
    every_head(|train, samples| {
        let mut head = train(samples);
        let before = head.learned().clone();
        let new: Vec<f32> = (0..samples.width()).map(|i| (i % 3) as f32).collect();
        head.learn(&new, "another", 7).unwrap();
        assert_eq!(head.learned().labels[0], "another");
        assert_eq!(head.learned().n_samples, before.n_samples + 1);
        head.learned().validate().unwrap();
        head.forget(&new, "another").unwrap();
        assert_eq!(head.learned().labels, before.labels);
        let away = distance(head.learned(), &before);
        assert!(away < 5e-3, "{away} for {:?}", before.settings);
    });
}

#[test]
fn what_was_learned_and_forgotten_leaves_no_trace() {
    every_head(|train, samples| {
        let mut head = train(samples);
        let before = head.learned().clone();
        let row: Vec<f32> = samples.row(1).iter().map(|x| 0.3 - x).collect();
        head.learn(&row, "class 0", 7).unwrap();
        assert_ne!(head.learned(), &before);
        head.forget(&row, "class 0").unwrap();
        match before.settings.kind {
            HeadKind::Prototype | HeadKind::Mlp => assert_eq!(head.learned(), &before),
            _ => assert!(distance(head.learned(), &before) < 5e-3),
        }
        let never = head.forget(&row, "class 0").unwrap_err();
        assert!(matches!(never, HeadError::NotLearned { .. }));
    });
}

#[test]
fn what_novelty_is_measured_by_comes_and_goes_with_the_samples() {
    for kind in HeadKind::ALL {
        let samples = blobs(&Blob::FEW, 1);
        let request = Request {
            kind: Some(kind),
            ..Request::default()
        };
        let (mut head, _) = fieldhead::learn::train(&samples, &request).unwrap();
        let before = head.learned().calibration.clone();
        let row: Vec<f32> = samples.row(1).iter().map(|x| 0.3 - x).collect();
        let novel = head.learned().answer(&row).unwrap();
        head.learn(&row, "another", 7).unwrap();
        let learned = head.learned().answer(&row).unwrap();
        assert!(learned.unknown_score < novel.unknown_score, "{kind}");
        head.learned().validate().unwrap();
        head.forget(&row, "another").unwrap();
        assert_eq!(head.learned().calibration, before, "{kind}");
    }
}

#[test]
fn one_sample_a_class_is_enough() {
    for kind in HeadKind::ALL {
        let samples = blobs(&Blob::FEW, 1).select(&[0, 1, 2]).unwrap();
        let head = head::train(&samples, settings(kind, Normalization::L2)).unwrap();
        for i in 0..3 {
            let scores = head.learned().scores(samples.row(i)).unwrap();
            assert_eq!(fieldhead::decision::best(&scores), i, "{kind}");
        }
    }
}

#[test]
fn weights_of_another_kind_of_head_are_refused() {
    let samples = blobs(&Blob::FEW, 1);
    for (kind, other) in [
        (HeadKind::Softmax, HeadKind::Prototype),
        (HeadKind::Prototype, HeadKind::Mlp),
        (HeadKind::Mlp, HeadKind::Lda),
    ] {
        let head = head::train(&samples, settings(kind, Normalization::L2)).unwrap();
        let mut learned = head.learned().clone();
        learned.settings.kind = other;
        let refused = learned.validate().unwrap_err();
        assert!(matches!(refused, HeadError::Damaged { .. }));
        assert!(head::resume(&learned, samples.clone()).is_err());
    }
}

#[test]
fn hostile_values_leave_a_head_unchanged() {
    every_head(|train, samples| {
        let mut head = train(samples);
        let before = head.learned().clone();
        let row = samples.row(0).to_vec();
        let mut bad = row.clone();
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            bad[1] = value;
            assert!(head.learn(&bad, "class 0", 1).is_err());
            assert!(head.forget(&bad, "class 0").is_err());
            assert!(head.learned().scores(&bad).is_err());
        }
        assert!(head.learn(&row[1..], "class 0", 1).is_err());
        assert!(head.forget(&row[1..], "class 0").is_err());
        assert!(head.learn(&row, "", 1).is_err());
        assert!(head.learn(&row, "a/b", 1).is_err());
        let missing = head.forget(&row, "class 2").unwrap_err();
        assert!(matches!(missing, HeadError::NotLearned { .. }));
        assert_eq!(head.learned(), &before);
        // Numbers so large that squares overflow are refused or survived, never half learned.
        bad.fill(f32::MAX);
        if head.learn(&bad, "class 0", 1).is_ok() {
            head.learned().validate().unwrap();
            head.forget(&bad, "class 0").unwrap();
        } else {
            assert_eq!(head.learned(), &before);
        }
    });
}

#[test]
fn one_class_or_none_is_refused() {
    for kind in HeadKind::ALL {
        let settings = settings(kind, Normalization::L2);
        let one = blobs(&Blob::FEW, 1);
        let rows: Vec<usize> = (0..one.n()).filter(|&i| one.labels[i] == 0).collect();
        let one = one.select(&rows).unwrap();
        assert!(matches!(
            head::train(&one, settings),
            Err(HeadError::OneClass { .. })
        ));
        let none = one.select(&[]).unwrap();
        assert!(matches!(
            head::train(&none, settings),
            Err(HeadError::NoSamples)
        ));
    }
}

#[test]
fn softmax_stands_where_no_direction_leads_down() {
    for blob in [Blob::FEW, Blob::MANY] {
        let samples = blobs(&blob, 3);
        let settings = settings(HeadKind::Softmax, Normalization::None);
        let head = head::train(&samples, settings).unwrap();
        let at = linear(head.learned()).clone();
        let best = objective(&samples, &at, settings.penalty);
        let mut random = fieldhead::random::SplitMix64::new(5);
        for _ in 0..40 {
            let mut other = at.clone();
            for x in other.weights.iter_mut().chain(&mut other.bias) {
                *x += (random.below(2001) as f32 - 1000.0) * 1e-5;
            }
            assert!(objective(&samples, &other, settings.penalty) > best * (1.0 - 2e-5));
        }
        // The optimum is where the classes' slopes balance: the intercepts' derivatives vanish.
        assert!(intercept_slope(&samples, &at).abs() < 1e-2 * samples.n() as f64);
    }
}

/// The objective of softmax from its definition, in f64.
fn objective(samples: &Samples, at: &Linear, penalty: f64) -> f64 {
    let counts = samples.counts();
    let loss: f64 = (0..samples.n())
        .map(|i| {
            let label = samples.labels[i] as usize;
            let importance = samples.n() as f64 / (samples.classes() * counts[label]) as f64;
            let scores = raw(samples, at, i);
            let sum: f64 = scores.iter().map(|s| s.exp()).sum();
            importance * (sum.ln() - scores[label])
        })
        .sum();
    let square: f64 = at.weights.iter().map(|&w| f64::from(w).powi(2)).sum();
    loss + penalty / 2.0 * square
}

fn intercept_slope(samples: &Samples, at: &Linear) -> f64 {
    let counts = samples.counts();
    (0..samples.n())
        .map(|i| {
            let label = samples.labels[i] as usize;
            let importance = samples.n() as f64 / (samples.classes() * counts[label]) as f64;
            let scores = raw(samples, at, i);
            let sum: f64 = scores.iter().map(|s| s.exp()).sum();
            importance * (scores[0].exp() / sum - f64::from(u8::from(label == 0)))
        })
        .sum()
}

fn raw(samples: &Samples, at: &Linear, i: usize) -> Vec<f64> {
    let rows = at.weights.chunks_exact(samples.width());
    rows.zip(&at.bias)
        .map(|(row, &bias)| {
            let products = row
                .iter()
                .zip(samples.row(i))
                .map(|(w, x)| f64::from(w * x));
            f64::from(bias) + products.sum::<f64>()
        })
        .collect()
}

#[test]
fn lda_is_what_its_definition_says() {
    for blob in [Blob::FEW, Blob::MANY] {
        let samples = blobs(&blob, 6);
        let settings = settings(HeadKind::Lda, Normalization::None);
        let head = head::train(&samples, settings).unwrap();
        let (n, width, classes) = (samples.n(), samples.width(), samples.classes());
        let x = Mat::from_fn(n, width, |i, j| f64::from(samples.row(i)[j]));
        let hot = |i: usize, c: usize| f64::from(u8::from(samples.labels[i] as usize == c));
        let y = Mat::from_fn(n, classes, hot);
        let counts = samples.counts();
        let sums = y.transpose() * &x;
        let means = Mat::from_fn(classes, width, |c, j| sums[(c, j)] / counts[c] as f64);
        let away = &x - &y * &means;
        let mut covariance = away.transpose() * &away * faer::Scale(1.0 / n as f64);
        for j in 0..width {
            covariance[(j, j)] += settings.penalty / n as f64;
        }
        let turned = covariance.partial_piv_lu().solve(means.transpose());
        let scores = &x * &turned;
        let squares = &means * &turned;
        for i in 0..n {
            let given = head.learned().raw_scores(samples.row(i)).unwrap();
            for c in 0..classes {
                let expected = scores[(i, c)] - squares[(c, c)] / 2.0;
                assert!((given[c] - expected).abs() < 1e-4 * expected.abs().max(10.0));
            }
        }
    }
}

#[test]
fn heads_that_are_compared_are_those_that_are_trained() {
    let penalties = [3.0, 0.3];
    for blob in [Blob::FEW, Blob::MANY] {
        let samples = blobs(&blob, 2);
        let space = head::softmax::Space::new(&samples);
        for kind in [HeadKind::Ridge, HeadKind::Lda] {
            let mut settings = settings(kind, Normalization::None);
            let weights = settings.class_weights;
            let path = head::discriminant::path(&samples, &space, kind, &penalties, weights);
            for (compared, penalty) in path.iter().zip(penalties) {
                settings.penalty = penalty;
                let trained = head::train(&samples, settings).unwrap();
                let trained = linear(trained.learned());
                let compared = compared.as_ref().unwrap();
                let pairs = compared.weights.iter().zip(&trained.weights);
                for (a, b) in pairs.chain(compared.bias.iter().zip(&trained.bias)) {
                    assert!((a - b).abs() < 1e-4 * b.abs().max(1.0), "{kind}: {a} {b}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Samples come and go in any order; what is left equals a training from scratch.
    #[test]
    fn ridge_and_lda_after_any_history_equal_a_training_from_scratch(
        history in proptest::collection::vec((any::<bool>(), any::<u16>(), 0usize..4), 1..25),
        start in 0..3usize,
        lda in any::<bool>(),
        seed in 0u64..1000,
    ) {
        // Few samples stay few, many stay many, and some become more than there are features.
        let blob = [Blob::FEW, Blob::MANY, Blob { n: 36, ..Blob::FEW }][start];
        let start = blobs(&blob, seed);
        let extra = blobs(&blob, seed + 1);
        let kind = if lda { HeadKind::Lda } else { HeadKind::Ridge };
        let settings = settings(kind, Normalization::L2);
        let mut head = head::train(&start, settings).unwrap();
        let mut rows: Vec<(Vec<f32>, String)> = (0..start.n())
            .map(|i| (start.row(i).to_vec(), start.label(i).to_owned()))
            .collect();
        for (learn, which, class) in history {
            if learn {
                let row = extra.row(usize::from(which) % extra.n()).to_vec();
                let label = format!("class {class}");
                head.learn(&row, &label, 1000).unwrap();
                rows.push((row, label));
            } else if rows.len() > 8 {
                let index = usize::from(which) % rows.len();
                let (row, label) = rows[index].clone();
                if head.forget(&row, &label).is_ok() {
                    rows.remove(index);
                }
            }
        }
        let mut names: Vec<String> = rows.iter().map(|(_, label)| label.clone()).collect();
        names.sort();
        names.dedup();
        let labels = rows.iter().map(|(_, l)| names.binary_search(l).unwrap() as u32).collect();
        let flat = rows.iter().flat_map(|(row, _)| row.clone()).collect();
        let left = Samples::new(start.width(), flat, labels, names, vec![0; rows.len()]).unwrap();
        let scratch = head::train(&left, settings).unwrap();
        prop_assert!(distance(scratch.learned(), head.learned()) < 1e-4);
    }
}

#[test]
fn class_weights_decide_whether_a_rare_class_counts_as_much_as_a_common_one() {
    // One feature beside a constant; 30 of the common class around 0, 3 of the rare one around 1, overlapping.
    let mut rows = Vec::new();
    let mut labels = Vec::new();
    for i in 0..33u32 {
        let rare = i % 11 == 10;
        rows.extend([f32::from(u8::from(rare)) + (i % 5) as f32 * 0.3 - 0.6, 1.0]);
        labels.push(u32::from(rare));
    }
    let names = vec!["common".to_owned(), "rare".to_owned()];
    let samples = Samples::new(2, rows, labels, names, (0..33).collect()).unwrap();
    for kind in [HeadKind::Softmax, HeadKind::Lda, HeadKind::Mlp] {
        let rare = |class_weights| {
            let settings = Settings {
                class_weights,
                ..settings(kind, Normalization::None)
            };
            let head = head::train(&samples, settings).unwrap();
            f64::from(head.learned().scores(&[0.5, 1.0]).unwrap()[1])
        };
        let (balanced, none) = (rare(ClassWeights::Balanced), rare(ClassWeights::None));
        assert!(balanced > none + 0.1, "{kind}: {balanced} {none}");
        assert!((0.25..0.75).contains(&balanced), "{kind}: {balanced}");
    }
}
