//! The discrete Fourier transform, the same on every machine. Pure.
//!
//! No library's: theirs choose their order of sums by the processor, and the last bits with it. Sines are those of the crate `libm`
//! instead of the system's.

use std::f64::consts::PI;

/// A transform of one length.
pub struct Transform {
    /// `exp(-2πi k / length)` for the first half of the k.
    turns: Vec<(f64, f64)>,
}

impl Transform {
    /// For `length` numbers, a power of two.
    pub fn new(length: usize) -> Transform {
        let angle = |turn: usize| -2.0 * PI * turn as f64 / length as f64;
        let turn = |turn: usize| (libm::cos(angle(turn)), libm::sin(angle(turn)));
        Transform {
            turns: (0..length / 2).map(turn).collect(),
        }
    }

    /// Transforms `[re, im]` in place (Cooley and Tukey, 1965).
    pub fn run(&self, x: &mut [(f64, f64)]) {
        let length = x.len();
        debug_assert_eq!(length, 2 * self.turns.len());
        let bits = length.trailing_zeros();
        for at in 0..length {
            let other = at.reverse_bits() >> (usize::BITS - bits);
            if at < other {
                x.swap(at, other);
            }
        }
        let mut half = 1;
        while half < length {
            let every = length / (2 * half);
            for block in x.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                let turns = self.turns.iter().step_by(every);
                for ((a, b), &(re, im)) in low.iter_mut().zip(high).zip(turns) {
                    let turned = (b.0 * re - b.1 * im, b.0 * im + b.1 * re);
                    *b = (a.0 - turned.0, a.1 - turned.1);
                    *a = (a.0 + turned.0, a.1 + turned.1);
                }
            }
            half *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_that_defines_it() {
        let values: Vec<f64> = (0..64).map(|i| f64::from(i * i % 37) - 11.0).collect();
        let mut fast: Vec<(f64, f64)> = values.iter().map(|&x| (x, 0.0)).collect();
        Transform::new(64).run(&mut fast);
        for (line, (re, im)) in fast.into_iter().enumerate() {
            let angle = |at: usize| -2.0 * PI * (at * line) as f64 / 64.0;
            let sum = |wave: fn(f64) -> f64| -> f64 {
                let terms = values.iter().enumerate();
                terms.map(|(at, x)| x * wave(angle(at))).sum()
            };
            assert!((re - sum(f64::cos)).abs() < 1e-9 && (im - sum(f64::sin)).abs() < 1e-9);
        }
    }
}
