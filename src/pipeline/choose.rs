//! The choice of the view and of the outputs, on the samples at hand.
//!
//! Which view and which outputs suit a task differs by 3 to 15 points from task to task, more than kinds of head do. Every way of
//! seeing is screened by one kind of head at one scaling; the best of them, and the usual one, get the whole choice of settings, and
//! the best replaces the usual one only where it is better beyond chance.

use super::{PipelineError, TrainingSet};
use crate::backbone::{self, Card};
use crate::features::{FeatureSet, Recipe};
use crate::head::{HeadKind, Normalization, Request};
use crate::learn::{self, Choice, select, splits};
use crate::preprocess::{Fit, Modality};

/// Standard errors by which another way of seeing has to be better than the usual one. On five sets of pictures (trash, tiles, trash
/// among clutter, spectrograms of speech and of bearings) with 5, 20 and all samples a class, mean balanced accuracy is 66.4 with
/// none, 66.6 with 0.5 and 66.5 with 1; the usual way alone gives 64.4.
const MARGIN: f64 = 0.5;

/// Ways of seeing that compete where the user fixed none, in the order in which they are tried while there is time: first the one
/// that is taken without evidence, then the usual one.
pub fn candidates(
    of: impl Fn(Fit, FeatureSet) -> Recipe,
    fit: Option<Fit>,
    set: Option<FeatureSet>,
) -> Vec<Recipe> {
    use FeatureSet::{Final, Multi};
    let all = [
        (Fit::Squash, Final),
        (Fit::Squash, Multi),
        (Fit::Crop, Multi),
        (Fit::Both, Multi),
        (Fit::Crop, Final),
        (Fit::Both, Final),
    ];
    let mut ways: Vec<(Fit, FeatureSet)> = all
        .into_iter()
        .map(|(f, s)| (fit.unwrap_or(f), set.unwrap_or(s)))
        .collect();
    let mut seen = Vec::new();
    ways.retain(|way| {
        let new = !seen.contains(way);
        seen.push(*way);
        new
    });
    ways.into_iter().map(|(fit, set)| of(fit, set)).collect()
}

/// As [`candidates`], for a backbone. A window is seen in one way, and its features are chosen.
pub fn candidates_for(card: &Card, fit: Option<Fit>, set: Option<FeatureSet>) -> Vec<Recipe> {
    let fit = match card.modality {
        Modality::Picture | Modality::Sound => fit,
        Modality::Window { .. } => Some(Fit::Squash),
    };
    candidates(|fit, set| backbone::recipe(card, fit, set), fit, set)
}

/// The way of seeing that was chosen, with its samples and the settings of a head on them.
pub struct Chosen {
    pub recipe: Recipe,
    pub set: TrainingSet,
    pub choice: Choice,
    /// One sentence on the way of seeing; `None` where it was fixed.
    pub why: Option<String>,
}

impl Chosen {
    fn new(recipe: &Recipe, set: TrainingSet, request: &Request) -> Result<Chosen, PipelineError> {
        Ok(Chosen {
            recipe: recipe.clone(),
            choice: learn::choose(&set.samples, request)?,
            set,
            why: None,
        })
    }
}

