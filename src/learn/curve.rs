//! The learning curve: held-out accuracy by the number of samples a class, and what the next ten would bring. Pure and seeded.
//!
//! The settings are those that were chosen on all samples, the folds those of the cross-validation. Of the samples that learn in a
//! fold each class gives as many as the point says, burst after burst in an order drawn from the seed, so that a point's samples hold
//! those of the points before. All samples that judge in a fold judge every point.

use super::LearnError;
use super::forecast::{Gain, Unforeseen, foresee};
use super::metrics::{Interval, effective, mean_interval};
use super::report::{Refusal, highest};
use super::splits::{self, Fold};
use crate::head::{self, HeadError, HeadKind, Samples, Settings};
use crate::random::SplitMix64;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;

/// Points, each of twice the samples of the one before; the last has as many as the smallest class has in the fold where it has fewest.
const POINTS: u32 = 7;
/// Orders of bursts that a point is the mean of.
const DRAWS: usize = 3;
/// Accuracy at one number of samples a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub samples_per_class: usize,
    pub balanced_accuracy: f64,
    pub balanced_accuracy_95: Interval,
    /// Samples that judged.
    pub n: usize,
}

/// A learning curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// In order of their number of samples.
    pub points: Vec<Point>,
    pub next_10: Result<Gain, Unforeseen>,
}

/// Whether a curve takes less time than training did. That of an MLP takes four times as long: early stopping leaves few samples as
/// many steps as many.
pub fn is_quick(kind: HeadKind) -> bool {
    kind != HeadKind::Mlp
}

/// The curve of settings that cross-validation over the folds of `seed` chose.
///
/// # Errors
/// [`Refusal::NothingHeldOut`], and what training says.
pub fn curve(samples: &Samples, settings: Settings, seed: u64) -> Result<Curve, LearnError> {
    let folds = splits::folds(seed, samples).ok_or(Refusal::NothingHeldOut)?;
    let (fewest, label) = fewest(samples, &folds);
    let sizes: Vec<usize> = (0..POINTS)
        .rev()
        .map(|halvings| fewest >> halvings)
        .filter(|&size| size > 0)
        .collect();
    let answers = answers(samples, &folds, &sizes, settings, seed)?;
    let judges = Judges::new(samples, &answers);
    let points: Vec<Point> = (0..sizes.len())
        .map(|point| {
            let recalls = judges.recalls(point);
            Point {
                samples_per_class: sizes[point],
                balanced_accuracy: mean(recalls.iter().map(|(recall, _)| *recall)),
                balanced_accuracy_95: mean_interval(&recalls),
                n: judges.n,
            }
        })
        .collect();
    let from = samples.counts().into_iter().min().unwrap_or(0);
    let label = samples.names().get(label).map_or("", String::as_str);
    let mut random = SplitMix64::new(seed);
    let next_10 = foresee(&points, label, from, |points| {
        judges.drawn_errors(points, &mut random)
    });
    Ok(Curve { points, next_10 })
}

/// Samples and number of the class with the fewest that learn, in the fold where it has fewest.
fn fewest(samples: &Samples, folds: &[Fold]) -> (usize, usize) {
    let mut fewest = (usize::MAX, 0);
    for fold in folds {
        let mut counts = vec![0; samples.classes()];
        for &row in &fold.learn {
            counts[samples.labels[row] as usize] += 1;
        }
        for (class, count) in counts.into_iter().enumerate() {
            fewest = fewest.min((count, class));
        }
    }
    fewest
}

/// Of each judge its row, and for each size and draw, size by size, 1 when it was told right and else 0.
fn answers(
    samples: &Samples,
    folds: &[Fold],
    sizes: &[usize],
    settings: Settings,
    seed: u64,
) -> Result<Vec<(usize, Vec<f64>)>, HeadError> {
    let orders: Vec<Vec<usize>> = (0..DRAWS).map(|draw| order(samples, seed, draw)).collect();
    // The largest first, so that no core is left with one at the end.
    let points = (0..sizes.len()).rev();
    let work: Vec<(usize, &Fold)> = points
        .flat_map(|point| folds.iter().map(move |fold| (point, fold)))
        .collect();
    let judged: Vec<Vec<Vec<bool>>> = work
        .par_iter()
        .map(|&(point, fold)| judged(samples, fold, &orders, sizes[point], settings))
        .collect::<Result<_, HeadError>>()?;
    let mut answers = BTreeMap::new();
    for ((point, fold), draws) in work.iter().zip(&judged) {
        for (draw, right) in draws.iter().enumerate() {
            for (&row, &right) in fold.judge.iter().zip(right) {
                let of_row = answers
                    .entry(row)
                    .or_insert_with(|| vec![0.0; sizes.len() * DRAWS]);
                of_row[point * DRAWS + draw] = f64::from(u8::from(right));
            }
        }
    }
    Ok(answers.into_iter().collect())
}

