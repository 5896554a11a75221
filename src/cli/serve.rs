//! `serve`: the field in a browser, and its verbs over HTTP.
//!
//! Owns: the loop that takes frames and calls in turn ([`Served`]), and which frames were shown (`shown`). Does not own: HTTP and who may
//! call (`fieldhead::web`), what a verb does: calls run the verbs, and reply with the JSON that they print.
//!
//! Invariants: one call or frame at a time, on one thread; the field is open only while a call needs it, so that other programs may change
//! it meanwhile; a call that fails changes nothing and ends nothing.

mod shown;

use super::answers::InUse;
use super::args::{BUDGET_MS, Choice, SamplesOptions, Serve, Train};
use super::change::{self, Wrong};
use super::context::{Context, now_us};
use super::exit::{BadInput, Usage, one_line, status};
use super::notify::Manager;
use super::output::Output;
use super::page::thumbnail::{self, picture};
use super::{args, collect, history, samples, train, wires};
use anyhow::{Context as _, Result};
use fieldhead::pipeline::PipelineError;
use fieldhead::source::{self, Clock, Frame, Opened, Payload, folder};
use fieldhead::store::{self, Store, StoreError};
use fieldhead::web::{self, Call, Guard, Kind, Of, Reply};
use serde_json::json;
use shown::{Burst, Frames, Shown};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

/// Calls that may wait: more than a page makes at a time.
const WAITING: usize = 16;
/// The least time between two frames: nobody reads more than ten answers a second, and a board has other things to do.
const GAP: Duration = Duration::from_millis(100);
/// Time between two looks at whether the program shall end.
const LOOK: Duration = Duration::from_millis(200);
/// The longer side of a frame on the page, in pixels.
const FRAME_SIDE: u32 = 640;
/// The most bytes of a file with a token.
const TOKEN_BYTES: u64 = 4096;
/// How long the program that ends waits for a frame that is being read.
const END: Duration = Duration::from_secs(1);

/// What comes in.
enum Event {
    Asked(web::Asked),
    /// A frame, the end of all, or why there is none.
    Frame(Result<Option<Frame>, String>),
}

