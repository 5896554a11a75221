//! `run`: answers to what a camera, a sensor or another program gives, without end, by the head that is in use at that time.
//!
//! Owns: the loop from frame to lamp, which `predict --source` goes through a number of times. Does not own: the answers (`answers`), and
//! what becomes of a mistake (`mistakes`).

use super::answers::InUse;
use super::args::{Run, Wires};
use super::context::Context;
use super::exit::Usage;
use super::mistakes::Mistakes;
use super::notify::Manager;
use super::wires::{self, Show};
use anyhow::Result;
use fieldhead::source::{self, Frame, Opened, Source};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub fn run(context: &Context, options: &Run) -> Result<()> {
    let in_use = InUse::of(context, options.sets.coverage)?;
    match opened(context, &in_use, &options.source)? {
        Opened::Files(_) => Err(Usage(
            "files are not run without end; `fieldhead predict` says what they show".into(),
        )
        .into()),
        Opened::Frames(source) | Opened::Live(source) => {
            let count = options.count.unwrap_or(u64::MAX);
            frames(context, in_use, source, &options.wires, count)
        }
    }
}

/// Opens a source that gives what the head in use sees.
pub fn opened(context: &Context, in_use: &InUse, source: &str) -> Result<Opened> {
    if let Some(gives) = source::gives(source)? {
        in_use.embedder.takes().check(gives)?;
    }
    Ok(source::open(source, &context.clock)?)
}

/// Answers so many frames, shows the answers, and learns what buttons say of them.
pub fn frames(
    context: &Context,
    in_use: InUse,
    mut source: Box<dyn Source>,
    wires: &Wires,
    count: u64,
) -> Result<()> {
    let board = wires.board.as_deref();
    let wrong = wires.wrong.as_ref();
    let named = wires.lamps.iter().chain(&wires.buttons);
    wires::each_once(board, named.map(|wire| &wire.contact).chain(wrong))?;
    let show = wires::lamps(board, &wires.lamps)?;
    let presses = wrong.map(|wrong| wires::presses(context, board, &wires.buttons, wrong));
    let mistakes = Mistakes::new(presses.transpose()?);
    let stop = match wires.lamps.is_empty() && wrong.is_none() {
        true => Arc::default(),
        false => wires::asked_to_stop()?,
    };
    let mut answering = Answering {
        context,
        in_use,
        mistakes,
        show,
    };
    answering.frames(&mut *source, count, &stop)
}

/// What frames are answered with.
struct Answering<'a> {
    context: &'a Context,
    in_use: InUse,
    mistakes: Mistakes,
    show: Show,
}

impl Answering<'_> {
    fn frames(&mut self, source: &mut dyn Source, count: u64, stop: &AtomicBool) -> Result<()> {
        let manager = Manager::of_environment();
        manager.ready();
        for _ in 0..count {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            manager.alive();
            let start = Instant::now();
            let next = source.next();
            let came = start.elapsed();
            self.correct()?;
            self.in_use.keep_up(self.context);
            let Some(frame) = next? else {
                break;
            };
            // Correcting is no part of the answer's time.
            self.answer(frame, Instant::now().checked_sub(came).unwrap_or(start))?;
        }
        self.correct()
    }

    /// Learns what buttons said meanwhile.
    fn correct(&mut self) -> Result<()> {
        let embedder = &self.in_use.embedder;
        if let Some((version, learned)) = self.mistakes.correct(self.context, embedder)? {
            self.in_use.take(self.context, version, learned);
        }
        Ok(())
    }

    fn answer(&mut self, frame: Frame, start: Instant) -> Result<()> {
        let (context, in_use) = (self.context, &self.in_use);
        match in_use.answer(&frame.payload, context.threads, start) {
            Ok(answer) => {
                let seq = ("seq", json!(frame.seq));
                in_use.print(context, seq, &frame.name, &answer)?;
                let now_us = (context.clock)();
                (self.show)(answer.decision.label(), now_us)?;
                self.mistakes.decided(frame, now_us);
            }
            Err(error) => {
                context
                    .out
                    .json(&json!({"seq": frame.seq, "error": error.to_string()}))?;
                context.out.note(format!("{}: {error}", frame.name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::mistakes::Press;
    use super::super::mistakes::tests::{by_hand, field, frame};
    use super::*;
    use fieldhead::source::SourceError;
    use fieldhead::source::line::Part;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Frames one after the other; while it is asked for some, somebody presses.
    struct Script<F>(u64, F);

    impl<F: FnMut(u64)> Source for Script<F> {
        fn next(&mut self) -> Result<Option<Frame>, SourceError> {
            let seq = self.0;
            self.0 += 1;
            (self.1)(seq);
            // The same picture again and again.
            let frame = Frame {
                seq,
                ..frame(9, Part::Washer)
            };
            Ok((seq < 5).then_some(frame))
        }
    }

    #[test]
    fn what_was_corrected_while_a_frame_was_waited_for_is_known_for_that_frame() {
        let folder = tempfile::tempdir().unwrap();
        let context = field(folder.path());
        let head = |context: &Context| context.open_read_only().unwrap().current_head().unwrap();
        let in_use = InUse::of(&context, None).unwrap();
        let (mistakes, say) = by_hand();
        let shown = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&shown);
        let mut answering = Answering {
            context: &context,
            in_use,
            mistakes,
            show: Box::new(move |label, _| {
                seen.borrow_mut().push(label.map(str::to_owned));
                Ok(())
            }),
        };
        let clock = context.clock.clone();
        let mut source = Script(0, |seq| match seq {
            2 => say.send(Ok(Press::Wrong { since_us: clock() })).unwrap(),
            // Behind the last frame: what was pressed is not lost.
            3 | 5 => say
                .send(Ok(Press::Is {
                    label: "washer".into(),
                }))
                .unwrap(),
            4 => say.send(Ok(Press::Wrong { since_us: clock() })).unwrap(),
            _ => {}
        });
        answering
            .frames(&mut source, 99, &AtomicBool::new(false))
            .unwrap();
        let shown = shown.borrow();
        let is_washer = shown.iter().map(|it| it.as_deref() == Some("washer"));
        assert_eq!(
            is_washer.collect::<Vec<_>>(),
            [false, false, false, true, true],
            "{shown:?}"
        );
        let (version, record) = head(&context);
        assert_eq!(answering.in_use.reading.learned, record.learned);
        assert_eq!(answering.in_use.version, version);
        // The last correction was refused: that picture was learned before.
        assert_eq!(version, 2);
    }
}
