//! `predict`: what photos or frames show, by the head in use.

use super::answers::InUse;
use super::args::Predict;
use super::context::Context;
use super::embed::CHUNK;
use super::exit::{BadInput, Usage};
use super::output::{count, limit};
use super::run::{frames, opened};
use anyhow::Result;
use fieldhead::source::folder;
use fieldhead::source::{Opened, Payload};
use rayon::prelude::*;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

pub fn run(context: &Context, options: &Predict) -> Result<()> {
    let in_use = InUse::of(context, options.sets.coverage)?;
    let wires = &options.wires;
    let Some(source) = options.source.as_deref() else {
        return files(context, &in_use, &listed(&options.paths)?);
    };
    match opened(context, &in_use, source)? {
        Opened::Files(_) if wires.wrong.is_some() || !wires.lamps.is_empty() => Err(Usage(
            "buttons and lamps go with a camera, a command or a line, not with files".into(),
        )
        .into()),
        Opened::Files(mut paths) => {
            paths.truncate(limit(options.count));
            files(context, &in_use, &paths)
        }
        Opened::Frames(source) | Opened::Live(source) => {
            let endless = wires.wrong.is_some();
            let count = options.count.unwrap_or(if endless { u64::MAX } else { 1 });
            frames(context, in_use, source, wires, count)
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

fn files(context: &Context, in_use: &InUse, files: &[PathBuf]) -> Result<()> {
    let mut failed = 0;
    for chunk in files.chunks(CHUNK) {
        // Several photos are shared out, of one the work.
        let threads = if chunk.len() == 1 { context.threads } else { 1 };
        let answers: Vec<_> = chunk
            .par_iter()
            .map(|path| {
                let start = Instant::now();
                let payload = Payload::Encoded(folder::read(path)?);
                in_use.answer(&payload, threads, start)
            })
            .collect();
        for (path, result) in chunk.iter().zip(answers) {
            let path = path.display().to_string();
            match result {
                Ok(answer) => in_use.print(context, ("path", json!(path)), &path, &answer)?,
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
