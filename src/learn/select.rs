//! The choice of head, scaling and penalty by cross-validation over bursts.
//!
//! Every candidate is trained on the same folds and judged by the log-loss of its calibrated held-out probabilities: smoother than
//! accuracy, which takes only n values and ties on small sets.

use super::LearnError;
use super::calibrate::{HeldOut, inverse_temperature, log_loss, losses};
use super::report::{self, CrossValidation, Refusal};
use super::splits::{self, Fold};
use crate::head::discriminant;
use crate::head::softmax::{Problem, ROUGH_GAP, Space};
use crate::head::{
    self, ClassWeights, HeadError, HeadKind, Linear, Normalization, Normalizer, PENALTY, Request,
    Samples, Settings,
};
use rayon::prelude::*;

/// Penalties tried, as multiples of the mean squared distance of a sample from the mean; largest first, so that each solution of
/// softmax starts the next. Of equals the first is taken: where few samples are told apart at any penalty, LDA gets the most, and ridge
/// a middling one. With much more of it ridge calls nothing by a class that has fewer samples than others, not even what it learned, and
/// the held-out do not tell: a class of a single burst is not among them.
const SOFTMAX_GRID: [f64; 6] = [3.0, 1.0, 0.3, 0.1, 0.03, 0.01];
const LDA_GRID: [f64; 9] = [100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01];
const RIDGE_GRID: [f64; 6] = [1.0, 3.0, 0.3, 0.1, 0.03, 0.01];
/// Kinds that compete when none is asked for. On six data sets (photos of trash and of tiles, vibration, motion, speech, gestures;
/// 5 and 20 samples a class, three to five draws) the choice between these two has a mean balanced accuracy of 80.8 %, with prototype
/// too 80.7 and with ridge as well 80.1: their held-out answers look as good, and new samples show that they are not. MLP is left out: on
/// 480 photos it takes five times as long as all others together, and of eight measurements on two sets of photos it was better in
/// two, by a point.
const AUTO: [HeadKind; 2] = [HeadKind::Softmax, HeadKind::Lda];
/// Standard errors by which LDA (and prototype) has to be better than softmax (and ridge): they assume more of the samples, and of so
/// many settings one looks better by chance (the rule of Breiman et al., Classification and Regression Trees, 1984, who take one). On
/// the same six sets 0, 0.5, 1 and 2 give 80.8, 80.8, 80.8 and 80.5 %; LDA that learned ten samples a class of the simulated line wins
/// back less of it in another light than softmax does.
const MARGIN: f64 = 1.0;
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
        .map_or(vec![plain(samples), Normalization::Standardize], |one| {
            vec![one]
        });
    let candidates: Vec<Vec<Candidate>> = normalizations
        .into_par_iter()
        .map(|normalization| candidates(samples, &folds, normalization, request, &kinds))
        .collect::<Result<_, LearnError>>()?;
    let candidates: Vec<Candidate> = candidates.into_iter().flatten().collect();
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

/// The scaling that competes with standardizing, and that few samples get. A backbone's activations are never negative, and their
/// length says how bright and sharp the picture is: to length one. In numbers of either sign, such as differences, coordinates and
/// logarithms, the length may be what tells the classes apart: as they are. On four sets of sensors, 5 and 20 samples a class, that is
/// worth 1.5 points; with one sample it is as good on average, by −6 (speech) to +4 (motion, vibration).
fn plain(samples: &Samples) -> Normalization {
    if samples.rows().iter().any(|&x| x < 0.0) {
        Normalization::None
    } else {
        Normalization::L2
    }
}

/// The lowest loss; of prototype and LDA only when it is lower by more than [`MARGIN`] allows for chance.
fn best(candidates: Vec<Candidate>) -> Option<Candidate> {
    let lowest = |some: Vec<Candidate>| some.into_iter().min_by(|a, b| a.loss.total_cmp(&b.loss));
    let (bold, plain) = candidates.into_iter().partition(|one: &Candidate| {
        matches!(one.settings.kind, HeadKind::Prototype | HeadKind::Lda)
    });
    match (lowest(plain), lowest(bold)) {
        (Some(plain), Some(bold)) => {
            let sure = standard_errors(&bold.held_out, &plain.held_out) > MARGIN;
            Some(if sure { bold } else { plain })
        }
        (plain, bold) => plain.or(bold),
    }
}

/// Standard errors by which the loss of `one` is lower than that of `other`, on the same held-out samples in the same order.
fn standard_errors(one: &[HeldOut], other: &[HeldOut]) -> f64 {
    let [ours, theirs] = [one, other].map(|answers| losses(answers, inverse_temperature(answers)));
    let total: f64 = one.iter().map(|held_out| held_out.weight).sum();
    let gains = || ours.iter().zip(&theirs).map(|(a, b)| b - a);
    let difference = gains().sum::<f64>() / total;
    let squares = gains()
        .zip(one)
        .map(|(gain, held_out)| (gain - held_out.weight * difference).powi(2));
    let error = squares.sum::<f64>().sqrt() / total;
    if difference == 0.0 {
        0.0
    } else {
        difference / error
    }
}

