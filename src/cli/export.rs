//! `export` and `import`: the head in use as one file.

use super::args::File;
use super::context::{Context, now_us};
use super::exit::BadInput;
use anyhow::{Context as _, Result};
use fieldhead::backbone;
use fieldhead::pipeline;
use fieldhead::store::{HeadRecord, Origin, fhead};
use serde_json::json;
use std::io::{Read, Write};
use std::path::Path;

pub fn export(context: &Context, options: &File) -> Result<()> {
    let store = context.open_read_only()?;
    let (version, head) = store.current_head()?;
    let bytes = fhead::encode(&head)?;
    write_whole(&options.file, &bytes).with_context(|| {
        format!(
            "cannot write {}; check the folder and the free space",
            options.file.display()
        )
    })?;
    let path = options.file.display().to_string();
    context
        .out
        .json(&json!({"version": version, "file": path, "bytes": bytes.len()}))?;
    context.out.line(format!(
        "head version {version} written to {path}, {} bytes",
        bytes.len()
    ))?;
    Ok(())
}

/// Writes beside the target, then renames: a reader sees the old file or the whole new one.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| std::io::Error::other("this is not a file name"))?;
    let mut part = name.to_owned();
    part.push(".part");
    let part = path.with_file_name(part);
    let mut file = std::fs::File::create(&part)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| std::fs::rename(&part, path)) {
        // The target is as it was; what is left of the part is of no use.
        let _ = std::fs::remove_file(&part);
        return Err(error);
    }
    Ok(())
}

pub fn import(context: &Context, options: &File) -> Result<()> {
    let path = options.file.display().to_string();
    let head = read(&options.file)?;
    // Refuses a head of a backbone that is not here before anything is stored.
    let embedder = context.embedder_for(&head.recipe)?;
    let record = HeadRecord {
        recipe: embedder.recipe().clone(),
        native: false,
        time_us: now_us(),
        ..head
    };
    let store = context.create()?;
    let version = pipeline::put_head(&store, &record, Origin::Import { file: path.clone() })?;
    let labels = &record.learned.labels;
    context.out.json(&json!({
        "version": version,
        "file": path,
        "head": record.learned.settings.kind.to_string(),
        "labels": labels,
        "backbone": record.recipe.backbone,
        "backbone_sha256": backbone::hex(&record.recipe.backbone_hash),
    }))?;
    context.out.line(format!(
        "head with {} classes from {path} is in use as version {version}",
        labels.len()
    ))?;
    Ok(())
}

fn read(path: &Path) -> Result<HeadRecord> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(fhead::MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|e| {
            BadInput(format!(
                "cannot read {}: {e}; check the path and its permissions",
                path.display()
            ))
        })?;
    fhead::decode(&bytes).with_context(|| path.display().to_string())
}
