//! The choice of head, scaling and penalty by cross-validation over bursts.
//!
//! Every candidate is trained on the same folds and judged by the log-loss of its calibrated held-out probabilities: smoother than
//! accuracy, which takes only n values and ties on small sets.

use super::LearnError;
use super::calibrate::{HeldOut, inverse_temperature, log_loss};
use super::report::{self, CrossValidation, Refusal};
use super::splits::{self, Fold};
use crate::head::leave_out::leave_one_burst_out;
use crate::head::softmax::{Problem, ROUGH_GAP, Space};
use crate::head::{
    self, HeadError, HeadKind, Linear, Normalization, Normalizer, Request, Samples, Settings,
};
use rayon::prelude::*;

/// Penalties tried, as multiples of the mean squared distance of a sample from the mean; largest first, so that each solution of
/// softmax starts the next. Ridge and LDA, solved in closed form, have the second.
const SOFTMAX_GRID: [f64; 6] = [3.0, 1.0, 0.3, 0.1, 0.03, 0.01];
const CLOSED_GRID: [f64; 9] = [100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01];
/// Kinds that compete when none is asked for. MLP is left out: on 480 photos it takes five times as long as all others together, and
/// of eight measurements on two sets of photos it was better in two, by a point.
const AUTO: [HeadKind; 4] = [
    HeadKind::Softmax,
    HeadKind::Ridge,
    HeadKind::Prototype,
    HeadKind::Lda,
];
/// Standard errors by which prototype or LDA has to be better than the best of softmax and ridge: they assume more of the samples,
/// and of so many settings one looks better by chance (the rule of Breiman et al., Classification and Regression Trees, 1984, who
/// take one). On two sets of photos, each seen in three ways, with 2 to 40 samples a class, letting them compete changes the balanced
/// accuracy by −0.6 to +0.8 points (on average −0.02) with 0, −0.4 to +0.7 (+0.07) with 0.5, and −0.4 to +0.4 (+0.02) with 1.
const MARGIN: f64 = 0.5;
/// The penalty of MLP, to which early stopping leaves little: on all samples of two sets of photos 1 gives 76 and 54 %, 3 gives 81
/// and 52 %, 10 gives 80 and 53 % and takes longer.
const MLP_PENALTY: f64 = 3.0;
/// Of prototype, which has none, so that its settings are complete.
const NO_PENALTY: f64 = 1.0;
/// Without judges: what the photos this project is judged on liked best at one and two samples a class.
const BLIND: f64 = 0.1;

/// What was chosen, and the held-out answers of that choice.
pub struct Choice {
    pub settings: Settings,
    pub held_out: Option<Vec<HeldOut>>,
    /// Its accuracy, or why none is reported.
    pub cv: Result<CrossValidation, Refusal>,
    pub why: String,
}

/// One setting with its held-out answers.
struct Candidate {
    settings: Settings,
    held_out: Vec<HeldOut>,
    loss: f64,
}

/// Settings for a request: what it fixes is kept, the rest is chosen on the samples.
pub fn select(samples: &Samples, request: &Request) -> Result<Choice, LearnError> {
    let Some(folds) = splits::folds(request.seed, samples) else {
        return blind(samples, request);
    };
    let kinds = request.kind.map_or(AUTO.to_vec(), |kind| vec![kind]);
    let normalizations = request
        .normalization
        .map_or(vec![Normalization::L2, Normalization::Standardize], |one| {
            vec![one]
        });
    let mut candidates = Vec::new();
    for normalization in normalizations {
        if kinds.contains(&HeadKind::Softmax) {
            candidates.extend(softmax(samples, &folds, normalization, request)?);
        }
        for settings in settings(samples, &folds, normalization, request, &kinds)? {
            match by_folds(samples, &folds, settings) {
                Ok(one) => candidates.push(one),
                // Where others compete, one whose arithmetic fails is no reason to stop.
                Err(HeadError::NotFinite) if request.kind.is_none() => {}
                Err(other) => return Err(other.into()),
            }
        }
    }
    let tried = candidates.len();
    let best = best(candidates).ok_or(HeadError::NotFinite)?;
    let why = format!(
        "{} on {} features with penalty {:.3e}: the best held-out log-loss of {tried} settings",
        best.settings.kind, best.settings.normalization, best.settings.penalty
    );
    Ok(Choice {
        settings: best.settings,
        cv: report::cross_validation(samples, &best.held_out, folds.len()),
        held_out: Some(best.held_out),
        why,
    })
}

