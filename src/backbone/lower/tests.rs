//! Small models of every operator that is lowered, beside tract's float operators.

mod refused;

use super::*;
use crate::backbone::kernels::available;
use crate::random::SplitMix64;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::type_proto::{Tensor as TensorType, Value as TypeValue};
use tract_onnx::pb::{
    AttributeProto, ModelProto, OperatorSetIdProto, TensorProto, TypeProto, ValueInfoProto,
};
use tract_onnx::prelude::*;

const SIDE: usize = 9;
const CHANNELS: usize = 3;
/// Scale of every quantized activation here.
const SCALE: f32 = 0.05;

/// A model in the making: u8 picture in, vector `out` out.
struct Maker {
    graph: GraphProto,
    random: SplitMix64,
    /// [`SIDE`], or 1 for a model of one dimension.
    height: usize,
}

impl Maker {
    /// A picture, dequantized as `x`.
    fn new() -> Maker {
        let mut maker = Maker {
            graph: GraphProto::default(),
            random: SplitMix64::new(3),
            height: SIDE,
        };
        let fact = TypeValue::TensorType(TensorType {
            elem_type: DataType::Uint8 as i32,
            shape: None,
        });
        maker.graph.input.push(ValueInfoProto {
            name: "picture".into(),
            r#type: Some(TypeProto {
                value: Some(fact),
                ..Default::default()
            }),
            ..Default::default()
        });
        maker.scale("picture", 100, false);
        maker.node(
            "DequantizeLinear",
            &["picture", "picture.s", "picture.z"],
            "x",
            &[],
        );
        maker
    }

    fn constant(&mut self, name: &str, shape: &[usize], kind: DataType, raw: Vec<u8>) {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            dims: shape.iter().map(|&side| side as i64).collect(),
            data_type: kind as i32,
            raw_data: raw,
            ..Default::default()
        });
    }

    fn floats(&mut self, name: &str, shape: &[usize], numbers: &[f32]) {
        let raw = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, shape, DataType::Float, raw);
    }

    /// Constants `name.s` and `name.z`.
    fn scale(&mut self, name: &str, zero: u8, signed: bool) {
        self.floats(&format!("{name}.s"), &[], &[SCALE]);
        let kind = if signed {
            DataType::Int8
        } else {
            DataType::Uint8
        };
        self.constant(&format!("{name}.z"), &[], kind, vec![zero]);
    }

    fn node(&mut self, op: &str, inputs: &[&str], output: &str, lists: &[(&str, &[i64])]) {
        let attribute = lists.iter().map(|(name, numbers)| AttributeProto {
            name: (*name).into(),
            ints: numbers.to_vec(),
            i: numbers[0],
            // 2 is one integer, 7 a list of them.
            r#type: if ["axis", "group", "transB"].contains(name) {
                2
            } else {
                7
            },
            ..Default::default()
        });
        self.graph.node.push(NodeProto {
            op_type: op.into(),
            name: format!("node {output}"),
            input: inputs.iter().map(|&name| name.into()).collect(),
            output: vec![output.into()],
            attribute: attribute.collect(),
            ..Default::default()
        });
    }

    /// Random weights with a scale for each output along axis 0, as `name`.
    fn weights(&mut self, name: &str, shape: &[usize]) {
        let count = shape.iter().product();
        let raw = (0..count)
            .map(|_| self.random.below(255) as u8 ^ 0x80)
            .collect();
        let scales: Vec<f32> = (0..shape[0]).map(|n| 0.001 + 0.0005 * n as f32).collect();
        let (q, s, z) = (
            format!("{name}.q"),
            format!("{name}.ws"),
            format!("{name}.wz"),
        );
        self.constant(&q, shape, DataType::Int8, raw);
        self.floats(&s, &[shape[0]], &scales);
        self.constant(&z, &[shape[0]], DataType::Int8, vec![0; shape[0]]);
        self.node("DequantizeLinear", &[&q, &s, &z], name, &[("axis", &[0])]);
    }

    /// Quantizes and dequantizes.
    fn settle(&mut self, from: &str, to: &str, zero: u8, signed: bool) {
        self.scale(to, zero, signed);
        let (q, s, z) = (format!("{to}.q"), format!("{to}.s"), format!("{to}.z"));
        self.node("QuantizeLinear", &[from, &s, &z], &q, &[]);
        self.node("DequantizeLinear", &[&q, &s, &z], to, &[]);
    }

    /// A convolution of `from`, settled as `to`.
    fn convolve(&mut self, from: &str, to: &str, shape: &[usize], lists: &[(&str, &[i64])]) {
        let (w, raw) = (format!("{to}.w"), format!("{to}.raw"));
        self.weights(&w, shape);
        self.node("Conv", &[from, &w], &raw, lists);
        self.settle(&raw, to, 120, false);
    }

    fn pool(&mut self, op: &str, from: &str, to: &str) {
        let pooled = format!("{to}.p");
        self.node(op, &[from], &pooled, &[]);
        self.node("Flatten", &[&pooled], to, &[("axis", &[1])]);
    }

    fn model(&self) -> ModelProto {
        ModelProto {
            ir_version: 7,
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: 13,
            }],
            graph: Some(self.graph.clone()),
            ..Default::default()
        }
    }

    fn lower(&self, kernel: &'static dyn Kernel) -> Result<Program, Refusal> {
        let picture = [self.height, SIDE, CHANNELS];
        lower(&mut self.model(), picture, &["out"], kernel)
    }

    /// What tract gives for a planar picture.
    fn float(&self, planar: &[u8]) -> Vec<f32> {
        let shape = match self.height {
            1 => &[1, CHANNELS, SIDE][..],
            height => &[1, CHANNELS, height, SIDE],
        };
        let plan = tract_onnx::onnx()
            .model_for_proto_model(&self.model())
            .and_then(|m| m.with_outputs_by_name(["out"]))
            .and_then(|m| m.with_input_fact(0, u8::fact(shape).into()))
            .and_then(|m| m.into_optimized()?.into_runnable())
            .unwrap();
        let tensor = Tensor::from_shape(shape, planar).unwrap();
        let out = plan.run(tvec!(tensor.into())).unwrap();
        out[0]
            .to_plain_array_view::<f32>()
            .unwrap()
            .iter()
            .copied()
            .collect()
    }

    /// Every kernel gives the same, twice, and tract gives it too up to a rounding of the last quantization.
    fn agrees(mut self) {
        let area = self.height * SIDE;
        let pixels: Vec<u8> = (0..area * CHANNELS)
            .map(|_| self.random.below(256) as u8)
            .collect();
        let planar: Vec<u8> = (0..pixels.len())
            .map(|at| pixels[at % area * CHANNELS + at / area])
            .collect();
        let expected = self.float(&planar);
        let mut first: Option<Vec<f32>> = None;
        for kernel in available() {
            let program = self.lower(kernel).unwrap_or_else(|e| panic!("{e:?}"));
            for threads in [1, 2] {
                let got = program
                    .run(&pixels, threads, &mut |_| ())
                    .unwrap()
                    .remove(0);
                assert_eq!(got.len(), expected.len());
                for (a, b) in got.iter().zip(&expected) {
                    assert!(
                        (a - b).abs() <= 1.01 * SCALE,
                        "{}: {got:?} {expected:?}",
                        kernel.name()
                    );
                }
                assert_eq!(first.get_or_insert(got.clone()), &got, "{}", kernel.name());
            }
        }
        let spread = expected
            .iter()
            .any(|x| (x - expected[0]).abs() > 2.0 * SCALE);
        assert!(spread, "the answers are all alike: {expected:?}");
    }

    /// What lowering says, in one text.
    fn refused(&self) -> String {
        match self.lower(available()[0]) {
            Err(refusal) => format!("{refusal:?}"),
            Ok(_) => panic!("lowered"),
        }
    }
}

