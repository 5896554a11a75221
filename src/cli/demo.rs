//! `demo`: the whole way on the simulated line. Collect, train, watch the light change, correct, reopen.
//!
//! Nothing printed here is written down beforehand: every figure is measured on the frames of the seed.

use super::args::Demo;
use super::context::{Context, now_us};
use super::exit::BadInput;
use super::output::{count, ends, ms_since, round, with_interval};
use anyhow::Result;
use fieldhead::config;
use fieldhead::decision::best;
use fieldhead::head::{Learned, Request};
use fieldhead::learn::metrics::{Interval, wilson};
use fieldhead::pipeline::{self, Embedder, Naming, PipelineError};
use fieldhead::preprocess::Image;
use fieldhead::source::Payload;
use fieldhead::source::line::{Light, Line, Part};
use fieldhead::store::{self, Origin, Store, StoreError};
use indicatif::ProgressBar;
use rayon::prelude::*;
use serde_json::json;
use std::time::Instant;

/// Samples collected of each class.
const SAMPLES_A_CLASS: usize = 10;
const CORRECTIONS: usize = 12;
/// Frames looked at for something to correct, at the most.
const LOOKS: usize = 400;

pub fn run(context: &Context, options: &Demo) -> Result<()> {
    let started = Instant::now();
    let embedder = context.embedder()?;
    let store = fresh_store(context)?;
    let frames = options.frames as usize;
    let demo = Run {
        context,
        embedder: &embedder,
        store: &store,
        seed: options.seed,
        frames,
        bar: context.out.progress(
            (SAMPLES_A_CLASS * Part::ALL.len() + 3 * frames + CORRECTIONS) as u64,
            "demo",
        ),
    };
    let facts = demo.play()?;
    drop(store);
    let reopened = Store::open_read_only(&context.folder)?;
    let (version, head) = reopened.current_head()?;
    let again: Vec<Vec<f32>> = facts
        .last_features
        .iter()
        .map(|features| head.learned.scores(features))
        .collect::<Result<_, _>>()?;
    let same = facts
        .last_scores
        .iter()
        .zip(&again)
        .filter(|(a, b)| a == b)
        .count();
    report(
        context,
        options.seed,
        &facts,
        version,
        same,
        ms_since(started),
    )?;
    if same == facts.last_scores.len() {
        return Ok(());
    }
    Err(StoreError::Damaged("the reopened head gives other answers".into()).into())
}

/// An empty store; a field that is not a demonstration's own is left alone.
fn fresh_store(context: &Context) -> Result<Store> {
    match Store::open(&context.folder) {
        Ok(existing) => {
            if !existing.is_demo()? {
                return Err(BadInput(format!(
                    "{} holds a field of yours; name another folder with --field",
                    context.folder.display()
                ))
                .into());
            }
            drop(existing);
            for name in [store::FILE_NAME, config::FILE_NAME] {
                match std::fs::remove_file(context.folder.join(name)) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
                    _ => {}
                }
            }
        }
        Err(StoreError::Missing(_)) => {}
        Err(other) => return Err(other.into()),
    }
    Ok(context.create()?.for_demo()?)
}

struct Run<'a> {
    context: &'a Context,
    embedder: &'a Embedder,
    store: &'a Store,
    seed: u64,
    /// Fresh frames for each accuracy.
    frames: usize,
    bar: ProgressBar,
}

/// What the demonstration measured.
struct Facts {
    samples: usize,
    collect_ms: f64,
    head: String,
    train_ms: f64,
    day: f64,
    evening: f64,
    corrections: usize,
    looks: usize,
    learn_ms: f64,
    commit_ms: f64,
    evening_after: f64,
    day_after: f64,
    last_features: Vec<Vec<f32>>,
    last_scores: Vec<Vec<f32>>,
}

