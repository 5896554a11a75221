//! LDA: linear discriminant analysis, one Gaussian a class with a covariance that all share (Fisher, 1936).
//!
//! Raw scores are log-likelihoods up to what all classes share, `μᵀΣ⁻¹z − ½ μᵀΣ⁻¹μ`; all classes are equally likely beforehand,
//! however many samples they have, unless class weights are none. On normalized features the covariance is
//!
//! `Σ = (S + λI) / n`, with the within-class scatter `S = Σᵢ (zᵢ − μᵧ)(zᵢ − μᵧ)ᵀ` of the `n` samples,
//!
//! so the penalty λ adds to the squared spread of the samples in every direction, and weighs less the more samples there are (the
//! mode under an inverse Wishart prior; Friedman, Regularized Discriminant Analysis, 1989).
//!
//! Nothing of this is inverted at width D. `S = ZᵀZ − M N⁻¹ Mᵀ`, with the class sums `M = ZᵀY` and counts `N`, so by Woodbury's
//! identity `(S + λI)⁻¹ M N⁻¹ = P R⁻¹`, with the coefficients `P` and residuals `R` of the one-hot regression (see
//! `regression`): LDA is regression with its classes turned (Hastie, Buja and Tibshirani, Penalized Discriminant Analysis,
//! 1995). The weights are `n P R⁻¹`, and `μ꜀ᵀΣ⁻¹μ꜀ = n ((R⁻¹)꜀꜀ − 1/n꜀)`.

use super::regression::{Scoring, inverse};
use faer::{Mat, Scale};

/// Scores are log-likelihoods.
pub(super) const INVERSE_TEMPERATURE: f32 = 1.0;

/// As [`scoring`], with classes as likely beforehand as they were collected.
pub(super) fn scoring_as_collected(residuals: &Mat<f64>, counts: &[f64]) -> Option<Scoring> {
    let n: f64 = counts.iter().sum();
    let mut scoring = scoring(residuals, counts)?;
    for (shift, count) in scoring.shift.iter_mut().zip(counts) {
        *shift += (count / n).ln();
    }
    Some(scoring)
}

/// Weights and intercepts from the residuals of the regression without intercept.
pub(super) fn scoring(residuals: &Mat<f64>, counts: &[f64]) -> Option<Scoring> {
    let n: f64 = counts.iter().sum();
    let inverse = inverse(residuals)?;
    let shift = |c: usize| -n / 2.0 * (inverse[(c, c)] - 1.0 / counts[c]);
    Some(Scoring {
        shift: (0..counts.len()).map(shift).collect(),
        mix: inverse * Scale(n),
    })
}
