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
/// The pause after a head could not be taken up: its cause may be cured without a change of the field.
const RETRY: Duration = Duration::from_secs(5);

/// The head that answers.
pub struct InUse {
    pub version: u64,
    pub reading: Reading,
    pub embedder: Embedder,
    /// When that version was made: another field may have one of the same number.
    time_us: u64,
    /// As the command line has it.
    coverage: Option<f64>,
    /// The field's file when it was last looked into.
    seen: Option<Stamp>,
    /// From when on it is looked into though it is as it was.
    look_again: Option<Instant>,
    /// Why the last look failed.
    failed: Option<String>,
}

/// When a file was written, and its length.
#[derive(Clone, Copy, PartialEq)]
struct Stamp(SystemTime, u64);

impl Stamp {
    fn of(folder: &Path) -> Option<Stamp> {
        let about = folder.join(store::FILE_NAME).metadata().ok()?;
        Some(Stamp(about.modified().ok()?, about.len()))
    }

    /// Whether the file cannot be written again without another stamp.
    fn is_settled(self) -> bool {
        let age = SystemTime::now().duration_since(self.0);
        age.is_ok_and(|age| age > SETTLED)
    }
}

impl InUse {
    /// The head in use now.
    pub fn of(context: &Context, coverage: Option<f64>) -> Result<InUse> {
        let (version, head) = context.open_read_only()?.current_head()?;
        context.check_asked(&head.recipe)?;
        let reading = Reading::new(context, head.learned, coverage);
        reading.tell_limits(context);
        Ok(InUse {
            version,
            embedder: context.embedder_for(&head.recipe)?,
            reading,
            time_us: head.time_us,
            coverage,
            // It is looked into at once.
            seen: None,
            look_again: None,
            failed: None,
        })
    }

    /// Answers with the head that is in use by now, and says so where it is another one or cannot be taken up.
    pub fn keep_up(&mut self, context: &Context) {
        let followed = self.follow(context);
        let version = self.version;
        match followed {
            Ok(true) => {
                let text = format!("head version {version} answers from now on");
                context.out.note(text);
            }
            Ok(false) => {}
            Err(error) => {
                let text = format!("head version {version} goes on answering: {error:#}");
                context.out.note(text);
            }
        }
    }

    /// Takes up what others made of the head; whether that is another one. While the field's file is as it was, nothing is read.
    ///
    /// # Errors
    /// A head that cannot be taken up; the same reason is told once.
    fn follow(&mut self, context: &Context) -> Result<bool> {
        let (stamp, now) = (Stamp::of(&context.folder), Instant::now());
        let due = self.look_again.is_some_and(|at| now >= at);
        if stamp == self.seen && !due {
            return Ok(false);
        }
        self.seen = stamp;
        let looked = self.look(context);
        self.look_again = match (&looked, stamp) {
            (Err(_), _) => Some(now + RETRY),
            (Ok(_), Some(stamp)) if !stamp.is_settled() => Some(now),
            _ => None,
        };
        let failed = looked.as_ref().err().map(|error| format!("{error:#}"));
        let told = failed.is_some() && failed == self.failed;
        self.failed = failed;
        if told { Ok(false) } else { looked }
    }

    fn look(&mut self, context: &Context) -> Result<bool> {
        let (version, head) = context.open_read_only()?.current_head()?;
        if (version, head.time_us) == (self.version, self.time_us) {
            return Ok(false);
        }
        context.check_asked(&head.recipe)?;
        if !self.embedder.recipe().same_space(&head.recipe) {
            self.embedder = context.embedder_for(&head.recipe)?;
        }
        self.take(context, version, head.learned);
        self.time_us = head.time_us;
        Ok(true)
    }

    /// Answers with another version of the head, which sees in the same way.
    pub fn take(&mut self, context: &Context, version: u64, learned: Learned) {
        self.version = version;
        let reading = Reading::new(context, learned, self.coverage);
        let before = std::mem::replace(&mut self.reading, reading);
        if before.least.is_some() {
            self.reading.tell_limits(context);
        }
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
        Reading {
            least: learned.calibration.conformal.least(coverage),
            coverage,
            learned,
        }
    }

    /// Says that sets hold all labels, where too few samples were held out to leave any out.
    fn tell_limits(&self, context: &Context) {
        if self.least.is_none() {
            let coverage = self.coverage;
            context.out.note(format!(
                "a coverage of {coverage} takes {}, and this head has {}: every set holds all labels; train on more samples, or \
                 lower --coverage",
                count(Conformal::needed(coverage), "held-out sample"),
                self.learned.calibration.conformal.n()
            ));
        }
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

#[cfg(test)]
mod tests {
    use super::super::mistakes::tests::field;
    use super::*;

    #[test]
    fn a_head_that_is_gone_is_told_once_and_goes_on_answering() {
        let folder = tempfile::tempdir().unwrap();
        let context = field(folder.path());
        let mut in_use = InUse::of(&context, None).unwrap();
        assert!(!in_use.follow(&context).unwrap());
        std::fs::remove_dir_all(folder.path()).unwrap();
        let error = in_use.follow(&context).unwrap_err().to_string();
        assert!(error.contains("there is no field"), "{error}");
        for _ in 0..3 {
            assert!(!in_use.follow(&context).unwrap());
        }
        // The cause may be cured without a change of the file; that it was not is told no more.
        in_use.look_again = Some(Instant::now());
        assert!(!in_use.follow(&context).unwrap());
        assert_eq!(in_use.version, 1);
        // Another field in the same place, whose first head has the same number.
        let context = field(folder.path());
        assert!(in_use.follow(&context).unwrap());
        assert!(!in_use.follow(&context).unwrap());
    }
}
