//! `predict`: what photos or frames show, by the head in use.

use super::args::Predict;
use super::context::Context;
use super::embed::CHUNK;
use super::exit::BadInput;
use super::output::{limit, ms_since, round};
use super::wires;
use anyhow::Result;
use fieldhead::decision::{Decision, best, decide};
use fieldhead::head::Learned;
use fieldhead::pipeline::{Embedder, PipelineError};
use fieldhead::source::folder;
use fieldhead::source::{self, Opened, Payload, Source};
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::time::Instant;

pub fn run(context: &Context, options: &Predict) -> Result<()> {
    let store = context.open_read_only()?;
    let (_, head) = store.current_head()?;
    drop(store);
    let embedder = context.embedder_for(&head.recipe)?;
    let learned = &head.learned;
    let source = options.source.as_deref();
    let opened = source.map(|text| source::open(text, &context.clock));
    match opened.transpose()? {
        Some(Opened::Files(mut paths)) => {
            paths.truncate(limit(options.count));
            files(context, &embedder, learned, &paths)
        }
        Some(Opened::Frames(source) | Opened::Live(source)) => {
            frames(context, &embedder, learned, source, options)
        }
        None => {
            let paths = listed(&options.paths)?;
            files(context, &embedder, learned, &paths)
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
        return Err(BadInput("the folders named hold no files".into()).into());
    }
    Ok(files)
}

fn files(
    context: &Context,
    embedder: &Embedder,
    learned: &Learned,
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
                answer(embedder, learned, &payload, threads, start)
            })
            .collect();
        for (path, result) in chunk.iter().zip(answers) {
            let path = path.display().to_string();
            match result {
                Ok(answer) => print(context, learned, ("path", json!(path)), &path, &answer)?,
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
            "{failed} of {} files could not be read; the lines above say why",
            files.len()
        ))
        .into()),
    }
}

fn frames(
    context: &Context,
    embedder: &Embedder,
    learned: &Learned,
    mut source: Box<dyn Source>,
    options: &Predict,
) -> Result<()> {
    let mut show = wires::lamps(options.board.as_deref(), &options.lamps)?;
    for _ in 0..options.count.unwrap_or(1) {
        let start = Instant::now();
        let Some(frame) = source.next()? else {
            break;
        };
        match answer(embedder, learned, &frame.payload, context.threads, start) {
            Ok(answer) => {
                let seq = ("seq", json!(frame.seq));
                print(context, learned, seq, &frame.name, &answer)?;
                show(answer.decision.label(), (context.clock)())?;
            }
            Err(error) => {
                context
                    .out
                    .json(&json!({"seq": frame.seq, "error": error.to_string()}))?;
                context.out.note(format!("{}: {error}", frame.name));
            }
        }
    }
    Ok(())
}

struct Answer {
    scores: Vec<f32>,
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
    let scores = learned.scores(&features).map_err(PipelineError::from)?;
    let unknown_below = learned.calibration.unknown_below;
    Ok(Answer {
        decision: decide(&learned.labels, &scores, unknown_below),
        scores,
        ms: ms_since(start),
    })
}

fn print(
    context: &Context,
    learned: &Learned,
    (key, id): (&str, Value),
    name: &str,
    answer: &Answer,
) -> Result<()> {
    let best = best(&answer.scores);
    let (label, confidence) = (&learned.labels[best], answer.scores[best]);
    let unknown = matches!(answer.decision, Decision::Unknown { .. });
    let scores: Map<String, Value> = learned
        .labels
        .iter()
        .zip(&answer.scores)
        .map(|(label, &score)| (label.clone(), json!(round(f64::from(score)))))
        .collect();
    context.out.json(&json!({
        key: id,
        "label": label,
        "confidence": round(f64::from(confidence)),
        "unknown": unknown,
        "scores": scores,
        "ms": round(answer.ms),
    }))?;
    let shown = if unknown {
        format!("unknown (nearest: {label})")
    } else {
        label.clone()
    };
    context.out.line(format!(
        "{name}: {shown} {:.1} %  {:.1} ms",
        confidence * 100.0,
        answer.ms
    ))?;
    Ok(())
}
