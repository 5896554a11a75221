"""How close the quantized backbones are to the originals, on photos: what stands under [fidelity] in each card.

    python models/build/fidelity.py --train DIR --test DIR [--wheels FOLDER] [NAME…]

Owns: the measurement. The original is the f32 network with its exact normalization and padding; both see the same
pixels. DIR is a folder of classes. Prints, for each backbone, the mean and the lowest cosine of the features over the
test photos, the mean cosine of each tap, and the accuracy of one linear probe trained on either side's features.
"""

import argparse
import pathlib

import numpy as np
import onnxruntime
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import graph
from build import MODELS, load_network, read_card
from calibrate import read_photo
from networks import NETWORKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="backbones to measure (all)")
    parser.add_argument("--train", type=pathlib.Path, required=True)
    parser.add_argument("--test", type=pathlib.Path, required=True)
    parser.add_argument("--wheels", type=pathlib.Path, help="folder with the packages' wheels")
    arguments = parser.parse_args()
    for name in arguments.names or sorted(NETWORKS):
        measure(name, arguments)


def measure(name: str, arguments: argparse.Namespace) -> None:
    network = load_network(name, read_card(name), arguments.wheels)
    original = graph.to_bytes(graph.Reference(network).write("reference"))
    quantized = (MODELS / name / "model.onnx").read_bytes()
    sides = [onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]) for model in (original, quantized)]
    (train, labels), (test, truth) = (embed(sides, folder) for folder in (arguments.train, arguments.test))
    names = [output for output, _ in graph.outputs(network)]
    cosines = {output: cosine(*(side[index] for side in test)) for index, output in enumerate(names)}
    features = cosines["features"]
    print(f"{name}, {len(truth)} photos")
    print(f"  cosine of the features: mean {features.mean():.5f}, lowest {features.min():.4f}")
    print("  of the taps: " + ", ".join(f"{k} {v.mean():.4f}" for k, v in cosines.items() if k != "features"))
    probes = [probe(learn[0], labels, judge[0], truth) for learn, judge in zip(train, test)]
    print(f"  linear probe, balanced accuracy: f32 {probes[0]:.3f}, int8 {probes[1]:.3f}")


def embed(sides: list, folder: pathlib.Path) -> tuple[list, np.ndarray]:
    """For each side its outputs, [photos, width] each; and the photos' labels."""
    paths = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    photos = [read_photo(path) for path in paths]
    outputs = []
    for side in sides:
        rows = [side.run(None, {"image": photo}) for photo in photos]
        outputs.append([np.concatenate(column) for column in zip(*rows)])
    return outputs, np.array([path.parent.name for path in paths])


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


def probe(rows: np.ndarray, labels: np.ndarray, judges: np.ndarray, truth: np.ndarray) -> float:
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(rows, labels)
    return float(balanced_accuracy_score(truth, head.predict(judges)))


if __name__ == "__main__":
    main()