/// The lowest loss; of prototype and LDA only when it is lower by more than [`MARGIN`] allows for chance.
fn best(candidates: Vec<Candidate>) -> Option<Candidate> {
    let lowest = |some: Vec<Candidate>| some.into_iter().min_by(|a, b| a.loss.total_cmp(&b.loss));
    let (bold, plain) = candidates.into_iter().partition(|one: &Candidate| {
        matches!(one.settings.kind, HeadKind::Prototype | HeadKind::Lda)
    });
    match (lowest(plain), lowest(bold)) {
        (Some(plain), Some(bold)) => {
            let sure = plain.loss - bold.loss > MARGIN * standard_error(&plain, &bold);
            Some(if sure { bold } else { plain })
        }
        (plain, bold) => plain.or(bold),
    }
}

/// Standard error of the difference of two candidates' losses on the same held-out samples.
fn standard_error(one: &Candidate, other: &Candidate) -> f64 {
    let factors = [one, other].map(|c| inverse_temperature(&c.held_out));
    let difference = one.loss - other.loss;
    let pairs = one.held_out.iter().zip(&other.held_out);
    let squares = pairs.map(|(a, b)| {
        let loss = |held_out, factor| log_loss(std::slice::from_ref(held_out), factor);
        (a.weight * (loss(a, factors[0]) - loss(b, factors[1]) - difference)).powi(2)
    });
    let total: f64 = one.held_out.iter().map(|held_out| held_out.weight).sum();
    squares.sum::<f64>().sqrt() / total
}

/// Too little to hold anything out: fixed settings, no accuracy, no calibration.
fn blind(samples: &Samples, request: &Request) -> Result<Choice, LearnError> {
    let normalization = request.normalization.unwrap_or(Normalization::L2);
    let z = Normalizer::fit(normalization, samples).apply_all(samples.clone());
    let kind = request.kind.unwrap_or(HeadKind::Softmax);
    let penalty = match kind {
        HeadKind::Softmax | HeadKind::Ridge => BLIND * spread(&z),
        // Without scatter within the classes Σ is λI/n: as wide as the samples are.
        HeadKind::Lda => z.n() as f64 * spread(&z),
        HeadKind::Prototype => NO_PENALTY,
        HeadKind::Mlp => MLP_PENALTY,
    };
    let settings = Settings {
        kind,
        normalization,
        penalty: request.penalty.unwrap_or(penalty),
    };
    Ok(Choice {
        settings,
        held_out: None,
        cv: Err(Refusal::NothingHeldOut),
        why: format!("{kind} with fixed settings, since nothing could be held out to choose them"),
    })
}

/// Mean squared distance of normalized rows from their mean: the scale of penalties.
fn spread(z: &Samples) -> f64 {
    let n = z.n() as f64;
    let mut mean = vec![0.0f64; z.width()];
    let mut square = 0.0;
    for row in z.rows().chunks_exact(z.width()) {
        for (mean, &x) in mean.iter_mut().zip(row) {
            *mean += f64::from(x) / n;
            square += f64::from(x) * f64::from(x) / n;
        }
    }
    let spread = square - mean.iter().map(|m| m * m).sum::<f64>();
    if spread.is_finite() && spread > 1e-6 {
        spread
    } else {
        1.0
    }
}

fn penalties(grid: &[f64], z: &Samples, request: &Request) -> Vec<f64> {
    let spread = spread(z);
    let chosen = || grid.iter().map(|factor| factor * spread).collect();
    request.penalty.map_or_else(chosen, |penalty| vec![penalty])
}

fn softmax(
    samples: &Samples,
    folds: &[Fold],
    normalization: Normalization,
    request: &Request,
) -> Result<Vec<Candidate>, LearnError> {
    let all = Normalizer::fit(normalization, samples).apply_all(samples.clone());
    let penalties = penalties(&SOFTMAX_GRID, &all, request);
    let answers: Vec<Vec<Vec<HeldOut>>> = folds
        .par_iter()
        .map(|fold| {
            let learn = samples.select(&fold.learn)?;
            let normalizer = Normalizer::fit(normalization, &learn);
            let z = normalizer.apply_all(learn);
            let space = Space::new(&z);
            let problem = Problem::new(&z, &space);
            let mut start: Option<Linear> = None;
            let mut path = Vec::new();
            for &penalty in &penalties {
                let solved = problem.solve(penalty, start.as_ref(), ROUGH_GAP)?;
                path.push(judge(samples, fold, |row| {
                    Ok(solved.linear.scores(&normalizer.apply(row)))
                })?);
                start = Some(solved.linear);
            }
            Ok(path)
        })
        .collect::<Result<_, HeadError>>()?;
    Ok(penalties
        .iter()
        .enumerate()
        .map(|(index, &penalty)| {
            let held_out = answers
                .iter()
                .flat_map(|path| path[index].clone())
                .collect();
            let settings = Settings {
                kind: HeadKind::Softmax,
                normalization,
                penalty,
            };
            candidate(samples, settings, held_out)
        })
        .collect())
}

