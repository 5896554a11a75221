//! What the next samples would bring, read off a learning curve. Pure.
//!
//! The error of classifiers falls with their samples as an inverse power law, after a slower beginning. Measured on drawn subsets of
//! two sets of photos, 20, 40, 40 and 80 samples a class of the one (the second 40 with all outputs as features) and 22 of the other:
//! on average 2.5, 1.4, 1.4, 0.6 and 2.2 points were foreseen where 3.4, 1.1, 1.5, 0.4 and 3.4 came, and 69 of 79 intervals held the
//! gain that came on average. It is that average they are of: ten given samples may bring more, less, or do harm.

use super::curve::Point;
use super::metrics::Interval;

/// How many more samples a class are looked ahead.
pub const AHEAD: usize = 10;
/// The law is continued to at most so many times the last point. The last point then has [`AHEAD`] samples at least, which make four
/// points, one more than the law has numbers.
const FURTHEST: usize = 2;
/// Points that the law is fitted to, the last ones: it holds for many samples rather than for few.
const FITTED: usize = 5;
/// Points that say what the last doublings brought.
const LAST: usize = 3;
/// Bootstrap samples of the judges' bursts; their 2.5 % and 97.5 % points are known to about a tenth of the interval.
const REPLICATES: usize = 200;
/// Exponents tried: from the slowest learning seen of frozen features to one faster than any.
const EXPONENTS: std::ops::RangeInclusive<u32> = 2..=40;
const EXPONENT_STEP: f64 = 0.05;
/// An interval wider than this says nothing.
const WIDEST: f64 = 0.1;
/// Power of the number of samples by which a point weighs.
const WEIGHT: f64 = 0.5;

/// What more samples of every class would bring.
#[derive(Clone, Debug, PartialEq)]
pub struct Gain {
    /// Samples of the smallest class today, and then.
    pub from: usize,
    pub to: usize,
    /// Change of balanced accuracy, 0 to 1.
    pub gain: f64,
    /// Bootstrap of judges and draws, from the low end by the law to the high end by a curve that does not flatten: one that goes on
    /// growing by as much a doubling as it last did.
    pub gain_95: Interval,
}

/// Why nothing can be said of the next samples.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unforeseen {
    #[error(
        "cannot say what {AHEAD} more samples a class would bring: the curve ends at {n} of '{label}', too few to be continued to {to}"
    )]
    FewSamples { label: String, n: usize, to: usize },
    #[error(
        "cannot say what {AHEAD} more samples a class would bring: accuracy does not grow with their number as an inverse power law"
    )]
    NoLaw,
    #[error(
        "cannot say what {AHEAD} more samples a class would bring: anything from {:.1} to {:.1} points fits what {n} samples judged",
        low * 100.0, high * 100.0
    )]
    TooWide { low: f64, high: f64, n: usize },
}

/// The gain from `from` samples a class to [`AHEAD`] more, by the law that fits the points, in order of their number of samples.
/// `drawn` gives the errors, one less the balanced accuracy, at the points asked for as other judges and orders would have it.
pub fn foresee(
    points: &[Point],
    label: &str,
    from: usize,
    mut drawn: impl FnMut(std::ops::Range<usize>) -> Vec<f64>,
) -> Result<Gain, Unforeseen> {
    let to = from + AHEAD;
    let n = points.last().map_or(0, |point| point.samples_per_class);
    if to > FURTHEST * n {
        let label = label.to_owned();
        return Err(Unforeseen::FewSamples { label, n, to });
    }
    let fitted = points.len().saturating_sub(FITTED)..points.len();
    let points = &points[fitted.clone()];
    let sizes: Vec<f64> = points.iter().map(|p| p.samples_per_class as f64).collect();
    let errors: Vec<f64> = points.iter().map(|p| 1.0 - p.balanced_accuracy).collect();
    let law = Law::fit(&sizes, &errors);
    let missed = points.iter().zip(&sizes).any(|(point, &size)| {
        let (low, high) = point.balanced_accuracy_95;
        !(low..=high).contains(&(1.0 - law.error(size)))
    });
    if missed {
        return Err(Unforeseen::NoLaw);
    }
    let gain = |law: &Law| law.error(from as f64) - law.error(to as f64);
    let doublings = (to as f64 / from as f64).log2();
    let (mut least, mut most) = (Vec::new(), Vec::new());
    for _ in 0..REPLICATES {
        let errors = drawn(fitted.clone());
        let by_law = gain(&Law::fit(&sizes, &errors));
        least.push(by_law);
        most.push(by_law.max(doublings * by_doubling(&sizes, &errors)));
    }
    least.sort_by(f64::total_cmp);
    most.sort_by(f64::total_cmp);
    let tail = REPLICATES / 40;
    let (low, high) = (least[tail], most[REPLICATES - 1 - tail]);
    if high - low > WIDEST {
        let n = points.iter().map(|point| point.n).max().unwrap_or(0);
        return Err(Unforeseen::TooWide { low, high, n });
    }
    let gain = gain(&law);
    Ok(Gain {
        from,
        to,
        gain,
        // The law of all judges may lie outside of what draws of them give, by a little.
        gain_95: (low.min(gain), high.max(gain)),
    })
}

