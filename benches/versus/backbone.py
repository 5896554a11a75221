"""Times one inference of the installed backbones: fieldhead's kernels beside onnxruntime, same file, same run.

    python benches/versus/backbone.py [--fieldhead target/release/fieldhead] [--rounds 7]

The contestants take turns, so that a neighbour on the machine disturbs all of them alike; each figure is the median over the
rounds of the median of 30 inferences. onnxruntime runs the same QDQ file with its default optimizations; tract is stock tract on the
whole file, which it runs in floats (FIELDHEAD_KERNEL=tract).
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import onnxruntime

MODELS = ["efficientnet-lite0-int8", "mobilenet-v2-int8"]
RUNS = 30


def session(path, threads=1):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def time_onnxruntime(one, pixels):
    output = [one.get_outputs()[0].name]
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        one.run(output, {"image": pixels})
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def time_fieldhead(binary, folder, threads, kernel=None):
    environment = dict(os.environ)
    if kernel:
        environment["FIELDHEAD_KERNEL"] = kernel
    with tempfile.TemporaryDirectory() as field:
        command = [binary, "--field", field + "/field", "--backbone", folder, "--threads", str(threads)]
        said = subprocess.run(command + ["bench", "--json", "--runs", str(RUNS)],
                              env=environment, check=True, capture_output=True, text=True)
    return json.loads(said.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fieldhead", default="target/release/fieldhead")
    parser.add_argument("--models", default="models")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    binary = str(pathlib.Path(options.fieldhead).resolve())
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 224, 224), dtype=np.uint8)
    print(f"onnxruntime {onnxruntime.__version__}, medians in ms\n")
    for name in MODELS:
        folder = str(pathlib.Path(options.models, name).resolve())
        ort = {t: session(folder + "/model.onnx", t) for t in (1, 2)}
        rows = {}
        for _ in range(options.rounds):
            for threads, one in ort.items():
                rows.setdefault(f"onnxruntime, {threads} thread", []).append(time_onnxruntime(one, pixels))
            for kernel, threads in [(None, 1), (None, 2), ("avx2", 1), ("tract", 1)]:
                said = time_fieldhead(binary, folder, threads, kernel)
                label = f"fieldhead {said['kernel']}, {threads} thread"
                rows.setdefault(label, []).append(said["backbone_ms"]["median"])
        peer = statistics.median(rows["onnxruntime, 1 thread"])
        stock = statistics.median(rows["fieldhead tract, 1 thread"])
        print(f"{name}\n  {'':32}{'ms':>8}{'to onnxruntime':>16}{'to tract':>10}")
        for label, times in rows.items():
            median = statistics.median(times)
            print(f"  {label:32}{median:8.2f}{median / peer:16.2f}{median / stock:10.3f}")
        print()


if __name__ == "__main__":
    main()
