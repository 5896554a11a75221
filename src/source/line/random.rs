//! Random numbers, as a stream and as a field.
//!
//! Owns: the forms of random numbers that drawing needs, and noise that depends on the place alone. Does not own: the
//! generator. Invariant: whole-number arithmetic, so every machine draws the
//! same.

use super::number::{floor, mix};
use crate::random::SplitMix64;

/// A stream of numbers in the forms that drawing needs.
#[derive(Clone, Debug)]
pub struct Random(SplitMix64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(SplitMix64::new(seed))
    }

    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From 0 to below 1, in the 2²⁴ steps that an f32 holds exactly.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / 16_777_216.0
    }

    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        mix(low, high, self.unit())
    }

    /// A whole number below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        self.0.below(count)
    }

    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Three numbers near the normal distribution, each the sum of three uniform ones (Irwin–Hall) of seven bits, whose variance
    /// is 1/4. One draw for a pixel: noise is most of the numbers a frame needs.
    pub fn normals(&mut self) -> [f32; 3] {
        let bits = self.bits();
        [0, 21, 42].map(|from| {
            let uniform = |place: u32| (bits >> (from + 7 * place)) as u32 & 127;
            (uniform(0) + uniform(1) + uniform(2)) as f32 / 64.0 - 381.0 / 128.0
        })
    }
}

/// A number from 0 to below 1 that belongs to a place: lowbias32 by Chris Wellons (Prospecting for Hash Functions, 2018).
pub fn hash(seed: u32, x: i32, y: i32) -> f32 {
    let mut h = seed ^ (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77);
    h = (h ^ (h >> 16)).wrapping_mul(0x7feb_352d);
    h = (h ^ (h >> 15)).wrapping_mul(0x846c_a68b);
    h ^= h >> 16;
    (h >> 8) as f32 / 16_777_216.0
}

/// Value noise with a cell of 1: smooth, from 0 to 1.
pub fn noise(seed: u32, x: f32, y: f32) -> f32 {
    let (column, row) = (floor(x), floor(y));
    let (u, v) = (x - column as f32, y - row as f32);
    let (u, v) = (u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v));
    let top = mix(hash(seed, column, row), hash(seed, column + 1, row), u);
    let bottom = mix(
        hash(seed, column, row + 1),
        hash(seed, column + 1, row + 1),
        u,
    );
    mix(top, bottom, v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_a_mean_of_0_and_a_variance_of_1() {
        let mut random = Random::new(7);
        let drawn: Vec<f32> = (0..7_000).flat_map(|_| random.normals()).collect();
        let mean = drawn.iter().sum::<f32>() / 21_000.0;
        let variance = drawn.iter().map(|x| x * x).sum::<f32>() / 21_000.0;
        assert!(
            mean.abs() < 0.03 && (variance - 1.0).abs() < 0.03,
            "{mean} {variance}"
        );
    }
}
