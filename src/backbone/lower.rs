//! Lowering: a model of QuantizeLinear and DequantizeLinear pairs around float operators, as integer steps.
//!
//! Owns: which patterns of ONNX operators are which [`Step`], and folding scales and zero points into them. Does not own: reading
//! the file (`onnx`), or running the steps (`program`).
//!
//! A quantized model says "dequantize, convolve, quantize"; what it means is an integer convolution and one rescaling. A float that
//! lies between is never made: [`Value::Real`] and [`Value::Sums`] exist only here.
//!
//! It reads tract's ONNX types and not tract's typed model: there a per-axis DequantizeLinear is cast, subtraction and product
//! already, and the integers are gone.
//!
//! What has no integer step waits ([`Value::Later`]) until a QuantizeLinear or an output needs it; then it and all that led to it from
//! the last quantized tensors become one step of float operators (`floats`).
//!
//! Invariant: a program that comes out does the same as the model up to the rounding of floats; what cannot be lowered is named.

mod convolution;
mod floats;
mod memory;
mod pointwise;
mod quantization;
mod sums;
#[cfg(test)]
mod tests;
mod vectors;

use super::kernels::{CHANNEL_ALIGN, Kernel};
use super::onnx::{self, Constant};
use super::program::{Border, Named, Plane, Program, Step};
use convolution::Convolution;
use pointwise::Reals;
use quantization::{Scale, Weights};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto};

/// Why a model was not lowered.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// The model makes no sense, for any runtime.
    Malformed(String),
    /// Nothing is gained by integer steps, or the float ones between them cannot be made: these nodes have no integer step.
    Left(Vec<String>),
}

/// The most bytes all activations together may take. Those of the installed backbones take less than 8 MB.
const MAX_ACTIVATION_BYTES: usize = 256 << 20;
/// The most weights of all steps together, zeros that fill up a grouped convolution included.
const MAX_WEIGHTS: usize = 1 << 26;
/// The largest scale that is told from a mistake.
const MAX_SCALE: f32 = 1e9;

/// The steps of `model`, whose constants it takes, for `outputs`, fed with a picture `[height, width, channels]` of u8.
pub fn lower(
    model: &mut ModelProto,
    picture: [usize; 3],
    outputs: &[&str],
    kernel: &'static dyn Kernel,
) -> Result<Program, Refusal> {
    let none = || Refusal::Malformed("it holds no graph".into());
    let graph = model.graph.as_mut().ok_or_else(none)?;
    let constants = onnx::take_constants(graph).map_err(Refusal::Malformed)?;
    let graph = &*graph;
    let mut lowering = Lowering {
        kernel,
        opsets: &model.opset_import,
        makers: makers(graph),
        foreign: graph.initializer.iter().map(|t| t.name.as_str()).collect(),
        constants,
        values: HashMap::new(),
        planes: Vec::new(),
        vectors: Vec::new(),
        steps: Vec::new(),
        zeros: HashMap::new(),
        rows: HashSet::new(),
        weights: 0,
        left: Vec::new(),
    };
    let names: Vec<&str> = graph
        .input
        .iter()
        .map(|input| input.name.as_str())
        .filter(|name| !lowering.constants.contains_key(*name) && !lowering.foreign.contains(name))
        .collect();
    let [input] = names[..] else {
        return Err(Refusal::Left(vec![format!("{} inputs", names.len())]));
    };
    let [height, width, channels] = picture;
    let input = lowering.input(input, height, width, channels);
    for node in needed(graph, outputs) {
        match lowering.node(node) {
            Ok(()) => {}
            Err(Why::Malformed(what)) => return Err(Refusal::Malformed(what)),
            Err(Why::Left(what)) => {
                lowering.left.push(format!("{} ({what})", title(node)));
                let later = node.output.iter().map(|name| (name.as_str(), Value::Later));
                lowering.values.extend(later);
            }
        }
    }
    let mut vectors = Vec::new();
    for name in outputs {
        match lowering.output(name) {
            Some(vector) => vectors.push(vector),
            None => lowering.left.push(format!("output {name} (not a vector)")),
        }
    }
    let products = |named: &Named| named.macs > 0;
    if vectors.len() < outputs.len() || !lowering.steps.iter().any(products) {
        return Err(Refusal::Left(lowering.left));
    }
    lowering.finish(input, vectors)
}

