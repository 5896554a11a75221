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
//! Invariant: a program that comes out does the same as the model up to the rounding of floats; what cannot be lowered is named.

mod convolution;
mod memory;
mod quantization;
#[cfg(test)]
mod tests;
mod vectors;

use super::kernels::{CHANNEL_ALIGN, Kernel, Sum};
use super::onnx::{self, Constant};
use super::program::{Border, Named, Plane, Program, Step};
use convolution::Convolution;
use quantization::{Scale, Weights};
use std::collections::HashMap;
use std::rc::Rc;
use tract_onnx::pb::{GraphProto, NodeProto};

/// Why a model was not lowered.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// The model makes no sense, for any runtime.
    Malformed(String),
    /// These nodes have no integer step.
    Left(Vec<String>),
}

/// The most bytes all activations together may take. Those of the installed backbones take less than 8 MB.
const MAX_ACTIVATION_BYTES: usize = 256 << 20;
/// The most weights of all steps together, zeros that fill up a grouped convolution included.
const MAX_WEIGHTS: usize = 1 << 26;
/// The largest scale that is told from a mistake.
const MAX_SCALE: f32 = 1e9;

/// The steps of `graph`, whose constants it takes, for `outputs`, fed with a picture `[height, width, channels]` of u8.
pub fn lower(
    graph: &mut GraphProto,
    picture: [usize; 3],
    outputs: &[&str],
    kernel: &'static dyn Kernel,
) -> Result<Program, Refusal> {
    let constants = onnx::take_constants(graph).map_err(Refusal::Malformed)?;
    let graph = &*graph;
    let mut lowering = Lowering {
        kernel,
        constants,
        values: HashMap::new(),
        planes: Vec::new(),
        vectors: Vec::new(),
        steps: Vec::new(),
        zeros: HashMap::new(),
        weights: 0,
    };
    let names: Vec<&str> = graph
        .input
        .iter()
        .map(|input| input.name.as_str())
        .filter(|name| !lowering.constants.contains_key(*name))
        .collect();
    let [input] = names[..] else {
        return Err(Refusal::Left(vec![format!("{} inputs", names.len())]));
    };
    let [height, width, channels] = picture;
    let input = lowering.input(input, height, width, channels);
    let mut left = Vec::new();
    for node in needed(graph, outputs) {
        let lowered = lowering.node(node);
        if let Err(why) = lowered {
            match why {
                Why::Malformed(what) => return Err(Refusal::Malformed(what)),
                // What follows a node that is left cannot be lowered either, and says nothing new.
                Why::Unknown => {}
                Why::Left(what) => left.push(format!("{} ({what})", title(node))),
            }
        }
    }
    let mut vectors = Vec::new();
    for name in outputs {
        match lowering.output(name) {
            Some(vector) => vectors.push(vector),
            _ if left.is_empty() => left.push(format!("output {name} (not a vector)")),
            _ => {}
        }
    }
    if !left.is_empty() {
        return Err(Refusal::Left(left));
    }
    lowering.finish(input, vectors)
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
    /// It takes the output of a node that was left.
    Unknown,
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
    /// Numbers of one pixel: `[1, length]` when they are flat, or `[1, length, 1, 1]`.
    Vector { vector: usize, flat: bool },
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
    constants: HashMap<String, Rc<Constant>>,
    values: HashMap<&'a str, Value>,
    planes: Vec<Plane>,
    vectors: Vec<usize>,
    steps: Vec<Named>,
    /// Zero point with which each plane is read.
    zeros: HashMap<usize, u8>,
    /// Weights of the steps so far.
    weights: usize,
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
        let sizes = self.planes.iter().map(Plane::bytes);
        let bytes = sizes.fold(0, usize::saturating_add);
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
        let constant = self.constants.get(name).cloned();
        constant.map(Value::Constant).ok_or(Why::Unknown)
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
        let plane = match self.value(node, 0)? {
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
            Value::Vector { vector, .. } => {
                let plane = self.new_plane(1, 1, self.vectors[vector], zero);
                let step = Step::Quantize {
                    vector,
                    to: plane,
                    scale: scale.scale,
                };
                self.push(node, 0, step);
                plane
            }
            _ => return Err(Why::Left("its input is a plain float")),
        };
        Ok(Value::Bytes { plane, signed })
    }

    fn emit_sum(
        &mut self,
        node: &NodeProto,
        a: (usize, Scale),
        b: (usize, Scale),
        to: Scale,
        [low, high]: [u8; 2],
    ) -> Result<usize, Why> {
        let [scale_a, scale_b] = [a, b].map(|(_, from)| from.scale / to.scale);
        if !(scale_a <= 2048.0 && scale_b <= 2048.0) {
            return Err(Why::Left("its scales are too far apart"));
        }
        let Plane {
            height,
            width,
            channels,
            ..
        } = self.planes[a.0];
        let padded = |plane: usize| self.planes[plane].pixel_bytes.is_multiple_of(CHANNEL_ALIGN);
        if !padded(a.0) || !padded(b.0) {
            return Err(Why::Left("it changes the picture itself"));
        }
        let plane = self.new_plane(height, width, channels, to.zero);
        let sum = Sum {
            scale_a,
            scale_b,
            fixed: f32::from(to.zero)
                - (scale_a * f32::from(a.1.zero) + scale_b * f32::from(b.1.zero)),
            low,
            high,
        };
        let step = Step::Add {
            a: a.0,
            b: b.0,
            to: plane,
            sum,
        };
        self.push(node, 0, step);
        Ok(plane)
    }

    fn add(&mut self, node: &NodeProto) -> Result<Value, Why> {
        let (a, b) = (self.real(node, 0)?, self.real(node, 1)?);
        let [shape_a, shape_b] = [a.0, b.0].map(|plane| {
            let plane = &self.planes[plane];
            (plane.height, plane.width, plane.channels)
        });
        if shape_a != shape_b {
            return Err(Why::Left("its inputs have different shapes"));
        }
        Ok(Value::Sums {
            sums: Rc::new(Sums::Add { a, b }),
            range: [f32::NEG_INFINITY, f32::INFINITY],
        })
    }

    fn clip(&self, node: &NodeProto, [low, high]: [f32; 2]) -> Result<Value, Why> {
        match self.value(node, 0)? {
            Value::Sums { sums, range } => Ok(Value::Sums {
                sums,
                range: [range[0].clamp(low, high), range[1].clamp(low, high)],
            }),
            _ => Err(Why::Left("it does not follow an integer step")),
        }
    }

    fn clip_range(&self, node: &NodeProto) -> Result<[f32; 2], Why> {
        let bound = |index: usize, attribute: &str, open: f32| {
            let named = node.input.get(index).filter(|name| !name.is_empty());
            match named {
                None => Ok(onnx::float(node, attribute).unwrap_or(open)),
                Some(name) => self
                    .constants
                    .get(name.as_str())
                    .and_then(|constant| constant.f32s()?.first().copied())
                    .ok_or(Why::Left("a bound is not a constant")),
            }
        };
        let range = [
            bound(1, "min", f32::NEG_INFINITY)?,
            bound(2, "max", f32::INFINITY)?,
        ];
        if range[0] <= range[1] {
            return Ok(range);
        }
        Err(Why::Malformed(format!(
            "{} clips to {range:?}",
            title(node)
        )))
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
    }
}
