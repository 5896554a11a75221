//! Picture or window → features: a loaded backbone with the view in which it sees pictures.

use super::PipelineError;
use crate::backbone::{Backbone, Found};
use crate::features::{self, FeatureError, FeatureSet, Recipe, join};
use crate::preprocess::window::Window;
use crate::preprocess::{self, Capture, Fit, Image, Modality, PreprocessError};
use crate::source::Payload;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A loaded backbone with the view in which it sees pictures.
pub struct Embedder {
    backbone: Backbone,
    recipe: Recipe,
}

/// Refuses a backbone that is not the one of a recipe, by hash.
pub fn check_backbone(found: &Found, recipe: &Recipe) -> Result<(), PipelineError> {
    if found.card.sha256 == recipe.backbone_hash {
        return Ok(());
    }
    Err(PipelineError::OtherBackbone {
        head: recipe.backbone.clone(),
        head_hash: crate::backbone::short(&recipe.backbone_hash),
        given: found.card.name.clone(),
        given_hash: crate::backbone::short(&found.card.sha256),
    })
}

impl Embedder {
    /// `kernel` as for [`Backbone::load`].
    pub fn load(
        found: &Found,
        fit: Fit,
        set: FeatureSet,
        kernel: Option<&str>,
    ) -> Result<Embedder, PipelineError> {
        let backbone = Backbone::load(found, set, kernel)?;
        let recipe = backbone.recipe(fit);
        Ok(Embedder { backbone, recipe })
    }

    /// The embedder for a head: same backbone (by hash), same view, same outputs.
    pub fn for_recipe(
        found: &Found,
        recipe: &Recipe,
        kernel: Option<&str>,
    ) -> Result<Embedder, PipelineError> {
        check_backbone(found, recipe)?;
        let embedder = Embedder::load(found, recipe.view.fit, recipe.set, kernel)?;
        if !embedder.recipe.same_space(recipe) {
            return Err(PipelineError::Features(FeatureError::Width {
                expected: recipe.width as usize,
                got: embedder.recipe.width as usize,
            }));
        }
        Ok(embedder)
    }

    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    pub fn backbone(&self) -> &Backbone {
        &self.backbone
    }

    /// Features of one picture. `threads` as for [`Backbone::outputs`].
    pub fn embed(&self, image: &Image, threads: usize) -> Result<Vec<f32>, PipelineError> {
        let vectors = self.embed_as(image, std::slice::from_ref(&self.recipe), threads)?;
        Ok(vectors.into_iter().next().unwrap_or_default())
    }

    /// Features of one picture by each of several recipes of this backbone; each view is looked at once. Recipes with more outputs
    /// than the backbone was loaded for are refused.
    pub fn embed_as(
        &self,
        image: &Image,
        recipes: &[Recipe],
        threads: usize,
    ) -> Result<Vec<Vec<f32>>, PipelineError> {
        let mut seen: HashMap<Fit, Vec<Vec<f32>>> = HashMap::new();
        let mut vectors = Vec::with_capacity(recipes.len());
        for recipe in recipes {
            let mut views = Vec::new();
            for &fit in recipe.view.fit.parts() {
                let outputs = match seen.entry(fit) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(self.look(image, recipe, fit, threads)?),
                };
                views.push(join(outputs, recipe.set)?);
            }
            let vector = match views.len() {
                1 => views.remove(0),
                _ => features::mean(&views),
            };
            features::check(&vector, recipe.width as usize)?;
            vectors.push(vector);
        }
        Ok(vectors)
    }

    /// As [`Embedder::embed_as`], of a window.
    fn describe_as(
        &self,
        window: &Window,
        recipes: &[Recipe],
    ) -> Result<Vec<Vec<f32>>, PipelineError> {
        let outputs = self.backbone.describe(window)?;
        let vector = |recipe: &Recipe| {
            let vector = join(&outputs, recipe.set)?;
            features::check(&vector, recipe.width as usize)?;
            Ok(vector)
        };
        recipes.iter().map(vector).collect()
    }

    /// As [`Embedder::embed_as`], of whatever the backbone takes.
    pub fn embed_capture_as(
        &self,
        capture: &Capture,
        recipes: &[Recipe],
        threads: usize,
    ) -> Result<Vec<Vec<f32>>, PipelineError> {
        match capture {
            Capture::Picture(image) => self.embed_as(image, recipes, threads),
            Capture::Window(window) => self.describe_as(window, recipes),
        }
    }

    /// Features of one capture. `threads` as for [`Backbone::outputs`].
    pub fn embed_capture(
        &self,
        capture: &Capture,
        threads: usize,
    ) -> Result<Vec<f32>, PipelineError> {
        let vectors =
            self.embed_capture_as(capture, std::slice::from_ref(&self.recipe), threads)?;
        Ok(vectors.into_iter().next().unwrap_or_default())
    }

    /// What the backbone takes.
    pub fn takes(&self) -> Modality {
        self.backbone.card().modality
    }

    /// Decodes a file of the kind that the backbone takes.
    pub fn decode(&self, bytes: &[u8]) -> Result<Capture, PreprocessError> {
        self.takes().decode(bytes)
    }

    fn look(
        &self,
        image: &Image,
        recipe: &Recipe,
        fit: Fit,
        threads: usize,
    ) -> Result<Vec<Vec<f32>>, PipelineError> {
        let view = &recipe.view;
        let pixels = preprocess::fit_to(image, fit, view.width, view.height, view.pad)?;
        Ok(self.backbone.outputs(&pixels, threads)?)
    }

    /// Decodes and embeds one payload.
    pub fn embed_payload(&self, it: &Payload, threads: usize) -> Result<Vec<f32>, PipelineError> {
        match it {
            Payload::Encoded(bytes) => self.embed_capture(&self.decode(bytes)?, threads),
            Payload::Decoded(image) => {
                self.takes().check(Modality::Picture)?;
                self.embed(image, threads)
            }
        }
    }
}
