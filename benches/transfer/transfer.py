"""What the frozen backbone is worth: accuracy against the number of labelled photos a class, and the time it takes.

    pip install -r benches/transfer/requirements.txt
    python benches/transfer/transfer.py --data DIR [--results FILE.json] [--plot docs/transfer.svg]

Three ways to learn from the same photos, judged on the same others: the head of `fieldhead fewshot` on the backbone's features, the same
head on raw pixels (photos resized to 32 x 32, RGB, as 3,072 numbers), and a small convolutional network trained from scratch
(`network.py`). `DIR/<set>/train` and `DIR/<set>/val` are folders of classes. Prints a table, and draws the first set. What was measured
before is taken from `--results`: a run that was broken off goes on.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import numpy as np
from PIL import Image
from sklearn.metrics import balanced_accuracy_score

import network
import plot

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target" / "release" / "fieldhead"
sys.path.insert(0, str(ROOT / "benches" / "versus"))
from shots import draw

WAYS = ("backbone", "pixels", "network")
NAMES = {
    "backbone": "frozen backbone, head (fieldhead)",
    "pixels": "raw pixels, the same head",
    "network": "small network trained from scratch",
}
PIXELS = 32


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--sets", default="trashnet,magnetic_tile")
    parser.add_argument("--shots", default="1,2,5,10,20,all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--plot", type=pathlib.Path)
    args = parser.parse_args()
    subprocess.run(["cargo", "build", "--release"], cwd=ROOT, check=True)
    known = json.loads(args.results.read_text()) if args.results and args.results.exists() else {}

    def measured(key, measure):
        """`[accuracy, ms]` from before, or measured now and kept."""
        key = "/".join(map(str, key))
        if key not in known:
            known[key] = measure()
            if args.results:
                args.results.write_text(json.dumps(known, indent=1))
        return known[key]

    for name in args.sets.split(","):
        curves = {way: {} for way in WAYS}
        for shots in args.shots.split(","):
            runs = {way: [] for way in WAYS}
            for seed in range(1 if shots == "all" else args.seeds):
                for way in WAYS:
                    cell = (name, shots, seed, way)
                    runs[way].append(measured(cell, lambda: MEASURE[way](args.data / name, shots, seed)))
            for way in WAYS:
                curves[way][shots] = np.mean(runs[way], axis=0)
        table(name, curves, args.shots.split(","), args.seeds)
        if args.plot and name == args.sets.split(",")[0]:
            args.plot.write_text(plot.svg(name, {NAMES[way]: curve for way, curve in curves.items()}))


def photos(folder: pathlib.Path):
    """Paths and labels, in the order of `fieldhead`."""
    names = sorted(path.name for path in folder.iterdir())
    files = [(path, label) for label, name in enumerate(names) for path in sorted((folder / name).iterdir())]
    return [path for path, _ in files], np.array([label for _, label in files]), names


def drawn(data, shots, seed):
    paths, labels, names = photos(data / "train")
    rows = range(len(labels)) if shots == "all" else draw(seed, int(shots), labels)
    return [paths[row] for row in rows], labels[list(rows)], names


def resized(paths, side):
    pictures = [Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BOX) for path in paths]
    return np.stack([np.asarray(picture, dtype=np.float32) for picture in pictures]) / 127.5 - 1


def fewshot(train, test):
    """Accuracy and ms of the head that `auto` trains on all of `train`."""
    words = ["fewshot", "--train", train, "--test", test, "--shots", "all", "--heads", "auto", "--json"]
    done = subprocess.run([PROGRAM, *map(str, words)], check=True, stdout=subprocess.PIPE)
    result = json.loads(done.stdout)["results"][0]
    return 100 * result["balanced_accuracy"], result["train_ms"]


def backbone(data, shots, seed):
    """Time: the photos from files to features, and the head. The drawn photos are linked into a folder of their own."""
    paths, _, names = drawn(data, shots, seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for path in paths:
            (folder / "train" / path.parent.name).mkdir(parents=True, exist_ok=True)
            (folder / "train" / path.parent.name / path.name).symlink_to(path.resolve())
        start = time.perf_counter()
        words = ["features", "--from", folder / "train", "--out", folder / "train.npz", "--json"]
        subprocess.run([PROGRAM, *map(str, words)], check=True, stdout=subprocess.DEVNULL)
        ms = 1e3 * (time.perf_counter() - start)
        accuracy, ms_head = fewshot(folder / "train", data / "val")
    return accuracy, ms + ms_head


def pixels(data, shots, seed):
    paths, labels, names = drawn(data, shots, seed)
    tests, truth, _ = photos(data / "val")
    with tempfile.TemporaryDirectory() as folder:
        files = [pathlib.Path(folder) / f"{side}.npz" for side in ("train", "test")]
        start = time.perf_counter()
        rows = resized(paths, PIXELS).reshape(len(paths), -1)
        ms = 1e3 * (time.perf_counter() - start)
        judges = resized(tests, PIXELS).reshape(len(tests), -1)
        for file, features, of in zip(files, (rows, judges), (labels, truth)):
            np.savez(file, features=features, labels=of.astype(np.int64), label_names=np.array(names))
        accuracy, ms_head = fewshot(*files)
    return accuracy, ms + ms_head


def from_scratch(data, shots, seed):
    paths, labels, _ = drawn(data, shots, seed)
    tests, truth, _ = photos(data / "val")
    start = time.perf_counter()
    weights = network.train(resized(paths, network.SIDE), labels, seed)
    ms = 1e3 * (time.perf_counter() - start)
    said = network.answers(weights, resized(tests, network.SIDE))
    return 100 * balanced_accuracy_score(truth, said), ms


MEASURE = {"backbone": backbone, "pixels": pixels, "network": from_scratch}


def table(name, curves, shots, seeds):
    print(f"\n{name}: balanced accuracy in % (time from files to a trained head), mean of {seeds} draws\n")
    print(f"{'photos a class':36}" + "".join(f"{count:>16}" for count in shots))
    for way, curve in curves.items():
        cells = (f"{curve[count][0]:.1f} ({curve[count][1] / 1e3:.2f} s)" for count in shots)
        print(f"{NAMES[way]:36}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    main()
