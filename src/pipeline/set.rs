//! Samples of the field → a training set under a recipe.

use super::PipelineError;
use crate::features::{Recipe, mean};
use crate::head::Samples;
use crate::store::{Rows, Sample, Store};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// All samples of the field as a head learns them, in order of their ids.
pub struct TrainingSet {
    pub ids: Vec<u64>,
    pub samples: Samples,
}

impl TrainingSet {
    /// The rows whose id satisfies `keep`.
    pub(super) fn subset(&self, keep: impl Fn(u64) -> bool) -> Result<TrainingSet, PipelineError> {
        let rows: Vec<usize> = (0..self.ids.len()).filter(|&i| keep(self.ids[i])).collect();
        Ok(TrainingSet {
            ids: rows.iter().map(|&row| self.ids[row]).collect(),
            samples: self.samples.select(&rows)?,
        })
    }
}

/// Kept pictures with the ids of their samples.
pub type Photos = [(u64, Vec<u8>)];

/// Reads the samples of the field under a recipe. `embed` is called for those that were never embedded by it, with their kept
/// pictures and the recipes to embed them by; it gives a vector for each recipe of each picture, which is stored. Recipes of
/// `companions` that share a view with it are embedded on the way.
pub fn training_set(
    store: &Store,
    recipe: &Recipe,
    companions: &[Recipe],
    embed: impl FnOnce(&Photos, &[Recipe]) -> Result<Vec<Vec<Vec<f32>>>, PipelineError>,
) -> Result<TrainingSet, PipelineError> {
    let samples = store.samples()?;
    if samples.is_empty() {
        return Err(PipelineError::NoSamples);
    }
    let mut rows = known(store, recipe, samples.len())?;
    let unknown = |id: &&u64| rows.ids.binary_search(id).is_err();
    let missing: Vec<u64> = samples.keys().filter(unknown).copied().collect();
    if !missing.is_empty() {
        let photos = photos(store, &missing, samples.len())?;
        let recipes = embedded_with(recipe, companions);
        let vectors = embed(&photos, &recipes)?;
        store.write(|tx| {
            for ((id, _), vectors) in photos.iter().zip(&vectors) {
                for (recipe, vector) in recipes.iter().zip(vectors) {
                    tx.put_features(recipe, *id, vector)?;
                }
            }
            Ok(())
        })?;
        rows = known(store, recipe, samples.len())?;
    }
    let set = assemble(&samples, rows.numbers, recipe)?;
    Ok(TrainingSet {
        ids: samples.into_keys().collect(),
        samples: set,
    })
}

/// Stores the vectors of a set under its recipe where they are not: those of two views were made of the vectors of each. What a head
/// in use learned from is then read at once.
pub fn store_joined(
    store: &Store,
    recipe: &Recipe,
    set: &TrainingSet,
) -> Result<(), PipelineError> {
    let stored = store.features(recipe)?.ids;
    let rows = (0..set.ids.len()).filter(|&row| stored.binary_search(&set.ids[row]).is_err());
    let rows: Vec<usize> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    Ok(store.write(|tx| {
        rows.iter()
            .try_for_each(|&row| tx.put_features(recipe, set.ids[row], set.samples.row(row)))
    })?)
}

/// What is stored under a recipe of `all` samples. Of a recipe with two views, also what is stored of both of them.
fn known(store: &Store, recipe: &Recipe, all: usize) -> Result<Rows, PipelineError> {
    let stored = store.features(recipe)?;
    let parts = recipe.view.fit.parts();
    if parts.len() == 1 || stored.ids.len() == all {
        return Ok(stored);
    }
    let width = recipe.width as usize;
    let by_id = |rows: Rows| -> BTreeMap<u64, Vec<f32>> {
        let vectors = rows.numbers.chunks_exact(width).map(<[f32]>::to_vec);
        rows.ids.into_iter().zip(vectors).collect()
    };
    let mut joined = by_id(stored);
    let views: Vec<BTreeMap<u64, Vec<f32>>> = parts
        .iter()
        .map(|&fit| Ok(by_id(store.features(&recipe.with_fit(fit))?)))
        .collect::<Result<_, PipelineError>>()?;
    for (id, first) in &views[0] {
        let others = views[1..].iter().filter_map(|view| view.get(id));
        let vectors: Vec<Vec<f32>> = std::iter::once(first).chain(others).cloned().collect();
        if vectors.len() == parts.len() {
            joined.entry(*id).or_insert_with(|| mean(&vectors));
        }
    }
    Ok(Rows {
        ids: joined.keys().copied().collect(),
        numbers: joined.into_values().flatten().collect(),
    })
}

/// The recipes of single views to embed a picture by, when it is needed by `recipe`.
fn embedded_with(recipe: &Recipe, companions: &[Recipe]) -> Vec<Recipe> {
    let fits = recipe.view.fit.parts();
    let mut recipes: Vec<Recipe> = fits.iter().map(|&fit| recipe.with_fit(fit)).collect();
    for companion in companions {
        if fits.contains(&companion.view.fit) && !recipes.contains(companion) {
            recipes.push(companion.clone());
        }
    }
    recipes
}

fn photos(
    store: &Store,
    missing: &[u64],
    all: usize,
) -> Result<Vec<(u64, Vec<u8>)>, PipelineError> {
    let mut photos = Vec::new();
    for &id in missing {
        if let Some(photo) = store.photo(id)? {
            photos.push((id, photo));
        }
    }
    if photos.len() < missing.len() {
        return Err(PipelineError::NoPicture {
            missing: missing.len() - photos.len(),
            all,
        });
    }
    Ok(photos)
}

fn assemble(
    samples: &BTreeMap<u64, Sample>,
    rows: Vec<f32>,
    recipe: &Recipe,
) -> Result<Samples, PipelineError> {
    let mut names: Vec<String> = samples.values().map(|s| s.label.clone()).collect();
    names.sort();
    names.dedup();
    let (mut labels, mut groups) = (Vec::new(), Vec::new());
    for sample in samples.values() {
        labels.push(names.binary_search(&sample.label).unwrap_or(0) as u32);
        groups.push(group(&sample.burst));
    }
    Ok(Samples::new(
        recipe.width as usize,
        rows,
        labels,
        names,
        groups,
    )?)
}

/// The number of a burst: equal bursts have equal numbers.
pub fn group(burst: &str) -> u64 {
    let digest = Sha256::digest(burst.as_bytes());
    u64::from_le_bytes(digest[..8].try_into().unwrap_or_default())
}