pub fn run(context: &Context, options: &Serve) -> Result<()> {
    let token = options.token_file.as_deref().map(|path| {
        let bytes = folder::read_up_to(TOKEN_BYTES, path)?;
        let wrong = || BadInput(format!("{} is no text; expected a token", path.display()));
        Ok::<_, anyhow::Error>(String::from_utf8(bytes).map_err(|_| wrong())?)
    });
    let guard = Guard::new(options.listen, token.transpose()?.as_deref())?;
    let source = options.source.as_deref();
    let suited = source.map(|source| collect::for_source(context, source));
    let mut served = Served::new(&suited.transpose()?.unwrap_or(context.clone()), options);
    let (send, events) = mpsc::sync_channel(WAITING);
    let (next, go) = mpsc::sync_channel(1);
    let reading = source.map(|source| read(source, &context.clock, go, send.clone()));
    let reading = reading.transpose()?;
    let take = Arc::new(move |asked| send.try_send(Event::Asked(asked)).is_ok());
    let web = web::listen(options.listen, guard, take)?;
    let address = web.address();
    let stop = wires::asked_to_stop()?;
    context
        .out
        .json(&json!({"listening": address.to_string()}))?;
    context
        .out
        .line(format!("http://{address} shows the field; ctrl-c ends it"))?;
    let manager = Manager::of_environment();
    manager.ready();
    // Whoever reads the source may be gone: it ended.
    let _ = next.send(());
    while !stop.load(Ordering::Relaxed) {
        manager.alive();
        match events.recv_timeout(LOOK) {
            Ok(Event::Asked(asked)) => {
                let (call, reply) = asked.open();
                if !reply.is_for_nobody() {
                    reply.send(served.reply(call));
                }
            }
            Ok(Event::Frame(frame)) => {
                served.frame(frame);
                let _ = next.send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // Who still waits is told so; what was replied is sent.
    drop(events);
    web.end();
    drop(next);
    if let Some(ended) = reading {
        // A program that it started ends with it.
        let _ = ended.recv_timeout(END);
    }
    Ok(())
}

/// Opens a source and reads a frame whenever the last one was dealt with, on a thread of its own: calls need not wait for a frame.
/// What comes back says when it has ended.
fn read(
    text: &str,
    clock: &Clock,
    go: Receiver<()>,
    send: SyncSender<Event>,
) -> Result<Receiver<()>> {
    let (text, clock) = (text.to_owned(), clock.clone());
    let (say, opened) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    thread::Builder::new()
        .name("frames".into())
        .spawn(move || {
            // Dropped last.
            let _end: mpsc::Sender<()> = end;
            let mut source = match source::open(&text, &clock) {
                Ok(Opened::Frames(source) | Opened::Live(source)) => source,
                Ok(Opened::Files(_)) => {
                    let text = "files are not served as a source; open the page and send them";
                    let _ = say.send(Err(Usage(text.into()).into()));
                    return;
                }
                Err(error) => {
                    let _ = say.send(Err(anyhow::Error::from(error)));
                    return;
                }
            };
            let _ = say.send(Ok(()));
            while go.recv().is_ok() {
                let next = source.next().map_err(|error| error.to_string());
                let ended = matches!(next, Ok(None));
                if send.send(Event::Frame(next)).is_err() || ended {
                    return;
                }
                thread::sleep(GAP);
            }
        })?;
    opened.recv().context("the source's thread ended")??;
    Ok(ended)
}

/// What calls and frames need from each other.
struct Served {
    /// Of the command line; its results are kept for replies.
    at_start: Context,
    /// With the settings of the field as it is by now.
    context: Context,
    coverage: Option<f64>,
    source: Option<String>,
    in_use: Option<InUse>,
    frames: Frames,
    /// Why there is no frame.
    trouble: Option<String>,
    /// What was collected last of the source.
    burst: Option<Burst>,
}

impl Served {
    fn new(context: &Context, options: &Serve) -> Served {
        let at_start = context.with_output(Output::keeping());
        Served {
            context: at_start.clone(),
            at_start,
            coverage: options.sets.coverage,
            source: options.source.clone(),
            in_use: None,
            frames: Frames::since(now_us()),
            trouble: None,
            burst: None,
        }
    }

    /// The head in use by now.
    fn head(&mut self) -> Result<&InUse> {
        let in_use = match self.in_use.take() {
            Some(mut in_use) => {
                in_use.keep_up(&self.context);
                in_use
            }
            None => InUse::of(&self.context, self.coverage)?,
        };
        Ok(self.in_use.insert(in_use))
    }

    fn frame(&mut self, frame: Result<Option<Frame>, String>) {
        let frame = match frame {
            Ok(Some(frame)) => frame,
            // Its last frame stays.
            Ok(None) if self.frames.latest.is_some() => return,
            Ok(None) => return self.trouble = Some("the source has ended".into()),
            Err(trouble) => return self.trouble = Some(trouble),
        };
        self.trouble = None;
        let seq = frame.seq;
        let answered = self.answer(("seq", json!(seq)), &frame.name.clone(), &frame.payload);
        let kept = self.context.out.take();
        let answer = match answered {
            Ok(()) => kept,
            Err(error) if nothing_yet(&error) => line(&json!({"seq": seq, "label": null})),
            Err(error) => line(&json!({"seq": seq, "error": one_line(&error)})),
        };
        self.frames.latest = Some(Rc::new(Shown { frame, answer }));
    }

    /// Prints what the head in use says.
    fn answer(
        &mut self,
        what: (&str, serde_json::Value),
        name: &str,
        payload: &Payload,
    ) -> Result<()> {
        let start = Instant::now();
        let context = self.context.clone();
        let in_use = self.head()?;
        let answer = in_use.answer(payload, context.threads, start)?;
        in_use.print(&context, what, name, &answer)
    }

    fn reply(&mut self, call: Call) -> Reply {
        let done = self.done(call);
        let kept = self.context.out.take();
        match done {
            Ok(Done::Printed) => Reply {
                status: 200,
                kind: Kind::Json,
                body: kept,
            },
            Ok(Done::Listed) => Reply {
                status: 200,
                kind: Kind::JsonLines,
                body: kept,
            },
            Ok(Done::Picture(body)) => Reply {
                status: 200,
                kind: Kind::Jpeg,
                body,
            },
            Ok(Done::Nothing(what)) => Reply::error(404, what),
            Err(error) => Reply::error(status(&error), &one_line(&error)),
        }
    }

    /// Whether the field was made; the first sample makes it.
    fn is_made(&self) -> bool {
        self.context.folder.join(store::FILE_NAME).exists()
    }

    fn done(&mut self, call: Call) -> Result<Done> {
        self.context = self.at_start.reloaded()?;
        let context = &self.context.clone();
        match call {
            Call::Status => self.status()?,
            Call::Live => self.live()?,
            Call::Frame { seq } => {
                let Some(shown) = self.frames.find(seq, None) else {
                    return Ok(Done::Nothing(OVERTAKEN));
                };
                return Ok(match &shown.frame.payload {
                    Payload::Encoded(bytes) => shrunk(picture(bytes).as_ref(), FRAME_SIDE),
                    Payload::Decoded(image) => shrunk(Some(image), FRAME_SIDE),
                });
            }
            Call::Predict { sent } => {
                self.answer(("path", json!(SENT)), SENT, &Payload::Encoded(sent))?;
            }
            Call::Collect { label, of } => match of {
                Of::Sent(bytes) => {
                    let sent = Payload::Encoded(bytes);
                    collect::one(context, (&sent, SENT), &label, None)?;
                }
                Of::Frame { seq, start } => {
                    let Some(shown) = self.frames.find(seq, start) else {
                        return Ok(Done::Nothing(OVERTAKEN));
                    };
                    let burst =
                        Burst::after(self.burst.as_ref(), &label, (context.clock)(), now_us());
                    let frame = (&shown.frame.payload, &*shown.frame.name);
                    collect::one(context, frame, &label, Some(&burst.name))?;
                    self.burst = Some(burst);
                }
                Of::Sample(_) => {
                    let text = "a sample is in the field already; correct gives it another label";
                    return Err(Usage(text.into()).into());
                }
            },
            Call::Correct { label, of } => {
                let embedder = self.in_use.as_ref().map(|in_use| &in_use.embedder);
                let (sent, shown);
                let wrong = match of {
                    Of::Sample(id) => Wrong::Sample(id),
                    Of::Sent(bytes) => {
                        sent = Payload::Encoded(bytes);
                        Wrong::Payload(&sent, SENT.to_owned(), embedder)
                    }
                    Of::Frame { seq, start } => {
                        let Some(found) = self.frames.find(seq, start) else {
                            return Ok(Done::Nothing(OVERTAKEN));
                        };
                        shown = found;
                        let Frame { payload, name, .. } = &shown.frame;
                        Wrong::Payload(payload, name.clone(), embedder)
                    }
                };
                change::correct_one(context, wrong, &label)?;
            }
            Call::Samples { .. } | Call::History if !self.is_made() => return Ok(Done::Listed),
            Call::Train if !self.is_made() => return Err(PipelineError::NoSamples.into()),
            Call::Train => train::run(context, &by_default())?,
            Call::Forget { sample } => change::forget(context, &args::Forget { sample })?,
            Call::Samples { suspect } => {
                let options = SamplesOptions {
                    suspect,
                    count: None,
                    seed: 0,
                };
                samples::run(context, &options)?;
                return Ok(Done::Listed);
            }
            Call::Sample { id } => {
                return Ok(match context.open_read_only()?.photo(id)? {
                    Some(bytes) => shrunk(picture(&bytes).as_ref(), thumbnail::SIDE),
                    None => Done::Nothing("this sample was stored without its picture"),
                });
            }
            Call::History => {
                history::history(context)?;
                return Ok(Done::Listed);
            }
            Call::Rollback { version } => {
                history::rollback(context, &args::Rollback { version })?;
            }
        }
        Ok(Done::Printed)
    }

    /// What the field holds; one that is not made yet holds nothing.
    fn status(&mut self) -> Result<()> {
        let context = self.context.clone();
        let store = self.is_made().then(|| context.open_read_only());
        let store = store.transpose()?;
        let mut classes: BTreeMap<String, usize> = BTreeMap::new();
        let samples = store.as_ref().map(Store::samples).transpose()?;
        for sample in samples.into_iter().flatten() {
            *classes.entry(sample.1.label).or_default() += 1;
        }
        let head = store.as_ref().map(Store::current_head);
        let head = match head {
            None | Some(Err(StoreError::NoHead)) => None,
            Some(head) => Some(head?),
        };
        let takes = context.found().ok().map(|found| found.card.modality);
        context.out.json(&json!({
            "samples": classes.values().sum::<usize>(),
            "classes": classes,
            "version": head.as_ref().map(|(version, _)| version),
            "head": head.as_ref().map(|(_, head)| head.learned.settings.kind.to_string()),
            "labels": head.as_ref().map(|(_, head)| &head.learned.labels),
            "backbone": context.settings.backbone,
            "takes": takes.map(|takes| takes.to_string()),
            "source": self.source,
            "start": self.frames.start,
        }))?;
        Ok(())
    }

    /// The answer to the latest frame, which is kept for what may be said of it.
    fn live(&mut self) -> Result<()> {
        let nothing = || "there is no frame yet".to_owned();
        let trouble = match &self.source {
            None => Some("there is no camera here: `fieldhead serve --source camera`".into()),
            Some(_) => self.trouble.clone(),
        };
        let latest = self.frames.latest.clone().filter(|_| trouble.is_none());
        let Some(latest) = latest else {
            let trouble = trouble.unwrap_or_else(nothing);
            return Ok(self
                .context
                .out
                .json(&json!({"seq": null, "error": trouble}))?);
        };
        self.context.out.again(&latest.answer);
        self.frames.show(latest);
        Ok(())
    }
}

/// What a sample that was sent is called.
const SENT: &str = "(sent)";
const OVERTAKEN: &str = "this frame is not at hand any more; look again";

/// What came of a call.
enum Done {
    /// One object was printed.
    Printed,
    /// One object a line was.
    Listed,
    Picture(Vec<u8>),
    Nothing(&'static str),
}

fn shrunk(image: Option<&fieldhead::preprocess::Image>, side: u32) -> Done {
    let jpeg = image.and_then(|image| thumbnail::jpeg(image, side));
    jpeg.map_or(
        Done::Nothing("this cannot be shown as a picture"),
        Done::Picture,
    )
}

/// Whether an answer is missing because nothing was learned yet.
fn nothing_yet(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(StoreError::Missing(_) | StoreError::NoHead)
    )
}

fn line(value: &serde_json::Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

/// As `fieldhead train` without options.
fn by_default() -> Train {
    Train {
        head: None,
        seed: 0,
        normalization: Choice(None),
        penalty: None,
        class_weights: None,
        budget_ms: BUDGET_MS,
    }
}
