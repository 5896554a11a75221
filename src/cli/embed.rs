//! Embedding many photos or windows at once, with a progress bar: shared by collect, eval, features, fewshot and train.

use super::context::Context;
use super::exit::BadInput;
use anyhow::Result;
use fieldhead::features::Recipe;
use fieldhead::pipeline::{Embedder, Photos, PipelineError};
use fieldhead::source::SourceError;
use fieldhead::source::folder::{self, Labelled, Skipped};
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
    /// What one of them is called.
    pub noun: &'static str,
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

/// Reads one of several files and embeds it by each of some recipes, on this thread; the time is in ms.
fn file(
    embedder: &Embedder,
    recipes: &[Recipe],
    path: &Path,
) -> Result<(Vec<Vec<f32>>, f64), FileError> {
    let start = Instant::now();
    let capture = embedder.decode(&folder::read(path)?);
    let capture = capture.map_err(PipelineError::from)?;
    let vectors = embedder.embed_capture_as(&capture, recipes, 1)?;
    Ok((vectors, super::output::ms_since(start)))
}

/// Embeds a folder-per-class tree on all threads. Photos that cannot be read are skipped and named.
pub fn tree(context: &Context, embedder: &Embedder, dir: &Path) -> Result<EmbeddedTree> {
    let recipe = std::slice::from_ref(embedder.recipe());
    Ok(trees(context, embedder, recipe, dir)?.swap_remove(0))
}

/// As [`tree`], once for each of some recipes; the embedder has the outputs for all of them.
pub fn trees(
    context: &Context,
    embedder: &Embedder,
    recipes: &[Recipe],
    dir: &Path,
) -> Result<Vec<EmbeddedTree>> {
    let mut scanned = folder::scan(dir)?;
    let bar = context
        .out
        .progress(scanned.files.len() as u64, "embedding");
    let mut files = Vec::new();
    let mut features = vec![Vec::new(); recipes.len()];
    let mut ms_total = 0.0;
    for chunk in scanned.files.chunks(CHUNK) {
        let results: Vec<_> = chunk
            .par_iter()
            .map(|labelled| file(embedder, recipes, &labelled.path))
            .collect();
        for (labelled, result) in chunk.iter().zip(results) {
            match result {
                Ok((vectors, ms)) => {
                    ms_total += ms;
                    files.push(labelled.clone());
                    for (features, vector) in features.iter_mut().zip(vectors) {
                        features.push(vector);
                    }
                }
                Err(error) if error.is_about_the_file() => scanned.skipped.push(Skipped {
                    path: labelled.path.clone(),
                    reason: error.to_string(),
                }),
                Err(error) => return Err(error.into()),
            }
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    for skipped in &scanned.skipped {
        context.out.note(skipped_line(skipped));
    }
    let noun = embedder.takes().noun();
    if files.is_empty() {
        return Err(BadInput(format!(
            "no {noun} in {} could be read; the lines above say why",
            dir.display()
        ))
        .into());
    }
    let tree = |features| EmbeddedTree {
        files: files.clone(),
        features,
        skipped: scanned.skipped.clone(),
        noun,
        ms_per_sample: ms_total / files.len() as f64,
    };
    Ok(features.into_iter().map(tree).collect())
}

/// What is said of a skipped file.
pub fn skipped_line(skipped: &Skipped) -> String {
    format!("skipped {}: {}", skipped.path.display(), skipped.reason)
}

/// Embeds kept photos of samples by each of some recipes; the embedder has the outputs for all of them.
pub fn photos(
    context: &Context,
    embedder: &Embedder,
    photos: &Photos,
    recipes: &[Recipe],
) -> Result<Vec<Vec<Vec<f32>>>, PipelineError> {
    let bar = context.out.progress(photos.len() as u64, "embedding again");
    let vectors = photos
        .par_iter()
        .map(|(_, bytes)| {
            let capture = embedder.decode(bytes)?;
            let features = embedder.embed_capture_as(&capture, recipes, 1);
            bar.inc(1);
            features
        })
        .collect();
    bar.finish_and_clear();
    vectors
}
