"""How often the Armv8.0 kernels leave their fast path with the weights of a model, and how much each layer computes.

The rules are those of `product_spills` (src/backbone/kernels/neon.rs) and `row_spills` (neon/depthwise.rs).
"""

import collections

import numpy
import onnx
from onnx import numpy_helper

# Magnitudes of weights whose products fit 16 bits together.
FIT = 255
GROUP = 8


def convolutions(model):
    """(weights [channels, inputs, height, width], depthwise or not, stride, output height and width) of each convolution."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(model / "model.onnx")).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made = {node.output[0]: node for node in graph.node}
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in graph.value_info}
    shapes |= {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in graph.output}
    for node in graph.node:
        if node.op_type == "Conv":
            given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            weights, _, zero = (arrays[name] for name in made[node.input[1]].input)
            weights = weights.astype(int) - numpy.asarray(zero).astype(int).reshape(-1, 1, 1, 1)
            yield weights, given.get("group", 1) > 1, given.get("strides", [1])[0], *shapes[node.output[0]][2:]


def product(weights):
    """Groups of eight channels by eight inputs, and how many of them leave. None does so twice: two magnitudes always fit."""
    n, k = weights.shape
    filled = numpy.zeros((-(-n // 8) * 8, -(-k // GROUP) * GROUP), int)
    filled[:n, :k] = abs(weights)
    lanes = filled.reshape(-1, 4, filled.shape[1] // GROUP, 4, 2)
    # In turn r, channel i of a quad meets pair (i + r) mod 4.
    met = numpy.stack([[lanes[:, i, :, (i + r) % 4] for i in range(4)] for r in range(4)])
    leaves = met.sum(axis=0) > FIT
    # A group of eight channels is two quads.
    eights = leaves.any(axis=(0, 3)).reshape(-1, 2, leaves.shape[2]).any(axis=1)
    return eights.size, int(eights.sum())


def rows(weights):
    """Of the rows of taps by blocks of 16 channels: how many begin new products so many times."""
    counted = collections.Counter()
    taps = abs(weights[:, 0])
    for first in range(0, len(taps), 16):
        for row in taps[first : first + 16].transpose(1, 2, 0):
            added, times = numpy.zeros(row.shape[1], int), 0
            for tap in row:
                if (added + tap > FIT).any():
                    added, times = tap, times + 1
                else:
                    added = added + tap
            counted[times] += 1
    return counted


class Counts:
    """What the layers of a model add up to; `run` is how often a thing runs in an inference."""

    def __init__(self, model):
        self.groups = self.groups_run = self.leave = self.leave_run = 0
        # (window, times) of rows of taps: their number, and how often they run.
        self.taps = {}
        self.macs = self.outputs = 0
        self.blocks = []
        for weights, depthwise, stride, height, width in convolutions(model):
            self.outputs += len(weights) * height * width
            if depthwise:
                size = weights.shape[2]
                window = f"{size} x {size}" + (", two apart" if stride == 2 else "")
                for times, number in rows(weights).items():
                    before = self.taps.get((window, times), (0, 0))
                    self.taps[window, times] = before[0] + number, before[1] + number * height * -(-width // 4)
                continue
            matrix = weights.reshape(len(weights), -1)
            groups, leave = product(matrix)
            pairs = -(-height * width // 2)
            self.groups, self.groups_run = self.groups + groups, self.groups_run + groups * pairs
            self.leave, self.leave_run = self.leave + leave, self.leave_run + leave * pairs
            self.macs += height * width * -(-matrix.shape[0] // 8) * 8 * -(-matrix.shape[1] // 4) * 4
            if len(matrix) >= 32:
                self.blocks.append(32 * -(-matrix.shape[1] // GROUP) * GROUP)

    def rows(self, run):
        """Rows of taps that leave, and all."""
        leave = sum(counts[run] for (_, times), counts in self.taps.items() if times)
        return leave, sum(counts[run] for counts in self.taps.values())
