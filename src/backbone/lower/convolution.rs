//! Convolutions and matrix products: their geometry, and their weights as the kernels take them.

use super::{Lowering, MAX_WEIGHTS, Scale, Sums, Value, Weights, Why, title};
use crate::backbone::kernels::{Filters, Matrix, Requant, portable_filters};
use crate::backbone::onnx::{self, Constant, Numbers};
use crate::backbone::program::{Border, Slide, Step, run_bytes};
use std::rc::Rc;
use tract_onnx::pb::NodeProto;

/// The longest side of an activation: four times the largest picture that a card may ask for.
const MAX_SIDE: usize = 4096;

/// A convolution that waits for the scale of its output.
pub struct Convolution {
    from: (usize, Scale),
    slide: Slide,
    /// Height and width of the output.
    size: [usize; 2],
    group: usize,
    weights: Rc<Weights>,
    /// Weights `[outputs, inputs of a group, height, width]`.
    shape: [usize; 4],
    /// In real numbers, one an output; empty for none.
    bias: Vec<f64>,
    /// The output is a row, `[1, outputs]`.
    row: bool,
}

impl<'a> Lowering<'a> {
    pub(super) fn convolution(&mut self, node: &NodeProto) -> Result<Value, Why> {
        let from = self.real(node, 0)?;
        let weights = self.weights(node, 1)?;
        let bias = self.bias(node, 2, weights.shape().first().copied())?;
        let wrong = |what: String| Why::Malformed(format!("{} {what}", title(node)));
        // One dimension is a picture of one row.
        let &[outputs, inputs, height, width] = &match *weights.shape() {
            [outputs, inputs, width] => [outputs, inputs, 1, width],
            [outputs, inputs, height, width] => [outputs, inputs, height, width],
            _ => return Err(Why::Left("it has other than one or two dimensions")),
        };
        let flat = weights.shape().len() == 3;
        let pair = |name: &str, default: i64| {
            let numbers = onnx::ints(node, name).unwrap_or(&[]);
            let numbers = match (numbers, flat) {
                ([], _) => [default, default],
                (&[x], true) => [default, x],
                (&[y, x], false) => [y, x],
                _ => return Err(wrong(format!("has {} {name}", numbers.len()))),
            };
            let sane = numbers.iter().all(|n| (1..=64).contains(n));
            sane.then(|| numbers.map(|n| n as usize))
                .ok_or_else(|| wrong(format!("has {name} {numbers:?}")))
        };
        let (stride, dilation) = (pair("strides", 1)?, pair("dilations", 1)?);
        if !matches!(onnx::text(node, "auto_pad").as_str(), "" | "NOTSET") {
            return Err(Why::Left("auto_pad; give explicit pads"));
        }
        let pads = match (onnx::ints(node, "pads").unwrap_or(&[]), flat) {
            ([], _) => [0; 4],
            (&[left, right], true) => [0, left, 0, right],
            (&[top, left, bottom, right], false) => [top, left, bottom, right],
            (pads, _) => return Err(wrong(format!("has {} pads", pads.len()))),
        };
        if pads.iter().any(|pad| !(0..=64).contains(pad)) {
            return Err(wrong(format!("has pads {pads:?}")));
        }
        let [top, left, bottom, right] = pads.map(|pad| pad as usize);
        let plane = self.planes[from.0];
        let group = onnx::int(node, "group").unwrap_or(1);
        let group = usize::try_from(group).unwrap_or(0);
        if outputs == 0 || inputs == 0 || group == 0 || outputs % group != 0 {
            return Err(wrong(format!("has {group} groups of {outputs} outputs")));
        }
        if inputs.checked_mul(group) != Some(plane.channels) {
            return Err(wrong(format!(
                "takes {group} times {inputs} channels, its input has {}",
                plane.channels
            )));
        }
        let extent = |size: usize, before: usize, after: usize, window: usize, axis: usize| {
            let reach = window.checked_sub(1)?.checked_mul(dilation[axis])? + 1;
            let free = (size + before + after).checked_sub(reach)?;
            Some(free / stride[axis] + 1)
        };
        let size = extent(plane.height, top, bottom, height, 0).zip(extent(
            plane.width,
            left,
            right,
            width,
            1,
        ));
        let Some((out_height, out_width)) = size else {
            return Err(wrong("has a window larger than its input".into()));
        };
        if out_height.max(out_width) > MAX_SIDE {
            return Err(wrong(format!(
                "gives {out_height} by {out_width} pixels, at most {MAX_SIDE} are allowed on a side"
            )));
        }
        self.widen(
            from.0,
            Border {
                top,
                left,
                bottom,
                right,
            },
        );
        Ok(sums(Convolution {
            from,
            slide: Slide {
                height,
                width,
                stride,
                dilation,
                pad: [top, left],
            },
            size: [out_height, out_width],
            group,
            weights,
            shape: [outputs, inputs, height, width],
            bias,
            row: false,
        }))
    }

