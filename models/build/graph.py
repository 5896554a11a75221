"""Networks as ONNX.

Owns: the nodes, their names and the bytes of the file. Two writers share one walk over the network: `Quantized` is what
the board runs (QuantizeLinear and DequantizeLinear around every layer), `Reference` is the original in f32.

Names that stay: input `image`; outputs `features`, `tapC_avg`, `tapC_max`; `blockN_in`, the tensor at which block N
begins (counted from 0), and `head_in`. In both graphs NAME.f is a tensor's value before it is clipped or quantized.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from calibration import Calibration
from networks import FEATURES, SIDE, Block, Conv, Network
from quantize import MEAN, STD, TOP, fold_normalization, integers, scales

OPSET = 13  # the first with DequantizeLinear along an axis
IR_VERSION = 7  # of the release that brought opset 13


def outputs(network: Network) -> list[tuple[str, int]]:
    """Name and width, in the card's order."""
    taps = [(f"tap{channels}_{kind}", channels) for channels in network.taps.values() for kind in ("avg", "max")]
    return [("features", FEATURES), *taps]


class Writer:
    """Nodes and initializers so far; knows the size of every tensor and counts multiply-accumulates."""

    def __init__(self, network: Network):
        self.network, self.nodes, self.initializers, self.macs = network, [], [], 0
        self.sizes = {"image": (3, SIDE)}  # channels, side

    def write(self, name: str, extra: Sequence[str] = ()) -> onnx.ModelProto:
        """Walks the network once; `extra` NAME.f tensors become outputs too."""
        self.image()
        self.conv(self.network.stem, "image")
        start = self.network.stem.output
        for block in self.network.blocks:
            source = start
            for conv in block.convs:
                self.conv(conv, source)
                source = conv.output
            if block.residual:
                self.add(start, source, block.end)
            start = block.end
            if start in self.network.taps:
                self.pool("GlobalAveragePool", start, f"tap{block.channels}_avg", self.unit(block))
                self.pool("GlobalMaxPool", start, f"tap{block.channels}_max", self.unit(block))
        self.conv(self.network.head, start)
        self.pool("GlobalAveragePool", self.network.head.output, "features")
        return self.model(name, extra)

    def node(self, kind: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, values) -> str:
        array = np.asarray(values)
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        self.initializers.append(helper.make_tensor(name, kind, array.shape, little.tobytes(), raw=True))
        return name

    def convolve(self, conv: Conv, source: str, weight: str, bias: str) -> str:
        side = self.sizes[source][1] // conv.stride
        self.sizes[conv.output] = (conv.channels, side)
        self.macs += side * side * conv.weight.size
        return self.node(
            "Conv",
            [f"{source}.d", weight, bias],
            f"{conv.output}.f",
            group=conv.groups,
            kernel_shape=[conv.kernel] * 2,
            pads=conv.pads,
            strides=[conv.stride] * 2,
        )

    def add(self, first: str, second: str, end: str) -> None:
        self.sizes[end] = self.sizes[first]
        self.node("Add", [f"{first}.d", f"{second}.d"], f"{end}.f")
        self.store(end)

    def pool(self, kind: str, source: str, output: str, unit: np.ndarray | None = None) -> None:
        pooled = self.node(kind, [f"{source}.d"], f"{output}.p")
        if unit is None:
            self.node("Flatten", [pooled], output, axis=1)
        else:
            flat = self.node("Flatten", [pooled], f"{output}.e", axis=1)
            self.node("Mul", [flat, self.constant(f"{output}.u", unit)], output)

    def unit(self, block: Block) -> np.ndarray | None:
        return None

    def model(self, name: str, extra: Sequence[str]) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 3, SIDE, SIDE])
        results = [(output, [1, width]) for output, width in outputs(self.network)]
        for output in extra:
            channels, side = self.sizes[output.removesuffix(".f")]
            results.append((output, [1, channels, side, side]))
        values = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape) for output, shape in results]
        graph = helper.make_graph(self.nodes, name, [image], values, self.initializers)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="fieldhead")


class Reference(Writer):
    """The original: exact normalization, zero padding, ReLU6, f32. NAME.d is the clipped value."""

    def image(self) -> None:
        shape = (1, 3, 1, 1)
        self.node("Cast", ["image"], "image.f", to=TensorProto.FLOAT)
        mean = self.constant("image.mean", np.float32(255 * np.array(MEAN)).reshape(shape))
        gain = self.constant("image.gain", np.float32(1 / (255 * np.array(STD))).reshape(shape))
        self.node("Mul", [self.node("Sub", ["image.f", mean], "image.c"), gain], "image.d")

    def conv(self, conv: Conv, source: str) -> None:
        weight = self.constant(f"{conv.name}.w", conv.weight.astype(np.float32))
        bias = self.constant(f"{conv.name}.b", conv.bias.astype(np.float32))
        value = self.convolve(conv, source, weight, bias)
        if conv.relu6:
            ends = [self.constant(f"{conv.name}.{end}", np.float32(at)) for end, at in (("low", 0), ("top", TOP))]
            self.node("Clip", [value, *ends], f"{conv.output}.d")
        else:
            self.store(conv.output)

    def store(self, name: str) -> None:
        self.node("Identity", [f"{name}.f"], f"{name}.d")


class Quantized(Writer):
    """What the board runs. NAME is the tensor in u8, NAME.d its value."""

    def __init__(self, network: Network, calibration: Calibration):
        super().__init__(calibration.equalize(fold_normalization(network)))
        self.calibration, self.scales = calibration, scales(network, calibration)

    def image(self) -> None:
        self.node("DequantizeLinear", ["image", *self.scale("image")], "image.d")

    def conv(self, conv: Conv, source: str) -> None:
        shift = self.calibration.shift.get(conv.name, [0])
        made = integers(conv, self.scales[source], self.scales[conv.output], shift)
        weight = self.dequantized(f"{conv.name}.w", made.weight, made.scale)
        bias = self.dequantized(f"{conv.name}.b", made.bias, made.bias_scale)
        self.convolve(conv, source, weight, bias)
        self.store(conv.output)

    def store(self, name: str) -> None:
        scale = self.scale(name)
        self.node("QuantizeLinear", [f"{name}.f", *scale], name)
        self.node("DequantizeLinear", [name, *scale], f"{name}.d")

    def scale(self, name: str) -> list[str]:
        """Names of its scale and zero point."""
        made = self.scales[name]
        return [self.constant(f"{name}.s", made.scale), self.constant(f"{name}.z", np.uint8(made.zero))]

    def dequantized(self, name: str, values: np.ndarray, scale: np.ndarray) -> str:
        zero = self.constant(f"{name}z", np.zeros(len(values), values.dtype))
        inputs = [self.constant(name, values), self.constant(f"{name}s", scale), zero]
        return self.node("DequantizeLinear", inputs, f"{name}d", axis=0)

    def unit(self, block: Block) -> np.ndarray | None:
        """Takes the equalization of a stage out of its taps again."""
        if block.stage not in self.calibration.factor:
            return None
        return (1 / self.calibration.gain(block.stage)).astype(np.float32)[None, :]


def to_bytes(model: onnx.ModelProto) -> bytes:
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)
