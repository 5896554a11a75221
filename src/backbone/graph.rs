//! The network as tract runs it.
//!
//! Owns: parsing the ONNX bytes, choosing outputs, one inference. Invariant: only shapes that the card announced get in or out.

use super::card::{Input, Output};
use std::sync::Arc;
use tract_onnx::prelude::*;

/// A network ready to run.
pub struct Graph {
    plan: Arc<TypedSimplePlan>,
    height: usize,
    width: usize,
    outputs: Vec<Output>,
}

impl Graph {
    /// Parses `model` and prepares it for `outputs` (in this order).
    ///
    /// # Errors
    /// A line that says what tract found wrong, or which shape differs from the card.
    pub fn load(model: &[u8], input: &Input, outputs: &[Output]) -> Result<Graph, String> {
        let (height, width) = (input.height as usize, input.width as usize);
        let plan = prepare(model, height, width, outputs).map_err(one_line)?;
        for (index, output) in outputs.iter().enumerate() {
            let fact = plan.model().output_fact(index).map_err(one_line)?;
            let shape = fact.shape.as_concrete().unwrap_or_default();
            if shape != [1, output.width] || fact.datum_type != f32::datum_type() {
                return Err(format!(
                    "output '{}' has shape {shape:?} of {:?}, the card says [1, {}] of F32",
                    output.name, fact.datum_type, output.width
                ));
            }
        }
        Ok(Graph {
            plan,
            height,
            width,
            outputs: outputs.to_vec(),
        })
    }

    pub fn kernel(&self) -> &'static str {
        "tract"
    }

    /// Runs `pixels`, `[height, width, 3]`, and gives each output's numbers.
    pub fn run(&self, pixels: &[u8]) -> Result<Vec<Vec<f32>>, String> {
        let (height, width) = (self.height, self.width);
        if pixels.len() != height * width * 3 {
            return Err(format!(
                "the picture has {} bytes, the input takes {height}x{width}x3",
                pixels.len()
            ));
        }
        let plane = height * width;
        let mut planar = vec![0u8; pixels.len()];
        for (index, pixel) in pixels.chunks_exact(3).enumerate() {
            for (channel, &level) in pixel.iter().enumerate() {
                planar[channel * plane + index] = level;
            }
        }
        let tensor = Tensor::from_shape(&[1, 3, height, width], &planar).map_err(one_line)?;
        let values = self.plan.run(tvec!(tensor.into())).map_err(one_line)?;
        values
            .iter()
            .zip(&self.outputs)
            .map(|(value, output)| {
                let numbers = value.to_plain_array_view::<f32>().map_err(one_line)?;
                if numbers.len() != output.width {
                    return Err(format!("output '{}' changed its width", output.name));
                }
                Ok(numbers.iter().copied().collect())
            })
            .collect()
    }
}

fn prepare(
    model: &[u8],
    height: usize,
    width: usize,
    outputs: &[Output],
) -> TractResult<Arc<TypedSimplePlan>> {
    let names: Vec<&str> = outputs.iter().map(|o| o.name.as_str()).collect();
    tract_onnx::onnx()
        .model_for_read(&mut &*model)?
        .with_outputs_by_name(names)?
        .with_input_fact(0, u8::fact([1, 3, height, width]).into())?
        .into_optimized()?
        .into_runnable()
}

fn one_line(error: impl std::fmt::Display) -> String {
    error
        .to_string()
        .lines()
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(" ")
}