    /// A product with a constant matrix: a convolution of one pixel.
    pub(super) fn matrix_product(&mut self, node: &NodeProto) -> Result<Value, Why> {
        let from = self.real(node, 0)?;
        let weights = self.weights(node, 1)?;
        let gemm = node.op_type == "Gemm";
        let plain = |name| onnx::float(node, name).is_none_or(|factor| factor == 1.0);
        if !plain("alpha") || !plain("beta") || onnx::int(node, "transA").unwrap_or(0) != 0 {
            return Err(Why::Left("alpha, beta or transA"));
        }
        let &[rows, columns] = weights.shape() else {
            return Err(Why::Left("its weights are not a matrix"));
        };
        let plane = self.planes[from.0];
        if plane.height * plane.width != 1 {
            return Err(Why::Left("its input is more than one pixel"));
        }
        let transposed = gemm && onnx::int(node, "transB").unwrap_or(0) != 0;
        let weights = if transposed {
            weights
        } else {
            Rc::new(transpose(&weights, rows, columns)?)
        };
        let &[outputs, inputs] = weights.shape() else {
            return Err(Why::Left("its weights are not a matrix"));
        };
        let bias = match gemm {
            true => self.bias(node, 2, Some(outputs))?,
            false => Vec::new(),
        };
        if inputs != plane.channels || outputs == 0 || inputs == 0 {
            return Err(Why::Malformed(format!(
                "{} takes {inputs} numbers, its input has {}",
                title(node),
                plane.channels
            )));
        }
        Ok(sums(Convolution {
            from,
            slide: Slide::POINT,
            size: [1, 1],
            group: 1,
            weights,
            shape: [outputs, inputs, 1, 1],
            bias,
            row: true,
        }))
    }

    /// An optional bias in real numbers, one an output.
    fn bias(
        &self,
        node: &NodeProto,
        index: usize,
        outputs: Option<usize>,
    ) -> Result<Vec<f64>, Why> {
        if node.input.get(index).is_none_or(String::is_empty) {
            return Ok(Vec::new());
        }
        let value = self.value(node, index)?;
        let shape = match &value {
            Value::Weights(bias) => bias.shape(),
            Value::Constant(bias) => &bias.shape,
            _ => return Err(Why::Left("its bias is not a constant")),
        };
        if shape.iter().product::<usize>() != outputs.unwrap_or(0) {
            return Err(Why::Left("its bias is not one number an output"));
        }
        match value {
            Value::Weights(bias) => Ok(bias.reals()),
            Value::Constant(bias) => {
                let numbers = bias.f32s().ok_or(Why::Left("its bias is no number"))?;
                Ok(numbers.iter().map(|&x| x.into()).collect())
            }
            _ => Err(Why::Left("its bias is not a constant")),
        }
    }

    /// Makes the step, now that the output's scale is known, and gives its plane.
    pub(super) fn emit(
        &mut self,
        node: &NodeProto,
        convolution: &Convolution,
        to: Scale,
        [low, high]: [u8; 2],
    ) -> Result<usize, Why> {
        let [outputs, inputs, height, width] = convolution.shape;
        let (from, scale) = convolution.from;
        let weights = &convolution.weights;
        if weights.scales.len() > 1 && weights.axis != 0 {
            return Err(Why::Left("its weights have scales along another axis"));
        }
        let a_row = inputs * height * width;
        let bytes = weights.bytes();
        let bytes = bytes.ok_or(Why::Left("its weights do not fit 8 bits with a sign"))?;
        let mut requant = Requant {
            bias: Vec::with_capacity(outputs),
            multiplier: Vec::with_capacity(outputs),
            zero_point: to.zero,
            low,
            high,
        };
        let mut absolute_sums = Vec::with_capacity(outputs);
        for (output, row) in bytes.chunks_exact(a_row).enumerate() {
            let worth =
                f64::from(scale.scale) * f64::from(weights.scales[output % weights.scales.len()]);
            let total: i64 = row.iter().map(|&w| i64::from(w)).sum();
            let bias = convolution.bias.get(output).copied().unwrap_or(0.0);
            let bias = (bias / worth).round_ties_even() - (total * i64::from(scale.zero)) as f64;
            if bias.abs() >= f64::from(1 << 30) {
                return Err(Why::Left("a bias is too large for 32 bits"));
            }
            requant.bias.push(bias as i32);
            // In f32 and in this order, as onnxruntime does: a last bit of difference here moves a handful of bytes in a million, and
            // fifty layers make them the angle between 1.0 and 0.997.
            let product = scale.scale * weights.scales[output % weights.scales.len()];
            requant.multiplier.push(product / to.scale);
            absolute_sums.push(row.iter().map(|&w| i64::from(w).abs()).sum());
        }
        if !requant.fits(&absolute_sums) {
            return Err(Why::Left("its sums or scales leave the range of 32 bits"));
        }
        let [out_height, out_width] = convolution.size;
        let macs = (out_height * out_width * outputs * a_row) as u64;
        let depthwise = convolution.group > 1
            && inputs == 1
            && outputs == convolution.group
            && convolution.slide.dilation == [1, 1]
            && convolution.slide.stride[0] == convolution.slide.stride[1];
        let plane = self.new_plane(out_height, out_width, outputs, to.zero);
        if convolution.row {
            self.rows.insert(plane);
        }
        let step = if depthwise {
            self.count_weights(bytes.len())?;
            self.depthwise(convolution, &bytes, &requant, from, plane)
        } else {
            self.product(convolution, bytes, &requant, from, plane)?
        };
        self.push(node, macs, step);
        Ok(plane)
    }

