//! tract's float operators, for what has no integer step: a whole model, or the part of one between quantized tensors.
//!
//! Owns: making a runnable plan of ONNX nodes, and running it on plain numbers. Does not own: which nodes these are (`lower`,
//! `graph`). Invariant: only the shapes that were announced when it was made get in or out.

use super::onnx::Constant;
use crate::guard::guarded;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::type_proto::{Tensor as TensorType, Value as TypeValue};
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TypeProto, ValueInfoProto,
};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;

/// A tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    U8,
    I8,
    F32,
}

impl Kind {
    fn tract(self) -> DatumType {
        match self {
            Kind::U8 => u8::datum_type(),
            Kind::I8 => i8::datum_type(),
            Kind::F32 => f32::datum_type(),
        }
    }

    fn onnx(self) -> DataType {
        match self {
            Kind::U8 => DataType::Uint8,
            Kind::I8 => DataType::Int8,
            Kind::F32 => DataType::Float,
        }
    }
}

/// A tensor that goes in.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub name: String,
    pub shape: Vec<usize>,
    pub kind: Kind,
}

/// Numbers that go in: bytes for [`Kind::U8`] and [`Kind::I8`].
pub enum Numbers {
    Bytes(Vec<u8>),
    F32(Vec<f32>),
}

/// A plan ready to run.
#[derive(Clone)]
pub struct Floats {
    plan: Arc<TypedSimplePlan>,
    inputs: Vec<Input>,
    /// Shape of each output.
    pub shapes: Vec<Vec<usize>>,
}

impl std::fmt::Debug for Floats {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Floats({:?} to {:?})", self.inputs, self.shapes)
    }
}

impl Floats {
    /// The outputs `outputs` of a file, of which `input` is the only input.
    pub fn whole(model: &[u8], input: Input, outputs: &[&str]) -> Result<Floats, String> {
        let model = || tract_onnx::onnx().model_for_read(&mut &*model);
        Floats::new(model, vec![input], outputs)
    }

