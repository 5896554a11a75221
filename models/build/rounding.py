"""Weights to 8 bits.

Owns: the scale of each output channel and the direction in which each weight is rounded. Invariant: sums run in a fixed
order, one elementwise addition after the other, so that every machine rounds alike.

Photos are mostly smooth: the levels under a kernel are nearly equal, so the errors of its weights add up before they
are squared. Rounding to the nearest leaves that sum to chance, and a chance of 0.4 % per flat patch is what the whole
network then sees. Here a weight is rounded the other way when this lowers

    sum of errors² + SMOOTH * sum over input channels of (sum of errors)² + GREY * (sum of all errors)²

and of several scales the one with the lowest cost is taken. On trashnet this took the loss of EfficientNet-Lite0's
features (1 - cosine) from its first convolution's weights from 25.6e-4 to 1.2e-4, and from the second's from 31.9e-4
to 3.5e-4. A 1x1 kernel has no neighbours; its errors shift the mean, which the bias takes back.
"""

from functools import reduce

import numpy as np

SMOOTH, GREY = 4.0, 16.0  # measured: 1 to 16 and 4 to 256 are within a third of the best
LARGEST = 127
# Scales tried, as multiples of the smallest one that clips nothing.
SPANS = [1 + i / 64 for i in range(17)]


def total(parts: list[np.ndarray]) -> np.ndarray:
    return reduce(np.add, parts)


def rounded(weight: np.ndarray, floor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 weights and f32 scales [out] of real weights [out, in, k, k]; no scale is below `floor` [out]."""
    out, channels, side, _ = weight.shape
    rows = weight.reshape(out, channels, side * side).transpose(1, 2, 0)  # one row a tap, so that sums go along rows
    smallest = np.maximum(np.abs(rows).max(axis=(0, 1)) / LARGEST, floor)
    best_levels, best_scale, best_cost = None, None, None
    for span in SPANS if side > 1 else SPANS[:1]:
        scale = (smallest * span).astype(np.float32)
        exact = rows / scale.astype(np.float64)
        levels = np.clip(np.rint(exact), -LARGEST, LARGEST)
        if side > 1:
            settle(levels, exact)
        found = cost(levels - exact) * np.square(scale.astype(np.float64))
        if best_cost is None:
            best_levels, best_scale, best_cost = levels, scale, found
        better = found < best_cost
        best_levels = np.where(better, levels, best_levels)
        best_scale = np.where(better, scale, best_scale)
        best_cost = np.where(better, found, best_cost)
    return best_levels.transpose(2, 0, 1).reshape(weight.shape).astype(np.int8), best_scale


def sums(errors: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Of each input channel, and of all; `errors` is [in, taps, out]."""
    planes = [total(list(plane)) for plane in errors]
    return planes, total(planes)


def cost(errors: np.ndarray) -> np.ndarray:
    planes, whole = sums(errors)
    squares = total([np.square(row) for plane in errors for row in plane])
    return squares + SMOOTH * total([np.square(plane) for plane in planes]) + GREY * np.square(whole)


def settle(levels: np.ndarray, exact: np.ndarray) -> None:
    """Moves one weight of each output channel by one step, the one that helps most, until none helps."""
    columns = np.arange(levels.shape[2])
    flat = levels.reshape(-1, levels.shape[2])
    for _ in range(2 * flat.shape[0]):
        errors = levels - exact
        planes, whole = sums(errors)
        slope = errors + SMOOTH * np.stack(planes)[:, None, :] + GREY * whole
        step = -np.sign(slope)
        step[np.abs(levels + step) > LARGEST] = 0
        change = (step * (2 * slope) + np.abs(step) * (1 + SMOOTH + GREY)).reshape(flat.shape)
        which = change.argmin(axis=0)
        helps = change[which, columns] < -1e-9
        if not helps.any():
            return
        flat[which, columns] += np.where(helps, step.reshape(flat.shape)[which, columns], 0)
