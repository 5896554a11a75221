//! Answers of the head in use: asking it, following it, and printing what it says.
//!
//! Owns: the head that answers and the embedder that it needs ([`InUse`]), and how its answers are read ([`Reading`]). Does not own: what
//! is asked about (`predict`, `run`, `serve`).
//!
//! Invariant: a head that cannot be taken up leaves the one before it in use.

use super::context::Context;
use super::output::{count, ms_since, round};
use anyhow::Result;
use fieldhead::decision::{Decision, best, decide, set};
use fieldhead::head::{self, Conformal, Learned};
use fieldhead::pipeline::{Embedder, PipelineError};
use fieldhead::source::Payload;
use fieldhead::store;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// A file that was written so long ago is known by the time it was written: clocks of file systems step by some milliseconds, of FAT by
/// two seconds.
const SETTLED: Duration = Duration::from_secs(3);

/// The head that answers.
pub struct InUse {
    pub version: u64,
    pub reading: Reading,
    pub embedder: Embedder,
    /// The field's file when it was last looked into.
    seen: Option<Stamp>,
}

/// When a file was written, and its length.
#[derive(Clone, Copy, PartialEq)]
struct Stamp(SystemTime, u64);

impl Stamp {
    fn of(folder: &Path) -> Option<Stamp> {
        let about = folder.join(store::FILE_NAME).metadata().ok()?;
        Some(Stamp(about.modified().ok()?, about.len()))
    }

    /// What may be written again without another stamp is not known by it.
    fn settled(self) -> Option<Stamp> {
        let age = SystemTime::now().duration_since(self.0);
        age.is_ok_and(|age| age > SETTLED).then_some(self)
    }
}

impl InUse {
    /// The head in use now.
    pub fn of(context: &Context, coverage: Option<f64>) -> Result<InUse> {
        let seen = Stamp::of(&context.folder).and_then(Stamp::settled);
        let (version, head) = context.open_read_only()?.current_head()?;
        context.check_asked(&head.recipe)?;
        Ok(InUse {
            version,
            embedder: context.embedder_for(&head.recipe)?,
            reading: Reading::new(context, head.learned, coverage),
            seen,
        })
    }

    /// Answers with the head that is in use by now, which may have been changed by another program; whether it is another one. While
    /// the field's file is as it was, nothing is read.
    pub fn follow(&mut self, context: &Context) -> Result<bool> {
        let stamp = Stamp::of(&context.folder);
        if stamp.is_some() && stamp == self.seen {
            return Ok(false);
        }
        // What fails now is not tried again before the file changes.
        self.seen = stamp;
        let store = context.open_read_only()?;
        if store.current_version()? != Some(self.version) {
            let (version, head) = store.current_head()?;
            drop(store);
            context.check_asked(&head.recipe)?;
            if !self.embedder.recipe().same_space(&head.recipe) {
                self.embedder = context.embedder_for(&head.recipe)?;
            }
            self.take(version, head.learned);
            self.seen = stamp.and_then(Stamp::settled);
            return Ok(true);
        }
        self.seen = stamp.and_then(Stamp::settled);
        Ok(false)
    }

    /// Answers with another version of the head, which sees in the same way.
    pub fn take(&mut self, version: u64, learned: Learned) {
        self.version = version;
        self.reading.take(learned);
    }

    /// The answer to a payload that has been on its way since `start`.
    pub fn answer(&self, payload: &Payload, threads: usize, start: Instant) -> Result<Answer> {
        let features = self.embedder.embed_payload(payload, threads)?;
        let learned = &self.reading.learned;
        let head = learned.answer(&features).map_err(PipelineError::from)?;
        let (score, above) = (head.unknown_score, head.unknown_above);
        Ok(Answer {
            decision: decide(&learned.labels, &head.scores, score, above),
            head,
            ms: ms_since(start),
        })
    }

    /// Prints an answer: to what, as JSON tells it and as people read it.
    pub fn print(
        &self,
        context: &Context,
        what: (&str, Value),
        name: &str,
        answer: &Answer,
    ) -> Result<()> {
        let labels = &self.reading.learned.labels;
        let head::Answer {
            scores,
            unknown_score,
            unknown_above,
        } = &answer.head;
        let best = best(scores);
        let (label, confidence) = (&labels[best], scores[best]);
        let unknown = matches!(answer.decision, Decision::Unknown { .. });
        let set = self.reading.set(scores);
        let by_label: Map<String, Value> = labels
            .iter()
            .zip(scores)
            .map(|(label, &score)| (label.clone(), json!(round(f64::from(score)))))
            .collect();
        context.out.json(&json!({
            (what.0): what.1,
            "label": label,
            "confidence": round(f64::from(confidence)),
            "unknown": unknown,
            "unknown_score": round(*unknown_score),
            "unknown_above": round(*unknown_above),
            "set": set,
            "version": self.version,
            "coverage": self.reading.coverage,
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
            self.reading.doubts(&set),
            answer.ms
        ))?;
        Ok(())
    }
}

/// How the answers of a head are read.
pub struct Reading {
    pub learned: Learned,
    /// Share of sets that should hold the right label.
    coverage: f64,
    /// The probability from which on a label belongs to a set.
    least: Option<f32>,
}

impl Reading {
    pub fn new(context: &Context, learned: Learned, coverage: Option<f64>) -> Reading {
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

/// What the head says of a payload.
pub struct Answer {
    head: head::Answer,
    pub decision: Decision,
    ms: f64,
}