    /// The tensor `output` of some nodes, given in their order, with the constants that they take.
    pub fn part(
        nodes: Vec<NodeProto>,
        constants: &HashMap<&str, Rc<Constant>>,
        opsets: &[OperatorSetIdProto],
        inputs: Vec<Input>,
        output: &str,
    ) -> Result<Floats, String> {
        let info = |input: &Input| ValueInfoProto {
            name: input.name.clone(),
            r#type: Some(TypeProto {
                value: Some(TypeValue::TensorType(TensorType {
                    elem_type: input.kind.onnx() as i32,
                    shape: None,
                })),
                ..Default::default()
            }),
            ..Default::default()
        };
        let graph = GraphProto {
            node: nodes,
            input: inputs.iter().map(info).collect(),
            output: vec![ValueInfoProto {
                name: output.into(),
                ..Default::default()
            }],
            initializer: constants
                .iter()
                .map(|(name, constant)| constant.tensor(name))
                .collect(),
            ..Default::default()
        };
        let model = ModelProto {
            ir_version: 7,
            opset_import: opsets.to_vec(),
            graph: Some(graph),
            ..Default::default()
        };
        let model = || tract_onnx::onnx().model_for_proto_model(&model);
        Floats::new(model, inputs, &[output])
    }

    fn new(
        model: impl FnOnce() -> TractResult<InferenceModel>,
        inputs: Vec<Input>,
        outputs: &[&str],
    ) -> Result<Floats, String> {
        let plan = || -> TractResult<Arc<TypedSimplePlan>> {
            let mut model = model()?.with_outputs_by_name(outputs)?;
            let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
            // A whole model has its one input already, under whatever name.
            if names.len() > 1 {
                model = model.with_inputs_by_name(names)?;
            }
            for (index, input) in inputs.iter().enumerate() {
                let fact = input.kind.tract().fact(&input.shape);
                model = model.with_input_fact(index, fact.into())?;
            }
            let mut model = model.eliminate_dead_branches()?;
            check_shapes(&mut model)?;
            model.into_optimized()?.into_runnable()
        };
        let plan = calm(plan)?;
        let mut shapes = Vec::new();
        for (index, name) in outputs.iter().enumerate() {
            let fact = plan.model().output_fact(index).map_err(one_line)?;
            if fact.datum_type != f32::datum_type() {
                return Err(format!("output '{name}' is {:?}, not F32", fact.datum_type));
            }
            shapes.push(fact.shape.as_concrete().unwrap_or_default().to_vec());
        }
        Ok(Floats {
            plan,
            inputs,
            shapes,
        })
    }

    /// Runs it, and gives each output's numbers.
    pub fn run(&self, numbers: Vec<Numbers>) -> Result<Vec<Vec<f32>>, String> {
        let mut tensors = TVec::new();
        for (input, numbers) in self.inputs.iter().zip(numbers) {
            let tensor = match numbers {
                Numbers::F32(numbers) => Tensor::from_shape(&input.shape, &numbers),
                Numbers::Bytes(bytes) if input.kind == Kind::I8 => {
                    let bytes: Vec<i8> = bytes.into_iter().map(|byte| byte as i8).collect();
                    Tensor::from_shape(&input.shape, &bytes)
                }
                Numbers::Bytes(bytes) => Tensor::from_shape(&input.shape, &bytes),
            };
            tensors.push(tensor.map_err(one_line)?.into());
        }
        let values = calm(|| self.plan.run(tensors))?;
        let mut found = Vec::new();
        for (value, shape) in values.iter().zip(&self.shapes) {
            let numbers = value.to_plain_array_view::<f32>().map_err(one_line)?;
            if numbers.shape() != shape {
                return Err(format!(
                    "an output has shape {:?}, {shape:?} was announced",
                    numbers.shape()
                ));
            }
            found.push(numbers.iter().copied().collect());
        }
        Ok(found)
    }
}

/// Refuses a model with a shape that is not plain numbers, though that of the input is. Where two tensors do not go together, tract
/// carries on with a formula in place of a number, which doubles at every layer behind, and would not come to an end: so every shape
/// is looked at before the next one is made of it.
fn check_shapes(model: &mut InferenceModel) -> TractResult<()> {
    let own = |facts: TVec<&InferenceFact>| facts.into_iter().cloned().collect::<TVec<_>>();
    for id in model.eval_order()? {
        let (inputs, outputs) = model.node_facts(id)?;
        let (inputs, outputs) = (own(inputs), own(outputs));
        let node = model.node(id);
        let observed = node.op.observe_outlets(model, node)?.into_iter();
        let observed = observed.map(|outlet| model.outlet_fact(outlet));
        let observed = own(observed.collect::<TractResult<_>>()?);
        let op = &mut model.node_mut(id).op;
        let facts = (inputs.iter(), outputs.iter(), observed.iter());
        let inferred = op.infer(facts.0.collect(), facts.1.collect(), facts.2.collect());
        // What cannot be told yet, or is wrong in another way, tract says itself.
        let Ok((_, inferred, _)) = inferred else {
            continue;
        };
        for (slot, fact) in inferred.into_iter().enumerate() {
            let shape = fact.shape.concretize().unwrap_or_default();
            if shape.iter().any(|dim| dim.to_i64().is_err()) {
                let name = &model.node(id).name;
                return Err(TractError::msg(format!(
                    "the tensors that go into '{name}' do not fit together"
                )));
            }
            model.set_outlet_fact(OutletId::new(id, slot), fact)?;
        }
    }
    Ok(())
}

/// A call into tract, which may panic at a model that makes no sense.
fn calm<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    guarded(work)
        .map_err(|panic| format!("it makes no sense: {panic}"))?
        .map_err(one_line)
}

fn one_line(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join(" ")
}