/// One setting of every other kind; the penalties of ridge and LDA by exact leave-one-burst-out, as cheap as one training.
fn settings(
    samples: &Samples,
    folds: &[Fold],
    normalization: Normalization,
    request: &Request,
    kinds: &[HeadKind],
) -> Result<Vec<Settings>, LearnError> {
    let closed = |kind: &HeadKind| matches!(kind, HeadKind::Ridge | HeadKind::Lda);
    let losses = if request.penalty.is_none() && kinds.iter().any(closed) {
        closed_losses(samples, folds, normalization)?
    } else {
        Vec::new()
    };
    let best = |kind: HeadKind| {
        let own = losses.iter().filter(|loss| loss.kind == kind);
        own.min_by(|a, b| a.loss.total_cmp(&b.loss))
            .map(|loss| loss.penalty)
    };
    let penalty = |kind: HeadKind| {
        let chosen = match kind {
            HeadKind::Softmax => None,
            HeadKind::Ridge | HeadKind::Lda => best(kind),
            HeadKind::Prototype => Some(NO_PENALTY),
            HeadKind::Mlp => Some(MLP_PENALTY),
        };
        request.penalty.or(chosen)
    };
    let others = kinds.iter().filter(|&&kind| kind != HeadKind::Softmax);
    let settings = others.filter_map(|&kind| {
        Some(Settings {
            kind,
            normalization,
            penalty: penalty(kind)?,
        })
    });
    Ok(settings.collect())
}

/// Held-out log-loss of a kind at one penalty.
struct Loss {
    kind: HeadKind,
    penalty: f64,
    loss: f64,
}

fn closed_losses(
    samples: &Samples,
    folds: &[Fold],
    normalization: Normalization,
) -> Result<Vec<Loss>, LearnError> {
    let z = Normalizer::fit(normalization, samples).apply_all(samples.clone());
    let spread = spread(&z);
    let penalties = CLOSED_GRID.map(|factor| factor * spread);
    let mut judges: Vec<usize> = folds.iter().flat_map(|f| f.judge.clone()).collect();
    judges.sort_unstable();
    let losses = leave_one_burst_out(&z, &penalties)?
        .into_iter()
        .map(|left_out| {
            let held_out = judges.iter().map(|&row| HeldOut {
                row,
                scores: left_out.scores[row].clone(),
                label: samples.labels[row] as usize,
                weight: 0.0,
            });
            let held_out = weighed(samples, held_out.collect());
            Loss {
                kind: left_out.kind,
                penalty: left_out.penalty,
                loss: log_loss(&held_out, inverse_temperature(&held_out)),
            }
        });
    Ok(losses.collect())
}

/// One setting, trained and judged on every fold.
fn by_folds(samples: &Samples, folds: &[Fold], settings: Settings) -> Result<Candidate, HeadError> {
    let held_out: Vec<Vec<HeldOut>> = folds
        .par_iter()
        .map(|fold| {
            let head = head::train(&samples.select(&fold.learn)?, settings)?;
            judge(samples, fold, |row| head.learned().raw_scores(row))
        })
        .collect::<Result<_, HeadError>>()?;
    Ok(candidate(samples, settings, held_out.concat()))
}

/// Raw scores of the judges of one fold. Every class learned, so the classes are those of the whole set.
fn judge(
    samples: &Samples,
    fold: &Fold,
    scores: impl Fn(&[f32]) -> Result<Vec<f64>, HeadError>,
) -> Result<Vec<HeldOut>, HeadError> {
    fold.judge
        .iter()
        .map(|&row| {
            Ok(HeldOut {
                row,
                scores: scores(samples.row(row))?,
                label: samples.labels[row] as usize,
                weight: 0.0,
            })
        })
        .collect()
}

/// Every class counts the same among the held-out.
fn weighed(samples: &Samples, mut held_out: Vec<HeldOut>) -> Vec<HeldOut> {
    let mut counts = vec![0usize; samples.classes()];
    for one in &held_out {
        counts[one.label] += 1;
    }
    for one in &mut held_out {
        one.weight = 1.0 / counts[one.label] as f64;
    }
    held_out
}

fn candidate(samples: &Samples, settings: Settings, held_out: Vec<HeldOut>) -> Candidate {
    let held_out = weighed(samples, held_out);
    let loss = log_loss(&held_out, inverse_temperature(&held_out));
    Candidate {
        settings,
        held_out,
        loss,
    }
}
