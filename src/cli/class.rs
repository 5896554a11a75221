//! `class`: the classes of the field, and changes of whole classes.

use super::args::{self, Class};
use super::change::changed_head;
use super::context::{Context, now_us};
use super::output::{count, fit, ms_since, round};
use anyhow::Result;
use fieldhead::pipeline::{ClassChange, PipelineError};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

pub fn run(context: &Context, options: &Class) -> Result<()> {
    match &options.change {
        Some(change) => self::change(context, change),
        None => list(context),
    }
}

fn list(context: &Context) -> Result<()> {
    let store = context.open_read_only()?;
    let mut classes: BTreeMap<String, (usize, BTreeSet<String>)> = BTreeMap::new();
    for sample in store.samples()?.into_values() {
        let (n, bursts) = classes.entry(sample.label).or_default();
        *n += 1;
        bursts.insert(sample.burst);
    }
    if classes.is_empty() {
        context.out.note(PipelineError::NoSamples.to_string());
    }
    let line = format!("{:40} {:>8} {:>8}", "class", "samples", "bursts");
    context.out.line(line)?;
    for (class, (n, bursts)) in classes {
        let bursts = bursts.len();
        context
            .out
            .json(&json!({"class": class, "n": n, "bursts": bursts}))?;
        context
            .out
            .line(format!("{:40} {n:>8} {bursts:>8}", fit(&class, 40)))?;
    }
    Ok(())
}

fn change(context: &Context, change: &args::ClassChange) -> Result<()> {
    let store = context.open()?;
    let planned = match change {
        args::ClassChange::Rename { from, to } => ClassChange::rename(&store, from, to)?,
        args::ClassChange::Merge { from, to } => ClassChange::merge(&store, from, to)?,
        args::ClassChange::Remove { class } => ClassChange::remove(&store, class)?,
    };
    let time_us = now_us();
    let (record, ms_learn) = changed_head(context, &store, |head, candidates, set_of, late| {
        planned.head(head, candidates, set_of, late, time_us)
    })?;
    let committing = Instant::now();
    let version = planned.commit(&store, record.as_ref(), time_us)?;
    let (moved, gone) = planned.counts();
    context.out.json(&json!({
        "relabelled": moved,
        "forgotten": gone,
        "version": version,
        "ms_learn": round(ms_learn),
        "ms_commit": round(ms_since(committing)),
    }))?;
    let head = match version {
        Some(version) => format!("head version {version}, trained again in {ms_learn:.0} ms"),
        None => "there was no head to change".into(),
    };
    let moved = count(moved, "sample");
    let line = format!("relabelled {moved}, forgot {gone}; {head}");
    Ok(context.out.line(line)?)
}
