//! The backbone: a frozen, quantized network that turns a picture into features, or formulas that do so with a sensor's window.
//!
//! Owns: finding a backbone ([`find`]), its card ([`card`]), loading it and running one inference ([`Backbone`]), what is told of windows
//! (`window`). Does not own: how a picture is fitted to the input (`preprocess`), or what is learned from the features (`head`).
//!
//! The one interface the other rooms see is [`Backbone::load`] and [`Backbone::outputs`]: u8 pixels in, pooled outputs out
//! ([`Backbone::describe`] for windows). Inside,
//! `onnx` reads the file, `lower` turns it into integer steps, `program` runs them with the processor's `kernels`, and `graph`
//! falls back on tract's float operators where a model cannot be lowered.
//! Invariants: the model that runs is, byte for byte, the one its card names; a lowered one gives the same features, bit for bit,
//! with every kernel and any number of threads.

pub mod card;
pub mod find;
mod float;
mod graph;
#[expect(unsafe_code, reason = "vector instructions have no safe form")]
mod kernels;
mod lower;
mod onnx;
mod program;
mod window;

pub use card::Card;
pub use find::{DEFAULT, Found};
// Training shares out steps that are as short as those of an inference.
pub(crate) use kernels::gang;

use crate::features::{FeatureError, FeatureSet, Hash, Recipe, join};
use crate::preprocess::window::Window;
use crate::preprocess::{Fit, Modality, View};
use std::path::PathBuf;

/// What can go wrong with a backbone.
#[derive(Debug, thiserror::Error)]
pub enum BackboneError {
    #[error("the backbone's card is wrong: {what}; rebuild the backbone with models/build")]
    Card { what: String },
    #[error(
        "there is no backbone named '{name}' in {searched}; `fieldhead backbones` lists what is installed, FIELDHEAD_MODELS names a folder to search"
    )]
    NotFound { name: String, searched: String },
    #[error("cannot read {path}: {source}; check the path and its permissions", path = path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is larger than {limit} bytes; this is not a backbone for a board", path = path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error(
        "the model of '{name}' has SHA-256 {got}, its card says {expected}; the file was changed or damaged: copy it again"
    )]
    ModelHash {
        name: String,
        expected: String,
        got: String,
    },
    #[error("{0}; name one of these in FIELDHEAD_KERNEL, or unset it for the fastest")]
    Kernel(String),
    #[error(
        "the model of '{name}' cannot be loaded: {what}; get its folder anew from where it came, or name another with --backbone"
    )]
    Load { name: String, what: String },
    #[error("the backbone failed on a picture: {what}; name another with --backbone")]
    Run { what: String },
    #[error("the backbone '{name}' takes {takes}; name another with --backbone")]
    Takes { name: String, takes: Modality },
    #[error(transparent)]
    Features(#[from] FeatureError),
}

/// A loaded backbone. Cheap to share between threads; an inference takes `&self`.
pub struct Backbone {
    card: Card,
    set: FeatureSet,
    /// `None` where formulas take its place.
    network: Option<graph::Graph>,
}

impl Backbone {
    /// Reads, checks and prepares a model for the outputs that `set` needs. `kernel` names one of [`kernels`], or `tract` for the
    /// whole model in floats; without it the processor's fastest is taken.
    pub fn load(
        found: &Found,
        set: FeatureSet,
        kernel: Option<&str>,
    ) -> Result<Backbone, BackboneError> {
        kernel
            .map_or(Ok(()), graph::check_kernel)
            .map_err(BackboneError::Kernel)?;
        let card = found.card.clone();
        if matches!(card.modality, Modality::Window { .. }) {
            return Ok(Backbone {
                card,
                set,
                network: None,
            });
        }
        let model = found.read_model()?;
        let outputs = match set {
            FeatureSet::Final => &card.outputs[..1],
            FeatureSet::Multi => &card.outputs[..],
        };
        let graph = graph::Graph::load(&model, &card.input, outputs, kernel).map_err(|what| {
            BackboneError::Load {
                name: card.name.clone(),
                what,
            }
        })?;
        Ok(Backbone {
            card,
            set,
            network: Some(graph),
        })
    }

    pub fn card(&self) -> &Card {
        &self.card
    }

    /// SHA-256 of the ONNX file.
    pub fn hash(&self) -> Hash {
        self.card.sha256
    }