/// Too little to hold anything out: fixed settings, no accuracy, no calibration.
fn blind(samples: &Samples, request: &Request) -> Result<Choice, LearnError> {
    let normalization = request.normalization.unwrap_or_else(|| plain(samples));
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

/// Heads of one kind at several penalties, largest first, as exact as a comparison needs; `None` where the arithmetic fails.
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
    let problem = Problem::new(z, space, weights);
    let mut start: Option<Linear> = None;
    let solve = |&penalty: &f64| {
        let solved = problem.solve(penalty, start.as_ref(), ROUGH_GAP).ok()?;
        start = Some(solved.linear.clone());
        Some(solved.linear)
    };
    penalties.iter().map(solve).collect()
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
mod tests {
    use super::*;

    /// Samples of two classes in turn, each a burst of its own.
    fn of_two_classes(n: usize, width: usize, number: impl FnMut(usize) -> f32) -> Samples {
        let rows = (0..n * width).map(number).collect();
        let labels = (0..n as u32).map(|i| i % 2).collect();
        let names = vec!["a".into(), "b".into()];
        Samples::new(width, rows, labels, names, (0..n as u64).collect()).unwrap()
    }

    #[test]
    fn numbers_of_a_converter_of_16_bits_are_learned_as_they_are() {
        let mut random = crate::random::SplitMix64::new(1);
        let (n, width) = (24, 2000);
        let class = |i: usize| (i / width % 2) as f32;
        let number = |i: usize| random.below(65_536) as f32 - 32_768.0 + 900.0 * class(i);
        let samples = of_two_classes(n, width, number);
        for kind in [HeadKind::Softmax, HeadKind::Ridge, HeadKind::Lda] {
            let request = Request {
                kind: Some(kind),
                normalization: Some(Normalization::None),
                ..Request::default()
            };
            let (head, _) = crate::learn::train(&samples, &request).unwrap();
            assert!(PENALTY.contains(&head.learned().settings.penalty), "{kind}");
            let few = samples.select(&[0, 1]).unwrap();
            crate::learn::train(&few, &request).unwrap();
        }
    }

    #[test]
    fn numbers_far_from_zero_are_learned() {
        let mut random = crate::random::SplitMix64::new(1);
        let (n, width) = (24, 40);
        let class = |i: usize| (i / width % 2) as f32;
        let number = |i: usize| 30_000.0 + class(i) + random.below(1000) as f32 / 1000.0;
        let samples = of_two_classes(n, width, number);
        for kind in [HeadKind::Softmax, HeadKind::Ridge, HeadKind::Lda] {
            let request = Request {
                kind: Some(kind),
                ..Request::default()
            };
            let choice = select(&samples, &request).unwrap();
            let accuracy = choice.cv.unwrap().balanced_accuracy;
            assert!(accuracy > 0.9, "{kind}: {accuracy}");
        }
    }

    #[test]
    fn ridge_knows_a_rare_class_at_every_penalty_that_it_is_offered() {
        let mut random = crate::random::SplitMix64::new(1);
        let (width, mut rows, mut labels, mut bursts) = (120, Vec::new(), Vec::new(), Vec::new());
        // Six classes of four bursts, and one of three samples of one burst.
        for i in 0..27u32 {
            let class = if i < 24 { i % 6 } else { 6 };
            let own = |j: usize| j % 7 == class as usize;
            rows.extend(
                (0..width).map(|j| random.below(100) as f32 + if own(j) { 60.0 } else { 0.0 }),
            );
            labels.push(class);
            bursts.push(u64::from(i.min(24)));
        }
        let names = ('a'..='g').map(String::from).collect();
        let samples = Samples::new(width, rows, labels, names, bursts).unwrap();
        let normalization = Normalization::L2;
        let spread = spread(&Normalizer::fit(normalization, &samples).apply_all(samples.clone()));
        for factor in RIDGE_GRID {
            let settings = Settings {
                kind: HeadKind::Ridge,
                normalization,
                penalty: factor * spread,
                class_weights: ClassWeights::Balanced,
            };
            let head = head::train(&samples, settings).unwrap();
            for i in 24..27 {
                let scores = head.learned().raw_scores(samples.row(i)).unwrap();
                let others = &scores[..6];
                assert!(
                    others.iter().all(|&it| it < scores[6]),
                    "{factor}: {scores:?}"
                );
            }
        }
    }

    #[test]
    fn activations_are_scaled_to_length_one_and_signed_numbers_are_left_alone() {
        let scaling = |rows: [f32; 4]| {
            let names = vec!["a".into(), "b".into()];
            let samples = Samples::new(2, rows.to_vec(), vec![0, 1], names, vec![0, 1]).unwrap();
            let choice = select(&samples, &Request::default()).unwrap();
            choice.settings.normalization
        };
        assert_eq!(scaling([0.0, 1.0, 2.0, 3.0]), Normalization::L2);
        assert_eq!(scaling([0.0, 1.0, -2.0, 3.0]), Normalization::None);
    }
}
