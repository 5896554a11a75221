//! What makes vectors of planes: pooling, flattening, and constants that multiply the result.

use super::{Lowering, Value, Why};
use crate::backbone::onnx;
use crate::backbone::program::Step;
use tract_onnx::pb::NodeProto;

impl Lowering<'_> {
    /// Numbers times constants.
    pub(super) fn scale(&mut self, node: &NodeProto) -> Result<Value, Why> {
        let (a, b) = (self.value(node, 0)?, self.value(node, 1)?);
        let ((Value::Vector { vector, flat }, Value::Constant(factors))
        | (Value::Constant(factors), Value::Vector { vector, flat })) = (a, b)
        else {
            return Err(Why::Left("not numbers times a constant"));
        };
        let length = self.vectors[vector];
        let one_each = flat && factors.shape.last() == Some(&length);
        let factors = factors.f32s().ok_or(Why::Left("its factor is no float"))?;
        if factors.len() != 1 && !(one_each && factors.len() == length) {
            return Err(Why::Left("its factors have another shape"));
        }
        let to = self.new_vector(length);
        let step = Step::Scale {
            from: vector,
            to,
            factors: factors.to_vec(),
        };
        self.push(node, 0, step);
        Ok(Value::Vector { vector: to, flat })
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
        Ok(Value::Vector {
            vector: to,
            flat: false,
        })
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
        if let Value::Vector { vector, .. } = value {
            let kept = self.keeps_vector(node, self.vectors[vector] as i64);
            let other = Why::Left("it makes another shape than a vector");
            return kept
                .then_some(Value::Vector { vector, flat: true })
                .ok_or(other);
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
        self.rows.insert(to);
        self.push(node, 0, Step::Flatten { from: plane, to });
        Ok(match value {
            Value::Real { scale, .. } => Value::Real { plane: to, scale },
            Value::Bytes { signed, .. } => Value::Bytes { plane: to, signed },
            other => other,
        })
    }

    /// Whether a node makes `[1, length]` of `[1, length, 1, 1]` or leaves it.
    fn keeps_vector(&self, node: &NodeProto, length: i64) -> bool {
        let listed = |name: &str| {
            let attribute = onnx::ints(node, name).map(<[i64]>::to_vec);
            attribute.or_else(|| self.constants.get(node.input.get(1)?)?.integers())
        };
        match node.op_type.as_str() {
            "Flatten" => onnx::int(node, "axis").unwrap_or(1) == 1,
            "Squeeze" => matches!(listed("axes").as_deref(), Some([2, 3] | [-2, -1])),
            _ => match listed("shape").as_deref() {
                Some(&[0 | 1, last]) => last == length || last == -1,
                Some(&[-1, last]) => last == length,
                _ => false,
            },
        }
    }
}
