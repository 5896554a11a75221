//! `backbones`: what is installed, and which of it suits the samples at hand.

use super::args::Backbones;
use super::context::Context;
use super::embed;
use super::example::Example;
use super::output::{count, ends, fit, have, ms_since, range, round};
use anyhow::Result;
use fieldhead::backbone::{Found, hex, recipe};
use fieldhead::learn::metrics::Interval;
use fieldhead::learn::{self, Choice, LearnError, select, transfer};
use fieldhead::pipeline::{self, Embedder, PipelineError};
use fieldhead::store::Store;
use serde_json::json;
use std::time::Instant;

pub fn run(context: &Context, options: &Backbones) -> Result<()> {
    match options.rank {
        true => rank(context),
        false => list(context),
    }
}

fn list(context: &Context) -> Result<()> {
    let installed = context.installed()?;
    context.out.line(format!(
        "{:26} {:>8} {:>8} {:>7}  where",
        "name", "MB", "M MACs", "width"
    ))?;
    for found in installed {
        let card = &found.card;
        let place = found
            .folder
            .as_ref()
            .map_or("in the program".into(), |f| f.display().to_string());
        let width = card.outputs.first().map_or(0, |o| o.width);
        let width_multi: usize = card.outputs.iter().map(|o| o.width).sum();
        context.out.json(&json!({
            "name": card.name,
            "takes": card.modality.to_string(),
            "description": card.description,
            "licence": card.licence,
            "trained_on": card.trained_on,
            "published_top1": card.published_top1,
            "sha256": hex(&card.sha256),
            "bytes": card.model_bytes,
            "macs": card.macs,
            "width": width,
            "width_multi": width_multi,
            "path": place,
        }))?;
        context.out.line(format!(
            "{:26} {:>8.1} {:>8.0} {:>7}  {place}",
            fit(&card.name, 26),
            card.model_bytes as f64 / 1e6,
            card.macs as f64 / 1e6,
            width,
        ))?;
    }
    Ok(())
}

/// A backbone on the samples of the field.
struct Ranked {
    found: Found,
    choice: Choice,
    /// Cross-validated balanced accuracy over bursts, and the samples that judged.
    accuracy: f64,
    interval: Interval,
    judges: usize,
    h_score: f64,
    ms: f64,
    memory_bytes: usize,
}

/// Inferences that are timed; their median counts.
const RUNS: usize = 9;

/// Standard errors of a lead below which it may be chance.
const BEYOND_CHANCE: f64 = 2.0;

fn rank(context: &Context) -> Result<()> {
    let store = context.open_to_look()?;
    let (mut ranked, mut unseen) = (Vec::new(), Vec::new());
    let settled = context.found()?;
    let mut installed = context.installed()?;
    installed.retain(|found| found.card.modality == settled.card.modality);
    if installed.is_empty() {
        installed.push(settled);
    }
    for found in installed {
        let name = found.card.name.clone();
        match score(context, &store, found) {
            Ok(one) => ranked.push(one),
            Err(PipelineError::NoPicture { missing, all }) => unseen.push((name, missing, all)),
            Err(other) => return Err(other.into()),
        }
    }
    if let (true, Some(&(_, missing, all))) = (ranked.is_empty(), unseen.first()) {
        return Err(PipelineError::NoPicture { missing, all }.into());
    }
    // Of equal accuracy the one whose features say more of the classes, and then the quicker one.
    ranked.sort_by(|a, b| {
        b.accuracy
            .total_cmp(&a.accuracy)
            .then(b.h_score.total_cmp(&a.h_score))
            .then(a.ms.total_cmp(&b.ms))
    });
    report(context, &ranked)?;
    for (name, missing, all) in unseen {
        context
            .out
            .json(&json!({"name": name, "without_picture": missing, "samples": all}))?;
        context.out.line(format!(
            "{name} could not be scored: {missing} of {} {} no kept picture to embed by it",
            count(all, "sample"),
            have(missing)
        ))?;
    }
    Ok(())
}

/// One backbone on all samples, by the view and the outputs of the settings.
fn score(context: &Context, store: &Store, found: Found) -> Result<Ranked, PipelineError> {
    let fit = context.settings.fit.unwrap_or_default();
    let outputs = context.settings.features.unwrap_or_default();
    let recipe = recipe(&found.card, fit, outputs);
    let embedder = context.embedder_of(&found, &recipe)?;
    let set = pipeline::training_set(store, &recipe, &[], |photos, recipes| {
        embed::photos(context, &embedder, photos, recipes)
    })?;
    let choice = learn::choose(&set.samples, &context.settings.request())?;
    let cv = choice.cv.clone().map_err(LearnError::from)?;
    let backbone = embedder.backbone();
    Ok(Ranked {
        choice,
        accuracy: cv.balanced_accuracy,
        interval: cv.balanced_accuracy_95,
        judges: cv.n,
        h_score: transfer::h_score(&set.samples)?,
        ms: median_ms(&embedder, context.threads)?,
        memory_bytes: backbone.memory_bytes(),
        found,
    })
}

/// Time of one inference; what is looked at does not matter.
fn median_ms(embedder: &Embedder, threads: usize) -> Result<f64, PipelineError> {
    let backbone = embedder.backbone();
    let example = Example::of(backbone, embedder.recipe())?;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        example.run(backbone, threads)?;
        times.push(ms_since(start));
    }
    times.sort_by(f64::total_cmp);
    Ok(times[RUNS / 2])
}

fn report(context: &Context, ranked: &[Ranked]) -> Result<()> {
    context.out.line(format!(
        "{:26} {:>10} {:>12} {:>5} {:>8} {:>7} {:>6}",
        "name", "accuracy %", "95 %", "n", "H-score", "ms", "MB"
    ))?;
    for (place, one) in ranked.iter().enumerate() {
        let name = &one.found.card.name;
        let mb = one.memory_bytes as f64 / 1e6;
        context.out.json(&json!({
            "rank": place + 1,
            "name": name,
            "balanced_accuracy": round(one.accuracy),
            "balanced_accuracy_95": ends(one.interval),
            "n": one.judges,
            "h_score": round(one.h_score),
            "ms": round(one.ms),
            "memory_mb": round(mb),
            "recommended": place == 0,
            "why": if place == 0 { recommendation(ranked) } else { None },
        }))?;
        context.out.line(format!(
            "{:26} {:>10.1} {:>12} {:>5} {:>8.3} {:>7.1} {:>6.1}",
            fit(name, 26),
            100.0 * one.accuracy,
            range(one.interval),
            one.judges,
            one.h_score,
            one.ms,
            mb
        ))?;
    }
    if let Some(reason) = recommendation(ranked) {
        context.out.line(reason)?;
    }
    Ok(())
}

/// One sentence: which to take, why, and what it costs.
fn recommendation(ranked: &[Ranked]) -> Option<String> {
    let best = ranked.first()?;
    let name = &best.found.card.name;
    let Some(second) = ranked.get(1) else {
        return Some(format!("{name} is the only one that could be scored"));
    };
    let lead = select::lead(&best.choice, &second.choice);
    let chance = match lead > BEYOND_CHANCE {
        true => "",
        false => ", which may be chance",
    };
    Some(format!(
        "Take {name}: by cross-validation over bursts it is {:.1} points more accurate on these {} samples than {}{chance}, and takes \
         {:.1} ms an inference against {:.1}: `fieldhead --backbone {name} train`",
        100.0 * (best.accuracy - second.accuracy),
        best.judges,
        second.found.card.name,
        best.ms,
        second.ms
    ))
}
