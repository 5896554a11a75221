//! `correct` and `forget`: changes of the head by one sample, learned and committed at once.

use super::args::{Correct, Forget};
use super::context::{Context, now_us};
use super::exit::Usage;
use super::output::{ms_since, round};
use super::train::training_set;
use anyhow::Result;
use fieldhead::features::Recipe;
use fieldhead::label;
use fieldhead::pipeline::{self, Embedder, Naming, PipelineError, TrainingSet};
use fieldhead::source::{Payload, folder};
use fieldhead::store::{HeadRecord, Origin, Store, StoreError};
use serde_json::json;
use std::time::Instant;

pub fn correct(context: &Context, options: &Correct) -> Result<()> {
    let label = &options.label;
    match (&options.path, options.sample) {
        (Some(path), _) => {
            // A label that cannot be is named before the file is read.
            label::check_new(label)?;
            let payload = Payload::Encoded(folder::read(path)?);
            let source = path.display().to_string();
            correct_one(context, Wrong::Payload(&payload, source, None), label)
        }
        (None, Some(id)) => correct_one(context, Wrong::Sample(id), label),
        (None, None) => Err(Usage("give a file, or --sample ID".into()).into()),
    }
}

/// What carries a wrong label, or was answered wrongly.
pub enum Wrong<'a> {
    /// Where it came from, and an embedder of the head's recipe where one is loaded.
    Payload(&'a Payload, String, Option<&'a Embedder>),
    Sample(u64),
}

/// Learns what something really shows, and reports it.
pub fn correct_one(context: &Context, wrong: Wrong, label: &str) -> Result<()> {
    label::check_new(label)?;
    let store = context.open()?;
    let (_, head) = store.current_head()?;
    pipeline::check_native(&head)?;
    context.check_asked(&head.recipe)?;
    let corrected = match wrong {
        Wrong::Payload(payload, source, embedder) => {
            let embedder = embedder.filter(|it| it.recipe().same_space(&head.recipe));
            correct_picture(context, &store, &head, embedder, (payload, source), label)?
        }
        Wrong::Sample(id) => relabel(context, &store, &head, label, id)?,
    };
    if !head.learned.labels.iter().any(|known| known == label) {
        let text = format!("'{label}' is a new class; `fieldhead class` lists all");
        context.out.note(text);
    }
    let (id, version) = (corrected.id, corrected.version);
    let (ms_learn, ms_commit) = (corrected.ms_learn, corrected.ms_commit);
    report(context, corrected.did, id, version, ms_learn, ms_commit)
}

/// A correction that is on disk.
pub struct Corrected {
    /// What became of the sample, in a word.
    pub did: &'static str,
    pub id: u64,
    pub version: u64,
    pub head: HeadRecord,
    pub ms_learn: f64,
    pub ms_commit: f64,
}

/// Learns what a picture, which came from a source, really shows. Without an embedder of the head's recipe one is loaded.
pub fn correct_picture(
    context: &Context,
    store: &Store,
    head: &HeadRecord,
    embedder: Option<&Embedder>,
    (payload, source): (&Payload, String),
    label: &str,
) -> Result<Corrected> {
    let content = pipeline::content_hash(payload);
    if let Some(id) = store.find_content(&content, label)? {
        return Err(PipelineError::AlreadyLearned { id }.into());
    }
    let mut known: Vec<String> = store.samples()?.into_values().map(|s| s.label).collect();
    known.sort();
    known.dedup();
    if let Some((id, _)) = pipeline::find_content(store, &content, &known)? {
        return relabel(context, store, head, label, id);
    }
    let naming = Naming {
        label: label.to_owned(),
        burst: pipeline::own_burst(&content),
        source,
        time_us: now_us(),
    };
    let keep = pipeline::keeps_photos(Some(store), &context.settings)?;
    // What the head learned so far is read while the backbone looks at the picture.
    let (learner, seen) = rayon::join(
        || -> Result<_> {
            let set = training_set(context, store, &head.recipe, &[])?;
            Ok(pipeline::resume(head, set)?)
        },
        || -> Result<_> {
            let loaded;
            let embedder = match embedder {
                Some(embedder) => embedder,
                None => {
                    loaded = context.embedder_for(&head.recipe)?;
                    &loaded
                }
            };
            let new = pipeline::take_in(embedder, payload, naming.clone(), keep, 1)?;
            Ok((new, Instant::now()))
        },
    );
    // The clock starts when the backbone is done, so what is still being read by then counts as learning.
    let (new, seen) = seen?;
    let mut learner = learner?;
    let record = pipeline::correct(head, &mut *learner, &new.features, &naming)?;
    let ms_learn = ms_since(seen);
    let committing = Instant::now();
    let (id, version) = store.write(|tx| {
        let id = tx.add_sample(&new, &head.recipe)?;
        let version = tx.put_head(&record, Origin::Correct { sample: id })?;
        Ok((id, version))
    })?;
    let ms_commit = ms_since(committing);
    context
        .out
        .without_picture(usize::from(!keep), &context.folder);
    Ok(Corrected {
        did: "learned",
        id,
        version,
        head: record,
        ms_learn,
        ms_commit,
    })
}