/// Chooses among `candidates` by what `request` asks of a head. `set_of` gives the samples under a recipe; `out_of_time` is asked
/// before every step after the first answer.
///
/// # Errors
/// What the samples or the settings fail with. A candidate after the first whose samples lack kept pictures is passed over.
pub fn choose(
    candidates: &[Recipe],
    request: &Request,
    mut set_of: impl FnMut(&Recipe) -> Result<TrainingSet, PipelineError>,
    out_of_time: impl Fn() -> bool,
) -> Result<Chosen, PipelineError> {
    let first = candidates.first().ok_or(PipelineError::NoSamples)?;
    let set = set_of(first)?;
    if candidates.len() == 1 || splits::folds(request.seed, &set.samples).is_none() {
        return Chosen::new(first, set, request);
    }
    let mut search = Search::default();
    let usual = usual(candidates);
    let (usual, set) = match search.look(&candidates[usual], &mut set_of)? {
        Some(set) => (usual, set),
        None => (0, set),
    };
    let mut chosen = Chosen::new(&candidates[usual], set, request)?;
    let quick = screening(request);
    for (index, recipe) in candidates.iter().enumerate() {
        search.late = out_of_time();
        if search.late {
            break;
        }
        if let Some(set) = search.look(recipe, &mut set_of)? {
            let loss = learn::choose(&set.samples, &quick)?.log_loss();
            search.screened.extend(loss.map(|loss| (index, loss)));
        }
    }
    let lowest = search.screened.iter().min_by(|a, b| a.1.total_cmp(&b.1));
    match lowest {
        Some(&(best, _)) if best != usual && !out_of_time() => {
            let recipe = &candidates[best];
            let other = Chosen::new(recipe, set_of(recipe)?, request)?;
            let lead = select::lead(&other.choice, &chosen.choice);
            let runner_up = if lead > MARGIN {
                std::mem::replace(&mut chosen, other)
            } else {
                other
            };
            search.compared = Some((runner_up.recipe, lead));
        }
        _ => {}
    }
    chosen.why = Some(search.sentence(&chosen.recipe, candidates.len()));
    Ok(chosen)
}

/// The way that others have to beat: the fullest features of the first view. Of a window these are the final ones, which hold the taps.
fn usual(candidates: &[Recipe]) -> usize {
    let first = &candidates[0].view;
    let fullest = |recipe: &Recipe| {
        recipe.view == *first && recipe.set == FeatureSet::Multi && !first.is_of_windows()
    };
    candidates.iter().position(fullest).unwrap_or(0)
}

/// The quick judge of a way of seeing. On the same five sets it costs a quarter of the whole choice, and choosing by it gives the
/// same mean accuracy within 0.1 points; ridge and LDA in its place are as good within 0.1.
fn screening(request: &Request) -> Request {
    Request {
        kind: Some(HeadKind::Softmax),
        normalization: Some(request.normalization.unwrap_or(Normalization::L2)),
        penalty: None,
        ..request.clone()
    }
}

/// What the search came across, for its sentence.
#[derive(Default)]
struct Search {
    /// Candidates and their held-out log-losses.
    screened: Vec<(usize, f64)>,
    /// Samples for want of whose picture a candidate was passed over.
    without_picture: usize,
    /// The budget ended before all were screened.
    late: bool,
    /// What the chosen way was compared with in full, and the standard errors between them.
    compared: Option<(Recipe, f64)>,
}

impl Search {
    /// The samples under a recipe; `None` when pictures are missing for it.
    fn look(
        &mut self,
        recipe: &Recipe,
        set_of: &mut impl FnMut(&Recipe) -> Result<TrainingSet, PipelineError>,
    ) -> Result<Option<TrainingSet>, PipelineError> {
        match set_of(recipe) {
            Ok(set) => Ok(Some(set)),
            Err(PipelineError::NoPicture { missing, .. }) => {
                self.without_picture = missing;
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    fn sentence(&self, chosen: &Recipe, all: usize) -> String {
        let name =
            |recipe: &Recipe| format!("{} view and {} features", recipe.view.fit, recipe.set);
        let tried = self.screened.len();
        let mut sentence = match &self.compared {
            None if tried == 0 => format!("{}: the usual way of seeing", name(chosen)),
            None if tried == 1 => {
                format!("{}: the only way of seeing that was tried", name(chosen))
            }
            None => format!("{}: the best of {tried} ways of seeing", name(chosen)),
            Some((other, lead)) if *lead > MARGIN => format!(
                "{}: better than {} by {lead:.1} standard errors, the best of {tried} ways of seeing",
                name(chosen),
                name(other)
            ),
            Some((other, _)) => format!(
                "{}: of {tried} ways of seeing only {} looked better, not beyond chance",
                name(chosen),
                name(other)
            ),
        };
        if self.late {
            sentence +=
                &format!("; the time ran out before all {all} were tried: raise --budget-ms");
        }
        if self.without_picture > 0 {
            sentence += &format!(
                "; others could not be tried, because {} no kept picture",
                match self.without_picture {
                    1 => "one sample has".into(),
                    n => format!("{n} samples have"),
                }
            );
        }
        sentence
    }
}