/// Which node makes each tensor.
fn makers(graph: &GraphProto) -> HashMap<&str, &NodeProto> {
    let mut makers = HashMap::new();
    for node in &graph.node {
        makers.extend(node.output.iter().map(|name| (name.as_str(), node)));
    }
    makers
}

/// The nodes that the outputs need, in order.
fn needed<'a>(graph: &'a GraphProto, outputs: &[&str]) -> Vec<&'a NodeProto> {
    let mut wanted: std::collections::HashSet<&str> = outputs.iter().copied().collect();
    let mut nodes: Vec<&NodeProto> = Vec::new();
    for node in graph.node.iter().rev() {
        if node
            .output
            .iter()
            .any(|name| wanted.contains(name.as_str()))
        {
            wanted.extend(node.input.iter().map(String::as_str));
            nodes.push(node);
        }
    }
    nodes.reverse();
    nodes
}

fn title(node: &NodeProto) -> String {
    let name = node.output.first().unwrap_or(&node.name);
    format!("{} '{name}'", node.op_type)
}

/// Why one node was not lowered.
enum Why {
    Malformed(String),
    Left(&'static str),
}

/// What a name of the model stands for.
#[derive(Clone)]
enum Value {
    /// Bytes of a plane.
    Bytes { plane: usize, signed: bool },
    /// What they stand for.
    Real { plane: usize, scale: Scale },
    /// A constant, dequantized.
    Weights(Rc<Weights>),
    /// A constant as it is.
    Constant(Rc<Constant>),
    /// Sums that wait for being quantized, clamped to a range of reals.
    Sums { sums: Rc<Sums>, range: [f32; 2] },
    /// What they stand for after functions of each by itself, which wait for being quantized.
    Mapped { plane: usize, reals: Rc<Reals> },
    /// Numbers of one pixel: `[1, length]` when they are flat, or `[1, length, 1, 1]`.
    Vector { vector: usize, flat: bool },
    /// Numbers of another shape, in the order of ONNX.
    Tensor { vector: usize, shape: Vec<usize> },
    /// What has no integer step, not made yet.
    Later,
}

enum Sums {
    Convolution(Convolution),
    Add {
        a: (usize, Scale),
        b: (usize, Scale),
    },
}

struct Lowering<'a> {
    kernel: &'static dyn Kernel,
    opsets: &'a [OperatorSetIdProto],
    /// Which node makes each tensor.
    makers: HashMap<&'a str, &'a NodeProto>,
    constants: HashMap<String, Rc<Constant>>,
    /// Constants of other types.
    foreign: HashSet<&'a str>,
    values: HashMap<&'a str, Value>,
    planes: Vec<Plane>,
    vectors: Vec<usize>,
    steps: Vec<Named>,
    /// Zero point with which each plane is read.
    zeros: HashMap<usize, u8>,
    /// Planes of one pixel that are a row, `[1, channels]`, in the model.
    rows: HashSet<usize>,
    /// Weights of the steps so far.
    weights: usize,
    /// Nodes without an integer step, each with the reason.
    left: Vec<String>,
}

impl<'a> Lowering<'a> {
    fn input(&mut self, name: &'a str, height: usize, width: usize, channels: usize) -> usize {
        let mut plane = plane(height, width, channels, 0);
        // A picture is taken as it comes.
        plane.pixel_bytes = channels;
        self.planes.push(plane);
        let value = Value::Bytes {
            plane: 0,
            signed: false,
        };
        self.values.insert(name, value);
        0
    }