fn relabel(
    context: &Context,
    store: &Store,
    head: &HeadRecord,
    label: &str,
    id: u64,
) -> Result<Corrected> {
    let sample = store.sample(id)?;
    if sample.label == label {
        return Err(PipelineError::AlreadyLearned { id }.into());
    }
    if let Some(twin) = store.find_content(&sample.content, label)? {
        return Err(PipelineError::Twin { id, twin }.into());
    }
    let time_us = now_us();
    let set = training_set(context, store, &head.recipe, &[])?;
    let member = pipeline::member(&set, id)?;
    let mut learner = pipeline::resume(head, set)?;
    let learning = Instant::now();
    let record = pipeline::relabel(head, &mut *learner, &member, label, time_us)?;
    let ms_learn = ms_since(learning);
    let committing = Instant::now();
    let version = store.write(|tx| {
        tx.relabel(id, label, time_us)?;
        tx.put_head(&record, Origin::Correct { sample: id })
    })?;
    Ok(Corrected {
        did: "relabelled",
        id,
        version,
        head: record,
        ms_learn,
        ms_commit: ms_since(committing),
    })
}

pub fn forget(context: &Context, options: &Forget) -> Result<()> {
    let id = options.sample;
    let store = context.open()?;
    let damaged = match store.check_sample(id) {
        Err(error) if error.is_of_rows() => true,
        checked => checked.map(|()| false)?,
    };
    let store = store.without(id)?;
    let time_us = now_us();
    let changed = changed_head(context, &store, |head, candidates, set_of, late| {
        pipeline::forget(head, candidates, set_of, late, time_us)
    });
    let (record, ms_learn, damage) = match changed {
        // Of two damaged samples one has to go first.
        Err(error) if damaged && is_of_rows(&error) => (None, 0.0, Some(format!("{error:#}"))),
        changed => {
            let (record, ms_learn) = changed?;
            (record, ms_learn, None)
        }
    };
    let committing = Instant::now();
    let version = store.write(|tx| {
        tx.remove_sample(id, time_us)?;
        record
            .as_ref()
            .map(|record| tx.put_head(record, Origin::Forget { sample: id }))
            .transpose()
    })?;
    let ms_commit = ms_since(committing);
    match version {
        Some(version) => report(context, "forgot", id, version, ms_learn, ms_commit),
        None => {
            let ms_commit = round(ms_commit);
            context.out.json(&json!({
                "id": id,
                "version": null,
                "ms_learn": 0.0,
                "ms_commit": ms_commit,
                "damage": damage,
            }))?;
            let why = damage.map_or("there was no head to change".into(), |damage| {
                format!("the head is as it was, since it cannot be made again: {damage}")
            });
            Ok(context.out.line(format!("forgot sample {id}; {why}"))?)
        }
    }
}

/// Whether single rows of the store are damaged.
fn is_of_rows(error: &anyhow::Error) -> bool {
    let store = match error.downcast_ref() {
        Some(PipelineError::Store(error)) => Some(error),
        _ => error.downcast_ref::<StoreError>(),
    };
    store.is_some_and(StoreError::is_of_rows)
}

/// What the field's head becomes by a change of its samples, where there is a head, and the time that took in ms. `change` is given the
/// head, the recipes that it may choose among, their training sets, and whether its time is over.
pub fn changed_head(
    context: &Context,
    store: &Store,
    change: impl FnOnce(
        &HeadRecord,
        &[Recipe],
        &mut dyn FnMut(&Recipe) -> Result<TrainingSet, PipelineError>,
        &dyn Fn() -> bool,
    ) -> Result<HeadRecord, PipelineError>,
) -> Result<(Option<HeadRecord>, f64)> {
    let learning = Instant::now();
    let head = match store.current_head() {
        Ok((_, head)) => head,
        Err(StoreError::NoHead) => return Ok((None, 0.0)),
        Err(other) => return Err(other.into()),
    };
    let candidates = context.candidates_for(&head.recipe, &head.request)?;
    let mut set_of = |recipe: &Recipe| training_set(context, store, recipe, &candidates);
    let late = || ms_since(learning) > f64::from(head.request.budget_ms);
    let record = change(&head, &candidates, &mut set_of, &late)?;
    Ok((Some(record), ms_since(learning)))
}

fn report(
    context: &Context,
    did: &str,
    id: u64,
    version: u64,
    ms_learn: f64,
    ms_commit: f64,
) -> Result<()> {
    context.out.json(&json!({
        "id": id,
        "version": version,
        "ms_learn": round(ms_learn),
        "ms_commit": round(ms_commit),
    }))?;
    context.out.line(format!(
        "{did} sample {id}: head version {version}, {ms_learn:.1} ms to learn, {ms_commit:.1} ms to commit"
    ))?;
    Ok(())
}
