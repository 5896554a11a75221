//! The choice of head, scaling and penalty by cross-validation over bursts.
//!
//! Every candidate is trained on the same folds and judged by the log-loss of its calibrated held-out probabilities: smoother than
//! accuracy, which takes only n values and ties on small sets.

use super::LearnError;
use super::calibrate::{HeldOut, inverse_temperature, log_loss, standard_errors};
use super::report::{self, CrossValidation, Refusal};
use super::splits::{self, Fold};
use crate::head::discriminant;
use crate::head::softmax::{Problem, ROUGH_GAP, Space};
use crate::head::{
    self, ClassWeights, HeadError, HeadKind, Linear, Normalization, Normalizer, PENALTY, Request,
    Samples, Settings,
};
use rayon::prelude::*;

/// Penalties tried, as multiples of the mean squared distance of a sample from the mean. Of equals the first is taken: where few samples
/// are told apart at any penalty, softmax and ridge get a middling one, and LDA the most. With much more of it ridge calls nothing by a
/// class that has fewer samples than others, not even what it learned, and the held-out do not tell: a class of a single burst is not
/// among them. LDA's largest is worth 2 points where features scatter alike in all directions; beyond these, up to 100 and down to 0.01,
/// 14 sets of photos' features and five of sensors change by at most 0.1 points on average (gestures lose 0.4 at 20 samples a class).
const SOFTMAX_GRID: [f64; 6] = [0.3, 1.0, 0.1, 3.0, 0.03, 0.01];
const LDA_GRID: [f64; 6] = [10.0, 3.0, 1.0, 0.3, 0.1, 0.03];
const RIDGE_GRID: [f64; 6] = [1.0, 3.0, 0.3, 0.1, 0.03, 0.01];
/// Kinds that compete when none is asked for. On six data sets (photos of trash and of tiles, vibration, motion, speech, gestures;
/// 5 and 20 samples a class, three to five draws) the choice between these two has a mean balanced accuracy of 80.8 %, with prototype
/// too 80.7 and with ridge as well 80.1: their held-out answers look as good, and new samples show that they are not. MLP is left out: on
/// 480 photos it takes five times as long as all others together, and of eight measurements on two sets of photos it was better in
/// two, by a point.
const AUTO: [HeadKind; 2] = [HeadKind::Softmax, HeadKind::Lda];
/// Samples a class, on average, from which on softmax is preferred to LDA: with fewer, what assumes more generalizes better; with more,
/// what assumes less fits better. With all of 60 to 155 samples a class softmax is better by 0.4 to 5 points on speech and on both sets
/// of photos, and LDA on gestures alone.
const MANY: f64 = 50.0;
/// Standard errors by which softmax has to be better than LDA where samples are few: of so many settings one looks better by chance.
/// On five sets of sensors with 2, 5, 10 and 20 samples a class, 20 draws of each, 2.5 is as good as 3 and better than 1.5 by up to 0.6
/// points (gestures); on photos it makes no difference.
const FEW_MARGIN: f64 = 2.5;
/// Standard errors by which LDA has to be better where samples are many (the rule of Breiman et al., Classification and Regression
/// Trees, 1984, who take one).
const MANY_MARGIN: f64 = 1.0;
/// The penalty of MLP, to which early stopping leaves little: on all samples of two sets of photos 1 gives 76 and 54 %, 3 gives 81
/// and 52 %, 10 gives 80 and 53 % and takes longer.
const MLP_PENALTY: f64 = 3.0;
/// Of prototype, which has none, so that its settings are complete.
const NO_PENALTY: f64 = 1.0;
/// Losses no further apart than this are equal: the arithmetic of a search is no more exact.
const EQUAL: f64 = 1e-9;
/// Share of zeros from which on features count as sparse: on photos 0.3 to 0.6 of EfficientNet-Lite0's last layer, 0.15 to 0.3 with an
/// earlier one beside it; of MobileNetV2's last layer 0.07 to 0.19, and of features of sensors none.
const SPARSE: f64 = 0.1;
/// Without judges. Of nine between 0.001 and 3, those from 0.03 to 0.1 are the best on average of five sets of sensors with one sample a
/// class, 40 draws, within 0.1 points; on photos everything up to 0.3 is the same within 0.1 points.
const BLIND: f64 = 0.1;

/// What was chosen, and the held-out answers of that choice.
pub struct Choice {
    pub settings: Settings,
    pub held_out: Option<Vec<HeldOut>>,
    /// Its accuracy, or why none is reported.
    pub cv: Result<CrossValidation, Refusal>,
    pub why: String,
}

