//! Arithmetic that is the same on every machine.
//!
//! Owns: sine, cosine and arc tangent as polynomials, and small helpers. Invariant: only `+ - * /`, `sqrt`, comparisons and
//! conversions, which IEEE 754 rounds one way; what a libm rounds its own way (`sin`, `exp`, `powf`) never appears.

/// Taylor series of sin(x·π/2) to the ninth power; the next term is below 4e-6 for |x| ≤ 1.
const SINE: [f32; 5] = [
    std::f32::consts::FRAC_PI_2,
    -0.645_964_1,
    0.079_692_63,
    -0.004_681_754,
    0.000_160_441,
];

/// Abramowitz and Stegun, Handbook of Mathematical Functions, 4.4.49: arctan for |x| ≤ 1, error below 1e-5.
const ARC_TANGENT: [f32; 5] = [0.999_866, -0.330_299_5, 0.180_141, -0.085_133, 0.020_835_1];

/// Radians in a turn; angles are in turns everywhere else.
pub const RADIANS: f32 = std::f32::consts::TAU;

/// Odd polynomial: `x·(c0 + c1·x² + …)`.
fn odd(x: f32, coefficients: [f32; 5]) -> f32 {
    let square = x * x;
    x * coefficients
        .iter()
        .rev()
        .fold(0.0, |sum, c| sum * square + c)
}

/// The largest whole number not above `x`, for |x| < 2³¹. `f32::floor` is a call on x86 processors without SSE 4.1.
pub fn floor(x: f32) -> i32 {
    let whole = x as i32;
    whole - i32::from(whole as f32 > x)
}

/// What is left of `x` above [`floor`].
pub fn fract(x: f32) -> f32 {
    x - floor(x) as f32
}

/// Sine of an angle in turns.
pub fn sine(turns: f32) -> f32 {
    let quarters = 4.0 * fract(turns);
    let folded = if quarters < 1.0 {
        quarters
    } else if quarters < 3.0 {
        2.0 - quarters
    } else {
        quarters - 4.0
    };
    odd(folded, SINE)
}

/// Cosine of an angle in turns.
pub fn cosine(turns: f32) -> f32 {
    sine(turns + 0.25)
}

/// Direction of a point in turns, from -0.5 to 0.5.
pub fn direction(x: f32, y: f32) -> f32 {
    let (across, along) = (x.abs().min(y.abs()), x.abs().max(y.abs()));
    let first = odd(across / along.max(f32::MIN_POSITIVE), ARC_TANGENT) / RADIANS;
    let octant = if y.abs() > x.abs() {
        0.25 - first
    } else {
        first
    };
    let half = if x < 0.0 { 0.5 - octant } else { octant };
    if y < 0.0 { -half } else { half }
}

/// From `a` at 0 to `b` at 1.
pub fn mix(a: f32, b: f32, share: f32) -> f32 {
    a + (b - a) * share
}

/// 0 below `from`, 1 above `to`, smooth between.
pub fn ramp(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Length of a vector.
pub fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomials_agree_with_libm_to_five_digits() {
        for step in -400..400 {
            let turns = step as f32 / 173.0;
            let angle = turns * RADIANS;
            assert!((sine(turns) - angle.sin()).abs() < 1e-5, "{turns}");
            assert!((cosine(turns) - angle.cos()).abs() < 1e-5, "{turns}");
            let (y, x) = angle.sin_cos();
            let expected = y.atan2(x) / RADIANS;
            let off = (direction(x, y) - expected).abs();
            assert!(!(1e-5..=1.0 - 1e-5).contains(&off), "{turns}");
        }
    }

    #[test]
    fn floor_agrees_with_std_below_zero_too() {
        for x in [-2.0, -1.5, -0.0, 0.0, 0.5, 3.0, 1e6 + 0.5] {
            assert_eq!(floor(x) as f32, x.floor());
        }
    }
}
