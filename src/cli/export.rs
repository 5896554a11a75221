//! `export` and `import`: the head in use as one file.

use super::args;
use super::context::{Context, now_us};
use super::exit::BadInput;
use super::output::count;
use anyhow::{Context as _, Result};
use fieldhead::backbone;
use fieldhead::pipeline;
use fieldhead::store::{HeadRecord, Origin, fhead};
use serde_json::json;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

pub fn export(context: &Context, options: &args::File) -> Result<()> {
    let store = context.open_read_only()?;
    let (version, head) = store.current_head()?;
    let bytes = fhead::encode(&head)?;
    write_whole(&options.file, &bytes)?;
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

/// The file that `path` names or will name, links followed. Nothing but a file is ever replaced.
pub fn target(path: &Path) -> Result<PathBuf> {
    let refused = |what: &str| {
        BadInput(format!(
            "{} is {what}, and only a file is replaced; name a file",
            path.display()
        ))
    };
    let Ok(about) = std::fs::metadata(path) else {
        if path.is_symlink() {
            return Err(refused("a link that leads nowhere").into());
        }
        return Ok(path.to_path_buf());
    };
    if about.is_dir() {
        return Err(refused("a folder").into());
    }
    if !about.is_file() {
        return Err(refused("a device, a pipe or a socket").into());
    }
    Ok(std::fs::canonicalize(path)?)
}

/// Writes beside the target, then renames: a reader sees the old file or the whole new one.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let target = target(path)?;
    replace(&target, bytes).with_context(|| {
        format!(
            "cannot write {}; check the folder and the free space",
            path.display()
        )
    })
}

fn replace(target: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // A name that nobody else has, and can hardly guess: `RandomState` is seeded by the system.
    let number = RandomState::new().hash_one(target);
    let part = target.with_file_name(format!(".fieldhead-{number:016x}.part"));
    let mut file = File::create_new(&part)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| std::fs::rename(&part, target)) {
        // The target is as it was; what is left of the part is of no use.
        let _ = std::fs::remove_file(&part);
        return Err(error);
    }
    Ok(())
}

pub fn import(context: &Context, options: &args::File) -> Result<()> {
    let path = options.file.display().to_string();
    let head = read(&options.file)?;
    // Refuses a head of a backbone that is not here before anything is stored.
    context.check_asked(&head.recipe)?;
    let embedder = context.embedder_for(&head.recipe)?;
    let record = HeadRecord {
        recipe: embedder.recipe().clone(),
        native: false,
        time_us: now_us(),
        ..head
    };
    let mut settled = context.clone();
    // A new field goes on with what the head takes; a folder that was named is named again.
    if !context.names_backbone() {
        settled
            .settings
            .backbone
            .clone_from(&record.recipe.backbone);
    }
    let store = settled.create()?;
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
        "head with {} from {path} is in use as version {version}",
        count(labels.len(), "class")
    ))?;
    Ok(())
}

fn read(path: &Path) -> Result<HeadRecord> {
    let mut bytes = Vec::new();
    let mut read = || {
        // Before it is opened: opening a pipe waits for its writer.
        if !std::fs::metadata(path)?.is_file() {
            return Err(std::io::Error::other("it is not a file"));
        }
        File::open(path)?
            .take(fhead::MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
    };
    read().map_err(|e| {
        BadInput(format!(
            "cannot read {}: {e}; check the path and its permissions",
            path.display()
        ))
    })?;
    fhead::decode(&bytes).with_context(|| path.display().to_string())
}