impl Run<'_> {
    fn play(&self) -> Result<Facts> {
        let mut line = Line::new(self.seed, Light::day());
        let collecting = Instant::now();
        let samples = self.collect(&mut line)?;
        let collect_ms = ms_since(collecting);
        let training = Instant::now();
        let learned = self.train()?;
        let train_ms = ms_since(training);
        let day_frames = self.embed_fresh(&mut line)?;
        line.set_light(Light::evening());
        let evening_frames = self.embed_fresh(&mut line)?;
        let day = accuracy(&learned, &day_frames)?;
        let evening = accuracy(&learned, &evening_frames)?;
        let fixed = self.correct(&mut line)?;
        let after = self.store.current_head()?.1.learned;
        let last = self.embed_fresh(&mut line)?;
        self.bar.finish_and_clear();
        Ok(Facts {
            samples,
            collect_ms,
            head: learned.settings.kind.to_string(),
            train_ms,
            day,
            evening,
            corrections: fixed.corrections,
            looks: fixed.looks,
            learn_ms: fixed.learn_ms,
            commit_ms: fixed.commit_ms,
            evening_after: accuracy(&after, &last)?,
            day_after: accuracy(&after, &day_frames)?,
            last_scores: last
                .iter()
                .map(|(_, features)| after.scores(features))
                .collect::<Result<_, _>>()?,
            last_features: last.into_iter().map(|(_, features)| features).collect(),
        })
    }

    fn naming(&self, part: Part, step: &str, number: usize) -> Naming {
        let name = format!("demo:{},{step}#{number}", self.seed);
        Naming {
            label: part.label().to_owned(),
            burst: name.clone(),
            source: name,
            time_us: now_us(),
        }
    }

    fn collect(&self, line: &mut Line) -> Result<usize> {
        let mut frames = Vec::new();
        for _ in 0..SAMPLES_A_CLASS {
            for part in Part::ALL {
                frames.push((line.frame(part), self.naming(part, "day", frames.len())));
            }
        }
        let new: Vec<_> = frames
            .into_par_iter()
            .map(|(image, naming)| {
                self.bar.inc(1);
                pipeline::take_in(self.embedder, &Payload::Decoded(image), naming, true, 1)
            })
            .collect::<Result<_, PipelineError>>()?;
        Ok(pipeline::add(self.store, self.embedder, &new)?.len())
    }

    fn train(&self) -> Result<Learned> {
        let recipe = self.embedder.recipe();
        let request = Request {
            fit: Some(recipe.view.fit),
            set: Some(recipe.set),
            ..self.context.settings.request()
        };
        let candidates = std::slice::from_ref(recipe);
        let chosen = pipeline::choose(candidates, &request, |_| self.training_set(), || false)?;
        let change = pipeline::train(&chosen, &request, now_us())?;
        pipeline::put_head(self.store, &change.record, Origin::Train)?;
        Ok(change.record.learned)
    }

    fn training_set(&self) -> Result<pipeline::TrainingSet, PipelineError> {
        let recipe = self.embedder.recipe();
        pipeline::training_set(self.store, recipe, &[], |_, _| Ok(Vec::new()))
    }

    /// Fresh frames with what they show.
    fn embed_fresh(&self, line: &mut Line) -> Result<Vec<(Part, Vec<f32>)>> {
        let frames: Vec<(Part, Image)> = (0..self.frames).map(|_| line.next()).collect();
        let embedded = frames
            .into_par_iter()
            .map(|(part, image)| {
                self.bar.inc(1);
                Ok((part, self.embedder.embed(&image, 1)?))
            })
            .collect::<Result<_, PipelineError>>()?;
        Ok(embedded)
    }

    /// Watches the evening line and corrects the first mistakes, each learned and committed before the next frame.
    fn correct(&self, line: &mut Line) -> Result<Corrected> {
        let mut done = Corrected::default();
        let threads = self.context.threads;
        let (_, mut head) = self.store.current_head()?;
        let mut learner = pipeline::resume(&head, self.training_set()?)?;
        while done.corrections < CORRECTIONS && done.looks < LOOKS {
            let (part, image) = line.next();
            let number = done.looks;
            done.looks += 1;
            let scores = head
                .learned
                .scores(&self.embedder.embed(&image, threads)?)?;
            if head.learned.labels[best(&scores)] == part.label() {
                continue;
            }
            let naming = self.naming(part, "evening", number);
            let payload = Payload::Decoded(image);
            let new = pipeline::take_in(self.embedder, &payload, naming.clone(), true, threads)?;
            let learning = Instant::now();
            head = pipeline::correct(&head, &mut *learner, &new.features, &naming)?;
            done.learn_ms += ms_since(learning) / CORRECTIONS as f64;
            let committing = Instant::now();
            self.store.write(|tx| {
                let sample = tx.add_sample(&new, self.embedder.recipe())?;
                tx.put_head(&head, Origin::Correct { sample })
            })?;
            done.commit_ms += ms_since(committing) / CORRECTIONS as f64;
            done.corrections += 1;
            self.bar.inc(1);
        }
        Ok(done)
    }
}