    fn finish(mut self, input: usize, outputs: Vec<usize>) -> Result<Program, Refusal> {
        let planes = self.planes.iter().map(Plane::bytes);
        let vectors = self
            .vectors
            .iter()
            .map(|n| n.saturating_mul(size_of::<f32>()));
        let bytes = planes.chain(vectors).fold(0, usize::saturating_add);
        if bytes > MAX_ACTIVATION_BYTES {
            return Err(Refusal::Malformed(format!(
                "its activations take {bytes} bytes, at most {MAX_ACTIVATION_BYTES} are allowed"
            )));
        }
        memory::assign(&mut self.planes, &self.steps, input);
        Ok(Program {
            kernel: self.kernel,
            planes: self.planes,
            vectors: self.vectors,
            input,
            outputs,
            steps: self.steps,
            left: self.left,
            idle: Default::default(),
        })
    }

    fn node(&mut self, node: &'a NodeProto) -> Result<(), Why> {
        let [output] = &node.output[..] else {
            return Err(Why::Left("more than one output"));
        };
        let value = match node.op_type.as_str() {
            "DequantizeLinear" => self.dequantize(node)?,
            "QuantizeLinear" => self.quantize(node)?,
            "Conv" => self.convolution(node)?,
            "MatMul" | "Gemm" => self.matrix_product(node)?,
            "Relu" => self.clip(node, [0.0, f32::INFINITY])?,
            "Clip" => {
                let range = self.clip_range(node)?;
                self.clip(node, range)?
            }
            "Add" => self.add(node)?,
            "Mul" => self.scale(node)?,
            "LeakyRelu" => self.leaky_relu(node)?,
            "Max" => self.maximum(node)?,
            "MaxPool" => self.max_pool(node)?,
            "GlobalAveragePool" => self.pool(node, false)?,
            "GlobalMaxPool" => self.pool(node, true)?,
            "ReduceMean" => self.reduce(node, false)?,
            "ReduceMax" => self.reduce(node, true)?,
            "Flatten" | "Reshape" | "Squeeze" => self.flatten(node)?,
            "Identity" | "Dropout" => self.value(node, 0)?,
            _ => return Err(Why::Left("no integer step for this operator")),
        };
        self.values.insert(output, value);
        Ok(())
    }

    /// Input `index` of a node.
    fn value(&self, node: &NodeProto, index: usize) -> Result<Value, Why> {
        let name = node.input.get(index).map_or("", String::as_str);
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        if self.foreign.contains(name) {
            return Err(Why::Left("a constant is neither f32 nor an integer"));
        }
        let constant = self.constants.get(name).cloned();
        let missing = || {
            Why::Malformed(format!(
                "{} takes '{name}', which nothing makes",
                title(node)
            ))
        };
        constant.map(Value::Constant).ok_or_else(missing)
    }

    fn real(&self, node: &NodeProto, index: usize) -> Result<(usize, Scale), Why> {
        match self.value(node, index)? {
            Value::Real { plane, scale } => Ok((plane, scale)),
            _ => Err(Why::Left("an input is not quantized")),
        }
    }

    fn weights(&self, node: &NodeProto, index: usize) -> Result<Rc<Weights>, Why> {
        match self.value(node, index)? {
            Value::Weights(weights) => Ok(weights),
            _ => Err(Why::Left("its weights are not quantized")),
        }
    }

    /// The vector of an output. Bytes of one pixel become numbers as the maximum of that pixel.
    fn output(&mut self, name: &str) -> Option<usize> {
        if matches!(self.values.get(name)?, Value::Later) {
            return match self.make(name)? {
                Value::Vector { vector, .. } => Some(vector),
                _ => None,
            };
        }
        match self.values.get(name)? {
            Value::Vector { vector, .. } => Some(*vector),
            &Value::Real { plane, scale } => {
                let Plane {
                    height: 1,
                    width: 1,
                    channels,
                    ..
                } = self.planes[plane]
                else {
                    return None;
                };
                let to = self.new_vector(channels);
                let step = Step::Pool {
                    from: plane,
                    to,
                    max: true,
                    scale: scale.scale,
                    zero: scale.zero,
                };
                let name = name.to_owned();
                self.steps.push(Named {
                    name,
                    macs: 0,
                    step,
                });
                Some(to)
            }
            _ => None,
        }
    }

