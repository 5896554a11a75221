//! `collect`: samples of a folder or a source into the field.

use super::args::Collect;
use super::context::{Context, now_us};
use super::embed::{CHUNK, FileError, skipped_line};
use super::exit::{BadInput, Usage};
use anyhow::Result;
use fieldhead::label;
use fieldhead::pipeline::{self, Embedder, Naming, PipelineError};
use fieldhead::source::folder::{self, Labelled, Skipped};
use fieldhead::source::{self, Payload};
use fieldhead::store::{NewSample, Store};
use rayon::prelude::*;
use regex::Regex;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

pub fn run(context: &Context, options: &Collect) -> Result<()> {
    let mut tally = Tally::default();
    match (&options.from, &options.label, &options.source) {
        (Some(dir), _, _) => from_folder(context, options, dir, &mut tally)?,
        (None, Some(label), Some(source)) => {
            from_source(context, label, source, options.count, &mut tally)?;
        }
        _ => return Err(Usage("give --from DIR, or --label and --source".into()).into()),
    }
    tally.finish(context)
}

/// What was taken and what was not.
#[derive(Default)]
struct Tally {
    collected: usize,
    known: usize,
    skipped: usize,
    classes: BTreeMap<String, usize>,
}

impl Tally {
    fn skip(&mut self, context: &Context, skipped: &Skipped) -> Result<()> {
        self.skipped += 1;
        let path = skipped.path.display().to_string();
        context
            .out
            .json(&json!({"skipped": path, "reason": skipped.reason}))?;
        if !context.out.json {
            context.out.note(skipped_line(skipped));
        }
        Ok(())
    }

    fn take(&mut self, context: &Context, id: u64, sample: &NewSample) -> Result<()> {
        self.collected += 1;
        let label = &sample.sample.label;
        *self.classes.entry(label.clone()).or_default() += 1;
        context
            .out
            .json(&json!({"id": id, "label": label, "path": sample.sample.source}))?;
        Ok(())
    }

    fn finish(self, context: &Context) -> Result<()> {
        context.out.json(&json!({
            "collected": self.collected,
            "skipped": self.skipped,
            "classes": self.classes,
        }))?;
        context.out.line(format!(
            "collected {} samples of {} classes, skipped {}",
            self.collected,
            self.classes.len(),
            self.skipped
        ))?;
        for (label, count) in &self.classes {
            context.out.line(format!("  {count:6}  {label}"))?;
        }
        if self.collected == 0 && self.known == 0 && self.skipped > 0 {
            return Err(
                BadInput("nothing could be collected; the lines above say why".into()).into(),
            );
        }
        Ok(())
    }
}

