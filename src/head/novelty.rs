//! How little a sample is like anything learned: the open-set score behind *unknown*.
//!
//! Two signs that a sample is of no known class are added, each in standard deviations of held-out known samples: the head's doubt,
//! the logarithm of what the highest probability lacks to one, and the distance to the nearest sample that was learned (Sun et al.,
//! Out-of-Distribution Detection with Deep Nearest Neighbors, 2022). Doubt misses what looks like a class but lies far from all of its
//! samples; distance misses what lies between the classes, and grows for everything once the light changes, so it counts no more than
//! `FARTHEST`. With each class left out in turn, the sum tells unknown from known better than either sign (`tests/answers.rs`
//! prints the table beside published scores).
//!
//! Learned samples are kept as codes: features of length one, multiplied by random signs (Achlioptas, Database-friendly Random
//! Projections, 2003) to [`CODE`] numbers, one byte each. Distances keep their size within `1/√(2 · CODE)`, 6 %, and 480 samples take
//! 61 KB where their features take 2.5 MB. Codes come and go with their samples, whatever the head.

use super::gram;
use crate::random::SplitMix64;
use serde::{Deserialize, Serialize};

/// Numbers of a code. By leaving classes out of trashnet, 64, 128 and 256 lose 0.02, 0.01 and 0.01 of the area under the curve to
/// distances of the features themselves.
pub const CODE: usize = 128;
/// Samples that are kept at most, so that a head stays below 131 KB of codes; of more, a part that does not depend on their order.
pub const MOST: usize = 1024;
/// Steps of one standard deviation of a code's numbers, which then clip beyond 4.5 of them.
const STEPS: f64 = 28.0;
/// Of the signs; part of the format.
const SEED: u64 = 0;
/// Added to what a probability lacks to one, so that 99.9 % and 99.99 % are equally sure. Without it, parts of the simulated line in a
/// light never learned are called unknown for lacking the last decimals.
const SURE: f64 = 0.01;
/// Standard deviations at least: of doubt a factor of e in what is lacking, of distance a tenth of its mean. What never varied among
/// a few held-out samples is not blown up.
const LEAST_DOUBT_DEVIATION: f64 = 1.0;
const LEAST_DISTANCE_SHARE: f64 = 0.1;
/// Standard deviations that distance counts at most. In a light never learned, where 11 to 21 % of the answers are wrong, 1.5 calls 3
/// to 21 % of known parts unknown, 1 calls 3 to 13 %, 2 calls two in three, and no bound all of them (six seeds of the line); on photos
/// the area under the curve is 0.755 with 1.5, 0.749 with 1, and hardly more with 2 or none.
const FARTHEST: f32 = 1.5;

/// What is needed to tell how novel a sample is, and when it is *unknown*.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Novelty {
    codes: Codes,
    doubt: Moments,
    distance: Moments,
    /// A score above this means *unknown*.
    pub unknown_above: f32,
}

/// Mean and standard deviation of a sign over held-out samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Moments {
    mean: f32,
    deviation: f32,
}

/// Codes of samples `[n, CODE]`, in an order of their own, so that the order in which they were learned does not matter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Codes(Vec<i8>);

type Code = [i8; CODE];

/// A sample as it was held out: how doubtful the head was, and how far it lies from samples of other bursts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sign {
    pub doubt: f64,
    pub distance: f64,
}

impl Novelty {
    /// From the learned samples, and the signs of the held-out among them; at most `false_alarm_rate` of these are unknown. `None`
    /// without any.
    pub fn new(codes: Codes, signs: &[Sign], false_alarm_rate: f64) -> Option<Novelty> {
        let mut novelty = Novelty {
            doubt: Moments::of(signs.iter().map(|sign| sign.doubt))?
                .at_least(|_| LEAST_DOUBT_DEVIATION),
            distance: Moments::of(signs.iter().map(|sign| sign.distance))?
                .at_least(|mean| LEAST_DISTANCE_SHARE * mean),
            codes,
            unknown_above: f32::MAX,
        };
        let mut scores: Vec<f32> = signs.iter().map(|&sign| novelty.sum(sign)).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        let allowed = (false_alarm_rate * scores.len() as f64).floor() as usize;
        novelty.unknown_above = *scores.get(allowed)?;
        Some(novelty)
    }

    /// How novel a sample is, by its features and the head's doubt.
    pub fn score(&self, features: &[f32], doubt: f64) -> f32 {
        let distance = self.codes.distance(features);
        self.sum(Sign { doubt, distance })
    }

    fn sum(&self, sign: Sign) -> f32 {
        let distance = self.distance.scaled(sign.distance);
        self.doubt.scaled(sign.doubt) + distance.min(FARTHEST)
    }

    pub fn learn(&mut self, features: &[f32]) {
        self.codes.insert(&code(features));
    }

    /// Takes a sample out again; one that was not kept changes nothing.
    pub fn forget(&mut self, features: &[f32]) {
        self.codes.remove(&code(features));
    }

