"""Measures on photos what a rebuild needs, and writes `ranges/NAME.toml`.

Owns: where tensors are cut off, how channels are equalized, and how biases are shifted. Needs Pillow; build.py does not
need this file. It takes some minutes.

    python models/build/calibrate.py --photos FOLDER COUNT [--photos FOLDER COUNT…] [--wheels FOLDER] NAME

The committed files: 480 photos of TrashNet's training folder, 120 of magnetic_tile's.
"""

import argparse
import pathlib
import random
from collections import defaultdict

import numpy as np
import onnxruntime
from PIL import Image

import golden
import graph
from build import RANGES, load_network, read_card
from calibration import SHIFT_PARTS, Calibration
from networks import NETWORKS, SIDE, Network
from quantize import TOP, scales

# The shifts are measured on every EVERY-th of the photos.
EVERY = 4
# Linear tensors are cut off at this part of the largest value seen. Their largest values are rare and far out, and the
# features lose less by cutting them than by a coarser step: of 0.6, 0.7, 0.75, 0.85 and 1 this was best on both.
CUT = 0.7
# What ReLU6 channels may exceed the largest value seen by: a cut there, in the first layers, is a cut through every
# white background.
MARGIN = 1.05
LARGEST_STEPS = 16  # a factor of 2^(16/4) = 16
# Of a channel of a stage, over photos: the quantile of its largest value that its factor is made of.
PEAK = 0.9
# Equalizing EfficientNet-Lite0 changes nothing (0.9979 both ways); MobileNetV2's features go from 0.968 to 0.989 with
# the factors inside the blocks and to 0.995 with those of the stage of 160 channels, whose few large channels leave
# the others no steps.
EQUALIZED_STAGES = {"efficientnet-lite0-int8": None, "mobilenet-v2-int8": ["stage160"]}
# Positions of each photo compared, and the share of differences left out at either end: the positions that CUT
# reaches are far off, and must not move the bias of all others.
POSITIONS = 32
TRIM = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", metavar="NAME", choices=NETWORKS)
    parser.add_argument(
        "--photos",
        nargs=2,
        action="append",
        required=True,
        metavar=("FOLDER", "COUNT"),
        help="tree of JPEG or PNG files, and how many to take of it",
    )
    parser.add_argument("--wheels", type=pathlib.Path, help="folder with the packages' wheels")
    arguments = parser.parse_args()
    network = load_network(arguments.name, read_card(arguments.name), arguments.wheels)
    photos = [photo for folder, count in arguments.photos for photo in read_photos(pathlib.Path(folder), int(count))]
    calibration = Calibration()
    lows, highs = extremes(network, [*photos, *charts()])
    stages = EQUALIZED_STAGES[arguments.name]
    if stages is not None:
        calibration.factor = factors(network, lows, highs, stages)
    calibration.range = ranges(network, calibration, lows, highs, len(photos))
    calibration.shift = shifts(network, calibration, photos[::EVERY])
    pictures = f"{len(photos)} photos and {len(charts())} charts"
    comment = f"Written by calibrate.py from {pictures}; calibration.py explains it."
    calibration.write(RANGES / f"{arguments.name}.toml", comment)


