//! The network, ready to run: as integer steps where it could be lowered, by tract's float operators where not.
//!
//! Owns: choosing between the two, the outputs, one inference. Invariant: only shapes that the card announced get in or out.

use super::card::{Input, Output};
use super::float::{self, Floats};
use super::kernels;
use super::lower::{Refusal, lower};
use super::onnx;
use super::program::Program;

/// A network ready to run.
pub struct Graph {
    engine: Engine,
    height: usize,
    width: usize,
    outputs: Vec<Output>,
    /// Threads that can run at the same time: more would only wait for each other, awake.
    cores: usize,
}

enum Engine {
    Integer(Box<Program>),
    /// With the nodes that have no integer step.
    Float(Floats, Vec<String>),
}

/// What `FIELDHEAD_KERNEL` calls a whole model in floats.
const IN_FLOATS: &str = "tract";

/// Refuses a name that no way of running has here, and names all.
pub fn check_kernel(name: &str) -> Result<(), String> {
    if name == IN_FLOATS {
        return Ok(());
    }
    let also = |what| format!("{what}, and {IN_FLOATS} for floats");
    kernels::choose(Some(name)).map(|_| ()).map_err(also)
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
        let names: Vec<&str> = outputs.iter().map(|o| o.name.as_str()).collect();
        let channels = input.channels as usize;
        let float = |nodes| -> Result<Engine, String> {
            let picture = float::Input {
                name: input.name.clone(),
                shape: vec![1, channels, height, width],
                kind: float::Kind::U8,
            };
            Ok(Engine::Float(Floats::whole(model, picture, &names)?, nodes))
        };
        let engine = if kernel == Some(IN_FLOATS) {
            float(vec!["all nodes (as FIELDHEAD_KERNEL asks)".into()])?
        } else {
            let picture = [height, width, channels];
            let kernel = kernels::choose(kernel)?;
            match lower(&mut onnx::decode(model)?, picture, &names, kernel) {
                Ok(program) => Engine::Integer(Box::new(program)),
                Err(Refusal::Malformed(what)) => return Err(what),
                Err(Refusal::Left(nodes)) => float(nodes)?,
            }
        };
        let graph = Graph {
            engine,
            height,
            width,
            outputs: outputs.to_vec(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        };
        graph.check_outputs()?;
        Ok(graph)
    }

    fn check_outputs(&self) -> Result<(), String> {
        for (index, output) in self.outputs.iter().enumerate() {
            let shape = match &self.engine {
                Engine::Integer(program) => &vec![1, program.vectors[program.outputs[index]]],
                Engine::Float(floats, _) => &floats.shapes[index],
            };
            if shape[..] != [1, output.width] {
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
            Engine::Float(..) => IN_FLOATS,
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
            Engine::Integer(program) => &program.left,
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
        let threads = threads.min(self.cores);
        match &self.engine {
            Engine::Integer(program) => program.run(pixels, threads, watch),
            Engine::Float(floats, _) => {
                let area = height * width;
                let level = |at| pixels[at % area * 3 + at / area];
                let planar = (0..pixels.len()).map(level).collect();
                floats.run(vec![float::Numbers::Bytes(planar)])
            }
        }
    }
}