    /// A new plane for what a step gives.
    fn new_plane(&mut self, height: usize, width: usize, channels: usize, zero: u8) -> usize {
        let zero = zero ^ self.kernel.flip();
        self.planes.push(plane(height, width, channels, zero));
        self.planes.len() - 1
    }

    fn new_vector(&mut self, length: usize) -> usize {
        self.vectors.push(length);
        self.vectors.len() - 1
    }

    fn push(&mut self, node: &NodeProto, macs: u64, step: Step) {
        let name = node.output.first().unwrap_or(&node.name).clone();
        self.steps.push(Named { name, macs, step });
    }

    fn quantize(&mut self, node: &NodeProto) -> Result<Value, Why> {
        let scale = self.scale_of(node)?;
        let Scale { zero, signed, .. } = scale;
        let mut value = self.value(node, 0)?;
        if matches!(value, Value::Later) {
            let made = self.make(&node.input[0]);
            value = made.ok_or(Why::Left("what it takes cannot be made of floats"))?;
        }
        let plane = match value {
            Value::Sums { sums, range } => {
                let [low, high] = range.map(|x| {
                    let level = f64::from(x) / f64::from(scale.scale) + f64::from(zero);
                    level.round_ties_even().clamp(0.0, 255.0) as u8
                });
                match &*sums {
                    Sums::Convolution(convolution) => {
                        self.emit(node, convolution, scale, [low, high])?
                    }
                    Sums::Add { a, b } => self.emit_sum(node, *a, *b, scale, [low, high])?,
                }
            }
            // Another scale for the same numbers: a sum with nothing.
            Value::Real { plane, scale: from } => {
                let nothing = Scale { scale: 0.0, ..from };
                self.emit_sum(node, (plane, from), (plane, nothing), scale, [0, 255])?
            }
            Value::Mapped { plane, reals } => self.emit_lookup(node, plane, &reals, scale),
            Value::Vector { vector, flat } => {
                let size = [1, 1, self.vectors[vector]];
                let plane = self.emit_quantize(node, vector, size, scale);
                if flat {
                    self.rows.insert(plane);
                }
                plane
            }
            Value::Tensor { vector, shape } => {
                let &[1, channels, height, width] = &shape[..] else {
                    return Err(Why::Left("its input is neither a picture nor a vector"));
                };
                self.emit_quantize(node, vector, [height, width, channels], scale)
            }
            _ => return Err(Why::Left("its input is a plain float")),
        };
        Ok(Value::Bytes { plane, signed })
    }

    fn emit_quantize(
        &mut self,
        node: &NodeProto,
        vector: usize,
        [height, width, channels]: [usize; 3],
        scale: Scale,
    ) -> usize {
        let plane = self.new_plane(height, width, channels, scale.zero);
        let step = Step::Quantize {
            vector,
            to: plane,
            scale: scale.scale,
        };
        self.push(node, 0, step);
        plane
    }

    /// Makes room around a plane for the windows over it.
    fn widen(&mut self, plane: usize, border: Border) {
        let plane = &mut self.planes[plane];
        plane.border = plane.border.max(border);
    }
}

fn plane(height: usize, width: usize, channels: usize, zero: u8) -> Plane {
    Plane {
        height,
        width,
        channels,
        pixel_bytes: channels.next_multiple_of(CHANNEL_ALIGN),
        border: Border::default(),
        zero,
        buffer: 0,
        start: 0,
    }
}