#[derive(Default)]
struct Corrected {
    corrections: usize,
    looks: usize,
    /// Means over the corrections.
    learn_ms: f64,
    commit_ms: f64,
}

fn accuracy(learned: &Learned, frames: &[(Part, Vec<f32>)]) -> Result<f64> {
    let mut right = 0;
    for (part, features) in frames {
        let scores = learned.scores(features)?;
        right += usize::from(learned.labels[best(&scores)] == part.label());
    }
    Ok(right as f64 / frames.len() as f64)
}

fn report(
    context: &Context,
    seed: u64,
    facts: &Facts,
    version: u64,
    same: usize,
    ms: f64,
) -> Result<()> {
    let labels: Vec<&str> = Part::ALL.iter().map(|part| part.label()).collect();
    let frames = facts.last_features.len();
    context.out.json(&json!({
        "seed": seed,
        "backbone": context.settings.backbone,
        "classes": labels,
        "samples": facts.samples,
        "collect_ms": round(facts.collect_ms),
        "head": facts.head,
        "train_ms": round(facts.train_ms),
        "frames": frames,
        "accuracy_day": round(facts.day),
        "accuracy_day_95": ends(interval(facts.day, frames)),
        "accuracy_evening": round(facts.evening),
        "accuracy_evening_95": ends(interval(facts.evening, frames)),
        "corrections": facts.corrections,
        "frames_watched": facts.looks,
        "correct_learn_ms": round(facts.learn_ms),
        "correct_commit_ms": round(facts.commit_ms),
        "accuracy_evening_corrected": round(facts.evening_after),
        "accuracy_evening_corrected_95": ends(interval(facts.evening_after, frames)),
        "accuracy_day_corrected": round(facts.day_after),
        "accuracy_day_corrected_95": ends(interval(facts.day_after, frames)),
        "version": version,
        "identical_after_reopening": same,
        "field": context.folder.display().to_string(),
        "ms": round(ms),
    }))?;
    let lines = [
        format!(
            "A classifier for {} on a conveyor, seed {seed}",
            labels.join(", ")
        ),
        String::new(),
        format!(
            "  collect   {} samples, {SAMPLES_A_CLASS} a class{:>35}",
            facts.samples,
            format!("{:.1} s", facts.collect_ms / 1e3)
        ),
        format!(
            "  train     {:40}{:>12}",
            facts.head,
            format!("{:.0} ms", facts.train_ms)
        ),
        bar("day", facts.day, frames, "fresh frames"),
        bar("evening", facts.evening, frames, "other light"),
        format!(
            "  correct   {:40}{:>12}",
            format!(
                "{} among {}",
                count(facts.corrections, "mistake"),
                count(facts.looks, "frame")
            ),
            format!("{:.1} ms each", facts.learn_ms + facts.commit_ms)
        ),
        bar("evening", facts.evening_after, frames, "fresh frames"),
        bar("day", facts.day_after, frames, "still known"),
        format!(
            "  reopen    version {version}: {same} of {} identical",
            count(frames, "answer")
        ),
        String::new(),
        format!(
            "{:.1} s in all. The field is in {}; go on with",
            ms / 1e3,
            context.folder.display()
        ),
        format!("  fieldhead --field {} history", context.folder.display()),
        format!(
            "  fieldhead --field {} predict --source line:9,light=evening --count 5",
            context.folder.display()
        ),
    ];
    for line in lines {
        context.out.line(line)?;
    }
    Ok(())
}

/// One accuracy over so many frames, as a line with a bar.
fn bar(name: &str, share: f64, frames: usize, remark: &str) -> String {
    const CELLS: usize = 12;
    let full = (share * CELLS as f64).round() as usize;
    format!(
        "  {name:9} {}{} {}, n = {frames}  {remark}",
        "█".repeat(full),
        "░".repeat(CELLS - full),
        with_interval(share, interval(share, frames))
    )
}

/// Of an accuracy over so many frames.
fn interval(share: f64, frames: usize) -> Interval {
    wilson((share * frames as f64).round() as usize, frames)
}
