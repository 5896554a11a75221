//! The network, ready to run: as integer steps where it could be lowered, by tract's float operators where not.
//!
//! Owns: choosing between the two, the outputs, one inference. Invariant: only shapes that the card announced get in or out.

use super::card::{Input, Output};
use super::kernels;
use super::lower::{Refusal, lower};
use super::onnx;
use super::program::Program;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tract_onnx::prelude::*;

/// A network ready to run.
pub struct Graph {
    engine: Engine,
    height: usize,
    width: usize,
    outputs: Vec<Output>,
}

enum Engine {
    Integer(Box<Program>),
    /// With the nodes that could not be lowered.
    Float(Arc<TypedSimplePlan>, Vec<String>),
}

impl Graph {
    /// Parses `model` and prepares it for `outputs` (in this order). `kernel` names one; without it the processor's fastest is taken.
    ///
    /// # Errors
    /// A line that says what is wrong with the model or the kernel, or which shape differs from the card.
    pub fn load(
        model: &[u8],
        input: &Input,
        outputs: &[Output],
        kernel: Option<&str>,
    ) -> Result<Graph, String> {
        let (height, width) = (input.height as usize, input.width as usize);
        let mut decoded = onnx::decode(model)?;
        let graph = decoded.graph.as_mut().ok_or("it holds no graph")?;
        let names: Vec<&str> = outputs.iter().map(|o| o.name.as_str()).collect();
        let picture = [height, width, input.channels as usize];
        let engine = match lower(graph, picture, &names, kernels::choose(kernel)?) {
            Ok(program) => Engine::Integer(Box::new(program)),
            Err(Refusal::Malformed(what)) => return Err(what),
            Err(Refusal::Left(nodes)) => {
                let plan = float_plan(model, height, width, &names).map_err(one_line)?;
                Engine::Float(plan, nodes)
            }
        };
        let graph = Graph {
            engine,
            height,
            width,
            outputs: outputs.to_vec(),
        };
        graph.check_outputs()?;
        Ok(graph)
    }

    fn check_outputs(&self) -> Result<(), String> {
        for (index, output) in self.outputs.iter().enumerate() {
            let shape = match &self.engine {
                Engine::Integer(program) => vec![1, program.vectors[program.outputs[index]]],
                Engine::Float(plan, _) => {
                    let fact = plan.model().output_fact(index).map_err(one_line)?;
                    if fact.datum_type != f32::datum_type() {
                        let got = fact.datum_type;
                        return Err(format!("output '{}' is {got:?}, not F32", output.name));
                    }
                    fact.shape.as_concrete().unwrap_or_default().to_vec()
                }
            };
            if shape != [1, output.width] {
                return Err(format!(
                    "output '{}' has shape {shape:?}, the card says [1, {}]",
                    output.name, output.width
                ));
            }
        }
        Ok(())
    }

    /// Name of the kernel, or `tract` where the float operators run.
    pub fn kernel(&self) -> &'static str {
        match &self.engine {
            Engine::Integer(program) => program.kernel.name(),
            Engine::Float(..) => "tract",
        }
    }

    /// The integer steps, if the network could be lowered.
    pub fn program(&self) -> Option<&Program> {
        match &self.engine {
            Engine::Integer(program) => Some(program),
            Engine::Float(..) => None,
        }
    }

    /// Nodes that stay float operators, each with the reason.
    pub fn left(&self) -> &[String] {
        match &self.engine {
            Engine::Integer(_) => &[],
            Engine::Float(_, nodes) => nodes,
        }
    }

    /// Runs `pixels`, `[height, width, 3]`, and gives each output's numbers. `watch` is told when an integer step is done.
    pub fn run(
        &self,
        pixels: &[u8],
        threads: usize,
        watch: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<Vec<f32>>, String> {
        let (height, width) = (self.height, self.width);
        if pixels.len() != height * width * 3 {
            return Err(format!(
                "the picture has {} bytes, the input takes {height}x{width}x3",
                pixels.len()
            ));
        }
        match &self.engine {
            Engine::Integer(program) if threads > 1 => {
                Ok(awake(threads, || program.run(pixels, threads, watch)))
            }
            Engine::Integer(program) => Ok(program.run(pixels, threads, watch)),
            Engine::Float(plan, _) => self.run_float(plan, pixels),
        }
    }

    fn run_float(
        &self,
        plan: &Arc<TypedSimplePlan>,
        pixels: &[u8],
    ) -> Result<Vec<Vec<f32>>, String> {
        let (height, width) = (self.height, self.width);
        let plane = height * width;
        let mut planar = vec![0u8; pixels.len()];
        for (index, pixel) in pixels.chunks_exact(3).enumerate() {
            for (channel, &level) in pixel.iter().enumerate() {
                planar[channel * plane + index] = level;
            }
        }
        let tensor = Tensor::from_shape(&[1, 3, height, width], &planar).map_err(one_line)?;
        let values = plan.run(tvec!(tensor.into())).map_err(one_line)?;
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

/// Runs `work` in the pool, whose threads stay awake until it ends: what it shares out is picked up at once. A step of an inference
/// takes less time than it takes to wake a thread.
fn awake<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    /// Lets the helpers go, however the work ends.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let done = AtomicBool::new(false);
    let help = |_: &rayon::Scope<'_>| {
        while !done.load(Ordering::Acquire) {
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                std::hint::spin_loop();
            }
        }
    };
    rayon::scope(|scope| {
        let _done = Done(&done);
        for _ in 1..threads.min(rayon::current_num_threads()) {
            scope.spawn(help);
        }
        work()
    })
}

fn float_plan(
    model: &[u8],
    height: usize,
    width: usize,
    outputs: &[&str],
) -> TractResult<Arc<TypedSimplePlan>> {
    tract_onnx::onnx()
        .model_for_read(&mut &*model)?
        .with_outputs_by_name(outputs)?
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