    /// Counts weights that a step is about to hold.
    fn count_weights(&mut self, weights: usize) -> Result<(), Why> {
        self.weights = self.weights.saturating_add(weights);
        if self.weights <= MAX_WEIGHTS {
            return Ok(());
        }
        Err(Why::Left("the weights take too much room"))
    }

    fn depthwise(
        &self,
        convolution: &Convolution,
        bytes: &[i8],
        requant: &Requant,
        from: usize,
        to: usize,
    ) -> Step {
        let [outputs, _, height, width] = convolution.shape;
        let mut weights = vec![0; bytes.len()];
        for (at, &weight) in bytes.iter().enumerate() {
            let (channel, tap) = (at / (height * width), at % (height * width));
            weights[tap * outputs + channel] = weight;
        }
        let filters = Filters {
            height,
            width,
            channels: outputs,
            stride: convolution.slide.stride[0],
            weights,
        };
        let own = self.kernel.pack_depthwise(&filters, requant);
        let portable = own.is_none();
        let packed = own.unwrap_or_else(|| portable_filters(&filters, requant, self.kernel.flip()));
        Step::Depthwise {
            from,
            to,
            slide: convolution.slide,
            packed,
            portable,
        }
    }

    /// Weights in the order in which a window's bytes lie; groups are filled up with zeros.
    fn product(
        &mut self,
        convolution: &Convolution,
        bytes: Vec<i8>,
        requant: &Requant,
        from: usize,
        to: usize,
    ) -> Result<Step, Why> {
        let [outputs, inputs, height, width] = convolution.shape;
        let pixel = self.planes[from].pixel_bytes;
        let run = run_bytes(&convolution.slide, pixel);
        let point = height * width == 1;
        let dilated = convolution.slide.dilation[1] != 1;
        let k = match (point, dilated) {
            (true, _) => self.planes[from].channels,
            (_, true) => run * height * width,
            (_, false) => run * height,
        };
        self.count_weights(k.saturating_mul(outputs))?;
        let weights = if point && convolution.group == 1 {
            bytes
        } else {
            let mut weights = vec![0; outputs * k];
            for (at, &weight) in bytes.iter().enumerate() {
                let (tap, channel) = (at % (height * width), at / (height * width));
                let (output, channel) = (channel / inputs, channel % inputs);
                let group = output / (outputs / convolution.group);
                let (ky, kx) = (tap / width, tap % width);
                let column = match (point, dilated) {
                    (true, _) => 0,
                    (_, true) => (ky * width + kx) * run,
                    (_, false) => ky * run + kx * pixel,
                };
                weights[output * k + column + group * inputs + channel] = weight;
            }
            weights
        };
        let matrix = Matrix {
            n: outputs,
            k,
            weights,
        };
        Ok(Step::Product {
            from,
            to,
            slide: convolution.slide,
            packed: self.kernel.pack(&matrix, requant),
        })
    }
}

fn sums(convolution: Convolution) -> Value {
    Value::Sums {
        sums: Rc::new(Sums::Convolution(convolution)),
        range: [f32::NEG_INFINITY, f32::INFINITY],
    }
}

fn transpose(weights: &Weights, rows: usize, columns: usize) -> Result<Weights, Why> {
    fn turned<T: Copy>(from: &[T], rows: usize, columns: usize) -> Vec<T> {
        let at = |at: usize| from[at % rows * columns + at / rows];
        (0..rows * columns).map(at).collect()
    }
    let numbers = match &weights.constant.numbers {
        Numbers::I8(from) => Numbers::I8(turned(from, rows, columns)),
        Numbers::U8(from) => Numbers::U8(turned(from, rows, columns)),
        _ => return Err(Why::Left("its weights have more than 8 bits")),
    };
    Ok(Weights {
        constant: Rc::new(Constant {
            shape: vec![columns, rows],
            numbers,
        }),
        scales: weights.scales.clone(),
        zeros: weights.zeros.clone(),
        axis: 1 - weights.axis.min(1),
    })
}