    /// Name of the arithmetic that runs it, for reports.
    pub fn kernel(&self) -> &'static str {
        let network = self.network.as_ref();
        network.map_or("formulas", graph::Graph::kernel)
    }

    /// Nodes of the model that run as float operators, each with the reason; none when all of it runs in integers.
    pub fn left_in_floats(&self) -> &[String] {
        self.network.as_ref().map_or(&[], graph::Graph::left)
    }

    /// The pooled outputs of one picture, the final one first: `pixels` is `[height, width, 3]` RGB of the card's input size.
    /// `threads` of the pool share the work; give 1 where the pictures themselves are shared out.
    pub fn outputs(&self, pixels: &[u8], threads: usize) -> Result<Vec<Vec<f32>>, BackboneError> {
        self.run(pixels, threads, &mut |_| ())
    }

    fn run(
        &self,
        pixels: &[u8],
        threads: usize,
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<Vec<f32>>, BackboneError> {
        let network = self.network.as_ref().ok_or_else(|| self.other())?;
        let run = network.run(pixels, threads, done);
        run.map_err(|what| BackboneError::Run { what })
    }

    /// The outputs of one window of the card's channels, the final one first.
    pub fn describe(&self, window: &Window) -> Result<Vec<Vec<f32>>, BackboneError> {
        let channels = window.channels();
        match self.card.modality {
            Modality::Window { channels: its } if its == channels => window::outputs(window),
            _ => Err(self.other()),
        }
    }

    fn other(&self) -> BackboneError {
        BackboneError::Takes {
            name: self.card.name.clone(),
            takes: self.card.modality,
        }
    }

    fn program(&self) -> Option<&program::Program> {
        self.network.as_ref().and_then(graph::Graph::program)
    }

    /// The feature vector of one picture, on all threads of the pool.
    pub fn embed(&self, pixels: &[u8]) -> Result<Vec<f32>, BackboneError> {
        self.embed_on(pixels, rayon::current_num_threads())
    }

    /// As [`Backbone::embed`], with `threads` as for [`Backbone::outputs`].
    pub fn embed_on(&self, pixels: &[u8], threads: usize) -> Result<Vec<f32>, BackboneError> {
        Ok(join(&self.outputs(pixels, threads)?, self.set)?)
    }

    /// The operators that [`Backbone::watch`] tells of, in their order; none where floats run.
    pub fn operators(&self) -> Vec<Operator> {
        let steps = self.program().map_or(&[][..], |p| &p.steps);
        let operator = |named: &program::Named| Operator {
            name: named.name.clone(),
            kind: named.step.kind(),
            macs: named.macs,
        };
        steps.iter().map(operator).collect()
    }

    /// As [`Backbone::embed_on`], and tells `done` the number of each operator as it ends.
    pub fn watch(
        &self,
        pixels: &[u8],
        threads: usize,
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Result<(), BackboneError> {
        self.run(pixels, threads, done).map(|_| ())
    }

    /// Runs the kernel's innermost instruction `rounds` times, on registers alone, and gives the number of multiply-accumulates:
    /// what a second of it does is the most that this processor can do. 0 where floats run.
    pub fn peak(&self, rounds: usize) -> u64 {
        let program = self.program();
        program.map_or(0, |program| program.kernel.peak(rounds))
    }

    /// Bytes of packed weights and of the buffers of one inference; the size of the file where floats run.
    pub fn memory_bytes(&self) -> usize {
        let program = self.program();
        program.map_or(self.card.model_bytes as usize, program::Program::bytes)
    }

    /// The recipe of the vectors this backbone gives for pictures fitted by `fit`.
    pub fn recipe(&self, fit: Fit) -> Recipe {
        recipe(&self.card, fit, self.set)
    }
}

/// One operator of a lowered backbone.
#[derive(Clone, Debug, PartialEq)]
pub struct Operator {
    /// Name of its output in the model.
    pub name: String,
    pub kind: &'static str,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
}

/// The recipe that a card, a fit and a choice of outputs make.
pub fn recipe(card: &Card, fit: Fit, set: FeatureSet) -> Recipe {
    let width: usize = match set {
        FeatureSet::Final => card.outputs.first().map_or(0, |o| o.width),
        FeatureSet::Multi => card.outputs.iter().map(|o| o.width).sum(),
    };
    Recipe {
        backbone: card.name.clone(),
        backbone_hash: card.sha256,
        view: View {
            fit,
            width: card.input.width,
            height: card.input.height,
            pad: [card.input.pad_value; 3],
        },
        set,
        width: width as u32,
    }
}

/// Names of the kernels that this processor can run, fastest first.
pub fn kernels() -> Vec<&'static str> {
    let available = kernels::available();
    available.iter().map(|kernel| kernel.name()).collect()
}

/// The first digits of a hash, to tell files apart in a message.
pub fn short(hash: &Hash) -> String {
    hex(&hash[..4])
}

/// Lower-case hexadecimal digits of a hash.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