#[test]
fn strides_pads_and_windows_of_all_sizes() {
    for (window, stride, pads) in [
        (1, 1, [0, 0, 0, 0]),
        (1, 2, [0, 0, 0, 0]),
        (2, 1, [1, 0, 0, 1]),
        (3, 2, [0, 0, 1, 1]),
        (3, 1, [1, 1, 1, 1]),
        (5, 3, [2, 2, 2, 2]),
    ] {
        let mut maker = Maker::new();
        let lists: [(&str, &[i64]); 2] = [("strides", &[stride, stride]), ("pads", &pads)];
        maker.convolve("x", "a", &[20, CHANNELS, window, window], &lists);
        maker.convolve("a", "b", &[6, 20, window.min(2), window.min(2)], &[]);
        maker.pool("GlobalMaxPool", "b", "out");
        maker.agrees();
    }
}

#[test]
fn depthwise_convolutions_of_all_shapes() {
    for (window, stride, pad) in [
        (3, 1, 1),
        (3, 2, 1),
        (5, 1, 2),
        (5, 2, 2),
        (2, 1, 0),
        (3, 3, 0),
    ] {
        let mut maker = Maker::new();
        maker.convolve("x", "a", &[70, CHANNELS, 1, 1], &[]);
        let lists: [(&str, &[i64]); 3] = [
            ("group", &[70]),
            ("strides", &[stride, stride]),
            ("pads", &[pad; 4]),
        ];
        maker.convolve("a", "b", &[70, 1, window, window], &lists);
        maker.pool("GlobalMaxPool", "b", "out");
        maker.agrees();
    }
}

