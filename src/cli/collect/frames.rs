//! Samples that come one by one: frames of a source, by count or by buttons, and what was sent.

use super::{Tally, made};
use crate::cli::args::Collect;
use crate::cli::context::{Context, now_us};
use crate::cli::exit::Usage;
use crate::cli::wires;
use anyhow::Result;
use fieldhead::label;
use fieldhead::pipeline::{self, Embedder, Naming, PipelineError};
use fieldhead::preprocess::Modality;
use fieldhead::source::folder::Skipped;
use fieldhead::source::{self, Frame, Opened, Payload, Source};
use fieldhead::store::Store;
use indicatif::ProgressBar;

/// Takes one payload in, told where it came from; without a burst it is one of its own.
pub fn one(
    context: &Context,
    (payload, source): (&Payload, &str),
    label: &str,
    burst: Option<&str>,
) -> Result<()> {
    label::check_new(label)?;
    let kind = match payload {
        Payload::Encoded(bytes) => Modality::of(bytes),
        Payload::Decoded(_) => Some(Modality::Picture),
    };
    // What is of no kind is refused by whoever decodes it.
    let suited = kind.map(|kind| context.suited_to(kind)).transpose()?;
    let context = suited.as_ref().unwrap_or(context);
    let mut store = context.open_if_there()?;
    let content = pipeline::content_hash(payload);
    let known = store.as_ref().map(|it| it.find_content(&content, label));
    if let Some(id) = known.transpose()?.flatten() {
        return Err(PipelineError::AlreadyLearned { id }.into());
    }
    let naming = Naming {
        label: label.to_owned(),
        burst: burst.map_or_else(|| pipeline::own_burst(&content), str::to_owned),
        source: source.to_owned(),
        time_us: now_us(),
    };
    let keep = pipeline::keeps_photos(store.as_ref(), &context.settings)?;
    let embedder = context.embedder()?;
    let sample = pipeline::take_in(&embedder, payload, naming, keep, context.threads)?;
    let store = made(context, &mut store)?;
    let mut tally = Tally::default();
    for id in pipeline::add(store, &embedder, std::slice::from_ref(&sample))? {
        tally.take(context, id, &sample)?;
    }
    let lacking = tally.without_picture;
    context.out.without_picture(lacking, &context.folder);
    Ok(())
}

/// Takes frames in one by one.
struct Frames<'a> {
    context: &'a Context,
    embedder: Embedder,
    store: Option<Store>,
    bar: ProgressBar,
    tally: &'a mut Tally,
}

impl<'a> Frames<'a> {
    fn new(context: &'a Context, count: u64, tally: &'a mut Tally) -> Result<Frames<'a>> {
        Ok(Frames {
            context,
            embedder: context.embedder()?,
            store: context.open_if_there()?,
            bar: context.out.progress(count, "collecting"),
            tally,
        })
    }

    /// A frame that is no picture is skipped.
    fn take(&mut self, frame: Frame, label: &str, burst: Option<&str>) -> Result<()> {
        let naming = Naming {
            label: label.to_owned(),
            burst: burst.unwrap_or(&frame.name).to_owned(),
            source: frame.name.clone(),
            time_us: now_us(),
        };
        let (context, embedder) = (self.context, &self.embedder);
        let keep = pipeline::keeps_photos(self.store.as_ref(), &context.settings)?;
        let taken = pipeline::take_in(embedder, &frame.payload, naming, keep, context.threads);
        self.bar.inc(1);
        let (bar, tally) = (&self.bar, &mut *self.tally);
        match taken {
            Ok(sample) => {
                let store = made(context, &mut self.store)?;
                for id in pipeline::add(store, embedder, std::slice::from_ref(&sample))? {
                    bar.suspend(|| tally.take(context, id, &sample))?;
                }
                Ok(())
            }
            Err(error @ PipelineError::Preprocess(_)) => {
                let skipped = Skipped {
                    path: frame.name.into(),
                    reason: error.to_string(),
                };
                bar.suspend(|| tally.skip(context, &skipped))
            }
            Err(error) => Err(error.into()),
        }
    }
}

pub fn from_frames(
    context: &Context,
    options: &Collect,
    label: &str,
    mut source: Box<dyn Source>,
    burst: Option<String>,
    tally: &mut Tally,
) -> Result<()> {
    let count = options.count.unwrap_or(1);
    let mut frames = Frames::new(context, count, tally)?;
    for _ in 0..count {
        let Some(frame) = source.next()? else {
            break;
        };
        frames.take(frame, label, burst.as_deref())?;
    }
    frames.bar.finish_and_clear();
    Ok(())
}

/// While a button is held, what the source gives is its label's; samples of one press are one burst.
pub fn from_buttons(
    context: &Context,
    options: &Collect,
    text: &str,
    tally: &mut Tally,
) -> Result<()> {
    let (Opened::Live(mut source) | Opened::Frames(mut source)) =
        source::open(text, &context.clock)?
    else {
        return Err(Usage(
            "buttons go with a camera, a sensor or a command, not with files".into(),
        )
        .into());
    };
    let count = options.count.unwrap_or(u64::MAX);
    let begun_us = now_us();
    let mut frames = Frames::new(context, count, tally)?;
    let mut taken = 0;
    let windows = context.found()?.card.modality != Modality::Picture;
    let mut last = None;
    let take = |label: &str, press: u64| -> Result<bool> {
        if windows && last.replace(press) != Some(press) {
            // The window that waits and the one that is under way began before the button was pressed.
            for _ in 0..2 {
                if source.next()?.is_none() {
                    return Ok(false);
                }
            }
        }
        let Some(frame) = source.next()? else {
            return Ok(false);
        };
        let burst = format!("button@{begun_us}#{press}");
        frames.take(frame, label, Some(&burst))?;
        taken += 1;
        Ok(taken < count)
    };
    wires::collect(context, options.board.as_deref(), &options.buttons, take)?;
    frames.bar.finish_and_clear();
    Ok(())
}
