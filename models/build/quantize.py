"""From float64 layers to integers and scales.

Owns: equalization of the channels between two convolutions, weight scales, rounding, bias in 32 bits. Does not own: the
calibrated ranges and bias corrections (`ranges/NAME.toml`). Invariant: elementwise arithmetic and exactly rounded sums
only, so that every machine writes the same bytes.

Every ReLU6 tensor is stored as u8 with zero point 0 and scale 6/255: storing it clips to [0, 6], and no Clip node is
needed. Inside a block a channel whose values stay small is scaled up to fill that range and the next convolution's
weights are divided by the same factor: eight bits per channel at no cost (Nagel et al. 2019, section 4.1).
"""

import math
import pathlib
import tomllib
from dataclasses import dataclass, replace

import numpy as np

from networks import Conv, Network
from rounding import rounded

MEAN = (0.485, 0.456, 0.406)  # ImageNet's, RGB, of values between 0 and 1
STD = (0.229, 0.224, 0.225)
PAD_VALUE = 116  # grey level nearest to MEAN in all channels: round(255 * (0.485 + 0.456 + 0.406) / 3) is 114.5 ... see README
TOP = 6.0


@dataclass(frozen=True)
class Scale:
    """real = scale * (level - zero)"""

    scale: np.float32
    zero: int


@dataclass(frozen=True)
class Integers:
    """An integer convolution: real weight = weight * scale[out], real bias = bias * input scale * scale[out]."""

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


def fold_normalization(stem: Conv) -> Conv:
    """Moves (x / 255 - MEAN) / STD into the stem, for an input of (x - PAD_VALUE) / 255."""
    std = np.array(STD)[None, :, None, None]
    offset = (PAD_VALUE / 255 - np.array(MEAN))[None, :, None, None] / std
    moved = [math.fsum(kernel.ravel()) for kernel in stem.weight * offset]
    return replace(stem, weight=stem.weight / std, bias=stem.bias + np.array(moved))


@dataclass(frozen=True)
class Calibration:
    """What was measured on photos; calibrate.py writes it."""

    scales: dict[str, Scale]  # of the tensors that ReLU6 does not bound
    reach: dict[str, np.ndarray]  # conv -> where the values of each channel end, at most TOP
    shift: dict[str, np.ndarray]  # conv -> what is added to its bias, in the unit of the equalized bias

    @staticmethod
    def read(path: pathlib.Path) -> "Calibration":
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        return Calibration(
            scales={name: scale_of(*ends) for name, ends in raw["range"].items()},
            reach={name: np.array(ends) for name, ends in raw.get("reach", {}).items()},
            shift={name: np.array(shift) for name, shift in raw.get("shift", {}).items()},
        )

    def equalize(self, network: Network) -> Network:
        return replace(network, stem=fold_normalization(network.stem))


def integers(conv: Conv, input_scale: Scale, shift: np.ndarray) -> Integers:
    """`shift` is added to the bias, in the unit of the (equalized) bias."""
    bias = conv.bias + shift
    # A dead channel has nearly no weights: keep its bias within 29 bits.
    floor = np.abs(bias) / (np.float64(input_scale.scale) * 2.0**29)
    weight, scale = rounded(conv.weight, np.maximum(floor, 1e-12))
    bias_scale = input_scale.scale * scale
    return Integers(weight, scale, np.rint(bias / bias_scale.astype(np.float64)).astype(np.int32), bias_scale)