impl Choice {
    /// Calibrated held-out log-loss, every class counting the same; `None` when nothing was held out.
    pub fn log_loss(&self) -> Option<f64> {
        let held_out = self.held_out.as_deref()?;
        Some(log_loss(held_out, inverse_temperature(held_out)))
    }
}

/// Standard errors by which the held-out loss of `one` is lower than that of `other`, on the same samples and seed; 0 where nothing
/// was held out.
pub fn lead(one: &Choice, other: &Choice) -> f64 {
    match (&one.held_out, &other.held_out) {
        (Some(one), Some(other)) => standard_errors(one, other),
        _ => 0.0,
    }
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
        .map_or_else(|| scalings(samples, &kinds), |one| vec![one]);
    let candidates: Vec<Vec<Candidate>> = normalizations
        .into_par_iter()
        .map(|normalization| candidates(samples, &folds, normalization, request, &kinds))
        .collect::<Result<_, LearnError>>()?;
    let candidates: Vec<Candidate> = candidates.into_iter().flatten().collect();
    let losses: Vec<(HeadKind, f64)> = candidates
        .iter()
        .map(|one| (one.settings.kind, one.loss))
        .collect();
    let best = best(samples, candidates).ok_or(HeadError::NotFinite)?;
    let why = format!(
        "{} on {} features with penalty {:.3e}: {}",
        best.settings.kind,
        best.settings.normalization,
        best.settings.penalty,
        reason(&best, &losses)
    );
    Ok(Choice {
        settings: best.settings,
        cv: report::cross_validation(samples, &best.held_out, folds.len()),
        held_out: Some(best.held_out),
        why,
    })
}

/// Why it was chosen of all that competed, of which the kinds and losses are told.
fn reason(best: &Candidate, all: &[(HeadKind, f64)]) -> String {
    let tried = all.len();
    let lower =
        |&(kind, loss): &(HeadKind, f64)| kind != best.settings.kind && loss < best.loss - EQUAL;
    if tried == 1 {
        "the only setting tried".into()
    } else if all.iter().any(lower) {
        format!("no other kind has a better held-out log-loss beyond chance, of {tried} settings")
    } else {
        format!("the best held-out log-loss of {tried} settings")
    }
}

/// All settings of one scaling that compete.
fn candidates(
    samples: &Samples,
    folds: &[Fold],
    normalization: Normalization,
    request: &Request,
    kinds: &[HeadKind],
) -> Result<Vec<Candidate>, LearnError> {
    let mut candidates = Vec::new();
    // One whose arithmetic fails is no reason to stop: the others compete.
    let mut compete = |some: Result<Vec<Candidate>, HeadError>| match some {
        Ok(some) => {
            candidates.extend(some.into_iter().filter(|one| one.loss.is_finite()));
            Ok(())
        }
        Err(HeadError::NotFinite) => Ok(()),
        Err(other) => Err(LearnError::from(other)),
    };
    compete(linear(samples, folds, normalization, request, kinds))?;
    for &kind in kinds.iter().filter(|kind| !kind.is_linear()) {
        let penalty = match kind {
            HeadKind::Mlp => MLP_PENALTY,
            _ => NO_PENALTY,
        };
        let settings = Settings {
            kind,
            normalization,
            penalty: request.penalty.unwrap_or(penalty),
            class_weights: request.class_weights,
        };
        compete(by_folds(samples, folds, settings).map(|one| vec![one]))?;
    }
    Ok(candidates)
}

/// The scalings that compete.
///
/// Activations of a backbone's last layer are never negative, and their length says how bright and sharp the picture is: to length one.
/// Those of several layers come at one length already. In numbers of either sign, such as differences, coordinates and logarithms, the
/// length may be what tells the classes apart: as they are. On four sets of sensors, 5 and 20 samples a class, that is worth 1.5
/// points; with one sample it is as good on average, by −6 (speech) to +4 (motion, vibration).
///
/// Where many are zero, as behind a rectifier, standardizing begins at the power scaling, so that what fires often and strongly counts
/// less. With few samples nothing else competes: on 14 sets of photos' features it is better than the plain scaling by 1.7, 1.6 and 1.3
/// points at 2, 5 and 10 samples a class (softmax at penalties of its best, 20 draws), of which a choice loses a part; on spectrograms,
/// which took no part in this, the one scaling is better than that choice by 1.0, 0.4, 0.1 and 0.0 points at 2, 3, 5 and 10. With many the
/// plain one may be better, and its probabilities are: an error of calibration of 0.03 instead of 0.07 on photos of trash. Nor is MLP
/// left without it: with features of several layers, five samples a class, that would cost it 7 points.
fn scalings(samples: &Samples, kinds: &[HeadKind]) -> Vec<Normalization> {
    if !is_sparse(samples) {
        vec![plain(samples), Normalization::Standardize]
    } else if are_many(samples) || kinds.contains(&HeadKind::Mlp) {
        vec![plain(samples), Normalization::PowerStandardize]
    } else {
        vec![Normalization::PowerStandardize]
    }
}