    pub(super) fn is_sound(&self) -> bool {
        let moments = [self.doubt, self.distance];
        let fine = |m: Moments| m.mean.is_finite() && m.deviation.is_finite() && m.deviation > 0.0;
        moments.into_iter().all(fine) && self.unknown_above.is_finite() && self.codes.is_sound()
    }
}

impl Moments {
    fn of(numbers: impl Iterator<Item = f64> + Clone) -> Option<Moments> {
        let n = numbers.clone().count() as f64;
        let mean = numbers.clone().sum::<f64>() / n;
        let variance = numbers.map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        (n > 0.0).then_some(Moments {
            mean: mean as f32,
            deviation: variance.sqrt() as f32,
        })
    }

    /// With a deviation of at least what `least` makes of the mean, and never of zero.
    fn at_least(self, least: impl Fn(f64) -> f64) -> Moments {
        let least = least(f64::from(self.mean)).max(1e-6) as f32;
        Moments {
            deviation: self.deviation.max(least),
            ..self
        }
    }

    fn scaled(self, x: f64) -> f32 {
        (x as f32 - self.mean) / self.deviation
    }
}

/// `ln(1 − highest probability + SURE)` of raw scores.
pub fn doubt(raw: &[f64], factor: f64) -> f64 {
    let highest = raw.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers = raw.iter().map(|x| ((x - highest) * factor).exp());
    let sum: f64 = powers.sum();
    (1.0 - 1.0 / sum + SURE).ln()
}

impl Codes {
    pub fn of<'a>(rows: impl Iterator<Item = &'a [f32]>) -> Codes {
        let mut codes: Vec<Code> = rows.map(code).collect();
        codes.sort_by_key(rank);
        codes.truncate(MOST);
        Codes(codes.concat())
    }

    fn iter(&self) -> impl Iterator<Item = &Code> {
        self.0.as_chunks().0.iter()
    }

    /// Distance of a sample to the nearest of these, in units of the features' length: 0 to 2, beside the error of the codes.
    fn distance(&self, features: &[f32]) -> f64 {
        let own = code(features);
        length(self.iter().map(|other| square(&own, other)).min())
    }

    /// Where a code stands or would stand.
    fn search(&self, code: &Code) -> Result<usize, usize> {
        let codes = self.0.as_chunks::<CODE>().0;
        codes.binary_search_by_key(&rank(code), rank)
    }

    fn insert(&mut self, code: &Code) {
        let at = self.search(code).unwrap_or_else(|at| at) * CODE;
        self.0.splice(at..at, code.iter().copied());
        self.0.truncate(MOST * CODE);
    }

    fn remove(&mut self, code: &Code) {
        // The last one stays, so that there is something to be far from.
        if let Ok(at) = self.search(code)
            && self.0.len() > CODE
        {
            self.0.drain(at * CODE..(at + 1) * CODE);
        }
    }

    fn is_sound(&self) -> bool {
        let fits = self.0.len().is_multiple_of(CODE) && self.0.len() <= MOST * CODE;
        fits && !self.0.is_empty() && self.iter().map(rank).is_sorted()
    }
}

/// Of each row named, its distance to the nearest row of another group; 2, the largest, where there is none.
pub fn distances_to_others(
    width: usize,
    rows: &[f32],
    groups: &[u64],
    judges: &[usize],
) -> Vec<f64> {
    use rayon::prelude::*;
    let codes: Vec<Code> = rows.par_chunks_exact(width).map(code).collect();
    let nearest = |&row: &usize| {
        let others = codes.iter().zip(groups);
        let others = others.filter(|(_, group)| **group != groups[row]);
        length(others.map(|(other, _)| square(&codes[row], other)).min())
    };
    judges.par_iter().map(nearest).collect()
}

fn length(square: Option<i32>) -> f64 {
    let unit = STEPS * (CODE as f64).sqrt();
    square.map_or(2.0, |square| f64::from(square).sqrt() / unit)
}

/// Features of length one times signs, in steps.
fn code(features: &[f32]) -> Code {
    let length = gram::dot(features, features).sqrt();
    let factor = if length > 0.0 { STEPS / length } else { 0.0 };
    signed_sums(features).map(|sum| (sum * factor).round() as i8)
}

/// Order of codes: by a hash first, so that the first [`MOST`] of them are a fair draw.
fn rank(code: &Code) -> (u64, Code) {
    let hash = code.as_chunks::<8>().0.iter().fold(SEED, |hash, bytes| {
        let word = u64::from_le_bytes(bytes.map(|byte| byte as u8));
        SplitMix64::new(hash ^ word).next_u64()
    });
    (hash, *code)
}

gram::vectorized! {
    fn square<'a>(a: &'a Code, b: &'a Code) -> i32 {
        let differences = a.iter().zip(b).map(|(&a, &b)| i32::from(a) - i32::from(b));
        differences.map(|d| d * d).sum()
    }
}