/// Of each order, which judges of a fold are told right by `size` samples a class.
fn judged(
    samples: &Samples,
    fold: &Fold,
    orders: &[Vec<usize>],
    size: usize,
    settings: Settings,
) -> Result<Vec<Vec<bool>>, HeadError> {
    let mut judged: Vec<(Vec<usize>, Vec<bool>)> = Vec::new();
    for order in orders {
        let rows = some_of_each(samples, fold, order, size);
        // Where a class has no more, every order gives the same rows.
        let same = judged.iter().find(|(before, _)| *before == rows);
        let right = match same {
            Some((_, right)) => right.clone(),
            None => {
                let head = head::train(&samples.select(&rows)?, settings)?;
                let right = |&row: &usize| -> Result<bool, HeadError> {
                    let scores = head.learned().raw_scores(samples.row(row))?;
                    Ok(highest(&scores) == samples.labels[row] as usize)
                };
                fold.judge.iter().map(right).collect::<Result<_, _>>()?
            }
        };
        judged.push((rows, right));
    }
    Ok(judged.into_iter().map(|(_, right)| right).collect())
}

/// All rows, burst after burst in a drawn order.
fn order(samples: &Samples, seed: u64, draw: usize) -> Vec<usize> {
    let mut bursts: Vec<Vec<usize>> = splits::bursts(samples).into_values().collect();
    // In order of the first row, not of the burst's number, so that renaming bursts changes nothing.
    bursts.sort_by_key(|rows| rows[0]);
    let stream = seed.wrapping_mul(DRAWS as u64).wrapping_add(draw as u64);
    SplitMix64::new(stream).shuffle(&mut bursts);
    bursts.concat()
}

/// The first `size` rows of each class among those that learn.
fn some_of_each(samples: &Samples, fold: &Fold, order: &[usize], size: usize) -> Vec<usize> {
    let mut taken = vec![0; samples.classes()];
    let mut rows: Vec<usize> = order
        .iter()
        .copied()
        .filter(|row| fold.learn.binary_search(row).is_ok())
        .filter(|&row| {
            let taken = &mut taken[samples.labels[row] as usize];
            *taken += 1;
            *taken <= size
        })
        .collect();
    rows.sort_unstable();
    rows
}

/// The judges of one burst and class: how many, and at each point and draw how many were told right.
struct Cluster {
    n: f64,
    right: Vec<f64>,
}

/// All judges by class and burst.
struct Judges {
    classes: Vec<Vec<Cluster>>,
    n: usize,
}

impl Judges {
    fn new(samples: &Samples, answers: &[(usize, Vec<f64>)]) -> Judges {
        // In order of the rows, not of the bursts' numbers, so that renaming bursts changes nothing.
        let mut place: BTreeMap<(u32, u64), usize> = BTreeMap::new();
        let mut classes: BTreeMap<u32, Vec<Cluster>> = BTreeMap::new();
        for (row, answers) in answers {
            let label = samples.labels[*row];
            let clusters = classes.entry(label).or_default();
            let at = *place
                .entry((label, samples.groups[*row]))
                .or_insert_with(|| {
                    clusters.push(Cluster {
                        n: 0.0,
                        right: vec![0.0; answers.len()],
                    });
                    clusters.len() - 1
                });
            clusters[at].n += 1.0;
            for (right, answer) in clusters[at].right.iter_mut().zip(answers) {
                *right += answer;
            }
        }
        Judges {
            classes: classes.into_values().collect(),
            n: answers.len(),
        }
    }

    /// Of each class its mean recall at a point, and the effective number of its judges.
    fn recalls(&self, point: usize) -> Vec<(f64, f64)> {
        let recall = |clusters: &Vec<Cluster>| {
            let draws = point * DRAWS..(point + 1) * DRAWS;
            let right: f64 = clusters.iter().flat_map(|c| &c.right[draws.clone()]).sum();
            let n: f64 = clusters.iter().map(|cluster| cluster.n).sum();
            let recall = right / (n * DRAWS as f64);
            (recall, effective(clusters.iter().map(|cluster| cluster.n)))
        };
        self.classes.iter().map(recall).collect()
    }