fn from_folder(context: &Context, options: &Collect, dir: &Path, tally: &mut Tally) -> Result<()> {
    let burst = options
        .burst_regex
        .as_deref()
        .map(Regex::new)
        .transpose()
        .map_err(|e| Usage(format!("--burst-regex: {e}")))?;
    let scanned = folder::scan(dir)?;
    let embedder = context.embedder()?;
    let store = context.create()?;
    for skipped in &scanned.skipped {
        tally.skip(context, skipped)?;
    }
    let bar = context
        .out
        .progress(scanned.files.len() as u64, "collecting");
    for chunk in scanned.files.chunks(CHUNK) {
        bar.suspend(|| commit_chunk(context, &store, &embedder, burst.as_ref(), chunk, tally))?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

/// What became of one file.
enum Outcome {
    New(Box<NewSample>),
    Known(u64),
    Skipped(String),
}

fn commit_chunk(
    context: &Context,
    store: &Store,
    embedder: &Embedder,
    burst: Option<&Regex>,
    chunk: &[Labelled],
    tally: &mut Tally,
) -> Result<()> {
    let keep = pipeline::keeps_photos(store, &context.settings)?;
    let time_us = now_us();
    let outcomes: Vec<Outcome> = chunk
        .par_iter()
        .map(|file| take(store, embedder, burst, file, time_us, keep))
        .collect::<Result<_>>()?;
    let mut new: Vec<NewSample> = Vec::new();
    for (file, outcome) in chunk.iter().zip(outcomes) {
        let reason = match outcome {
            Outcome::New(sample) if twin(&new, &sample) => {
                "the same photo stands in this folder twice".to_owned()
            }
            Outcome::New(sample) => {
                new.push(*sample);
                continue;
            }
            Outcome::Known(id) => {
                tally.known += 1;
                format!("it was collected before, as sample {id}")
            }
            Outcome::Skipped(reason) => reason,
        };
        let path = file.path.clone();
        tally.skip(context, &Skipped { path, reason })?;
    }
    if new.is_empty() {
        return Ok(());
    }
    for (id, sample) in pipeline::add(store, embedder, &new)?.into_iter().zip(&new) {
        tally.take(context, id, sample)?;
    }
    Ok(())
}

fn twin(batch: &[NewSample], sample: &NewSample) -> bool {
    batch.iter().any(|other| {
        other.sample.content == sample.sample.content && other.sample.label == sample.sample.label
    })
}

fn take(
    store: &Store,
    embedder: &Embedder,
    burst: Option<&Regex>,
    file: &Labelled,
    time_us: u64,
    keep: bool,
) -> Result<Outcome> {
    let taken = || -> Result<Outcome, FileError> {
        let payload = Payload::Encoded(folder::read(&file.path)?);
        let content = pipeline::content_hash(&payload);
        let known = store
            .find_content(&content, &file.label)
            .map_err(PipelineError::from)?;
        if let Some(id) = known {
            return Ok(Outcome::Known(id));
        }
        let naming = Naming {
            label: file.label.clone(),
            burst: burst_of(file, burst),
            source: file.path.display().to_string(),
            time_us,
        };
        let sample = pipeline::take_in(embedder, &payload, naming, keep)?;
        Ok(Outcome::New(Box::new(sample)))
    };
    match taken() {
        Ok(outcome) => Ok(outcome),
        Err(error) if error.is_about_the_file() => Ok(Outcome::Skipped(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// The burst of a file: what the expression finds in its name, else the file itself.
fn burst_of(file: &Labelled, burst: Option<&Regex>) -> String {
    let name = file
        .path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let found = burst.and_then(|regex| {
        let captures = regex.captures(&name)?;
        let group = captures.get(1).or_else(|| captures.get(0))?;
        Some(group.as_str().to_owned())
    });
    found.unwrap_or_else(|| format!("{}/{name}", file.label))
}

fn from_source(
    context: &Context,
    label: &str,
    text: &str,
    count: Option<u64>,
    tally: &mut Tally,
) -> Result<()> {
    label::check(label)?;
    let mut source = source::open(text)?;
    let limit = count.unwrap_or(if text.starts_with("line:") {
        1
    } else {
        u64::MAX
    });
    let embedder = context.embedder()?;
    let store = context.create()?;
    let bar = context.out.progress(count.unwrap_or(0), "collecting");
    for _ in 0..limit {
        let Some(frame) = source.next()? else {
            break;
        };
        let time_us = now_us();
        let naming = Naming {
            label: label.to_owned(),
            burst: frame.name.clone(),
            source: frame.name.clone(),
            time_us,
        };
        let keep = pipeline::keeps_photos(&store, &context.settings)?;
        let taken = pipeline::take_in(&embedder, &frame.payload, naming, keep);
        bar.inc(1);
        match taken {
            Ok(sample) => {
                let ids = pipeline::add(&store, &embedder, std::slice::from_ref(&sample))?;
                for id in ids {
                    bar.suspend(|| tally.take(context, id, &sample))?;
                }
            }
            Err(error @ PipelineError::Preprocess(_)) => {
                let skipped = Skipped {
                    path: frame.name.into(),
                    reason: error.to_string(),
                };
                bar.suspend(|| tally.skip(context, &skipped))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    bar.finish_and_clear();
    Ok(())
}
