//! Residual sums, and the clamps that follow sums of any kind.

use super::{CHANNEL_ALIGN, Lowering, Plane, Scale, Step, Sums, Value, Why, title};
use crate::backbone::kernels::Sum;
use crate::backbone::onnx;
use std::rc::Rc;
use tract_onnx::pb::NodeProto;

impl Lowering<'_> {
    pub(super) fn emit_sum(
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
        if self.rows.contains(&a.0) {
            self.rows.insert(plane);
        }
        let step = Step::Add {
            a: a.0,
            b: b.0,
            to: plane,
            sum,
        };
        self.push(node, 0, step);
        Ok(plane)
    }

    pub(super) fn add(&mut self, node: &NodeProto) -> Result<Value, Why> {
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

    pub(super) fn clip(&self, node: &NodeProto, [low, high]: [f32; 2]) -> Result<Value, Why> {
        match self.value(node, 0)? {
            Value::Sums { sums, range } => Ok(Value::Sums {
                sums,
                range: [range[0].clamp(low, high), range[1].clamp(low, high)],
            }),
            _ => Err(Why::Left("it does not follow an integer step")),
        }
    }

    pub(super) fn clip_range(&self, node: &NodeProto) -> Result<[f32; 2], Why> {
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
}