    /// Error, one less the balanced accuracy, at each of some points: judging bursts and orders drawn with replacement.
    fn drawn_errors(&self, points: Range<usize>, random: &mut SplitMix64) -> Vec<f64> {
        let draws: Vec<Vec<usize>> = points
            .map(|point| {
                (0..DRAWS)
                    .map(|_| point * DRAWS + random.below(DRAWS))
                    .collect()
            })
            .collect();
        let mut errors = vec![1.0; draws.len()];
        for clusters in &self.classes {
            let mut n = 0.0;
            let mut right = vec![0.0; draws.len()];
            for _ in clusters {
                let cluster = &clusters[random.below(clusters.len())];
                n += cluster.n;
                for (right, draws) in right.iter_mut().zip(&draws) {
                    *right += draws.iter().map(|&at| cluster.right[at]).sum::<f64>();
                }
            }
            for (error, right) in errors.iter_mut().zip(right) {
                *error -= right / (n * (DRAWS * self.classes.len()) as f64);
            }
        }
        errors
    }
}

fn mean(numbers: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = numbers.len().max(1);
    numbers.sum::<f64>() / n as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Normalization;

    /// `n` noisy samples of each of three classes, two of a burst.
    fn samples(n: usize, renamed: u64) -> Samples {
        let mut random = SplitMix64::new(4);
        let labels: Vec<u32> = (0..3 * n).map(|i| (i % 3) as u32).collect();
        let mut rows = Vec::new();
        for &label in &labels {
            for at in 0..24 {
                let noise: f32 = (0..12).map(|_| random.below(1000) as f32 / 1e3).sum();
                rows.push(noise - 6.0 + if at % 3 == label { 0.5 } else { 0.0 });
            }
        }
        let groups = (0..3 * n as u64).map(|i| (i / 6 * 3 + i % 3) ^ renamed);
        let names = ["a", "b", "c"].map(String::from).to_vec();
        Samples::new(24, rows, labels, names, groups.collect()).unwrap()
    }

    const RIDGE: Settings = Settings {
        kind: HeadKind::Ridge,
        normalization: Normalization::None,
        penalty: 30.0,
        class_weights: crate::head::ClassWeights::Balanced,
    };

    #[test]
    fn accuracy_grows_with_the_samples_and_every_judge_judges_every_point() {
        let samples = samples(60, 0);
        let curve = curve(&samples, RIDGE, 1).unwrap();
        let sizes: Vec<usize> = curve.points.iter().map(|p| p.samples_per_class).collect();
        assert_eq!(sizes, [1, 3, 6, 12, 24, 48][..]);
        for point in &curve.points {
            let (low, high) = point.balanced_accuracy_95;
            assert_eq!(point.n, 180);
            assert!(low < point.balanced_accuracy && point.balanced_accuracy < high);
        }
        let accuracy: Vec<f64> = curve.points.iter().map(|p| p.balanced_accuracy).collect();
        assert!(
            accuracy[5] > accuracy[2] && accuracy[2] > accuracy[0],
            "{accuracy:?}"
        );
        let gain = curve.next_10.unwrap();
        assert_eq!((gain.from, gain.to), (60, 70));
        assert!(gain.gain >= 0.0 && gain.gain_95.0 <= gain.gain && gain.gain <= gain.gain_95.1);
    }

    #[test]
    fn the_same_seed_gives_the_same_curve_whatever_bursts_are_called() {
        let one = curve(&samples(20, 0), RIDGE, 3).unwrap();
        assert_eq!(one, curve(&samples(20, 0), RIDGE, 3).unwrap());
        assert_eq!(one, curve(&samples(20, 0x5555), RIDGE, 3).unwrap());
    }

    #[test]
    fn a_point_learns_from_what_the_points_before_learned_and_never_from_a_judge() {
        let samples = samples(20, 0);
        let order = order(&samples, 5, 1);
        for fold in splits::folds(5, &samples).unwrap() {
            let mut before = Vec::new();
            for size in [1, 3, 8, 15] {
                let rows = some_of_each(&samples, &fold, &order, size);
                assert_eq!(rows.len(), 3 * size);
                assert!(before.iter().all(|row| rows.contains(row)));
                let groups: Vec<u64> = rows.iter().map(|&row| samples.groups[row]).collect();
                for judge in &fold.judge {
                    assert!(!groups.contains(&samples.groups[*judge]));
                }
                before = rows;
            }
        }
    }

    #[test]
    fn too_few_samples_say_so() {
        let few = curve(&samples(10, 0), RIDGE, 0).unwrap();
        let refused = few.next_10.unwrap_err();
        assert!(
            matches!(
                refused,
                Unforeseen::FewSamples {
                    n: 6..=8,
                    to: 20,
                    ..
                }
            ),
            "{refused}"
        );
        assert!(refused.to_string().starts_with("cannot say"));
    }
}
