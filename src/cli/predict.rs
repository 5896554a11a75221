//! `predict`: what photos or frames show, by the head in use.

use super::args::Predict;
use super::context::Context;
use super::embed::CHUNK;
use super::exit::{BadInput, Usage};
use super::mistakes::Mistakes;
use super::notify::Manager;
use super::output::{count, limit, ms_since, round};
use super::wires::{self, Show};
use anyhow::Result;
use fieldhead::decision::{Decision, best, decide, set};
use fieldhead::head::{self, Conformal, Learned};
use fieldhead::pipeline::{Embedder, PipelineError};
use fieldhead::source::folder;
use fieldhead::source::{self, Frame, Opened, Payload, Source};
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub fn run(context: &Context, options: &Predict) -> Result<()> {
    let store = context.open_read_only()?;
    let (_, head) = store.current_head()?;
    drop(store);
    context.check_asked(&head.recipe)?;
    let embedder = context.embedder_for(&head.recipe)?;
    let reading = Reading::new(context, head.learned, options.coverage);
    let source = options.source.as_deref();
    if let Some(gives) = source.map(source::gives).transpose()?.flatten() {
        embedder.takes().check(gives)?;
    }
    let opened = source.map(|text| source::open(text, &context.clock));
    match opened.transpose()? {
        Some(Opened::Files(_)) if options.wrong.is_some() || !options.lamps.is_empty() => Err(
            Usage("buttons and lamps go with a camera, a command or a line, not with files".into())
                .into(),
        ),
        Some(Opened::Files(mut paths)) => {
            paths.truncate(limit(options.count));
            files(context, &embedder, &reading, &paths)
        }
        Some(Opened::Frames(source) | Opened::Live(source)) => {
            frames(context, &embedder, reading, source, options)
        }
        None => {
            let paths = listed(&options.paths)?;
            files(context, &embedder, &reading, &paths)
        }
    }
}

/// The files that were named, and those of the folders that were named.
fn listed(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(folder::list(path)?);
        } else {
            files.push(path.clone());
        }
    }
    if files.is_empty() {
        let named: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
        return Err(BadInput(format!(
            "no files in {}, and folders inside are not entered; name files, or the folders that hold them",
            named.join(", ")
        ))
        .into());
    }
    Ok(files)
}