gram::vectorized! {
    fn signed_sums<'a>(features: &'a [f32]) -> [f64; CODE] {
        let mut random = SplitMix64::new(SEED);
        let mut sums = [0.0f64; CODE];
        for &x in features {
            let x = f64::from(x).to_bits();
            for part in sums.as_chunks_mut::<64>().0 {
                let signs = random.next_u64();
                for (bit, sum) in part.iter_mut().enumerate() {
                    *sum += f64::from_bits(x ^ ((signs >> bit & 1) << 63));
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::new(seed);
        (0..200).map(|_| random.below(1000) as f32).collect()
    }

    fn novelty(rows: &[Vec<f32>]) -> Novelty {
        let signs: Vec<Sign> = (0..20)
            .map(|i| Sign {
                doubt: -f64::from(i),
                distance: 0.1 * f64::from(i),
            })
            .collect();
        Novelty::new(Codes::of(rows.iter().map(Vec::as_slice)), &signs, 0.1).unwrap()
    }

    #[test]
    fn distances_of_codes_are_those_of_features_of_length_one() {
        let codes = Codes::of([row(1)].iter().map(Vec::as_slice));
        let unit = |x: Vec<f32>| {
            let length = gram::dot(&x, &x).sqrt();
            x.into_iter().map(move |x| f64::from(x) / length)
        };
        for seed in 2..20 {
            let pairs = unit(row(1)).zip(unit(row(seed)));
            let exact = pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            let given = codes.distance(&row(seed));
            assert!((given / exact - 1.0).abs() < 0.3, "{given} {exact}");
        }
        let brighter: Vec<f32> = row(1).iter().map(|x| 3.0 * x).collect();
        assert_eq!(codes.distance(&brighter), 0.0);
    }

    #[test]
    fn doubt_and_distance_both_raise_the_score() {
        let known = novelty(&[row(1), row(2)]);
        assert!(known.score(&row(1), -1.0) > known.score(&row(1), -3.0));
        assert!(known.score(&row(9), -3.0) > known.score(&row(1), -3.0));
        let far: Vec<f32> = row(1).iter().map(|x| -x).collect();
        let most = known.doubt.scaled(-3.0) + FARTHEST;
        assert_eq!(known.score(&far, -3.0), most);
    }

    #[test]
    fn at_most_the_allowed_share_of_the_held_out_is_unknown() {
        let signs: Vec<Sign> = (0..50)
            .map(|i| Sign {
                doubt: f64::from(i % 7),
                distance: f64::from(i % 5),
            })
            .collect();
        for (rate, most) in [(0.0, 0), (0.1, 5), (0.5, 25)] {
            let codes = Codes::of([row(1)].iter().map(Vec::as_slice));
            let one = Novelty::new(codes, &signs, rate).unwrap();
            let unknown = signs.iter().filter(|&&s| one.sum(s) > one.unknown_above);
            assert!(unknown.count() <= most, "{rate}");
        }
        assert_eq!(Novelty::new(Codes::default(), &[], 0.1), None);
    }

    #[test]
    fn doubt_is_the_logarithm_of_what_the_others_have() {
        let p = doubt(&[3f64.ln(), 0.0], 1.0);
        assert!((p - 0.26f64.ln()).abs() < 1e-12);
        assert_eq!(doubt(&[1e6, 0.0], 1.0), SURE.ln());
    }

    #[test]
    fn a_sample_is_judged_by_other_groups_only() {
        let rows = [row(1), row(1), row(2)].concat();
        let away = |groups: [u64; 3]| distances_to_others(200, &rows, &groups, &[0]);
        assert_eq!(away([1, 2, 3]), [0.0]);
        assert!(away([1, 1, 3])[0] > 0.1);
        assert_eq!(away([1, 1, 1]), [2.0]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_does_not_depend_on_order() {
        let mut rows: Vec<Vec<f32>> = (0..MOST as u64 + 9).map(row).collect();
        let all = novelty(&rows);
        assert!(all.is_sound());
        assert_eq!(all.codes.0.len(), MOST * CODE);
        rows.reverse();
        assert_eq!(novelty(&rows), all);
        let mut grown = novelty(&rows[..5]);
        rows[5..].iter().for_each(|row| grown.learn(row));
        assert_eq!(grown, all);
    }

    proptest! {
        #[test]
        fn what_is_learned_and_forgotten_leaves_no_trace(seeds in proptest::collection::vec(0u64..50, 2..20)) {
            let rows: Vec<Vec<f32>> = seeds.iter().copied().map(row).collect();
            let before = novelty(&rows[..1]);
            let mut one = before.clone();
            rows[1..].iter().for_each(|row| one.learn(row));
            prop_assert!(one.is_sound());
            rows[1..].iter().for_each(|row| one.forget(row));
            prop_assert_eq!(one, before);
        }
    }
}
