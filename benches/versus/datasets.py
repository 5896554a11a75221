"""The data sets as features and labels, split as their makers split them.

`DIR/<set>` holds the recordings; a `PROVENANCE.txt` beside them says where they come from. Photos become features by
`fieldhead features`, sensors by `sensors.py` or by `fieldhead features` too. Splits by recording or by object are kept: magnetic_tile's
sides share no tile, and of the bearings one motor load learns and another judges (train and val of one load are pieces of one
recording). The bearings' class `normal` is left out: the loads that judge do not have it.
"""

import math
import pathlib
import wave

import numpy as np
from PIL import Image, ImageDraw

import sensors

BEARING = {f"{part}_{inch}" for part in ("ball", "inner", "outer") for inch in ("007", "014", "021")}
# Name: folder to learn from, folder to judge, features of a file (None: photos), classes (None: all).
SETS = {
    "trashnet": ("trashnet/train", "trashnet/val", None, None),
    "magnetic_tile": ("magnetic_tile/train", "magnetic_tile/val", None, None),
    "basic_motions": ("basic_motions/train", "basic_motions/val", sensors.motion, None),
    "cwru_bearing 0-3": ("cwru_bearing/load0/train", "cwru_bearing/load3/val", sensors.vibration, BEARING),
    "cwru_bearing 1-3": ("cwru_bearing/load1/train", "cwru_bearing/load3/val", sensors.vibration, BEARING),
    "fsdd": ("fsdd/train", "fsdd/val", sensors.speech, None),
    "magic_wand": ("magic_wand/train", "magic_wand/val", sensors.path, None),
}


def write(data: pathlib.Path, name: str, folder: pathlib.Path, embed, own: bool) -> list[pathlib.Path]:
    """Writes train and test of a set as `.npz`; `embed(from, to)` lets fieldhead embed a folder, of sensors too if `own`."""
    *sides, features, classes = SETS[name]
    kind = "-own" if own and features else ""
    paths = [folder / f"{name.replace(' ', '-')}{kind}-{side}.npz" for side in ("train", "test")]
    for side, path in zip(sides, paths):
        if path.exists():
            continue
        if features is None or own:
            embed(data / side, path)
            keep(path, classes)
        else:
            np.savez(path, **sensors.tree(data / side, features, classes))
    return paths


def keep(path: pathlib.Path, classes: set | None):
    """Leaves the rows of some classes in a file of features."""
    with np.load(path) as file:
        table = dict(file)
    wanted = [at for at, name in enumerate(table["label_names"]) if classes is None or str(name) in classes]
    rows = np.isin(table["labels"], wanted)
    number = {old: new for new, old in enumerate(wanted)}
    np.savez(
        path,
        features=table["features"][rows],
        labels=np.array([number[label] for label in table["labels"][rows]], dtype=np.int64),
        label_names=table["label_names"][wanted],
    )


def strokes(data: pathlib.Path, folder: pathlib.Path):
    """magic_wand's strokes drawn as pictures, white on black: ten classes of 70 and 30 for a backbone."""
    for source in sorted((data / "magic_wand").glob("*/*/*.csv")):
        points = sensors.path(source).reshape(-1, 2)
        picture = Image.new("RGB", (256, 256))
        line = [(128 + 110 * x, 128 - 110 * y) for x, y in points]
        ImageDraw.Draw(picture).line(line, fill=(255, 255, 255), width=9, joint="curve")
        save(picture, folder, source)


def spectrograms(data: pathlib.Path, folder: pathlib.Path):
    """fsdd's digits as pictures: 64 log-mel bands upward, time to the right, 60 dB from black to white."""
    for source in sorted((data / "fsdd").glob("*/*/*.wav")):
        with wave.open(str(source)) as file:
            rate, signal = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        size, hop = rate * 32 // 1000, rate * 4 // 1000
        signal = np.pad(signal, (0, max(0, 2 * size - len(signal))))
        windows = np.lib.stride_tricks.sliding_window_view(signal, size)[::hop] * np.hanning(size)
        mel = 10 * np.log10(np.abs(np.fft.rfft(windows)) ** 2 @ sensors.filters(64, size, rate).T + 1e-9)
        grey = np.clip((mel - mel.max() + 60) / 60, 0, 1).T[::-1] * 255
        picture = Image.fromarray(grey.astype(np.uint8)).resize((256, 256), Image.Resampling.BILINEAR)
        save(picture.convert("RGB"), folder, source)


def save(picture: Image.Image, folder: pathlib.Path, source: pathlib.Path):
    """As `folder/<train|val>/<label>/<name>.png`."""
    side, label = source.parts[-3:-1]
    path = folder / side / label / f"{source.stem}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def clusters(n: int, width: int, classes: int, seed: int = 0) -> dict:
    """Gaussian clouds in a random subspace of 64 dimensions, of standard deviation 0.7 in each, around centres about 2√2 apart, and a
    little noise in all directions: classes overlap, as those of photos do."""
    random = np.random.default_rng(seed)
    basis = random.standard_normal((64, width)) / math.sqrt(width)
    labels = np.arange(n) % classes
    centers = 2 / math.sqrt(64) * random.standard_normal((classes, 64))
    inside = centers[labels] + 0.7 * random.standard_normal((n, 64))
    rows = inside @ basis + 0.1 / math.sqrt(width) * random.standard_normal((n, width))
    return {
        "features": rows.astype(np.float32),
        "labels": labels.astype(np.int64),
        "label_names": np.array([f"class {label:02}" for label in range(classes)]),
    }