#[test]
fn groups_and_dilations() {
    let mut maker = Maker::new();
    maker.convolve("x", "a", &[12, CHANNELS, 1, 1], &[]);
    maker.convolve(
        "a",
        "b",
        &[8, 3, 3, 3],
        &[("group", &[4]), ("pads", &[1, 1, 1, 1])],
    );
    maker.convolve("b", "c", &[8, 8, 3, 3], &[("dilations", &[2, 2])]);
    maker.pool("GlobalMaxPool", "c", "out");
    maker.agrees();
}

#[test]
fn convolutions_of_one_dimension() {
    let mut maker = Maker::new();
    maker.height = 1;
    maker.convolve("x", "a", &[20, CHANNELS, 3], &[("pads", &[1, 1])]);
    maker.convolve(
        "a",
        "b",
        &[20, 1, 5],
        &[("group", &[20]), ("pads", &[2, 2])],
    );
    let lists: [(&str, &[i64]); 2] = [("strides", &[2]), ("dilations", &[2])];
    maker.convolve("b", "c", &[6, 20, 3], &lists);
    maker.pool("GlobalMaxPool", "c", "out");
    maker.agrees();
}

#[test]
fn residual_sums_clips_and_signed_activations() {
    let mut maker = Maker::new();
    maker.convolve("x", "a", &[24, CHANNELS, 3, 3], &[("pads", &[1, 1, 1, 1])]);
    maker.weights("w", &[24, 24, 1, 1]);
    maker.node("Conv", &["a", "w"], "f", &[]);
    maker.node("Relu", &["f"], "r", &[]);
    maker.settle("r", "b", 0x80, true);
    maker.node("Add", &["a", "b"], "s", &[]);
    maker.floats("low", &[], &[-2.0]);
    maker.floats("high", &[], &[3.0]);
    maker.node("Clip", &["s", "low", "high"], "c", &[]);
    maker.settle("c", "d", 0xf0, true);
    maker.convolve("d", "e", &[5, 24, 3, 3], &[("pads", &[1, 1, 1, 1])]);
    maker.pool("GlobalMaxPool", "e", "out");
    maker.agrees();
}

