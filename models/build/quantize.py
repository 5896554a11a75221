"""From float64 layers to integers and scales.

Owns: the scale of every tensor, the 32-bit biases, and the input's normalization, which goes into the first
convolution. Does not own: how weights are rounded (rounding.py). Invariant: elementwise arithmetic and exactly
rounded sums only, so that every machine writes the same bytes.

A ReLU6 tensor is stored with zero point 0 and scale 6/255: storing it clips it to [0, 6], and no Clip node is needed.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from calibration import SHIFT_PARTS, Calibration
from networks import Conv, Network
from rounding import rounded

# ImageNet's, RGB, of levels between 0 and 1: what both networks were trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# The input's zero point, and so the level of the network's own padding: 255 times the mean of the middle channel. The
# original pads each channel with its mean, (124, 116, 104); a quantized tensor has one level for all. Between 104 and
# 120 it hardly matters.
PAD_VALUE = 116
TOP = 6.0
# Keeps the bias of a channel whose weights are all but zero within 29 bits.
BIAS_LIMIT = 2.0**29
LEAST_SCALE = 1e-12


@dataclass(frozen=True)
class Scale:
    """real = scale * (level - zero)"""

    scale: np.float32
    zero: int


@dataclass(frozen=True)
class Integers:
    """Real weight = weight * scale[out]; real bias = bias * bias_scale[out], the input's scale times the weight's."""

    weight: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    bias_scale: np.ndarray


IMAGE = Scale(np.float32(1 / 255), PAD_VALUE)
RELU6 = Scale(np.float32(TOP / 255), 0)


def scale_of(low: float, high: float) -> Scale:
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255)
    return Scale(scale, int(np.rint(-low / np.float64(scale))))


def scales(network: Network, calibration: Calibration) -> dict[str, Scale]:
    """Tensor -> its scale."""
    bounded = {conv.output: RELU6 for conv in network.convs if conv.relu6}
    return {"image": IMAGE} | bounded | {name: scale_of(*ends) for name, ends in calibration.range.items()}


def fold_normalization(network: Network) -> Network:
    """Moves (x / 255 - MEAN) / STD into the first convolution, for an input of (x - PAD_VALUE) / 255."""
    stem = network.stem
    std = np.array(STD)[None, :, None, None]
    offset = (PAD_VALUE / 255 - np.array(MEAN))[None, :, None, None] / std
    moved = [math.fsum(kernel.ravel()) for kernel in stem.weight * offset]
    return replace(network, stem=replace(stem, weight=stem.weight / std, bias=stem.bias + np.array(moved)))


def integers(conv: Conv, source: Scale, target: Scale, shift: list[int]) -> Integers:
    """`shift` is added to the bias, in sixteenths of a step of `target`."""
    bias = conv.bias + np.array(shift) * (np.float64(target.scale) / SHIFT_PARTS)
    floor = np.abs(bias) / (np.float64(source.scale) * BIAS_LIMIT)
    weight, scale = rounded(conv.weight, np.maximum(floor, LEAST_SCALE))
    bias_scale = source.scale * scale
    return Integers(weight, scale, np.rint(bias / bias_scale.astype(np.float64)).astype(np.int32), bias_scale)
