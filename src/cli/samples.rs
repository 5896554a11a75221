//! `samples`: what was collected, and which of it is doubtful.

use super::args::SamplesOptions;
use super::context::Context;
use super::output::{count, fit, limit, round};
use super::train::training_set;
use anyhow::Result;
use fieldhead::head::Request;
use fieldhead::learn::suspect::{Suspect, suspects};
use fieldhead::pipeline::PipelineError;
use serde_json::json;

pub fn run(context: &Context, options: &SamplesOptions) -> Result<()> {
    match options.suspect {
        true => suspicious(context, options),
        false => list(context),
    }
}

fn list(context: &Context) -> Result<()> {
    let store = context.open_read_only()?;
    let samples = store.samples()?;
    if samples.is_empty() {
        context.out.note(PipelineError::NoSamples.to_string());
    }
    context.out.line(format!(
        "{:>6}  {:20}  {:20}  source",
        "id", "label", "burst"
    ))?;
    for (id, sample) in &samples {
        context.out.json(&json!({
            "id": id,
            "label": sample.label,
            "burst": sample.burst,
            "time_us": sample.time_us,
            "source": sample.source,
            "photo": sample.photo.map(|photo| json!({
                "width": photo.width,
                "height": photo.height,
                "bytes": photo.bytes,
            })),
        }))?;
        context.out.line(format!(
            "{id:>6}  {:20}  {:20}  {}",
            fit(&sample.label, 20),
            fit(&sample.burst, 20),
            fit(&sample.source, 28)
        ))?;
    }
    Ok(())
}

/// Samples whose label the others contradict, worst first.
fn suspicious(context: &Context, options: &SamplesOptions) -> Result<()> {
    let store = context.open_to_look()?;
    let recipe = match (context.settings.fit, store.current_head()) {
        // As the head in use sees them, where that was chosen on the samples, and nothing else is asked for.
        (None, Ok((_, head))) if head.native && context.check_asked(&head.recipe).is_ok() => {
            head.recipe
        }
        _ => context.recipe()?,
    };
    let set = training_set(context, &store, &recipe, &[])?;
    let samples = store.samples()?;
    let request = Request {
        seed: options.seed,
        ..context.settings.request()
    };
    let found = suspects(&set.samples, &request).map_err(PipelineError::from)?;
    let shown = limit(options.count);
    context.out.line(format!(
        "{:>6}  {:16} {:>5}  {:16} {:>5}  why",
        "id", "label", "%", "looks like", "%"
    ))?;
    for one in found.iter().take(shown) {
        let id = set.ids[one.row];
        let Some(sample) = samples.get(&id) else {
            continue;
        };
        let likely = &set.samples.names()[one.likely];
        let reason = reason(one, &sample.label, likely);
        context.out.json(&json!({
            "id": id,
            "label": sample.label,
            "burst": sample.burst,
            "time_us": sample.time_us,
            "source": sample.source,
            "suspicion": round(one.suspicion),
            "own": round(one.own),
            "likely": likely,
            "likely_probability": round(one.likely_probability),
            "outlier": one.outlier,
            "reason": reason,
        }))?;
        let line = format!(
            "{id:>6}  {:16} {:>5.1}  {:16} {:>5.1}  {}",
            fit(&sample.label, 16),
            100.0 * one.own,
            fit(likely, 16),
            100.0 * one.likely_probability,
            short_reason(one)
        );
        context.out.line(line.trim_end())?;
    }
    context.out.line(format!(
        "{} of {} could be judged by others; look at a sample, then",
        found.len(),
        count(set.samples.n(), "sample")
    ))?;
    context
        .out
        .line("`fieldhead correct --label L --sample ID` or `fieldhead forget --sample ID`")?;
    Ok(())
}

fn reason(one: &Suspect, label: &str, likely: &str) -> String {
    let [own, other] = [one.own, one.likely_probability].map(|p| 100.0 * p);
    let mut reason =
        format!("heads that never saw it give {label} {own:.1} % and {likely} {other:.1} %");
    if one.outlier {
        let nearest = one.nearest;
        reason += &format!("; it is like no class (cosine {nearest:.2} to the nearest mean)");
    }
    reason
}

fn short_reason(one: &Suspect) -> &'static str {
    match (one.outlier, one.own < one.likely_probability) {
        (true, true) => "other label, outlier",
        (true, false) => "outlier",
        (false, true) => "other label",
        (false, false) => "",
    }
}
