//! Ridge: one-hot least squares with an L2 penalty and a free intercept.
//!
//! `min Σ ‖W zᵢ + b − yᵢ‖² + λ ‖W‖²`, where `yᵢ` is one-hot. Of the regression without intercept (see `regression`), with
//! coefficients `P` and residuals `R`, the solution is `b = R1 / (1ᵀR1)` and `Wᵀ = P (I − 1bᵀ)`: the column of ones is eliminated
//! from the bordered system.

use super::regression::Scoring;
use faer::Mat;

/// One-hot scores span 0 to 1; this makes a clear winner (0.8 against 0.1) 97 % sure until calibration finds better.
pub(super) const INVERSE_TEMPERATURE: f32 = 5.0;

/// Intercepts and weights from the residuals of the regression without intercept.
pub(super) fn scoring(residuals: &Mat<f64>, counts: &[f64]) -> Option<Scoring> {
    let classes = counts.len();
    let column = |c: usize| (0..classes).map(|a| residuals[(a, c)]).sum::<f64>();
    let mut shift: Vec<f64> = (0..classes).map(column).collect();
    let total: f64 = shift.iter().sum();
    for b in &mut shift {
        *b /= total;
    }
    let mix = Mat::from_fn(classes, classes, |a, c| {
        f64::from(u8::from(a == c)) - shift[c]
    });
    Some(Scoring { mix, shift })
}
