//! Something for a backbone to look at where only the time counts: a frame of the simulated line, or a window.

use anyhow::Result;
use fieldhead::backbone::{Backbone, BackboneError};
use fieldhead::features::Recipe;
use fieldhead::preprocess::window::Window;
use fieldhead::preprocess::{self, Fit, Modality};
use fieldhead::source::line::{Light, Line};

/// Steps of the window: a second of a vibration recorder for hobbyists, 0.3 s of a good one.
const STEPS: usize = 2_048;

pub enum Example {
    Pixels(Vec<u8>),
    Window(Window),
}

impl Example {
    pub fn of(
        backbone: &Backbone,
        recipe: &Recipe,
    ) -> Result<Example, preprocess::PreprocessError> {
        Ok(match backbone.card().modality {
            Modality::Picture | Modality::Sound => {
                let (_, image) = Line::new(1, Light::day()).next();
                let (width, height) = (recipe.view.width, recipe.view.height);
                let pad = recipe.view.pad;
                Example::Pixels(preprocess::fit_to(&image, Fit::Squash, width, height, pad)?)
            }
            Modality::Window { channels } => {
                let value = |at: usize| (at * at % 251) as f32;
                let values = (0..STEPS * channels).map(value).collect();
                Example::Window(Window::new(channels, values)?)
            }
        })
    }

    /// One inference, from the input to the outputs.
    pub fn run(&self, backbone: &Backbone, threads: usize) -> Result<(), BackboneError> {
        match self {
            Example::Pixels(pixels) => backbone.embed_on(pixels, threads).map(drop),
            Example::Window(window) => backbone.describe(window).map(drop),
        }
    }

    /// As [`Example::run`], and tells `done` the number of each operator of a network as it ends.
    pub fn watch(
        &self,
        backbone: &Backbone,
        threads: usize,
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Result<(), BackboneError> {
        match self {
            Example::Pixels(pixels) => backbone.watch(pixels, threads, done),
            Example::Window(_) => Ok(()),
        }
    }
}
