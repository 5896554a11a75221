"""The networks, as lists of blocks, with BatchNorm folded into the convolutions.

Owns: which tensors of a checkpoint make which layer, strides, padding and residual connections. Does not own: numbers
of bits. Invariant: folding is elementwise float64 arithmetic, so it gives the same bytes on every machine.
"""

from dataclasses import dataclass

import numpy as np

SIDE = 224
FEATURES = 1280


@dataclass(frozen=True)
class Conv:
    """A convolution with its BatchNorm folded in: `weight` is [out, in / groups, k, k]."""

    name: str
    output: str  # name of the tensor it makes
    weight: np.ndarray
    bias: np.ndarray
    stride: int
    pads: tuple[int, int, int, int]  # ONNX order: top, left, bottom, right
    groups: int
    relu6: bool

    @property
    def channels(self) -> int:
        return self.weight.shape[0]

    @property
    def kernel(self) -> int:
        return self.weight.shape[2]

    @property
    def depthwise(self) -> bool:
        return self.groups > 1


@dataclass(frozen=True)
class Block:
    """Expand (not in the first block), depthwise, project; then, where `residual`, its own input is added."""

    convs: tuple[Conv, ...]
    residual: bool
    stage: str  # blocks of one stage share their channels through the additions
    end: str  # name of the tensor it makes: the one at which the next block begins

    @property
    def channels(self) -> int:
        return self.convs[-1].channels


@dataclass(frozen=True)
class Network:
    stem: Conv
    blocks: tuple[Block, ...]
    head: Conv
    taps: dict[str, int]  # tensor at the end of a stage -> its channels

    @property
    def convs(self) -> list[Conv]:
        """In the order in which they run."""
        return [self.stem, *(conv for block in self.blocks for conv in block.convs), self.head]


@dataclass(frozen=True)
class Stage:
    repeats: int
    channels: int
    kernel: int
    stride: int
    expand: int
    tapped: bool = False


# Tan and Le 2019, table 1 (EfficientNet-B0); Lite0 has no squeeze-and-excitation and ReLU6 for swish.
LITE0 = (
    Stage(1, 16, 3, 1, 1),
    Stage(2, 24, 3, 2, 6),
    Stage(2, 40, 5, 2, 6),
    Stage(3, 80, 3, 2, 6, tapped=True),
    Stage(3, 112, 5, 1, 6, tapped=True),
    Stage(4, 192, 5, 2, 6, tapped=True),
    Stage(1, 320, 3, 1, 6, tapped=True),
)
# Sandler et al. 2018, table 2 (MobileNetV2).
MOBILENET_V2 = (
    Stage(1, 16, 3, 1, 1),
    Stage(2, 24, 3, 2, 6),
    Stage(3, 32, 3, 2, 6),
    Stage(4, 64, 3, 2, 6, tapped=True),
    Stage(3, 96, 3, 1, 6, tapped=True),
    Stage(3, 160, 3, 2, 6, tapped=True),
    Stage(1, 320, 3, 1, 6, tapped=True),
)


def same_pads(kernel: int, stride: int) -> tuple[int, int, int, int]:
    """TensorFlow's "SAME" for sides that the stride divides: the odd row goes to the bottom and to the right."""
    total = kernel - stride
    return (total // 2, total // 2, total - total // 2, total - total // 2)


def even_pads(kernel: int, stride: int) -> tuple[int, int, int, int]:
    return (kernel // 2,) * 4


class Reader:
    """Makes layers out of a checkpoint."""

    def __init__(self, state: dict, epsilon: float, pads):
        self.state, self.epsilon, self.pads = state, epsilon, pads

    def conv(self, name: str, names: tuple[str, str], output: str, stride=1, depthwise=False, relu6=True) -> Conv:
        weight, norm = names
        kernel = self.state[f"{weight}.weight"].astype(np.float64)
        gain, shift, mean, variance = (
            self.state[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = gain / np.sqrt(variance + self.epsilon)
        return Conv(
            name=name,
            output=output,
            weight=kernel * factor[:, None, None, None],
            bias=shift - mean * factor,
            stride=stride,
            pads=self.pads(kernel.shape[2], stride),
            groups=kernel.shape[0] if depthwise else 1,
            relu6=relu6,
        )

    def network(self, stages, stem, blocks, head) -> Network:
        """`stem` and `head` are the (weight, norm) of a layer; `blocks(index, expanded)` lists those of a block."""
        made, taps, channels = [], {}, self.state[f"{stem[0]}.weight"].shape[0]
        count = sum(stage.repeats for stage in stages)
        for stage in stages:
            for repeat in range(stage.repeats):
                index, stride = len(made), stage.stride if repeat == 0 else 1
                end = f"block{index + 1}_in" if index + 1 < count else "head_in"
                residual = stride == 1 and channels == stage.channels
                label = f"b{index}"
                *expand, depthwise, project = blocks(index, stage.expand > 1)
                convs = [self.conv(f"{label}e", names, f"{label}e") for names in expand]
                convs.append(self.conv(f"{label}d", depthwise, f"{label}d", stride=stride, depthwise=True))
                convs.append(self.conv(f"{label}p", project, f"{label}p" if residual else end, relu6=False))
                made.append(Block(tuple(convs), residual, f"stage{stage.channels}", end))
                channels = stage.channels
            if stage.tapped:
                taps[end] = channels
        first = self.conv("stem", stem, "block0_in", stride=2)
        return Network(first, tuple(made), self.conv("head", head, "head"), taps)


def efficientnet_lite0(state: dict) -> Network:
    def names(index, expanded):
        block = f"_blocks.{index}."
        expand = [(f"{block}_expand_conv", f"{block}_bn0")] if expanded else []
        return [*expand, (f"{block}_depthwise_conv", f"{block}_bn1"), (f"{block}_project_conv", f"{block}_bn2")]

    reader = Reader(state, epsilon=1e-3, pads=same_pads)
    return reader.network(LITE0, ("_conv_stem", "_bn0"), names, ("_conv_head", "_bn1"))


def mobilenet_v2(state: dict) -> Network:
    def names(index, expanded):
        block, last = f"features.{index + 1}.conv.", 2 if expanded else 1
        inner = [(f"{block}{i}.0", f"{block}{i}.1") for i in range(last)]
        return [*inner, (f"{block}{last}", f"{block}{last + 1}")]

    reader = Reader(state, epsilon=1e-5, pads=even_pads)
    return reader.network(MOBILENET_V2, ("features.0.0", "features.0.1"), names, ("features.18.0", "features.18.1"))


NETWORKS = {"efficientnet-lite0-int8": efficientnet_lite0, "mobilenet-v2-int8": mobilenet_v2}
