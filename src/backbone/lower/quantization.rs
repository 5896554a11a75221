//! Scales and zero points: what the bytes of a tensor are worth.

use super::{Lowering, MAX_SCALE, Value, Why, title};
use crate::backbone::onnx::{self, Constant, Numbers};
use std::rc::Rc;
use tract_onnx::pb::NodeProto;

/// Scale and zero point of a whole tensor. Bytes are stored as u8: those of an S8 tensor are moved by 128.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub scale: f32,
    pub zero: u8,
    pub signed: bool,
}

/// Integers and what one of them is worth, along an axis.
pub struct Weights {
    pub constant: Rc<Constant>,
    pub scales: Vec<f32>,
    /// One for all, or one a scale.
    pub zeros: Vec<i64>,
    pub axis: usize,
}

impl Weights {
    pub fn shape(&self) -> &[usize] {
        &self.constant.shape
    }

    /// The integers, less their zero points, if they fit 8 bits with a sign.
    pub fn bytes(&self) -> Option<Vec<i8>> {
        let inner: usize = self.shape().iter().skip(self.axis + 1).product();
        let zero = |at: usize| self.zeros[at / inner.max(1) % self.zeros.len()];
        let less = |(at, integer): (usize, i64)| i8::try_from(integer - zero(at)).ok();
        match &self.constant.numbers {
            Numbers::I8(bytes) if self.zeros.iter().all(|&zero| zero == 0) => Some(bytes.clone()),
            Numbers::I8(bytes) => bytes
                .iter()
                .map(|&x| x.into())
                .enumerate()
                .map(less)
                .collect(),
            Numbers::U8(bytes) => bytes
                .iter()
                .map(|&x| x.into())
                .enumerate()
                .map(less)
                .collect(),
            _ => None,
        }
    }

    /// What a list of them is worth.
    pub fn reals(&self) -> Vec<f64> {
        let integers = self.constant.integers().unwrap_or_default();
        let real = |(at, integer): (usize, i64)| {
            let zero = self.zeros[at % self.zeros.len()];
            (integer - zero) as f64 * f64::from(self.scales[at % self.scales.len()])
        };
        integers.into_iter().enumerate().map(real).collect()
    }
}

impl Lowering<'_> {
    /// Scales of inputs 1 and 2 of a QuantizeLinear or DequantizeLinear, and zero points: one each, or one for all.
    fn scales(&self, node: &NodeProto) -> Result<(Vec<f32>, Option<&Constant>), Why> {
        let constant = |index: usize| {
            let name = node.input.get(index).map_or("", String::as_str);
            self.constants.get(name).map(Rc::as_ref)
        };
        let missing = || Why::Malformed(format!("{} has no constant scale", title(node)));
        let scales = constant(1).and_then(Constant::f32s).ok_or_else(missing)?;
        if let Some(scale) = scales.iter().find(|s| !(**s > 0.0 && **s <= MAX_SCALE)) {
            return Err(Why::Malformed(format!(
                "{} has the scale {scale}, expected a number from 0 to {MAX_SCALE:e}",
                title(node)
            )));
        }
        let zeros = constant(2);
        if zeros.is_none() && node.input.get(2).is_some_and(|name| !name.is_empty()) {
            return Err(Why::Malformed(format!(
                "{} has no constant zero point",
                title(node)
            )));
        }
        let count = zeros.map_or(1, |zeros| zeros.shape.iter().product::<usize>());
        if scales.is_empty() || (count != 1 && count != scales.len()) {
            return Err(Why::Malformed(format!(
                "{} has {} scales and {count} zero points",
                title(node),
                scales.len()
            )));
        }
        Ok((scales.to_vec(), zeros))
    }

    /// The scale of a whole tensor.
    pub(super) fn scale_of(&self, node: &NodeProto) -> Result<Scale, Why> {
        let (scales, zeros) = self.scales(node)?;
        let &[scale] = &scales[..] else {
            return Err(Why::Left("activations with a scale for each channel"));
        };
        let (zero, signed) = match zeros.map(|zeros| &zeros.numbers) {
            None => (0, false),
            Some(Numbers::U8(zeros)) => (zeros[0], false),
            Some(Numbers::I8(zeros)) => (zeros[0] as u8 ^ 0x80, true),
            Some(_) => return Err(Why::Left("a zero point that is neither u8 nor i8")),
        };
        Ok(Scale {
            scale,
            zero,
            signed,
        })
    }

    pub(super) fn dequantize(&mut self, node: &NodeProto) -> Result<Value, Why> {
        match self.value(node, 0)? {
            Value::Bytes { plane, signed } => {
                let scale = self.scale_of(node)?;
                if scale.signed != signed {
                    return Err(Why::Malformed(format!(
                        "{} has a zero point of another type than its input",
                        title(node)
                    )));
                }
                // The border stands for zero: whoever reads a plane has to agree on it.
                if *self.zeros.entry(plane).or_insert(scale.zero) != scale.zero {
                    return Err(Why::Left("its input has another zero point elsewhere"));
                }
                self.planes[plane].zero = scale.zero ^ self.kernel.flip();
                Ok(Value::Real { plane, scale })
            }
            Value::Constant(constant) => self.dequantize_constant(node, constant),
            _ => Err(Why::Left("its input is not quantized")),
        }
    }

    fn dequantize_constant(&self, node: &NodeProto, constant: Rc<Constant>) -> Result<Value, Why> {
        if constant.f32s().is_some() {
            return Err(Why::Left("its input is not quantized"));
        }
        let (scales, zeros) = self.scales(node)?;
        let rank = constant.shape.len() as i64;
        let axis = onnx::int(node, "axis").unwrap_or(1);
        let axis = if axis < 0 { axis + rank } else { axis };
        let axis = if scales.len() == 1 { 0 } else { axis };
        let side = constant.shape.get(axis.max(0) as usize).copied();
        if axis < 0 || (scales.len() > 1 && side != Some(scales.len())) {
            return Err(Why::Malformed(format!(
                "{} has {} scales along axis {axis} of {:?}",
                title(node),
                scales.len(),
                constant.shape
            )));
        }
        let zeros = zeros.and_then(Constant::integers).unwrap_or(vec![0]);
        Ok(Value::Weights(Rc::new(Weights {
            constant,
            scales,
            zeros,
            axis: axis as usize,
        })))
    }
}