def read_photos(folder: pathlib.Path, count: int) -> list[np.ndarray]:
    """At most `count` photos of a tree as [1, 3, H, W], squashed to the input; always the same ones."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    chosen = sorted(random.Random(0).sample(paths, min(count, len(paths))))
    return [read_photo(path) for path in chosen]


def read_photo(path: pathlib.Path) -> np.ndarray:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return pixels.transpose(2, 0, 1)[None]


def charts() -> list[np.ndarray]:
    """Pictures no photo collection is sure to hold: flat saturated colours, and the golden picture and its negative."""
    flat = [np.full((1, 3, SIDE, SIDE), 0, np.uint8) for _ in range(8)]
    for corner, image in enumerate(flat):
        for channel in range(3):
            image[:, channel] = 255 * (corner >> channel & 1)
    drawn = golden.picture().transpose(2, 0, 1)[None]
    return [*flat, drawn, 255 - drawn]


def session(model) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph.to_bytes(model), providers=["CPUExecutionProvider"])


def values(network: Network) -> list[str]:
    """Every tensor but the input, before it is clipped."""
    return list(dict.fromkeys([conv.output for conv in network.convs] + [block.end for block in network.blocks]))


def extremes(network: Network, images: list[np.ndarray]) -> tuple[dict, dict]:
    """Tensor -> the lowest and the highest value of each channel in each picture, [pictures, channels]."""
    names = values(network)
    wanted = [f"{name}.f" for name in names]
    run = session(graph.Reference(network).write("reference", wanted)).run
    lows, highs = defaultdict(list), defaultdict(list)
    for image in images:
        for name, value in zip(names, run(wanted, {"image": image})):
            lows[name].append(value.min(axis=(0, 2, 3)))
            highs[name].append(value.max(axis=(0, 2, 3)))
    return {name: np.array(rows) for name, rows in lows.items()}, {name: np.array(rows) for name, rows in highs.items()}


def factors(network: Network, lows: dict, highs: dict, stages: list[str]) -> dict[str, list[int]]:
    """Steps of 2^(1/4) that bring every channel near the full range of its tensor."""
    made, convs = {}, network.convs
    for conv, reader in zip(convs, convs[1:]):
        if conv.relu6:
            largest = np.clip(MARGIN * highs[conv.output].max(axis=0), None, TOP)
            # A depthwise reader takes the factor into its own scale. A 1x1 reader has one scale for all channels it
            # reads: the root shares the loss between its weights and its input.
            made[conv.name] = steps(largest / TOP, 1.0 if reader.depthwise else 0.5)
    for stage in stages:
        blocks = [block for block in network.blocks if block.stage == stage]
        tensors = {name for block in blocks for name in (block.convs[-1].output, block.end)}
        peaks = [np.quantile(np.maximum(highs[name], -lows[name]), PEAK, axis=0) for name in sorted(tensors)]
        share = np.max([peak / peak.max() for peak in peaks], axis=0)
        made[stage] = steps(share, 1.0)
    return made


def steps(share: np.ndarray, power: float) -> list[int]:
    wanted = -4 * power * np.log2(np.maximum(share, 2.0 ** (-LARGEST_STEPS / 4)))
    return [int(step) for step in np.floor(wanted)]


def ranges(network: Network, calibration: Calibration, lows: dict, highs: dict, count: int) -> dict[str, list[float]]:
    """Of the first `count` pictures, the photos: what charts do to linear tensors would only coarsen the steps."""
    made = {}
    for block in network.blocks:
        for name in dict.fromkeys((block.convs[-1].output, block.end)):
            gain = CUT * calibration.gain(block.stage)
            ends = (lows[name][:count] * gain).min(), (highs[name][:count] * gain).max()
            made[name] = [float(f"{end:.5g}") for end in ends]
    return made


def shifts(network: Network, calibration: Calibration, photos: list[np.ndarray]) -> dict[str, list[int]]:
    """Layer by layer, what brings the quantized network's values back to the original's, those before it corrected."""
    gains, targets = calibration.output_gains(network), scales(network, calibration)
    wanted = [f"{conv.output}.f" for conv in network.convs]
    places = [np.random.default_rng(index) for index in range(len(photos))]
    run = session(graph.Reference(network).write("reference", wanted)).run
    original, chosen = defaultdict(list), defaultdict(list)
    for image, place in zip(photos, places):
        for conv, value in zip(network.convs, run(wanted, {"image": image})):
            flat = value.reshape(conv.channels, -1)
            chosen[conv.name].append(place.choice(flat.shape[1], min(POSITIONS, flat.shape[1]), replace=False))
            original[conv.name].append(flat[:, chosen[conv.name][-1]])
    made = Calibration(calibration.range, calibration.factor)
    for conv in network.convs:
        name = f"{conv.output}.f"
        run = session(graph.Quantized(network, made).write("quantized", [name])).run
        differences = []
        for image, was, at in zip(photos, original[conv.name], chosen[conv.name]):
            now = run([name], {"image": image})[0].reshape(conv.channels, -1)[:, at]
            differences.append(was * gains[conv.name][:, None] - now)
        shift = trimmed_mean(np.concatenate(differences, axis=1))
        made.shift[conv.name] = [int(part) for part in np.rint(shift * SHIFT_PARTS / targets[conv.output].scale)]
        print(f"{conv.name}: mean shift {np.abs(shift / targets[conv.output].scale).mean():.3f} steps", flush=True)
    return made.shift


def trimmed_mean(rows: np.ndarray) -> np.ndarray:
    """Of each row, without its TRIM lowest and TRIM highest parts."""
    cut = int(rows.shape[1] * TRIM)
    return np.sort(rows, axis=1)[:, cut : rows.shape[1] - cut].mean(axis=1)


if __name__ == "__main__":
    main()
