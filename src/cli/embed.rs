//! Embedding many photos at once, with a progress bar: shared by collect, eval, features, fewshot and train.

use super::context::Context;
use super::exit::BadInput;
use anyhow::Result;
use fieldhead::pipeline::{Embedder, PipelineError};
use fieldhead::source::folder::{self, Labelled, Skipped};
use fieldhead::source::{Payload, SourceError};
use rayon::prelude::*;
use std::path::Path;
use std::time::Instant;

/// Files embedded between two commits or two redraws of the bar. At 30 ms an inference, as on a slow board with two cores, that is a
/// quarter of a second.
pub const CHUNK: usize = 16;

/// A folder of classes as features, in path order.
pub struct EmbeddedTree {
    pub files: Vec<Labelled>,
    pub features: Vec<Vec<f32>>,
    pub skipped: Vec<Skipped>,
    /// Mean time a photo from file to features, in ms.
    pub ms_per_sample: f64,
}

/// One file that cannot be read or understood is skipped; an error of the backbone ends everything.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

impl FileError {
    pub fn is_about_the_file(&self) -> bool {
        matches!(
            self,
            FileError::Source(_) | FileError::Pipeline(PipelineError::Preprocess(_))
        )
    }
}

/// Reads and embeds one of several files, on this thread; the time is in ms.
pub fn file(embedder: &Embedder, path: &Path) -> Result<(Vec<f32>, f64), FileError> {
    let start = Instant::now();
    let payload = Payload::Encoded(folder::read(path)?);
    let features = embedder.embed_payload(&payload, 1)?;
    Ok((features, super::output::ms_since(start)))
}

/// Embeds a folder-per-class tree on all threads. Photos that cannot be read are skipped and named.
pub fn tree(context: &Context, embedder: &Embedder, dir: &Path) -> Result<EmbeddedTree> {
    let scanned = folder::scan(dir)?;
    let mut tree = EmbeddedTree {
        files: Vec::new(),
        features: Vec::new(),
        skipped: scanned.skipped,
        ms_per_sample: 0.0,
    };
    let bar = context
        .out
        .progress(scanned.files.len() as u64, "embedding");
    let mut ms_total = 0.0;
    for chunk in scanned.files.chunks(CHUNK) {
        let results: Vec<_> = chunk
            .par_iter()
            .map(|labelled| file(embedder, &labelled.path))
            .collect();
        for (labelled, result) in chunk.iter().zip(results) {
            match result {
                Ok((features, ms)) => {
                    ms_total += ms;
                    tree.files.push(labelled.clone());
                    tree.features.push(features);
                }
                Err(error) if error.is_about_the_file() => tree.skipped.push(Skipped {
                    path: labelled.path.clone(),
                    reason: error.to_string(),
                }),
                Err(error) => return Err(error.into()),
            }
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    for skipped in &tree.skipped {
        context.out.note(skipped_line(skipped));
    }
    if tree.files.is_empty() {
        return Err(BadInput(format!(
            "none of the {} files in {} is a readable photo; the lines above say why",
            tree.skipped.len(),
            dir.display()
        ))
        .into());
    }
    tree.ms_per_sample = ms_total / tree.files.len() as f64;
    Ok(tree)
}

/// What is said of a skipped file.
pub fn skipped_line(skipped: &Skipped) -> String {
    format!("skipped {}: {}", skipped.path.display(), skipped.reason)
}

/// Embeds kept photos of samples, for a recipe that they were never embedded by.
pub fn photos(
    context: &Context,
    embedder: &Embedder,
    photos: &[(u64, Vec<u8>)],
) -> Result<Vec<Vec<f32>>, PipelineError> {
    let bar = context.out.progress(photos.len() as u64, "embedding again");
    let vectors = photos
        .par_iter()
        .map(|(_, bytes)| {
            let decoded = fieldhead::preprocess::decode(bytes)?;
            let features = embedder.embed(&decoded, 1);
            bar.inc(1);
            features
        })
        .collect();
    bar.finish_and_clear();
    vectors
}
