//! `history`, `rollback`, `backbones`: what is there.

use super::args::Rollback;
use super::context::{Context, now_us};
use super::output::fit;
use anyhow::Result;
use fieldhead::backbone::{find, hex};
use fieldhead::store::{Origin, Version};
use serde_json::json;

pub fn history(context: &Context) -> Result<()> {
    let store = context.open_read_only()?;
    let current = store.current_version()?;
    context.out.line(format!(
        "  {:>7}  {:8}  {:>7}  {:>7}  from",
        "version", "head", "samples", "classes"
    ))?;
    for version in store.versions()? {
        let (origin, sample) = origin(&version);
        let is_current = current == Some(version.number);
        context.out.json(&json!({
            "version": version.number,
            "time_us": version.time_us,
            "origin": origin,
            "sample": sample,
            "head": version.kind,
            "n": version.samples,
            "classes": version.classes,
            "current": is_current,
        }))?;
        let of = sample.map_or(String::new(), |id| format!(" (sample {id})"));
        context.out.line(format!(
            "{} {:>7}  {:8}  {:>7}  {:>7}  {origin}{of}",
            if is_current { '*' } else { ' ' },
            version.number,
            version.kind,
            version.samples,
            version.classes,
        ))?;
    }
    Ok(())
}

fn origin(version: &Version) -> (&'static str, Option<u64>) {
    match version.origin {
        Origin::Train => ("train", None),
        Origin::Correct { sample } => ("correct", Some(sample)),
        Origin::Forget { sample } => ("forget", Some(sample)),
        Origin::Import { .. } => ("import", None),
    }
}

pub fn rollback(context: &Context, options: &Rollback) -> Result<()> {
    let store = context.open()?;
    let to = options.version;
    let from = store.current_version()?;
    store.write(|tx| tx.roll_back(to, now_us()))?;
    context.out.json(&json!({"version": to, "from": from}))?;
    context
        .out
        .line(format!("head version {to} is in use again"))?;
    context.out.line(
        "the samples stay: the next correct, forget or train learns from all of them again; \
         `fieldhead forget --sample ID` takes out what was wrong",
    )?;
    Ok(())
}

pub fn backbones(context: &Context) -> Result<()> {
    context.out.line(format!(
        "{:26} {:>8} {:>8} {:>7}  where",
        "name", "MB", "M MACs", "width"
    ))?;
    for found in find::installed(&context.search) {
        let card = &found.card;
        let place = found
            .folder
            .as_ref()
            .map_or("in the program".into(), |f| f.display().to_string());
        let width = card.outputs.first().map_or(0, |o| o.width);
        let width_multi: usize = card.outputs.iter().map(|o| o.width).sum();
        context.out.json(&json!({
            "name": card.name,
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