/// The scaling that looks at one row alone.
fn plain(samples: &Samples) -> Normalization {
    match samples.rows().iter().all(|&x| x >= 0.0) {
        true => Normalization::L2,
        false => Normalization::None,
    }
}

fn is_sparse(samples: &Samples) -> bool {
    let zeros = samples.rows().iter().filter(|&&x| x == 0.0).count();
    zeros as f64 >= SPARSE * samples.rows().len() as f64
}

fn are_many(samples: &Samples) -> bool {
    samples.n() as f64 >= MANY * samples.classes() as f64
}

/// The lowest loss of the kind that is preferred, unless the other kind is better by more than chance allows.
fn best(samples: &Samples, candidates: Vec<Candidate>) -> Option<Candidate> {
    let (lda, others): (Vec<_>, Vec<_>) = candidates
        .into_iter()
        .partition(|one| one.settings.kind == HeadKind::Lda);
    match (lowest(lda), lowest(others)) {
        (Some(lda), Some(other)) => {
            let lead = standard_errors(&lda.held_out, &other.held_out);
            let needed = if are_many(samples) {
                MANY_MARGIN
            } else if unerring(&other) && other.loss <= lda.loss + EQUAL {
                // Nothing is left to prove, and the wider margin between the classes is softmax's.
                f64::INFINITY
            } else {
                -FEW_MARGIN
            };
            Some(if lead > needed { lda } else { other })
        }
        (lda, other) => lda.or(other),
    }
}

/// The first with the lowest loss.
fn lowest(candidates: Vec<Candidate>) -> Option<Candidate> {
    let losses = candidates.iter().map(|one| one.loss);
    let least = losses.min_by(f64::total_cmp)?;
    candidates.into_iter().find(|one| one.loss <= least + EQUAL)
}

/// Whether all held-out samples were answered rightly.
fn unerring(candidate: &Candidate) -> bool {
    let mut answers = candidate.held_out.iter();
    answers.all(|one| report::highest(&one.scores) == one.label)
}

