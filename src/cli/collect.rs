//! `collect`: samples of a folder or a source into the field.

mod frames;

pub use frames::one;

use super::args::Collect;
use super::context::{Context, now_us};
use super::embed::{CHUNK, FileError, skipped_line};
use super::exit::{BadInput, Usage};
use super::output::{count, limit};
use anyhow::Result;
use fieldhead::features::Hash;
use fieldhead::label;
use fieldhead::pipeline::{self, Embedder, Naming, PipelineError};
use fieldhead::preprocess::{self, Modality, augment};
use fieldhead::random::SplitMix64;
use fieldhead::source::folder::{self, Labelled, Skipped};
use fieldhead::source::{self, Opened, Payload};
use fieldhead::store::{NewSample, Store};
use frames::{from_buttons, from_frames};
use rayon::prelude::*;
use regex::Regex;
use serde_json::json;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub fn run(context: &Context, options: &Collect) -> Result<()> {
    let mut tally = Tally::default();
    match (&options.from, &options.label, &options.source) {
        (Some(dir), _, _) => from_folder(context, options, dir, &mut tally)?,
        (None, Some(label), Some(source)) => {
            label::check_new(label)?;
            let context = &for_source(context, source)?;
            match source::open(source, &context.clock)? {
                Opened::Files(mut paths) => {
                    paths.truncate(limit(options.count));
                    let context = &context.suited(paths.iter().map(PathBuf::as_path))?;
                    let files = paths.into_iter().map(|path| Labelled {
                        label: label.clone(),
                        path,
                    });
                    from_files(context, &files.collect::<Vec<_>>(), None, 0, &mut tally)?;
                }
                Opened::Frames(frames) => {
                    from_frames(context, options, label, frames, None, &mut tally)?;
                }
                Opened::Live(frames) => {
                    // Frames of one call look alike: they must not judge each other.
                    let burst = format!("{source}@{}", now_us());
                    from_frames(context, options, label, frames, Some(burst), &mut tally)?;
                }
            }
        }
        (None, None, Some(source)) if !options.buttons.is_empty() => {
            let context = &for_source(context, source)?;
            from_buttons(context, options, source, &mut tally)?;
        }
        _ => {
            let all = "give --from DIR, or --source with --label or --button";
            return Err(Usage(all.into()).into());
        }
    }
    tally.finish(context)
}

/// The context for what a source gives. Another kind than the field's is refused before the source is opened.
pub fn for_source(context: &Context, source: &str) -> Result<Context> {
    let Some(gives) = source::gives(source)? else {
        return Ok(context.clone());
    };
    let context = context.suited_to(gives)?;
    context.found()?.card.modality.check(gives)?;
    Ok(context)
}

/// What was taken and what was not.
#[derive(Default)]
struct Tally {
    collected: usize,
    known: usize,
    skipped: usize,
    /// Stored without their picture, because its room was used up.
    without_picture: usize,
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
        self.without_picture += usize::from(sample.sample.photo.is_none());
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
            "without_picture": self.without_picture,
            "classes": self.classes,
        }))?;
        context
            .out
            .without_picture(self.without_picture, &context.folder);
        context.out.line(format!(
            "collected {} of {}, skipped {}",
            count(self.collected, "sample"),
            count(self.classes.len(), "class"),
            self.skipped
        ))?;
        for (label, n) in &self.classes {
            context.out.line(format!("  {n:6}  {label}"))?;
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
    let mut scanned = folder::scan(dir)?;
    let context = &context.suited(scanned.paths())?;
    for skipped in scanned.skipped.iter().chain(&not_new(&mut scanned.files)) {
        tally.skip(context, skipped)?;
    }
    if let Some(regex) = &burst
        && !scanned
            .files
            .iter()
            .any(|file| regex.is_match(&name_of(file)))
    {
        context.out.note(format!(
            "--burst-regex '{regex}' matches no file name in {}, so each file is its own burst",
            dir.display()
        ));
    }
    from_files(
        context,
        &scanned.files,
        burst.as_ref(),
        options.augment,
        tally,
    )
}

/// Takes out files whose label no new sample may have, and names their folders.
fn not_new(files: &mut Vec<Labelled>) -> Vec<Skipped> {
    let mut skipped: Vec<Skipped> = Vec::new();
    files.retain(|file| {
        let Err(error) = label::check_new(&file.label) else {
            return true;
        };
        let path = file.path.parent().unwrap_or(&file.path);
        if skipped.last().is_none_or(|last| last.path != path) {
            let (path, reason) = (path.into(), error.to_string());
            skipped.push(Skipped { path, reason });
        }
        false
    });
    skipped
}

fn from_files(
    context: &Context,
    files: &[Labelled],
    burst: Option<&Regex>,
    copies: u8,
    tally: &mut Tally,
) -> Result<()> {
    let embedder = &context.embedder()?;
    let takes = embedder.takes();
    if copies > 0 && takes != Modality::Picture {
        let what = format!("--augment changes photos, and these are {takes}; leave it out");
        return Err(Usage(what).into());
    }
    let taking = Taking {
        context,
        embedder,
        burst,
        copies,
    };
    let mut store = context.open_if_there()?;
    let bar = context.out.progress(files.len() as u64, "collecting");
    for chunk in files.chunks(CHUNK) {
        bar.suspend(|| taking.commit_chunk(&mut store, chunk, tally))?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

/// The field, made when the first sample comes: what gives none leaves none behind.
fn made<'s>(context: &Context, store: &'s mut Option<Store>) -> Result<&'s Store> {
    let there = match store.take() {
        Some(there) => there,
        None => context.create()?,
    };
    Ok(store.insert(there))
}

