//! What lowering reads of an ONNX file: nodes and constants, checked.
//!
//! Owns: constants with their shapes, and attributes. Does not own: the format itself, which tract's protobuf types decode.
//!
//! Invariant: a constant holds exactly as many numbers as its shape says, all of which were in the file; nothing is allocated by a
//! number that the file merely claims.

use std::collections::HashMap;
use std::rc::Rc;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};
use tract_onnx::prelude::{Framework, onnx};

/// Decodes a file.
pub fn decode(model: &[u8]) -> Result<ModelProto, String> {
    onnx()
        .proto_model_for_read(&mut &*model)
        .map_err(|e| format!("it is not an ONNX file: {e}"))
}

/// Numbers of a constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    F32(Vec<f32>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    I32(Vec<i32>),
    I64(Vec<i64>),
}

/// A constant tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    pub shape: Vec<usize>,
    pub numbers: Numbers,
}

impl Constant {
    pub fn f32s(&self) -> Option<&[f32]> {
        match &self.numbers {
            Numbers::F32(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// As the format has it.
    pub fn tensor(&self, name: &str) -> TensorProto {
        fn raw<const N: usize, T: Copy>(numbers: &[T], bytes: fn(T) -> [u8; N]) -> Vec<u8> {
            numbers.iter().flat_map(|&x| bytes(x)).collect()
        }
        let (kind, raw_data) = match &self.numbers {
            Numbers::F32(numbers) => (DataType::Float, raw(numbers, f32::to_le_bytes)),
            Numbers::I8(numbers) => (DataType::Int8, raw(numbers, i8::to_le_bytes)),
            Numbers::U8(numbers) => (DataType::Uint8, numbers.clone()),
            Numbers::I32(numbers) => (DataType::Int32, raw(numbers, i32::to_le_bytes)),
            Numbers::I64(numbers) => (DataType::Int64, raw(numbers, i64::to_le_bytes)),
        };
        TensorProto {
            name: name.into(),
            dims: self.shape.iter().map(|&side| side as i64).collect(),
            data_type: kind as i32,
            raw_data,
            ..Default::default()
        }
    }

    /// Integers of any width.
    pub fn integers(&self) -> Option<Vec<i64>> {
        Some(match &self.numbers {
            Numbers::I8(numbers) => numbers.iter().map(|&x| x.into()).collect(),
            Numbers::U8(numbers) => numbers.iter().map(|&x| x.into()).collect(),
            Numbers::I32(numbers) => numbers.iter().map(|&x| x.into()).collect(),
            Numbers::I64(numbers) => numbers.clone(),
            Numbers::F32(_) => return None,
        })
    }
}

/// Takes all constants out of a graph, by name. A tensor of a type that is not in [`Numbers`] stays: what needs it is not lowered.
///
/// # Errors
/// A tensor whose shape and numbers do not agree.
pub fn take_constants(graph: &mut GraphProto) -> Result<HashMap<String, Rc<Constant>>, String> {
    let mut found = HashMap::new();
    for mut tensor in std::mem::take(&mut graph.initializer) {
        let name = &tensor.name;
        match constant(&tensor).map_err(|what| format!("the constant '{name}' {what}"))? {
            Some(constant) => {
                found.insert(std::mem::take(&mut tensor.name), Rc::new(constant));
            }
            None => graph.initializer.push(tensor),
        }
    }
    Ok(found)
}

fn constant(tensor: &TensorProto) -> Result<Option<Constant>, String> {
    let mut count = 1usize;
    let mut shape = Vec::new();
    for &side in &tensor.dims {
        let side = usize::try_from(side).map_err(|_| format!("has a side of {side}"))?;
        count = count.checked_mul(side).ok_or("is too large")?;
        shape.push(side);
    }
    let raw = &tensor.raw_data;
    let numbers = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float) if raw.is_empty() => Numbers::F32(tensor.float_data.clone()),
        Ok(DataType::Float) => Numbers::F32(words(raw, f32::from_le_bytes)),
        Ok(DataType::Int32) if raw.is_empty() => Numbers::I32(tensor.int32_data.clone()),
        Ok(DataType::Int32) => Numbers::I32(words(raw, i32::from_le_bytes)),
        Ok(DataType::Int64) if raw.is_empty() => Numbers::I64(tensor.int64_data.clone()),
        Ok(DataType::Int64) => Numbers::I64(words(raw, i64::from_le_bytes)),
        Ok(DataType::Int8) if raw.is_empty() => {
            Numbers::I8(tensor.int32_data.iter().map(|&x| x as i8).collect())
        }
        Ok(DataType::Int8) => Numbers::I8(raw.iter().map(|&x| x as i8).collect()),
        Ok(DataType::Uint8) if raw.is_empty() => {
            Numbers::U8(tensor.int32_data.iter().map(|&x| x as u8).collect())
        }
        Ok(DataType::Uint8) => Numbers::U8(raw.to_vec()),
        _ => return Ok(None),
    };
    let got = match &numbers {
        Numbers::F32(numbers) => numbers.len(),
        Numbers::I8(numbers) => numbers.len(),
        Numbers::U8(numbers) => numbers.len(),
        Numbers::I32(numbers) => numbers.len(),
        Numbers::I64(numbers) => numbers.len(),
    };
    if got != count {
        return Err(format!(
            "has {got} numbers, its shape {shape:?} says {count}"
        ));
    }
    Ok(Some(Constant { shape, numbers }))
}

fn words<const N: usize, T>(raw: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
    let (words, rest) = raw.as_chunks::<N>();
    // A broken last word makes the count wrong, which the caller notices.
    let extra = usize::from(!rest.is_empty());
    let padded = std::iter::repeat_n([0; N], extra);
    words.iter().copied().chain(padded).map(read).collect()
}

/// An integer attribute.
pub fn int(node: &NodeProto, name: &str) -> Option<i64> {
    node.attribute.iter().find(|a| a.name == name).map(|a| a.i)
}

/// A list of integers.
pub fn ints<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    let found = node.attribute.iter().find(|a| a.name == name);
    found.map(|a| a.ints.as_slice())
}

/// A number.
pub fn float(node: &NodeProto, name: &str) -> Option<f32> {
    node.attribute.iter().find(|a| a.name == name).map(|a| a.f)
}

/// A text, empty when it is not there.
pub fn text(node: &NodeProto, name: &str) -> String {
    let found = node.attribute.iter().find(|a| a.name == name);
    found.map_or(String::new(), |a| String::from_utf8_lossy(&a.s).into())
}