/// Too little to hold anything out: fixed settings, no accuracy, no calibration.
fn blind(samples: &Samples, request: &Request) -> Result<Choice, LearnError> {
    // Not standardized: how far samples of one class are apart is unknown.
    let own = match is_sparse(samples) {
        true => Normalization::Power,
        false => plain(samples),
    };
    let normalization = request.normalization.unwrap_or(own);
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
        penalty: request.penalty.unwrap_or(possible(penalty)),
        class_weights: request.class_weights,
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

/// The nearest penalty that a head takes: features of numbers as large as those of a converter of 16 bits would ask for more.
fn possible(penalty: f64) -> f64 {
    penalty.clamp(*PENALTY.start(), *PENALTY.end())
}

/// Settings of one scaling of the kinds that are lines between classes, judged on folds whose settings share what they can.
fn linear(
    samples: &Samples,
    folds: &[Fold],
    normalization: Normalization,
    request: &Request,
    kinds: &[HeadKind],
) -> Result<Vec<Candidate>, HeadError> {
    let all = Normalizer::fit(normalization, samples).apply_all(samples.clone());
    let spread = spread(&all);
    let paths: Vec<(HeadKind, Vec<f64>)> = kinds
        .iter()
        .filter_map(|&kind| {
            let grid: &[f64] = match kind {
                HeadKind::Softmax => &SOFTMAX_GRID,
                HeadKind::Ridge => &RIDGE_GRID,
                HeadKind::Lda => &LDA_GRID,
                HeadKind::Prototype | HeadKind::Mlp => return None,
            };
            let chosen = || {
                grid.iter()
                    .map(|factor| possible(factor * spread))
                    .collect()
            };
            Some((kind, request.penalty.map_or_else(chosen, |one| vec![one])))
        })
        .collect();
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    // Of each fold the answers to each setting, `None` to one whose arithmetic fails.
    let answers: Vec<Vec<Option<Vec<HeldOut>>>> = folds
        .par_iter()
        .map(|fold| {
            let learn = samples.select(&fold.learn)?;
            let normalizer = Normalizer::fit(normalization, &learn);
            let z = normalizer.apply_all(learn);
            let space = Space::new(&z);
            let judges = fold.judge.iter();
            let judges: Vec<f32> = judges
                .flat_map(|&row| normalizer.apply(samples.row(row)))
                .collect();
            let answers = paths.iter().flat_map(|(kind, penalties)| {
                heads(&z, &space, *kind, penalties, request.class_weights)
            });
            let answers =
                answers.map(|linear| Some(judge(samples, fold, linear?.scores_of(&judges))));
            Ok(answers.collect())
        })
        .collect::<Result<_, HeadError>>()?;
    let settings = paths.iter().flat_map(|(kind, penalties)| {
        penalties.iter().map(|&penalty| Settings {
            kind: *kind,
            normalization,
            penalty,
            class_weights: request.class_weights,
        })
    });
    let candidates = settings.enumerate().filter_map(|(index, settings)| {
        let answers = answers.iter().map(|fold| fold[index].clone());
        let held_out: Vec<Vec<HeldOut>> = answers.collect::<Option<_>>()?;
        Some(candidate(samples, settings, held_out.concat()))
    });
    Ok(candidates.collect())
}

/// Heads of one kind at several penalties, as exact as a comparison needs; `None` where the arithmetic fails.
fn heads(
    z: &Samples,
    space: &Space,
    kind: HeadKind,
    penalties: &[f64],
    weights: ClassWeights,
) -> Vec<Option<Linear>> {
    if kind != HeadKind::Softmax {
        return discriminant::path(z, space, kind, penalties, weights);
    }
    // Each solution starts the search at the next lower penalty.
    let problem = Problem::new(z, space, weights);
    let mut order: Vec<usize> = (0..penalties.len()).collect();
    order.sort_by(|&a, &b| penalties[b].total_cmp(&penalties[a]));
    let mut solutions: Vec<Option<Linear>> = vec![None; penalties.len()];
    let mut last = None;
    for index in order {
        let start = last.and_then(|last: usize| solutions[last].as_ref());
        let solved = problem.solve(penalties[index], start, ROUGH_GAP);
        if let Ok(solved) = solved {
            solutions[index] = Some(solved.linear);
            last = Some(index);
        }
    }
    solutions
}

/// One setting, trained and judged on every fold.
fn by_folds(samples: &Samples, folds: &[Fold], settings: Settings) -> Result<Candidate, HeadError> {
    let held_out: Vec<Vec<HeldOut>> = folds
        .par_iter()
        .map(|fold| {
            let head = head::train(&samples.select(&fold.learn)?, settings)?;
            let learned = head.learned();
            let scores = fold
                .judge
                .iter()
                .map(|&row| learned.raw_scores(samples.row(row)));
            Ok(judge(samples, fold, scores.collect::<Result<_, _>>()?))
        })
        .collect::<Result<_, HeadError>>()?;
    Ok(candidate(samples, settings, held_out.concat()))
}

/// The answers of one fold from the raw scores of its judges. Every class learned, so the classes are those of the whole set.
fn judge(samples: &Samples, fold: &Fold, scores: Vec<Vec<f64>>) -> Vec<HeldOut> {
    let answers = fold.judge.iter().zip(scores);
    let answer = |(&row, scores)| HeldOut {
        row,
        scores,
        label: samples.labels[row] as usize,
        weight: 0.0,
    };
    answers.map(answer).collect()
}

/// Among the held-out every class counts the same, or every sample.
fn weighed(samples: &Samples, mut held_out: Vec<HeldOut>, weights: ClassWeights) -> Vec<HeldOut> {
    let mut counts = vec![0usize; samples.classes()];
    for one in &held_out {
        counts[one.label] += 1;
    }
    for one in &mut held_out {
        one.weight = match weights {
            ClassWeights::Balanced => 1.0 / counts[one.label] as f64,
            ClassWeights::None => 1.0,
        };
    }
    held_out
}

fn candidate(samples: &Samples, settings: Settings, held_out: Vec<HeldOut>) -> Candidate {
    let held_out = weighed(samples, held_out, settings.class_weights);
    let loss = log_loss(&held_out, inverse_temperature(&held_out));
    Candidate {
        settings,
        held_out,
        loss,
    }
}

#[cfg(test)]
mod tests;
