//! Mistakes that somebody at the board tells by buttons while frames are predicted.
//!
//! Owns: the thread that looks at the buttons ([`Presses`]), which frame a press means ([`Lately`]), and learning what it really was
//! ([`Mistakes`]). Does not own: when a press counts (`device::panel`), how a correction is made (`change`).
//!
//! Invariant: the field is open for writing only while a correction is made; one that fails is told, changes nothing, and ends nothing.

use super::change::{Corrected, correct_picture};
use super::context::Context;
use super::output::round;
use super::wires::watch;
use anyhow::{Result, ensure};
use embedded_hal::digital::InputPin;
use fieldhead::device::panel::{Action, CORRECTION_US, Panel};
use fieldhead::head::Learned;
use fieldhead::pipeline::{self, Embedder};
use fieldhead::source::{Clock, Frame};
use serde_json::json;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread::{self, JoinHandle};

/// Presses that may wait for a correction or a frame to end: more than a hand does in the ten seconds that a frame is waited for.
const WAITING: usize = 64;
/// Frames that are kept for a press to mean. A press is told 12 to 16 ms after it began (`device::button`), and once what is in work then
/// is decided; a live source gives a frame every 4 ms at most. So up to five may be younger than the one that was meant.
const KEPT: usize = 6;
/// Frames that were overtaken so long ago are let go, however few they are: a large one takes as much memory as all else.
const OVERTAKEN_US: u64 = 100_000;

/// What somebody says of the answers.
#[derive(Debug, PartialEq)]
pub enum Press {
    /// What was decided last at that time is wrong.
    Wrong { since_us: u64 },
    /// What was wrong is this.
    Is { label: String },
    /// The same, when nobody waited for it any more.
    Late { label: String },
}

/// Buttons that a thread of its own looks at, so that no press is missed while a frame is waited for, looked at or learned.
pub struct Presses {
    // Dropped in this order: a thread that waits to tell something, or for its next look, is let go before it is waited for.
    said: Receiver<Result<Press>>,
    _stop: Sender<()>,
    _looking: Looking,
}

struct Looking(Option<JoinHandle<()>>);

impl Drop for Looking {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // What it ended with was told before.
            let _ = thread.join();
        }
    }
}

impl Presses {
    pub fn start<P: InputPin + Send + 'static>(panel: Panel<P>, clock: Clock) -> Result<Presses> {
        let (say, said) = mpsc::sync_channel(WAITING);
        let (stop, stopped) = mpsc::channel();
        let looking = thread::Builder::new()
            .name("buttons".into())
            .spawn(move || look(panel, &clock, &stopped, &say))?;
        Ok(Presses {
            said,
            _stop: stop,
            _looking: Looking(Some(looking)),
        })
    }
}

/// Tells all presses and, last, a line that failed.
fn look<P: InputPin>(
    mut panel: Panel<P>,
    clock: &Clock,
    stopped: &Receiver<()>,
    say: &SyncSender<Result<Press>>,
) {
    let pause = |length| stopped.recv_timeout(length) == Err(RecvTimeoutError::Timeout);
    let mut label_of = LabelOf::default();
    let ended = watch(&mut panel, clock, pause, |action| {
        let press = label_of.press(action);
        Ok(press.is_none_or(|press| say.send(Ok(press)).is_ok()))
    });
    if let Err(error) = ended {
        // Where nobody listens any more, nobody needs the line.
        let _ = say.send(Err(error));
    }
}

/// Of which "wrong" a label's button says what it is.
#[derive(Default)]
struct LabelOf {
    /// "Wrong" was pressed, and no label since.
    wrong: bool,
    /// The last press of a label's button alone.
    alone: u64,
}

impl LabelOf {
    fn press(&mut self, action: Action<'_>) -> Option<Press> {
        match action {
            Action::Wrong { since_us } => {
                self.wrong = true;
                Some(Press::Wrong { since_us })
            }
            Action::Correct { label } => {
                self.wrong = false;
                let label = label.to_owned();
                Some(Press::Is { label })
            }
            // Alone it says nothing of any answer, unless it is the one that was waited for; held, it comes again and again.
            Action::Collect { label, press } => {
                let begins = std::mem::replace(&mut self.alone, press) != press;
                let late = begins && std::mem::take(&mut self.wrong);
                late.then(|| Press::Late {
                    label: label.to_owned(),
                })
            }
        }
    }
}

/// What was decided lately, and which of it is said to be wrong.
struct Lately<T> {
    /// With the time at which it was decided, oldest first.
    decided: VecDeque<(u64, Rc<T>)>,
    wrong: Option<Rc<T>>,
}

impl<T> Lately<T> {
    fn new() -> Lately<T> {
        Lately {
            decided: VecDeque::new(),
            wrong: None,
        }
    }

