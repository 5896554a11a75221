//! `history` and `rollback`: the versions of the head.

use super::args::Rollback;
use super::context::{Context, now_us};
use super::output::fit;
use anyhow::Result;
use fieldhead::store::{Origin, Version};
use serde_json::json;
use std::fmt;

pub fn history(context: &Context) -> Result<()> {
    let store = context.open_read_only()?;
    let current = store.current_version()?;
    context.out.line(format!(
        "  {:>7}  {:8}  {:>7}  {:>7}  from",
        "version", "head", "samples", "classes"
    ))?;
    for version in store.versions()? {
        let (origin, of) = origin(&version);
        let is_current = current == Some(version.number);
        context.out.json(&json!({
            "version": version.number,
            "time_us": version.time_us,
            "origin": origin,
            "sample": of.sample,
            "class": of.class,
            "to": of.to,
            "file": of.file,
            "head": version.kind,
            "n": version.samples,
            "classes": version.classes,
            "current": is_current,
        }))?;
        let of = match of.to_string() {
            none if none.is_empty() => none,
            of => format!(" ({})", fit(&of, 30)),
        };
        context.out.line(format!(
            "{} {:>7}  {:8}  {:>7}  {:>7}  {origin}{of}",
            if is_current { '*' } else { ' ' },
            version.number,
            version.kind,
            version.samples,
            version.classes,
        ))?;
    }
    Ok(())
}

/// What a version came of: a sample, a class and its new name, or a file.
#[derive(Default)]
struct Of<'a> {
    sample: Option<u64>,
    class: Option<&'a str>,
    to: Option<&'a str>,
    file: Option<&'a str>,
}

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = self.sample {
            write!(f, "sample {id}")?;
        }
        for text in [self.class, self.to.map(|_| " to "), self.to, self.file] {
            f.write_str(text.unwrap_or_default())?;
        }
        Ok(())
    }
}

fn origin(version: &Version) -> (&'static str, Of<'_>) {
    let sample = |id| Of {
        sample: Some(id),
        ..Of::default()
    };
    let class = |class, to| Of {
        class: Some(class),
        to,
        ..Of::default()
    };
    match &version.origin {
        Origin::Train => ("train", Of::default()),
        Origin::Correct { sample: id } => ("correct", sample(*id)),
        Origin::Forget { sample: id } => ("forget", sample(*id)),
        Origin::Import { file } => {
            let file = Some(file.as_str());
            let of = Of {
                file,
                ..Of::default()
            };
            ("import", of)
        }
        Origin::Rename { from, to } => ("rename", class(from.as_str(), Some(to.as_str()))),
        Origin::Remove { class: gone } => ("remove", class(gone.as_str(), None)),
    }
}

pub fn rollback(context: &Context, options: &Rollback) -> Result<()> {
    let store = context.open()?;
    let to = options.version;
    let from = store.current_version()?;
    store.write(|tx| tx.roll_back(to, now_us()))?;
    context.out.json(&json!({"version": to, "from": from}))?;
    context
        .out
        .line(format!("head version {to} is in use again"))?;
    for line in [
        "samples stay: the next correct, forget or train learns from all of them again;",
        "`fieldhead forget --sample ID` takes out what was wrong",
    ] {
        context.out.line(line)?;
    }
    Ok(())
}