fn files(
    context: &Context,
    embedder: &Embedder,
    reading: &Reading,
    files: &[PathBuf],
) -> Result<()> {
    let mut failed = 0;
    for chunk in files.chunks(CHUNK) {
        // Several photos are shared out, of one the work.
        let threads = if chunk.len() == 1 { context.threads } else { 1 };
        let answers: Vec<_> = chunk
            .par_iter()
            .map(|path| {
                let start = Instant::now();
                let payload = Payload::Encoded(folder::read(path)?);
                answer(embedder, &reading.learned, &payload, threads, start)
            })
            .collect();
        for (path, result) in chunk.iter().zip(answers) {
            let path = path.display().to_string();
            match result {
                Ok(answer) => print(context, reading, ("path", json!(path)), &path, &answer)?,
                Err(error) => {
                    failed += 1;
                    context
                        .out
                        .json(&json!({"path": path, "error": error.to_string()}))?;
                    context.out.note(format!("{path}: {error}"));
                }
            }
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(BadInput(format!(
            "{failed} of {} could not be read; the lines above say why",
            count(files.len(), "file")
        ))
        .into()),
    }
}

fn frames(
    context: &Context,
    embedder: &Embedder,
    reading: Reading,
    mut source: Box<dyn Source>,
    options: &Predict,
) -> Result<()> {
    let board = options.board.as_deref();
    let wrong = options.wrong.as_ref();
    let named = options.lamps.iter().chain(&options.buttons);
    wires::each_once(board, named.map(|wire| &wire.contact).chain(wrong))?;
    let show = wires::lamps(board, &options.lamps)?;
    let presses = wrong.map(|wrong| wires::presses(context, board, &options.buttons, wrong));
    let mistakes = Mistakes::new(presses.transpose()?);
    let stop = match options.lamps.is_empty() && wrong.is_none() {
        true => Arc::default(),
        false => wires::asked_to_stop()?,
    };
    let endless = if wrong.is_some() { u64::MAX } else { 1 };
    let mut answering = Answering {
        context,
        embedder,
        reading,
        mistakes,
        show,
    };
    answering.frames(&mut *source, options.count.unwrap_or(endless), &stop)
}

/// What frames are answered with.
struct Answering<'a> {
    context: &'a Context,
    embedder: &'a Embedder,
    reading: Reading,
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
        if let Some(learned) = self.mistakes.correct(self.context, self.embedder)? {
            self.reading.take(learned);
        }
        Ok(())
    }

    fn answer(&mut self, frame: Frame, start: Instant) -> Result<()> {
        let (context, reading) = (self.context, &self.reading);
        let (learned, threads) = (&reading.learned, context.threads);
        match answer(self.embedder, learned, &frame.payload, threads, start) {
            Ok(answer) => {
                let seq = ("seq", json!(frame.seq));
                print(context, reading, seq, &frame.name, &answer)?;
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

/// How the answers of a head are read.
struct Reading {
    learned: Learned,
    /// Share of sets that should hold the right label.
    coverage: f64,
    /// The probability from which on a label belongs to a set.
    least: Option<f32>,
}

impl Reading {
    fn new(context: &Context, learned: Learned, coverage: Option<f64>) -> Reading {
        let coverage = coverage.unwrap_or(context.settings.coverage);
        let conformal = &learned.calibration.conformal;
        let least = conformal.least(coverage);
        if least.is_none() {
            context.out.note(format!(
                "a coverage of {coverage} takes {}, and this head has {}: every set holds all labels; train on more samples, or \
                 lower --coverage",
                count(Conformal::needed(coverage), "held-out sample"),
                conformal.n()
            ));
        }
        Reading {
            learned,
            coverage,
            least,
        }
    }

    /// Reads the answers of another version of the head from now on.
    fn take(&mut self, learned: Learned) {
        self.least = learned.calibration.conformal.least(self.coverage);
        self.learned = learned;
    }

    /// The labels that cannot be ruled out, most probable first.
    fn set(&self, scores: &[f32]) -> Vec<&str> {
        let set = set(scores, self.least).into_iter();
        set.map(|i| self.learned.labels[i].as_str()).collect()
    }

    /// A set that is not the one label said anyway, in words.
    fn doubts(&self, set: &[&str]) -> String {
        let percent = round(self.coverage * 100.0);
        match set {
            [_] => String::new(),
            // Said once, for all answers.
            _ if self.least.is_none() => String::new(),
            [] => format!("  ({percent} %: no label is likely enough)"),
            some => format!("  ({percent} %: {})", some.join(" or ")),
        }
    }
}

struct Answer {
    head: head::Answer,
    decision: Decision,
    ms: f64,
}

fn answer(
    embedder: &Embedder,
    learned: &Learned,
    payload: &Payload,
    threads: usize,
    start: Instant,
) -> Result<Answer> {
    let features = embedder.embed_payload(payload, threads)?;
    let head = learned.answer(&features).map_err(PipelineError::from)?;
    let (score, above) = (head.unknown_score, head.unknown_above);
    Ok(Answer {
        decision: decide(&learned.labels, &head.scores, score, above),
        head,
        ms: ms_since(start),
    })
}

fn print(
    context: &Context,
    reading: &Reading,
    (key, id): (&str, Value),
    name: &str,
    answer: &Answer,
) -> Result<()> {
    let labels = &reading.learned.labels;
    let head::Answer {
        scores,
        unknown_score,
        unknown_above,
    } = &answer.head;
    let best = best(scores);
    let (label, confidence) = (&labels[best], scores[best]);
    let unknown = matches!(answer.decision, Decision::Unknown { .. });
    let set = reading.set(scores);
    let by_label: Map<String, Value> = labels
        .iter()
        .zip(scores)
        .map(|(label, &score)| (label.clone(), json!(round(f64::from(score)))))
        .collect();
    context.out.json(&json!({
        key: id,
        "label": label,
        "confidence": round(f64::from(confidence)),
        "unknown": unknown,
        "unknown_score": round(*unknown_score),
        "unknown_above": round(*unknown_above),
        "set": set,
        "coverage": reading.coverage,
        "scores": by_label,
        "ms": round(answer.ms),
    }))?;
    let shown = if unknown {
        format!("unknown (nearest: {label})")
    } else {
        label.clone()
    };
    context.out.line(format!(
        "{name}: {shown} {:.1} %{}  {:.1} ms",
        confidence * 100.0,
        reading.doubts(&set),
        answer.ms
    ))?;
    Ok(())
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
        let embedder = context.embedder().unwrap();
        let head = |context: &Context| context.open_read_only().unwrap().current_head().unwrap();
        let reading = Reading::new(&context, head(&context).1.learned, None);
        let (mistakes, say) = by_hand();
        let shown = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&shown);
        let mut answering = Answering {
            context: &context,
            embedder: &embedder,
            reading,
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
        assert_eq!(answering.reading.learned, record.learned);
        // The last correction was refused: that picture was learned before.
        assert_eq!(version, 2);
    }
}