/// What the last doublings brought, each: the line through the error at the last [`LAST`] points over the logarithm of their size.
fn by_doubling(sizes: &[f64], errors: &[f64]) -> f64 {
    let first = sizes.len().saturating_sub(LAST);
    let x: Vec<f64> = sizes[first..].iter().map(|size| size.log2()).collect();
    let y = &errors[first..];
    let (middle_x, middle_y) = (mean(&x), mean(y));
    let pairs = || x.iter().zip(y).map(|(x, y)| (x - middle_x, y - middle_y));
    let square: f64 = pairs().map(|(x, _)| x * x).sum();
    -pairs().map(|(x, y)| x * y).sum::<f64>() / square
}

/// An inverse power law, `error = floor + scale · n^−exponent`, none of them negative: how the error of classifiers falls with their
/// samples (Cortes et al., Learning curves: asymptotic values and rate of convergence, 1994; Figueroa et al., Predicting sample size
/// required for classification performance, 2012).
struct Law {
    floor: f64,
    scale: f64,
    exponent: f64,
}

impl Law {
    fn error(&self, n: f64) -> f64 {
        self.floor + self.scale * n.powf(-self.exponent)
    }

    /// Least squares, a point weighing as much as its number of samples: the law has to hold where it is continued.
    fn fit(sizes: &[f64], errors: &[f64]) -> Law {
        let mut best = (f64::INFINITY, 0.0, 0.0, 0.0);
        for step in EXPONENTS {
            let exponent = f64::from(step) * EXPONENT_STEP;
            let (mut w, mut wx, mut wy, mut wxx, mut wxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for (&size, &y) in sizes.iter().zip(errors) {
                let (weight, x) = (size.powf(WEIGHT), size.powf(-exponent));
                w += weight;
                wx += weight * x;
                wy += weight * y;
                wxx += weight * x * x;
                wxy += weight * x * y;
            }
            let mut scale = ((w * wxy - wx * wy) / (w * wxx - wx * wx)).max(0.0);
            let mut floor = (wy - scale * wx) / w;
            if floor < 0.0 {
                (floor, scale) = (0.0, wxy / wxx);
            }
            let square = |(&size, &y): (&f64, &f64)| {
                size.powf(WEIGHT) * (floor + scale * size.powf(-exponent) - y).powi(2)
            };
            let loss: f64 = sizes.iter().zip(errors).map(square).sum();
            if loss < best.0 {
                best = (loss, floor, scale, exponent);
            }
        }
        Law {
            floor: best.1,
            scale: best.2,
            exponent: best.3,
        }
    }
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points of a curve whose error is a law of the number of samples, each judged well.
    fn points(law: impl Fn(f64) -> f64) -> Vec<Point> {
        let point = |samples_per_class: usize| {
            let balanced_accuracy = 1.0 - law(samples_per_class as f64);
            Point {
                samples_per_class,
                balanced_accuracy,
                balanced_accuracy_95: (balanced_accuracy - 0.02, balanced_accuracy + 0.02),
                n: 300,
            }
        };
        [4, 8, 16, 32, 64].map(point).to_vec()
    }

    fn foreseen(law: impl Fn(f64) -> f64, noise: f64) -> Result<Gain, Unforeseen> {
        let points = points(law);
        let mut up = 1.0;
        foresee(&points, "a", 80, |range| {
            up = -up;
            let errors = points[range].iter().map(|p| 1.0 - p.balanced_accuracy);
            errors
                .enumerate()
                .map(|(i, error)| error + up * noise * (i as f64 - 2.0))
                .collect()
        })
    }

    #[test]
    fn a_law_is_found_again_in_its_points() {
        let sizes = [4.0, 8.0, 16.0, 32.0, 64.0];
        for (floor, scale, exponent) in [(0.1, 0.5, 0.5), (0.0, 0.6, 0.3), (0.05, 0.9, 1.0)] {
            let law = Law {
                floor,
                scale,
                exponent,
            };
            let found = Law::fit(&sizes, &sizes.map(|n| law.error(n)));
            assert!((found.error(80.0) - law.error(80.0)).abs() < 1e-6);
        }
        // Errors that do not fall promise nothing.
        let flat = Law::fit(&sizes, &[0.1, 0.2, 0.2, 0.3, 0.3]);
        assert_eq!(flat.error(64.0), flat.error(80.0));
        // An error that halves with each doubling halves once more in the line's eyes too.
        assert!((by_doubling(&sizes, &[0.5, 0.4, 0.3, 0.2, 0.1]) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn the_gain_is_that_of_the_law_inside_its_interval() {
        let law = |n: f64| 0.05 + 0.6 / n.sqrt();
        let gain = foreseen(law, 0.003).unwrap();
        assert!((gain.gain - (law(80.0) - law(90.0))).abs() < 1e-6);
        assert!(gain.gain_95.0 < gain.gain && gain.gain < gain.gain_95.1);
    }

    #[test]
    fn what_the_points_do_not_say_is_refused() {
        let law = |n: f64| 0.05 + 0.6 / n.sqrt();
        let few = foresee(&points(law), "rare", 120, |_| Vec::new()).unwrap_err();
        let label = "rare".to_string();
        let (n, to) = (64, 130);
        assert_eq!(few, Unforeseen::FewSamples { label, n, to });
        let noisy = foreseen(law, 1.0).unwrap_err();
        assert!(
            matches!(noisy, Unforeseen::TooWide { n: 300, .. }),
            "{noisy}"
        );
        let zigzag = |n: f64| if n == 16.0 { 0.5 } else { 0.1 };
        assert_eq!(foreseen(zigzag, 0.0), Err(Unforeseen::NoLaw));
        for refused in [few, noisy, Unforeseen::NoLaw] {
            assert!(refused.to_string().starts_with("cannot say what 10 more"));
        }
    }
}
