"""Whether `fieldhead backbones --rank` orders the backbones as photos that took no part do.

    pip install -r benches/transfer/requirements.txt
    python benches/transfer/rank.py --data DIR

Five tasks: photos of trash and of tiles, parts of the simulated line in evening light, spectrograms of spoken digits, and drawn strokes of
gestures. In each a field is collected from the training side, ranked, and a head is trained with every backbone and judged on the
test side: accuracy and its standard error, so that an order within chance can be told from a wrong one.
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target" / "release" / "fieldhead"
sys.path.insert(0, str(ROOT / "benches" / "versus"))
import datasets

PARTS = ("washer", "hex nut", "screw", "gear", "bearing", "bracket")
# Frames a part to learn from (few: with more every backbone is right nearly always) and to judge on.
LEARN, JUDGE = 5, 60
# Exposures of one tile have near-consecutive numbers: those that share all but the last three digits count as one burst.
BURSTS = {"magnetic_tile": ["--burst-regex", "num_([0-9]+)[0-9]{3}"]}
TASKS = ("trashnet", "magnetic_tile", "line, evening", "spectrograms", "strokes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--tasks", default=";".join(TASKS))
    parser.add_argument("--fit", default="squash")
    parser.add_argument("--features", default="final")
    args = parser.parse_args()
    subprocess.run(["cargo", "build", "--release"], cwd=ROOT, check=True)
    print(f"{'task':15}{'backbone':26}{'ranked %':>10}{'H-score':>9}{'test %':>8}{'± error':>9}")
    by_accuracy, by_h_score, agreed, tasks = 0, 0, 0, args.tasks.split(";")
    for task in tasks:
        with tempfile.TemporaryDirectory() as folder:
            ranked = measure(args, task, pathlib.Path(folder))
        best = max(one["test"] for one in ranked)
        # The recommended one is right where no other is better by more than a standard error.
        within = lambda one: one["test"] >= best - one["error"]
        by_accuracy += within(max(ranked, key=lambda one: one["balanced_accuracy"]))
        by_h_score += within(max(ranked, key=lambda one: one["h_score"]))
        agreed += ranked == sorted(ranked, key=lambda one: -one["h_score"])
        for one in ranked:
            print(f"{task:15}{one['name']:26}{100 * one['balanced_accuracy']:>10.1f}{one['h_score']:>9.3f}"
                  f"{100 * one['test']:>8.1f}{100 * one['error']:>9.1f}", flush=True)
        print(f"{'':15}{ranked[0]['why']}")
    print(f"\nof {len(tasks)} tasks: H-scores have the order of the cross-validated accuracies in {agreed};")
    print(f"best on the test side, or within its standard error of it: the recommended backbone in {by_accuracy}, that of the highest "
          f"H-score in {by_h_score}")


def measure(args, task, folder):
    field = folder / "field"

    def fieldhead(*words):
        # What is fixed becomes a setting of the field when it is made.
        settings = ["--field", field, "--fit", args.fit, "--features", args.features, "--json"]
        done = subprocess.run([PROGRAM, *map(str, [*settings, *words])], check=True, stdout=subprocess.PIPE, cwd=ROOT)
        return [json.loads(line) for line in done.stdout.splitlines()]

    if task == "line, evening":
        for part in PARTS:
            fieldhead("collect", "--label", part, "--source", f"line:1,light=evening,part={part}", "--count", LEARN)
    else:
        fieldhead("collect", "--from", pictures(args.data, task, folder) / "train", *BURSTS.get(task, []))
    ranked = [one for one in fieldhead("backbones", "--rank") if "rank" in one]
    for one in ranked:
        with_it = ["--backbone", one["name"]]
        fieldhead(*with_it, "train")
        if task == "line, evening":
            shares = [share(fieldhead(*with_it, "predict", "--source", f"line:2,light=evening,part={part}", "--count", JUDGE), part) for part in PARTS]
            counts = [JUDGE] * len(PARTS)
        else:
            [judged] = fieldhead(*with_it, "eval", "--from", pictures(args.data, task, folder) / "val")
            shares = [found["recall"] for found in judged["per_class"].values()]
            counts = [found["n"] for found in judged["per_class"].values()]
        one["test"] = sum(shares) / len(shares)
        one["error"] = math.sqrt(sum(p * (1 - p) / n for p, n in zip(shares, counts))) / len(shares)
    return ranked


def share(answers, label):
    """How many scores have this label first, unknown or not."""
    return sum(max(one["scores"], key=one["scores"].get) == label for one in answers) / len(answers)


def pictures(data, task, folder):
    if task in ("spectrograms", "strokes"):
        made = folder / task
        if not made.exists():
            getattr(datasets, task)(data, made)
        return made
    return data / task


if __name__ == "__main__":
    main()
