//! What makes vectors of planes: pooling, flattening, and constants that multiply the result.

use super::{Lowering, Value, Why};
use crate::backbone::onnx;
use crate::backbone::program::Step;
use tract_onnx::pb::NodeProto;

impl Lowering<'_> {
    /// Numbers times constants.
    pub(super) fn scale(&mut self, node: &NodeProto) -> Result<Value, Why> {
        let (a, b) = (self.value(node, 0)?, self.value(node, 1)?);
        let ((Value::Vector { vector }, Value::Constant(factors))
        | (Value::Constant(factors), Value::Vector { vector })) = (a, b)
        else {
            return Err(Why::Left("not numbers times a constant"));
        };
        let factors = factors.f32s().ok_or(Why::Left("its factor is no float"))?;
        let length = self.vectors[vector];
        if factors.len() != 1 && factors.len() != length {
            return Err(Why::Left("its factors have another shape"));
        }
        let copy = self.new_vector(length);
        self.repeat_pool(vector, copy)?;
        let step = Step::Scale {
            vector: copy,
            factors: factors.to_vec(),
        };
        self.push(node, 0, step);
        Ok(Value::Vector { vector: copy })
    }

    /// Pools again into a vector of its own, so that a step that changes it in place has it to itself.
    fn repeat_pool(&mut self, vector: usize, copy: usize) -> Result<(), Why> {
        let pools = self
            .steps
            .iter()
            .find(|named| matches!(named.step, Step::Pool { to, .. } if to == vector));
        let Some(mut pool) = pools.cloned() else {
            return Err(Why::Left("it changes numbers twice"));
        };
        if let Step::Pool { to, .. } = &mut pool.step {
            *to = copy;
        }
        self.steps.push(pool);
        Ok(())
    }

    pub(super) fn pool(&mut self, node: &NodeProto, max: bool) -> Result<Value, Why> {
        let (from, scale) = self.real(node, 0)?;
        let to = self.new_vector(self.planes[from].channels);
        let step = Step::Pool {
            from,
            to,
            max,
            scale: scale.scale,
            zero: scale.zero,
        };
        self.push(node, 0, step);
        Ok(Value::Vector { vector: to })
    }

    pub(super) fn reduce(&mut self, node: &NodeProto, max: bool) -> Result<Value, Why> {
        let axes = onnx::ints(node, "axes").map(<[i64]>::to_vec);
        let axes = axes.or_else(|| self.constants.get(node.input.get(1)?)?.integers());
        match axes.as_deref() {
            Some([2, 3] | [-2, -1]) => self.pool(node, max),
            _ => Err(Why::Left("it reduces other axes than height and width")),
        }
    }

    /// One pixel stays what it is; more become one, in the order of ONNX.
    pub(super) fn flatten(&mut self, node: &NodeProto) -> Result<Value, Why> {
        let value = self.value(node, 0)?;
        if let Value::Vector { .. } = value {
            return Ok(value);
        }
        let (Value::Bytes { plane, .. } | Value::Real { plane, .. }) = value else {
            return Err(Why::Left("its input is a plain float"));
        };
        if node.op_type != "Flatten" || onnx::int(node, "axis").unwrap_or(1) != 1 {
            return Err(Why::Left("it makes another shape than a vector"));
        }
        let from = self.planes[plane];
        let numbers = from.height * from.width * from.channels;
        let to = self.new_plane(1, 1, numbers, from.zero ^ self.kernel.flip());
        self.push(node, 0, Step::Flatten { from: plane, to });
        Ok(match value {
            Value::Real { scale, .. } => Value::Real { plane: to, scale },
            Value::Bytes { signed, .. } => Value::Bytes { plane: to, signed },
            other => other,
        })
    }
}
