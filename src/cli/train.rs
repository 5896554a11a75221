//! `train`: a head from the samples of the field.

use super::args::Train;
use super::context::{Context, now_us};
use super::embed;
use super::output::{ends, ms_since, round, with_interval};
use super::per_class;
use anyhow::Result;
use fieldhead::features::Recipe;
use fieldhead::head::Request;
use fieldhead::learn::curve::{self, Curve, Point};
use fieldhead::learn::report::needs;
use fieldhead::pipeline::{self, Chosen, PipelineError, TrainingSet};
use fieldhead::store::{Origin, Store};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Instant;

/// Why a head has no learning curve though its accuracy is known.
const NO_CURVE: &str =
    "a learning curve of an mlp takes longer than its training; see that of another head";

/// The most classes in the table.
const ROWS: usize = 16;

pub fn run(context: &Context, options: &Train) -> Result<()> {
    let store = context.open()?;
    let candidates = context.candidates()?;
    let request = Request {
        kind: options
            .head
            .map_or(context.settings.head, |choice| choice.0),
        normalization: options.normalization.0,
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
    let train = ms_since(start);
    let committing = Instant::now();
    pipeline::store_joined(&store, &chosen.recipe, &chosen.set)?;
    let version = pipeline::put_head(&store, &change.record, Origin::Train)?;
    let commit = ms_since(committing);
    // Once the head is safe on disk.
    let reporting = Instant::now();
    let judged = change.report.as_ref().is_some_and(|r| r.cv.is_ok());
    let settings = change.record.learned.settings;
    let curve = (judged && curve::is_quick(settings.kind))
        .then(|| curve::curve(&chosen.set.samples, settings, request.seed))
        .transpose()
        .map_err(PipelineError::from)?;
    let times = Times {
        train,
        commit,
        report: ms_since(reporting),
    };
    report(context, &chosen, &change, version, &times, curve.as_ref())
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

/// What was measured of a training, in ms.
struct Times {
    train: f64,
    commit: f64,
    report: f64,
}

fn report(
    context: &Context,
    chosen: &Chosen,
    change: &pipeline::Change,
    version: u64,
    times: &Times,
    curve: Option<&Curve>,
) -> Result<()> {
    let set = &chosen.set;
    let learned = &change.record.learned;
    let settings = &learned.settings;
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for row in 0..set.samples.n() {
        *sizes.entry(set.samples.label(row)).or_default() += 1;
    }
    let cv = change.report.as_ref().map(|report| report.cv.as_ref());
    let judged = cv.and_then(Result::ok);
    let refused = cv.and_then(Result::err);
    let why = change.report.as_ref().map_or("", |r| r.why.as_str());
    let needs = cv.and_then(|cv| needs(&set.samples, cv));
    let next_10 = curve.map(|curve| curve.next_10.as_ref());
    let unforeseen = match next_10 {
        Some(next_10) => next_10.err().map(ToString::to_string),
        None => Some(refused.map_or(NO_CURVE.to_owned(), ToString::to_string)),
    };
    context.out.json(&json!({
        "head": settings.kind.to_string(),
        "version": version,
        "n": set.samples.n(),
        "classes": sizes,
        "ms": round(times.train),
        "ms_commit": round(times.commit),
        "ms_report": round(times.report),
        "penalty": settings.penalty,
        "normalization": settings.normalization.to_string(),
        "features": change.record.recipe.set.to_string(),
        "fit": change.record.recipe.view.fit.to_string(),
        "width": change.record.recipe.width,
        "why": why,
        "why_view": chosen.why,
        "cv": judged.map(|cv| json!({
            "folds": cv.folds,
            "n": cv.n,
            "bursts": cv.confusion.bursts(),
            "balanced_accuracy": round(cv.balanced_accuracy),
            "balanced_accuracy_95": ends(cv.balanced_accuracy_95),
        })),
        "cv_refused": refused.map(ToString::to_string),
        "labels": learned.labels,
        "per_class": judged.map(|cv| per_class::json(&cv.confusion)),
        "confusion": judged.map(|cv| cv.confusion.rows()),
        "learning_curve": curve.map_or(&[][..], |curve| &curve.points).iter().map(|point| json!({
            "samples_per_class": point.samples_per_class,
            "balanced_accuracy": round(point.balanced_accuracy),
            "balanced_accuracy_95": ends(point.balanced_accuracy_95),
            "n": point.n,
        })).collect::<Vec<_>>(),
        "next_10": next_10.and_then(Result::ok).map(|gain| json!({
            "from": gain.from,
            "to": gain.to,
            "gain": round(gain.gain),
            "gain_95": ends(gain.gain_95),
        })),
        "next_10_refused": unforeseen,
        "needs": needs.as_ref().map(|needs| json!({"label": needs.label, "why": needs.why})),
    }))?;
    context.out.line(format!(
        "{} on {} samples of {} classes: {:.1} ms, committed in {:.1} ms as version {version}",
        settings.kind,
        set.samples.n(),
        sizes.len(),
        times.train,
        times.commit,
    ))?;
    for why in chosen.why.iter().map(String::as_str).chain([why]) {
        context.out.line(why)?;
    }
    if let Some(reason) = refused {
        context
            .out
            .line(format!("no accuracy to report: {reason}"))?;
    }
    if let Some(cv) = judged {
        context.out.line(format!(
            "held-out balanced accuracy {}, n = {}, {} folds",
            with_interval(cv.balanced_accuracy, cv.balanced_accuracy_95),
            cv.n,
            cv.folds
        ))?;
        context.out.line("")?;
        per_class::table(context, &cv.confusion, ROWS)?;
    }
    if let Some(curve) = curve {
        context.out.line("")?;
        let counts = set.samples.counts();
        draw(context, curve, counts.iter().min() == counts.iter().max())?;
    }
    if let Some(needs) = needs {
        context
            .out
            .line(format!("collect '{}' next: {}", needs.label, needs.why))?;
    }
    Ok(())
}

/// The learning curve as a table, a column a point, and what comes next. `even`: every class has as many samples as the others.
fn draw(context: &Context, curve: &Curve, even: bool) -> Result<()> {
    let row = |name: &str, cell: &dyn Fn(&Point) -> String| {
        let cells = curve
            .points
            .iter()
            .map(|point| format!("{:>7}", cell(point)));
        context
            .out
            .line(format!("{name:22}{}", cells.collect::<String>()))
    };
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    row("samples a class", &|point| {
        point.samples_per_class.to_string()
    })?;
    row("balanced accuracy, %", &|point| {
        percent(point.balanced_accuracy)
    })?;
    row("95 %: from", &|point| percent(point.balanced_accuracy_95.0))?;
    row("      to", &|point| percent(point.balanced_accuracy_95.1))?;
    row("n", &|point| point.n.to_string())?;
    if !even {
        context.out.line(
            "(every class with as many as the smallest one has; above they are all learned)",
        )?;
    }
    context.out.line("")?;
    context.out.line(match &curve.next_10 {
        Ok(gain) => format!(
            "10 more samples a class would bring about {:.1} points (95 %: {:.1} to {:.1})",
            100.0 * gain.gain,
            100.0 * gain.gain_95.0,
            100.0 * gain.gain_95.1
        ),
        Err(unforeseen) => unforeseen.to_string(),
    })?;
    Ok(())
}
