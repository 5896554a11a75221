//! What is done to each byte by itself, as a table, and the maximum over windows.
//!
//! A function of one number between two quantizations is 256 numbers: whatever it is, its integer step is to look them up.

use super::{Lowering, Scale, Value, Why};
use crate::backbone::onnx;
use crate::backbone::program::{Slide, Step};
use std::rc::Rc;
use tract_onnx::pb::NodeProto;

/// What each level stands for after some functions.
pub type Reals = [f32; 256];

impl Lowering<'_> {
    /// Input `index` as a plane and what its levels stand for.
    fn reals(&self, node: &NodeProto, index: usize) -> Result<(usize, Rc<Reals>), Why> {
        match self.value(node, index)? {
            Value::Real { plane, scale } => {
                let real = |level: usize| (level as f32 - f32::from(scale.zero)) * scale.scale;
                Ok((plane, Rc::new(std::array::from_fn(real))))
            }
            Value::Mapped { plane, reals } => Ok((plane, reals)),
            _ => Err(Why::Left("an input is not quantized")),
        }
    }

    fn mapped(&self, plane: usize, reals: &Reals, function: impl Fn(f32) -> f32) -> Value {
        Value::Mapped {
            plane,
            reals: Rc::new(reals.map(function)),
        }
    }

    pub(super) fn leaky_relu(&mut self, node: &NodeProto) -> Result<Value, Why> {
        let (plane, reals) = self.reals(node, 0)?;
        let alpha = onnx::float(node, "alpha").unwrap_or(0.01);
        Ok(self.mapped(plane, &reals, |x| if x < 0.0 { alpha * x } else { x }))
    }

    /// The larger of each number and a constant.
    pub(super) fn maximum(&mut self, node: &NodeProto) -> Result<Value, Why> {
        let constant = (0..node.input.len()).find_map(|index| match self.value(node, index) {
            Ok(Value::Constant(constant)) => constant.f32s().map(|x| (index, x.to_vec())),
            _ => None,
        });
        let Some((index @ 0..=1, numbers)) = constant else {
            return Err(Why::Left("not numbers and a constant"));
        };
        let (&[least], 2) = (&numbers[..], node.input.len()) else {
            return Err(Why::Left("not numbers and one constant"));
        };
        let (plane, reals) = self.reals(node, 1 - index)?;
        Ok(self.mapped(plane, &reals, |x| x.max(least)))
    }

    /// The step of a function, now that the output's scale is known, and its plane.
    pub(super) fn emit_lookup(
        &mut self,
        node: &NodeProto,
        from: usize,
        reals: &Reals,
        to: Scale,
    ) -> usize {
        let flip = self.kernel.flip();
        let level = |x: f32| {
            let level = (x / to.scale).round_ties_even() + f32::from(to.zero);
            level.clamp(0.0, 255.0) as u8 ^ flip
        };
        let table = std::array::from_fn(|byte| level(reals[usize::from(byte as u8 ^ flip)]));
        let of = self.planes[from];
        let plane = self.new_plane(of.height, of.width, of.channels, to.zero);
        if self.rows.contains(&from) {
            self.rows.insert(plane);
        }
        let table = Box::new(table);
        self.push(
            node,
            0,
            Step::Lookup {
                from,
                to: plane,
                table,
            },
        );
        plane
    }

    /// The maximum over windows without pads: bytes of the same scale.
    pub(super) fn max_pool(&mut self, node: &NodeProto) -> Result<Value, Why> {
        let (from, scale) = self.real(node, 0)?;
        let pair = |name: &str| match onnx::ints(node, name).unwrap_or(&[]) {
            [] => Some([1, 1]),
            &[y, x] if (1..=16).contains(&y) && (1..=16).contains(&x) => {
                Some([y as usize, x as usize])
            }
            _ => None,
        };
        let (window, stride) = (pair("kernel_shape"), pair("strides"));
        let (Some([height, width]), Some(stride), Some([1, 1])) =
            (window, stride, pair("dilations"))
        else {
            return Err(Why::Left(
                "its windows are dilated, larger than 16, or not of two dimensions",
            ));
        };
        let padded = onnx::ints(node, "pads")
            .unwrap_or(&[])
            .iter()
            .any(|&pad| pad != 0);
        let rounded_up = onnx::int(node, "ceil_mode").unwrap_or(0) != 0;
        let automatic = !matches!(
            onnx::text(node, "auto_pad").as_str(),
            "" | "NOTSET" | "VALID"
        );
        if padded || rounded_up || automatic {
            return Err(Why::Left("its windows reach over the edge"));
        }
        let of = self.planes[from];
        let extent = |size: usize, window: usize, stride: usize| {
            size.checked_sub(window).map(|free| free / stride + 1)
        };
        let size = extent(of.height, height, stride[0]).zip(extent(of.width, width, stride[1]));
        let Some((out_height, out_width)) = size else {
            let what = format!("{} has a window larger than its input", super::title(node));
            return Err(Why::Malformed(what));
        };
        let plane = self.new_plane(out_height, out_width, of.channels, scale.zero);
        self.zeros.insert(plane, scale.zero);
        let slide = Slide {
            height,
            width,
            stride,
            ..Slide::POINT
        };
        self.push(
            node,
            0,
            Step::MaxPool {
                from,
                to: plane,
                slide,
            },
        );
        Ok(Value::Real { plane, scale })
    }
}