/// What became of one file.
enum Outcome {
    /// The sample, and changed copies of it.
    New(Vec<NewSample>),
    Known(u64),
    Skipped(String),
}

/// What the files of one call are taken in with.
struct Taking<'a> {
    context: &'a Context,
    embedder: &'a Embedder,
    burst: Option<&'a Regex>,
    /// Changed copies of each photo that are learned too.
    copies: u8,
}

impl Taking<'_> {
    fn commit_chunk(
        &self,
        store: &mut Option<Store>,
        chunk: &[Labelled],
        tally: &mut Tally,
    ) -> Result<()> {
        let keep = pipeline::keeps_photos(store.as_ref(), &self.context.settings)?;
        let time_us = now_us();
        let outcomes: Vec<Outcome> = chunk
            .par_iter()
            .map(|file| self.take(store.as_ref(), file, time_us, keep))
            .collect::<Result<_>>()?;
        let mut new: Vec<NewSample> = Vec::new();
        for (file, outcome) in chunk.iter().zip(outcomes) {
            let reason = match outcome {
                Outcome::New(samples) if samples.iter().any(|sample| twin(&new, sample)) => {
                    "the same file stands in this folder twice".to_owned()
                }
                Outcome::New(samples) => {
                    new.extend(samples);
                    continue;
                }
                Outcome::Known(id) => {
                    tally.known += 1;
                    format!("it was collected before, as sample {id}")
                }
                Outcome::Skipped(reason) => reason,
            };
            let path = file.path.clone();
            tally.skip(self.context, &Skipped { path, reason })?;
        }
        if new.is_empty() {
            return Ok(());
        }
        let ids = pipeline::add(made(self.context, store)?, self.embedder, &new)?;
        for (id, sample) in ids.into_iter().zip(&new) {
            tally.take(self.context, id, sample)?;
        }
        Ok(())
    }

    fn take(
        &self,
        store: Option<&Store>,
        file: &Labelled,
        time_us: u64,
        keep: bool,
    ) -> Result<Outcome> {
        let taken = || -> Result<Outcome, FileError> {
            let payload = Payload::Encoded(folder::read(&file.path)?);
            let content = pipeline::content_hash(&payload);
            let known = store.map(|store| store.find_content(&content, &file.label));
            if let Some(id) = known.transpose().map_err(PipelineError::from)?.flatten() {
                return Ok(Outcome::Known(id));
            }
            let naming = Naming {
                label: file.label.clone(),
                burst: self
                    .found_burst(file)
                    .unwrap_or_else(|| pipeline::own_burst(&content)),
                source: file.path.display().to_string(),
                time_us,
            };
            let copies = self.copies(&payload, &naming, &content, keep)?;
            let sample = pipeline::take_in(self.embedder, &payload, naming, keep, 1)?;
            Ok(Outcome::New(
                std::iter::once(sample).chain(copies).collect(),
            ))
        };
        match taken() {
            Ok(outcome) => Ok(outcome),
            Err(error) if error.is_about_the_file() => Ok(Outcome::Skipped(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// Changed copies of a photo, of its burst; the photo's own bytes seed them.
    fn copies(
        &self,
        payload: &Payload,
        naming: &Naming,
        content: &Hash,
        keep: bool,
    ) -> Result<Vec<NewSample>, FileError> {
        let bytes = match payload {
            Payload::Encoded(bytes) if self.copies > 0 => bytes,
            _ => return Ok(Vec::new()),
        };
        let image = preprocess::decode(bytes).map_err(PipelineError::from)?;
        let seed = content
            .iter()
            .take(8)
            .fold(0, |seed, &byte| seed << 8 | u64::from(byte));
        let mut random = SplitMix64::new(seed);
        let copy = |number: u8| {
            let copy = Payload::Decoded(augment::copy(&image, &mut random));
            let naming = Naming {
                source: format!("{} (changed copy {number})", naming.source),
                ..naming.clone()
            };
            Ok(pipeline::take_in(self.embedder, &copy, naming, keep, 1)?)
        };
        (1..=self.copies).map(copy).collect()
    }

    /// What the expression finds in a file's name.
    fn found_burst(&self, file: &Labelled) -> Option<String> {
        let name = name_of(file);
        let captures = self.burst?.captures(&name)?;
        let group = captures.get(1).or_else(|| captures.get(0))?;
        Some(group.as_str().to_owned())
    }
}

fn twin(batch: &[NewSample], sample: &NewSample) -> bool {
    batch.iter().any(|other| {
        other.sample.content == sample.sample.content && other.sample.label == sample.sample.label
    })
}

/// The name of a file as text; bytes that are not UTF-8 are spelled out, so that two names are never the same.
fn name_of(file: &Labelled) -> String {
    let name = file.path.file_name().unwrap_or_default();
    match name.to_str() {
        Some(text) => text.to_owned(),
        None => name.as_bytes().escape_ascii().to_string(),
    }
}
