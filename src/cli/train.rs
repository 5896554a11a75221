//! `train`: a head from the samples of the field.

use super::args::Train;
use super::context::{Context, now_us};
use super::embed;
use super::output::{ms_since, round};
use anyhow::Result;
use fieldhead::features::Recipe;
use fieldhead::head::Request;
use fieldhead::pipeline::{self, Chosen, PipelineError, TrainingSet};
use fieldhead::store::{Origin, Store};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Instant;

pub fn run(context: &Context, options: &Train) -> Result<()> {
    let store = context.open()?;
    let candidates = context.candidates()?;
    let request = Request {
        kind: options
            .head
            .map_or(context.settings.head, |choice| choice.0),
        penalty: options.penalty,
        seed: options.seed,
        class_weights: options
            .class_weights
            .unwrap_or(context.settings.class_weights),
        budget_ms: options.budget_ms,
        ..context.settings.request()
    };
    let start = Instant::now();
    let chosen = pipeline::choose(
        &candidates,
        &request,
        |recipe| training_set(context, &store, recipe, &candidates),
        || ms_since(start) > f64::from(request.budget_ms),
    )?;
    let change = pipeline::train(&chosen, &request, now_us())?;
    let ms = ms_since(start);
    let committing = Instant::now();
    pipeline::store_joined(&store, &chosen.recipe, &chosen.set)?;
    let version = pipeline::put_head(&store, &change.record, Origin::Train)?;
    let ms_commit = ms_since(committing);
    report(context, &chosen, &change, version, ms, ms_commit)
}

/// The samples of the field under a recipe; those without features are embedded again from their kept photos, by those of
/// `companions` that share a view as well.
pub fn training_set(
    context: &Context,
    store: &Store,
    recipe: &Recipe,
    companions: &[Recipe],
) -> Result<TrainingSet, PipelineError> {
    pipeline::training_set(store, recipe, companions, |photos, recipes| {
        let fullest = recipes.iter().max_by_key(|recipe| recipe.width);
        let embedder = context.embedder_for(fullest.unwrap_or(recipe))?;
        embed::photos(context, &embedder, photos, recipes)
    })
}

fn report(
    context: &Context,
    chosen: &Chosen,
    change: &pipeline::Change,
    version: u64,
    ms: f64,
    ms_commit: f64,
) -> Result<()> {
    let set = &chosen.set;
    let learned = &change.record.learned;
    let settings = &learned.settings;
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    for row in 0..set.samples.n() {
        *classes.entry(set.samples.label(row)).or_default() += 1;
    }
    let report = change.report.as_ref();
    let cv = report.and_then(|r| r.cv.as_ref());
    let why = report.map_or("", |r| r.why.as_str());
    context.out.json(&json!({
        "head": settings.kind.to_string(),
        "version": version,
        "n": set.samples.n(),
        "classes": classes,
        "ms": round(ms),
        "ms_commit": round(ms_commit),
        "penalty": settings.penalty,
        "normalization": settings.normalization.to_string(),
        "features": change.record.recipe.set.to_string(),
        "fit": change.record.recipe.view.fit.to_string(),
        "width": change.record.recipe.width,
        "why": why,
        "why_view": chosen.why,
        "cv": cv.map(|cv| json!({
            "folds": cv.folds,
            "n": cv.n,
            "balanced_accuracy": round(cv.balanced_accuracy),
        })),
    }))?;
    context.out.line(format!(
        "{} on {} samples of {} classes: {ms:.1} ms, committed in {ms_commit:.1} ms as version {version}",
        settings.kind,
        set.samples.n(),
        classes.len(),
    ))?;
    if let Some(cv) = cv {
        context.out.line(format!(
            "cross-validated balanced accuracy {:.1} % ({} folds, n = {})",
            cv.balanced_accuracy * 100.0,
            cv.folds,
            cv.n
        ))?;
    }
    for why in chosen.why.iter().map(String::as_str).chain([why]) {
        context.out.line(why)?;
    }
    Ok(())
}