#[test]
fn means_products_with_constants_and_matrices() {
    let mut maker = Maker::new();
    maker.convolve("x", "a", &[24, CHANNELS, 3, 3], &[]);
    maker.pool("GlobalAveragePool", "a", "p");
    maker.floats("two", &[], &[2.0]);
    maker.node("Mul", &["p", "two"], "t", &[]);
    let factors: Vec<f32> = (0..24).map(|n| 0.1 * n as f32).collect();
    maker.floats("each", &[1, 24], &factors);
    maker.node("Mul", &["t", "each"], "u", &[]);
    maker.settle("u", "v", 90, false);
    maker.weights("m", &[7, 24]);
    maker.floats("bias", &[7], &[0.5, -0.5, 1.0, 0.0, 2.0, -1.0, 0.25]);
    maker.node("Gemm", &["v", "m", "bias"], "g", &[("transB", &[1])]);
    maker.settle("g", "h", 130, false);
    maker.node("Identity", &["h"], "out", &[]);
    maker.agrees();
}

#[test]
fn a_flattened_picture_times_a_matrix() {
    let mut maker = Maker::new();
    maker.convolve("x", "a", &[5, CHANNELS, 3, 3], &[("strides", &[3, 3])]);
    maker.node("Flatten", &["a"], "f", &[("axis", &[1])]);
    // One scale for all: MatMul's outputs run along the last axis.
    let raw = (0..45 * 8).map(|n| (n * 37 % 255) as u8).collect();
    maker.constant("m.q", &[45, 8], DataType::Int8, raw);
    maker.floats("m.s", &[], &[0.0005]);
    maker.node("DequantizeLinear", &["m.q", "m.s"], "m", &[]);
    maker.node("MatMul", &["f", "m"], "g", &[]);
    maker.settle("g", "out", 110, false);
    maker.agrees();
}

#[test]
fn a_padded_window_over_one_pixel() {
    let mut maker = Maker::new();
    maker.node("GlobalAveragePool", &["x"], "p", &[]);
    maker.settle("p", "a", 200, false);
    maker.convolve("a", "b", &[6, CHANNELS, 3, 3], &[("pads", &[1, 1, 1, 1])]);
    maker.pool("GlobalMaxPool", "b", "out");
    maker.agrees();
}

#[test]
fn functions_of_each_number_and_maxima_over_windows_of_all_sizes() {
    for (window, stride) in [
        ([2, 2], [2, 2]),
        ([1, 2], [1, 2]),
        ([3, 2], [2, 1]),
        ([7, 7], [1, 1]),
    ] {
        let mut maker = Maker::new();
        maker.convolve("x", "a", &[24, CHANNELS, 3, 3], &[("pads", &[1, 0, 1, 0])]);
        maker.node("LeakyRelu", &["a"], "l", &[]);
        let slope = AttributeProto {
            name: "alpha".into(),
            f: 0.25,
            // 1 is one float.
            r#type: 1,
            ..Default::default()
        };
        maker.graph.node.last_mut().unwrap().attribute.push(slope);
        maker.floats("least", &[1, 1, 1, 1], &[-0.7]);
        maker.node("Max", &["least", "l"], "m", &[]);
        maker.settle("m", "b", 30, false);
        let lists: [(&str, &[i64]); 2] = [("kernel_shape", &window), ("strides", &stride)];
        maker.node("MaxPool", &["b"], "c", &lists);
        maker.convolve("c", "d", &[6, 24, 1, 1], &[("pads", &[1, 1, 1, 1])]);
        maker.pool("GlobalMaxPool", "d", "out");
        assert_eq!(maker.lower(available()[0]).unwrap().left, [""; 0]);
        maker.agrees();
    }
}

#[test]
fn windows_over_the_edge_and_functions_that_nothing_quantizes_run_in_floats() {
    let mut maker = Maker::new();
    maker.convolve("x", "a", &[8, CHANNELS, 3, 3], &[]);
    let lists: [(&str, &[i64]); 2] = [("kernel_shape", &[3, 3]), ("pads", &[1, 1, 1, 1])];
    maker.node("MaxPool", &["a"], "p", &lists);
    maker.settle("p", "b", 120, false);
    maker.node("LeakyRelu", &["b"], "l", &[]);
    maker.node("Abs", &["l"], "m", &[]);
    maker.settle("m", "c", 40, false);
    maker.pool("GlobalMaxPool", "c", "out");
    let left = maker.lower(available()[0]).unwrap().left;
    let named: Vec<&str> = left.iter().filter_map(|l| l.split(' ').next()).collect();
    assert_eq!(named, ["MaxPool", "Abs", "LeakyRelu"], "{left:?}");
    maker.agrees();
}

