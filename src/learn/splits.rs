//! Splits: which samples learn and which judge. Pure and seeded.
//!
//! Invariant: samples of one capture burst are never on both sides, and no class is without a sample that learns.

use crate::head::Samples;
use crate::random::SplitMix64;
use std::collections::BTreeMap;

/// The most folds. More cost time and change little (Kohavi, 1995, recommends ten for whole data sets; five keep a board quick).
const MAX_FOLDS: usize = 5;

/// A split: row numbers of the samples that learn, and of those that judge.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    pub learn: Vec<usize>,
    pub judge: Vec<usize>,
}

/// Stratified folds over bursts, or `None` when fewer than two classes have two bursts: nothing could be judged fairly then.
///
/// A class that has a single burst always learns and never judges.
pub fn folds(seed: u64, samples: &Samples) -> Option<Vec<Fold>> {
    let bursts = bursts(samples);
    let bursts_of = bursts_of(samples);
    let judged: Vec<usize> = bursts_of.iter().copied().filter(|&n| n >= 2).collect();
    let fewest = judged.iter().copied().min()?;
    if judged.len() < 2 {
        return None;
    }
    // The fold count follows the class with the fewest bursts, but a rare class must not starve the others of judges.
    let count = fewest.clamp(3, MAX_FOLDS);
    let fold_of = assign(seed, samples, &bursts, count);
    let folds: Vec<Fold> = (0..count)
        .map(|fold| one_fold(samples, &fold_of, fold, &bursts_of))
        .filter(|fold| !fold.judge.is_empty())
        .collect();
    (folds.len() >= 2).then_some(folds)
}

/// Rows of each burst.
pub fn bursts(samples: &Samples) -> BTreeMap<u64, Vec<usize>> {
    let mut bursts: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (row, &group) in samples.groups.iter().enumerate() {
        bursts.entry(group).or_default().push(row);
    }
    bursts
}

/// Number of bursts of each class.
pub fn bursts_of(samples: &Samples) -> Vec<usize> {
    let mut bursts_of = vec![0usize; samples.classes()];
    for rows in bursts(samples).values() {
        let mut classes: Vec<u32> = rows.iter().map(|&row| samples.labels[row]).collect();
        classes.sort_unstable();
        classes.dedup();
        for class in classes {
            bursts_of[class as usize] += 1;
        }
    }
    bursts_of
}

/// The fold of each row: bursts, largest first, go where their class is rarest, then where the fewest samples are.
fn assign(
    seed: u64,
    samples: &Samples,
    bursts: &BTreeMap<u64, Vec<usize>>,
    count: usize,
) -> Vec<usize> {
    // In order of the first row, not of the burst's number, so that renaming bursts changes nothing.
    let mut order: Vec<&Vec<usize>> = bursts.values().collect();
    order.sort_by_key(|rows| rows[0]);
    SplitMix64::new(seed).shuffle(&mut order);
    order.sort_by_key(|rows| std::cmp::Reverse(rows.len()));
    let mut per_class = vec![vec![0usize; count]; samples.classes()];
    let mut total = vec![0usize; count];
    let mut fold_of = vec![0; samples.n()];
    for rows in order {
        let class = samples.labels[rows[0]] as usize;
        let fold = (0..count)
            .min_by_key(|&fold| (per_class[class][fold], total[fold]))
            .unwrap_or(0);
        for &row in rows {
            fold_of[row] = fold;
            per_class[samples.labels[row] as usize][fold] += 1;
            total[fold] += 1;
        }
    }
    fold_of
}

fn one_fold(samples: &Samples, fold_of: &[usize], fold: usize, bursts_of: &[usize]) -> Fold {
    let rows = 0..samples.n();
    let mut learns = vec![0usize; samples.classes()];
    for row in rows.clone().filter(|&row| fold_of[row] != fold) {
        learns[samples.labels[row] as usize] += 1;
    }
    // A burst whose class would vanish stays whole on the learning side, with all of its samples.
    let starved = |row: usize| {
        let class = samples.labels[row] as usize;
        learns[class] == 0 || bursts_of[class] < 2
    };
    let kept: Vec<u64> = rows
        .clone()
        .filter(|&row| fold_of[row] == fold && starved(row))
        .map(|row| samples.groups[row])
        .collect();
    let judges = |row: &usize| fold_of[*row] == fold && !kept.contains(&samples.groups[*row]);
    Fold {
        learn: rows.clone().filter(|row| !judges(row)).collect(),
        judge: rows.filter(judges).collect(),
    }
}

/// Draws `shots` rows of each class: for each class in order of its number, its rows in order are shuffled by one SplitMix64
/// stream seeded with `seed` (Fisher–Yates from the end) and the first `shots` are taken; all of them where there are fewer.
pub fn shots(seed: u64, shots: usize, labels: &[u32]) -> Vec<usize> {
    let mut random = SplitMix64::new(seed);
    let classes = labels.iter().max().map_or(0, |&label| label + 1);
    let mut drawn = Vec::new();
    for class in 0..classes {
        let mut rows: Vec<usize> = (0..labels.len())
            .filter(|&row| labels[row] == class)
            .collect();
        random.shuffle(&mut rows);
        rows.truncate(shots);
        drawn.extend(rows);
    }
    drawn.sort_unstable();
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn samples(labels: Vec<u32>, groups: Vec<u64>) -> Samples {
        let names = (0..10).map(|i| format!("class {i}")).collect();
        let rows = (0..labels.len()).map(|i| i as f32).collect();
        Samples::new(1, rows, labels, names, groups).unwrap()
    }

    #[test]
    fn one_burst_a_class_cannot_be_judged() {
        assert_eq!(folds(0, &samples(vec![0, 0, 1, 1], vec![1, 1, 2, 2])), None);
        assert_eq!(folds(0, &samples(vec![0, 0, 1, 1], vec![1, 3, 2, 2])), None);
        assert!(folds(0, &samples(vec![0, 0, 1, 1], vec![1, 3, 2, 4])).is_some());
    }

    #[test]
    fn drawn_shots_are_the_documented_ones() {
        let labels = [0, 1, 0, 1, 0, 1];
        assert_eq!(shots(0, 9, &labels), [0, 1, 2, 3, 4, 5]);
        let drawn = shots(3, 1, &labels);
        assert_eq!(drawn.len(), 2);
        assert_ne!(labels[drawn[0]], labels[drawn[1]]);
        assert_eq!(drawn, shots(3, 1, &labels));
    }

    proptest! {
        #[test]
        fn no_burst_stands_on_both_sides_and_every_class_learns(
            rows in proptest::collection::vec((0u32..4, 0u64..12), 4..60), seed in any::<u64>()
        ) {
            let (labels, groups): (Vec<u32>, Vec<u64>) = rows.into_iter().unzip();
            let samples = samples(labels, groups);
            for fold in folds(seed, &samples).unwrap_or_default() {
                for row in &fold.judge {
                    prop_assert!(fold.learn.iter().all(|r| samples.groups[*r] != samples.groups[*row]));
                }
                for class in 0..samples.classes() as u32 {
                    prop_assert!(fold.learn.iter().any(|&r| samples.labels[r] == class));
                }
                prop_assert_eq!(fold.learn.len() + fold.judge.len(), samples.n());
            }
        }
    }
}
