"""From process start to the label of one JPEG, and the memory that takes: fieldhead beside Python with onnxruntime and scikit-learn.

    python benches/versus/startup.py --train TRAIN [--fieldhead target/release/fieldhead] [--rounds 11]

TRAIN is a folder of classes. Both sides use the same backbone file and a softmax head fitted to the same photos beforehand; each
round starts both as new processes, one after the other. The median time and the largest peak of resident memory are printed.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

PEER = """
import pickle, sys
import numpy as np, onnxruntime
from PIL import Image
model, head, photo = sys.argv[1:]
options = onnxruntime.SessionOptions()
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
with open(head, "rb") as file:
    classifier = pickle.load(file)
picture = np.asarray(Image.open(photo).convert("RGB").resize((224, 224)), dtype=np.uint8).transpose(2, 0, 1)[None]
features = session.run([session.get_outputs()[0].name], {"image": picture})[0]
print(classifier.predict(features / np.linalg.norm(features))[0])
"""

FIT = """
import pickle, sys
import numpy as np
from sklearn.linear_model import LogisticRegression
with np.load(sys.argv[1]) as file:
    features, labels = file["features"], file["labels"]
features /= np.linalg.norm(features, axis=1, keepdims=True)
with open(sys.argv[2], "wb") as file:
    pickle.dump(LogisticRegression(C=100, max_iter=300).fit(features, labels), file)
"""


def run(command):
    """Wall time in ms and peak resident memory in MB of a new process. The peak begins at that of this process, so this one
    stays small: what needs numpy runs elsewhere."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = 1e3 * (time.perf_counter() - start)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} failed with {process.returncode}")
    return elapsed, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", required=True)
    parser.add_argument("--fieldhead", default="target/release/fieldhead")
    parser.add_argument("--model", default="models/efficientnet-lite0-int8")
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    binary = str(pathlib.Path(options.fieldhead).resolve())
    photos = sorted(p for p in pathlib.Path(options.train).resolve().glob("*/*") if p.suffix in {".jpg", ".jpeg"})
    with tempfile.TemporaryDirectory() as folder:
        ours = [binary, "--field", f"{folder}/field", "--backbone", str(pathlib.Path(options.model).resolve())]
        for command in (["collect", "--from", options.train, "--json"], ["train", "--head", "softmax", "--json"]):
            subprocess.run(ours + command, check=True, stdout=subprocess.DEVNULL)
        rows = f"{folder}/rows.npz"
        subprocess.run(ours + ["features", "--from", options.train, "--out", rows, "--json"], check=True, stdout=subprocess.DEVNULL)
        head = f"{folder}/head.pickle"
        subprocess.run([sys.executable, "-c", FIT, rows, head], check=True)
        peer = [sys.executable, "-c", PEER, str(pathlib.Path(options.model, "model.onnx").resolve()), head]
        times = {"fieldhead": [], "Python": []}
        for turn in range(options.rounds + 1):
            photo = str(photos[turn % len(photos)])
            for name, command in [("fieldhead", ours + ["predict", photo]), ("Python", peer + [photo])]:
                # The first round fills the caches of the disk.
                if turn:
                    times[name].append(run(command))
                else:
                    run(command)
        print(f"{'':12}{'ms':>8}{'MB':>8}")
        for name, measured in times.items():
            print(f"{name:12}{statistics.median(m for m, _ in measured):8.0f}{max(m for _, m in measured):8.0f}")


if __name__ == "__main__":
    main()