#[test]
fn operators_without_integers_run_in_floats_between_integer_ones_and_are_named() {
    let mut maker = Maker::new();
    maker.convolve("x", "a", &[24, CHANNELS, 3, 3], &[]);
    // A gate as in squeeze and excitation, on one pixel.
    maker.node("GlobalAveragePool", &["a"], "p", &[]);
    maker.settle("p", "q", 90, false);
    maker.convolve("q", "r", &[24, 24, 1, 1], &[]);
    maker.node("Sigmoid", &["r"], "gate", &[]);
    maker.node("Mul", &["a", "gate"], "gated", &[]);
    maker.settle("gated", "b", 0x90, true);
    // A convolution whose sums are never quantized is left with what follows.
    maker.weights("w", &[6, 24, 1, 1]);
    maker.node("Conv", &["b", "w"], "c", &[]);
    maker.node("HardSwish", &["c"], "h", &[]);
    maker.settle("h", "d", 60, false);
    maker.convolve("d", "e", &[5, 6, 3, 3], &[("pads", &[1, 1, 1, 1])]);
    maker.pool("GlobalMaxPool", "e", "t");
    maker.node("Abs", &["t"], "out", &[]);
    let left = maker.lower(available()[0]).unwrap().left;
    let named: Vec<&str> = left.iter().filter_map(|l| l.split(' ').next()).collect();
    assert_eq!(
        named,
        ["Sigmoid", "Mul", "HardSwish", "Conv", "Abs"],
        "{left:?}"
    );
    maker.agrees();
}

#[test]
fn a_row_in_floats_stays_a_row() {
    let mut maker = Maker::new();
    maker.convolve("x", "a", &[12, CHANNELS, 3, 3], &[]);
    maker.pool("GlobalAveragePool", "a", "p");
    maker.settle("p", "q", 90, false);
    maker.weights("m", &[7, 12]);
    maker.node("Gemm", &["q", "m"], "g", &[("transB", &[1])]);
    maker.settle("g", "h", 130, false);
    maker.node("Softmax", &["h"], "s", &[("axis", &[1])]);
    maker.floats("ten", &[], &[10.0]);
    maker.node("Mul", &["s", "ten"], "out", &[]);
    maker.agrees();
}

#[test]
fn a_constant_of_another_type_leaves_what_takes_it() {
    let mut maker = Maker::new();
    maker.convolve("x", "a", &[6, CHANNELS, 3, 3], &[]);
    maker.pool("GlobalMaxPool", "a", "p");
    maker.constant("which", &[], DataType::Bool, vec![1]);
    maker.node("Where", &["which", "p", "p"], "out", &[]);
    let said = maker.refused();
    assert!(said.starts_with("Left") && said.contains("Where"), "{said}");
}

#[test]
fn a_model_without_integer_products_is_left_as_a_whole() {
    let mut maker = Maker::new();
    maker.node("Sigmoid", &["x"], "f", &[]);
    maker.settle("f", "a", 0, false);
    maker.pool("GlobalMaxPool", "a", "out");
    let said = maker.refused();
    assert!(
        said.starts_with("Left") && said.contains("Sigmoid 'f'"),
        "{said}"
    );
    assert!(!said.contains("Pool"), "{said}");
}

#[test]
fn weights_that_grow_without_end_are_not_held() {
    let mut maker = Maker::new();
    maker.convolve("x", "a0", &[4096, CHANNELS, 1, 1], &[]);
    for n in 0..8 {
        let (from, to) = (format!("a{n}"), format!("a{}", n + 1));
        maker.convolve(&from, &to, &[4096, 2, 1, 1], &[("group", &[2048])]);
    }
    maker.pool("GlobalMaxPool", "a8", "out");
    let left = maker.lower(available()[0]).unwrap().left;
    assert!(left.iter().any(|node| node.contains("room")), "{left:?}");
}
