"""Networks as ONNX.

Owns: the nodes, their names and the bytes of the file. Two writers share one walk over the network: `quantized` is what
the board runs (QuantizeLinear/DequantizeLinear around every layer), `reference` is the original in f32.

Names that stay: input `image`; outputs `features`, `tapC_avg`, `tapC_max`; `blockN_in`, the tensor at which block N begins
(counted from 0), and `head_in`. In both graphs NAME.f is the f32 value of a tensor before it is clipped or quantized.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from networks import FEATURES, SIDE, Conv, Network
from quantize import IMAGE, MEAN, RELU6, STD, TOP, Calibration, Integers, integers

OPSET = 13  # the first with DequantizeLinear along an axis
IR_VERSION = 7  # of the release that brought opset 13


def outputs(network: Network) -> list[tuple[str, int]]:
    """Name and width, in the card's order."""
    taps = [(f"tap{c}_{kind}", c) for c in network.taps.values() for kind in ("avg", "max")]
    return [("features", FEATURES), *taps]


class Writer:
    """Nodes and initializers so far; tracks the size of every tensor and counts multiply-accumulates."""

    def __init__(self):
        self.nodes, self.initializers, self.macs = [], [], 0
        self.sizes = {"image": (3, SIDE)}  # channels, side
        self.cuts = []

    def node(self, kind: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, values) -> str:
        array = np.asarray(values)
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        self.initializers.append(helper.make_tensor(name, kind, array.shape, little.tobytes(), raw=True))
        return name

    def convolve(self, conv: Conv, inputs: list[str], source: str, name: str) -> str:
        side = self.sizes[source][1] // conv.stride
        self.sizes[name] = (conv.channels, side)
        self.macs += side * side * conv.weight.size
        return self.node(
            "Conv",
            inputs,
            f"{name}.f",
            group=conv.groups,
            kernel_shape=[conv.kernel] * 2,
            pads=conv.pads,
            strides=[conv.stride] * 2,
        )

    def pool(self, kind: str, value: str, output: str) -> None:
        self.node("Flatten", [self.node(kind, [value], f"{output}.pool")], output, axis=1)

    def model(self, network: Network, name: str, extra: list[str]) -> onnx.ModelProto:
        def value(label, kind, shape):
            return helper.make_tensor_value_info(label, kind, shape)

        image = value("image", TensorProto.UINT8, [1, 3, SIDE, SIDE])
        results = [value(label, TensorProto.FLOAT, [1, width]) for label, width in outputs(network)]
        for label in extra:
            channels, side = self.sizes[label.removesuffix(".f")]
            results.append(value(label, TensorProto.FLOAT, [1, channels, side, side]))
        graph = helper.make_graph(self.nodes, name, [image], results, self.initializers)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="fieldhead")


class Reference(Writer):
    """The original: exact normalization, zero padding, ReLU6, f32."""

    def image(self) -> str:
        shape = (1, 3, 1, 1)
        self.node("Cast", ["image"], "image.raw", to=TensorProto.FLOAT)
        mean = self.constant("image.mean", np.float32(255 * np.array(MEAN)).reshape(shape))
        gain = self.constant("image.gain", np.float32(1 / (255 * np.array(STD))).reshape(shape))
        return self.node("Mul", [self.node("Sub", ["image.raw", mean], "image.c"), gain], "image.d")

    def value(self, name: str) -> str:
        return f"{name}.d"

    def conv(self, conv: Conv, source: str, name: str) -> None:
        weight = self.constant(f"{conv.name}.w", conv.weight.astype(np.float32))
        bias = self.constant(f"{conv.name}.b", conv.bias.astype(np.float32))
        result = self.convolve(conv, [self.value(source), weight, bias], source, name)
        if conv.relu6:
            limits = [self.constant(f"{name}.{k}", np.float32(v)) for k, v in (("low", 0), ("top", TOP))]
            self.node("Clip", [result, *limits], f"{name}.d")
        else:
            self.node("Identity", [result], f"{name}.d")

    def add(self, first: str, second: str, name: str) -> None:
        self.sizes[name] = self.sizes[first]
        total = self.node("Add", [self.value(first), self.value(second)], f"{name}.f")
        self.node("Identity", [total], f"{name}.d")


class Quantized(Writer):
    """What the board runs."""

    def __init__(self, calibration: Calibration):
        super().__init__()
        self.scales, self.shift = {"image": IMAGE} | calibration.scales, calibration.shift

    def image(self) -> str:
        return self.dequantize("image")

    def value(self, name: str) -> str:
        return f"{name}.d"

    def pair(self, name: str) -> list[str]:
        scale = self.scales[name]
        return [self.constant(f"{name}.s", scale.scale), self.constant(f"{name}.z", np.uint8(scale.zero))]

    def dequantize(self, name: str) -> str:
        return self.node("DequantizeLinear", [name, *self.pair(name)], f"{name}.d")

    def store(self, name: str) -> None:
        pair = self.pair(name)
        self.node("QuantizeLinear", [f"{name}.f", *pair], name)
        self.node("DequantizeLinear", [name, *pair], f"{name}.d")

    def conv(self, conv: Conv, source: str, name: str) -> None:
        if conv.relu6:
            self.scales.setdefault(name, RELU6)
        made: Integers = integers(conv, self.scales[source], self.shift.get(conv.name, np.zeros(conv.channels)))
        parts = [self.value(source)]
        for part, values, scale in (("w", made.weight, made.scale), ("b", made.bias, made.bias_scale)):
            label = f"{conv.name}.{part}"
            zero = self.constant(f"{label}z", np.zeros(conv.channels, values.dtype))
            inputs = [self.constant(label, values), self.constant(f"{label}s", scale), zero]
            parts.append(self.node("DequantizeLinear", inputs, f"{label}d", axis=0))
        self.convolve(conv, parts, source, name)
        self.store(name)

    def add(self, first: str, second: str, name: str) -> None:
        self.sizes[name] = self.sizes[first]
        self.node("Add", [self.value(first), self.value(second)], f"{name}.f")
        self.store(name)


def write(network: Network, writer: Writer, name: str, extra: list[str] = ()) -> onnx.ModelProto:
    """Walks the network once with `writer`; `extra` tensors become outputs too."""
    writer.image()
    tensor = "block0_in"
    writer.conv(network.stem, "image", tensor)
    for index, block in enumerate(network.blocks):
        end = f"block{index + 1}_in" if index + 1 < len(network.blocks) else "head_in"
        source = tensor
        for conv in block.convs:
            last = conv is block.convs[-1] and not block.residual
            target = end if last else conv.name
            writer.conv(conv, source, target)
            source = target
        if block.residual:
            writer.add(tensor, source, end)
        tensor = end
        channels = block.convs[-1].channels
        writer.cuts.append((end, *writer.sizes[end]))
        if index in network.taps:
            writer.pool("GlobalAveragePool", writer.value(tensor), f"tap{channels}_avg")
            writer.pool("GlobalMaxPool", writer.value(tensor), f"tap{channels}_max")
    writer.conv(network.head, tensor, "head")
    writer.pool("GlobalAveragePool", writer.value("head"), "features")
    return writer.model(network, name, list(extra))


def to_bytes(model: onnx.ModelProto) -> bytes:
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)