    fn decide(&mut self, it: T, at_us: u64) {
        if self.decided.len() == KEPT {
            self.decided.pop_front();
        }
        self.decided.push_back((at_us, Rc::new(it)));
        let overtaken = |kept: &VecDeque<(u64, _)>| {
            let next = kept.get(1);
            next.is_some_and(|(next_us, _)| next_us + OVERTAKEN_US < at_us)
        };
        while overtaken(&self.decided) {
            self.decided.pop_front();
        }
    }

    /// What is wrong by a press that began at that time; nothing where it began before all that is kept.
    fn wrong(&mut self, since_us: u64) -> Option<&T> {
        let mut newest_first = self.decided.iter().rev();
        let meant = newest_first.find(|(at_us, _)| *at_us <= since_us);
        self.wrong = meant.map(|(_, it)| Rc::clone(it));
        self.wrong.as_deref()
    }
}

/// Corrections by buttons; without any, nothing is ever wrong.
pub struct Mistakes {
    presses: Option<Presses>,
    lately: Lately<Frame>,
}

impl Mistakes {
    pub fn new(presses: Option<Presses>) -> Mistakes {
        Mistakes {
            presses,
            lately: Lately::new(),
        }
    }

    /// A frame was decided and shown.
    pub fn decided(&mut self, frame: Frame, at_us: u64) {
        if self.presses.is_some() {
            self.lately.decide(frame, at_us);
        }
    }

    /// Does what was asked for since the last call; the head that came of it, and its version. `embedder` is the one of the answers.
    ///
    /// # Errors
    /// A line that failed, and results that cannot be written. A correction that fails is told, and is none.
    pub fn correct(
        &mut self,
        context: &Context,
        embedder: &Embedder,
    ) -> Result<Option<(u64, Learned)>> {
        let mut head = None;
        let presses = self.presses.iter().flat_map(|it| it.said.try_iter());
        for press in presses {
            match press? {
                Press::Wrong { since_us } => told_wrong(context, self.lately.wrong(since_us))?,
                Press::Is { label } => {
                    if let Some(frame) = self.lately.wrong.take() {
                        head = corrected(context, embedder, &frame, &label)?.or(head);
                    }
                }
                Press::Late { label } => {
                    if let Some(frame) = self.lately.wrong.take() {
                        let seconds = CORRECTION_US / 1_000_000;
                        let why = format!(
                            "it was pressed more than {seconds} s after 'wrong'; press both again"
                        );
                        not_corrected(context, &frame, &label, &why)?;
                    }
                }
            }
        }
        Ok(head)
    }
}

fn told_wrong(context: &Context, frame: Option<&Frame>) -> Result<()> {
    context
        .out
        .json(&json!({"wrong": frame.map(|frame| frame.seq)}))?;
    let seconds = CORRECTION_US / 1_000_000;
    match frame {
        Some(Frame { name, .. }) => context.out.line(format!(
            "{name}: wrong; press the button of what it is within {seconds} s"
        ))?,
        None => context.out.note(
            "what was decided when 'wrong' was pressed is not at hand: nothing is corrected; press again",
        ),
    }
    Ok(())
}

/// Learns what a frame is, and tells how that went; the new head, if there is one.
fn corrected(
    context: &Context,
    embedder: &Embedder,
    frame: &Frame,
    label: &str,
) -> Result<Option<(u64, Learned)>> {
    let name = &frame.name;
    match learn(context, embedder, frame, label) {
        Ok(it) => {
            context.out.json(&json!({
                "corrected": frame.seq,
                "label": label,
                "id": it.id,
                "version": it.version,
                "ms_learn": round(it.ms_learn),
                "ms_commit": round(it.ms_commit),
            }))?;
            context.out.line(format!(
                "{name}: {label}; {} as sample {}: head version {}, {:.1} ms to learn, {:.1} ms to commit",
                it.did, it.id, it.version, it.ms_learn, it.ms_commit
            ))?;
            Ok(Some((it.version, it.head.learned)))
        }
        Err(error) => {
            not_corrected(context, frame, label, &error.to_string())?;
            Ok(None)
        }
    }
}

fn not_corrected(context: &Context, frame: &Frame, label: &str, why: &str) -> Result<()> {
    let name = &frame.name;
    context
        .out
        .json(&json!({"not_corrected": frame.seq, "label": label, "error": why}))?;
    context
        .out
        .note(format!("{name}: not learned as {label}: {why}"));
    Ok(())
}

fn learn(context: &Context, embedder: &Embedder, frame: &Frame, label: &str) -> Result<Corrected> {
    let store = context.open()?;
    let (_, head) = store.current_head()?;
    pipeline::check_native(&head)?;
    ensure!(
        embedder.recipe().same_space(&head.recipe),
        "another head was trained meanwhile, which sees pictures in another way; press again"
    );
    let picture = (&frame.payload, frame.name.clone());
    correct_picture(context, &store, &head, Some(embedder), picture, label)
}

#[cfg(test)]
pub mod tests;
