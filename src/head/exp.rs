//! The exponential function of numbers that are not above zero, as probabilities need it: what is inlined into
//! [`vectorized`](super::gram::vectorized) loops runs in vectors, and gives the same bits on every machine, which the system's
//! library does not promise.
//!
//! `eˣ = 2ᵏ eʳ` with `k = round(x / ln 2)` and `r = x − k ln 2`, ln 2 taken off in two parts (Cody and Waite, Software Manual for the
//! Elementary Functions, 1980); `eʳ` for `|r| ≤ ln 2 / 2` is its Taylor polynomial as far as the type can hold.

/// `round`: 1.5 · 2ᵐ with the m bits of the type's fraction: what is added to it is rounded to a whole number, which its low bits then
/// hold. `ln_2`: so many of its bits that the product with `k` is exact, and the rest. `series`: one over the factorials, highest
/// first.
macro_rules! exponential {
    ($(#[$doc:meta])* $name:ident($float:ident), round $round:expr, ln_2 $ln_2:expr, lowest $lowest:expr, bias $bias:expr,
     series $series:expr) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $name(x: $float) -> $float {
            const ROUND: $float = $round;
            const LN_2: ($float, $float) = $ln_2;
            let rounded = x * std::$float::consts::LOG2_E + ROUND;
            let k = rounded - ROUND;
            let r = (x - k * LN_2.0) - k * LN_2.1;
            let mut sum = 0.0;
            for factorial in $series {
                sum = sum * r + 1.0 / factorial;
            }
            let power = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add($bias);
            if x < $lowest {
                0.0
            } else {
                sum * $float::from_bits(power << ($float::MANTISSA_DIGITS - 1))
            }
        }
    };
}

exponential! {
    /// `eˣ` for `x ≤ 0`, to 2 units in the last place; 0 below −87, where it would soon be no normal number. NaN stays NaN.
    exp_f32(f32), round 12_582_912.0, ln_2 (0.693_145_75, 1.428_606_8e-6), lowest -87.0, bias 127,
    series [5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0]
}

exponential! {
    /// The same in f64; 0 below −708.
    exp_f64(f64), round 6_755_399_441_055_744.0, ln_2 (0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10), lowest -708.0, bias 1023,
    series [
        6_227_020_800.0, 479_001_600.0, 39_916_800.0, 3_628_800.0, 362_880.0, 40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0,
        1.0,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_exponential_function_to_two_units_in_the_last_place() {
        for i in 0..200_000u32 {
            let x = -86.9 * f64::from(i) / 200_000.0;
            let narrow = x as f32;
            let (got, right) = (exp_f32(narrow), f64::from(narrow).exp());
            let error = (f64::from(got) / right - 1.0).abs();
            assert!(
                error <= 2.0 * f64::from(f32::EPSILON),
                "{narrow}: {got} {right}"
            );
            let wide = 8.0 * x;
            let error = (exp_f64(wide) / wide.exp() - 1.0).abs();
            assert!(error <= 4.0 * f64::EPSILON, "{wide}: {error:e}");
        }
    }

    #[test]
    fn ends_are_what_they_are() {
        assert_eq!((exp_f32(0.0), exp_f64(0.0)), (1.0, 1.0));
        assert_eq!((exp_f32(-88.0), exp_f64(-709.0)), (0.0, 0.0));
        assert_eq!(exp_f32(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp_f64(f64::NEG_INFINITY), 0.0);
        assert!(exp_f32(f32::NAN).is_nan() && exp_f64(f64::NAN).is_nan());
    }
}
