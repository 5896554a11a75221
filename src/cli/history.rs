//! `history` and `rollback`: the versions of the head.

use super::args::Rollback;
use super::context::{Context, now_us};
use anyhow::Result;
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
        Origin::Rename { .. } => ("rename", None),
        Origin::Remove { .. } => ("remove", None),
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
