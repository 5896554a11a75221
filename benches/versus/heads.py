"""fieldhead's heads beside scikit-learn's, on the same rows, in one run.

    pip install -r benches/versus/requirements.txt
    python benches/versus/heads.py --train DIR --test DIR [--features final|multi] [--shots 1,5,20,all] [--seeds 5]

Reads features through `fieldhead features`, draws the same shots (the generator of `src/learn/splits.rs`), and prints two
tables: balanced accuracy by samples a class, and training time and objective of softmax at equal penalties.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import time
import warnings

# Some machines pin an old OpenBLAS kernel; the peers shall run on the best one there is.
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeClassifierCV
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import normalize

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target" / "release" / "fieldhead"
MASK = (1 << 64) - 1
# 1/C for the table of times: strong, middling and weak regularization of unit-length rows.
PENALTIES = (1.0, 0.1, 0.01)
RUNS = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--features", default="final")
    parser.add_argument("--shots", default="1,5,20,all")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning)
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    subprocess.run(["cargo", "build", "--release"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder) / name for name in ("train.npz", "test.npz")]
        for source, path in zip((args.train, args.test), paths):
            fieldhead("--features", args.features, "features", "--from", source, "--out", str(path))
        train, test = (np.load(path) for path in paths)
        accuracies(args, train, test)
        times(train, paths[0])


def fieldhead(*words) -> dict:
    done = subprocess.run([PROGRAM, *words, "--json"], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


class SplitMix64:
    def __init__(self, seed: int):
        self.state = seed & MASK

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, bound: int) -> int:
        return (self.next() * bound) >> 64


def draw(seed: int, shots: int, labels: np.ndarray) -> list[int]:
    """The rows that `fieldhead fewshot` draws for a seed."""
    random, drawn = SplitMix64(seed), []
    for label in range(labels.max() + 1):
        rows = [int(row) for row in np.flatnonzero(labels == label)]
        for last in range(len(rows) - 1, 0, -1):
            other = random.below(last + 1)
            rows[last], rows[other] = rows[other], rows[last]
        drawn += rows[:shots]
    return sorted(drawn)


def logistic(rows, labels):
    """C by stratified cross-validation where every class has two samples, else scikit-learn's default."""
    fewest = np.bincount(labels).min()
    if fewest < 2:
        return LogisticRegression(max_iter=1000).fit(rows, labels)
    folds = StratifiedKFold(min(5, fewest), shuffle=True, random_state=0)
    return LogisticRegressionCV(Cs=np.logspace(-1, 3, 7), cv=folds, max_iter=1000).fit(rows, labels)


PEERS = {
    "LogisticRegressionCV": logistic,
    "RidgeClassifierCV": lambda rows, labels: RidgeClassifierCV(np.logspace(-3, 3, 13)).fit(rows, labels),
    "NearestCentroid": lambda rows, labels: NearestCentroid().fit(rows, labels),
}


def accuracies(args, train, test):
    rows, judges = normalize(train["features"]), normalize(test["features"])
    ours = fieldhead(
        "--features", args.features, "fewshot", "--train", args.train, "--test", args.test,
        "--shots", args.shots, "--seeds", str(args.seeds), "--heads", "auto,softmax,ridge",
    )["results"]
    shots = args.shots.split(",")
    table = {}
    for result in ours:
        table.setdefault(result["head"], {})[str(result["shots"])] = (result["balanced_accuracy"], result["train_ms"])
    for name, fit in PEERS.items():
        for count in shots:
            table.setdefault(name, {})[count] = peer(fit, count, args.seeds, rows, train["labels"], judges, test["labels"])
    print("\nbalanced accuracy % (training ms, choice of settings included)\n")
    print(f"{'':22}" + "".join(f"{count + ' shots':>16}" for count in shots) + f"{'mean':>8}")
    for name, cells in table.items():
        shown = "".join(f"{100 * cells[c][0]:>8.1f} ({cells[c][1]:.0f})".rjust(16) for c in shots)
        print(f"{name:22}{shown}{100 * np.mean([cells[c][0] for c in shots]):>8.1f}")


def peer(fit, count, seeds, rows, labels, judges, truth):
    scores, spent = [], []
    for seed in range(1 if count == "all" else seeds):
        drawn = slice(None) if count == "all" else draw(seed, int(count), labels)
        start = time.perf_counter()
        head = fit(rows[drawn], labels[drawn])
        spent.append(1e3 * (time.perf_counter() - start))
        scores.append(balanced_accuracy_score(truth, head.predict(judges)))
    return np.mean(scores), np.mean(spent)


def times(train, path):
    """One fit at a fixed penalty. The objective is Σ log-loss + λ/2 ‖W‖², computed by each side in f64 from its weights."""
    words = ["cargo", "bench", "--quiet", "--bench", "softmax", "--", str(path), *map(str, PENALTIES)]
    done = subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    ours = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    rows, labels = normalize(train["features"]), train["labels"]
    n, width = rows.shape
    print(f"\nsoftmax on {n} x {width}, {labels.max() + 1} classes of equal size, unit-length rows, fixed penalty\n")
    print(f"{'penalty':>8}{'fieldhead ms':>14}{'scikit-learn ms':>17}{'times faster':>14}{'objective':>14}{'theirs':>14}")
    for one in ours:
        penalty, spent = one["penalty"], []
        for _ in range(RUNS):
            start = time.perf_counter()
            head = LogisticRegression(C=1 / penalty, max_iter=10_000).fit(rows, labels)
            spent.append(1e3 * (time.perf_counter() - start))
        ms = float(np.median(spent))
        theirs = objective(rows.astype(np.float64), labels, head, penalty)
        print(
            f"{penalty:>8}{one['ms_median']:>14.1f}{ms:>17.1f}{ms / one['ms_median']:>14.1f}"
            f"{one['objective']:>14.6f}{theirs:>14.6f}"
        )


def objective(rows, labels, head, penalty) -> float:
    scores = rows @ head.coef_.T.astype(np.float64) + head.intercept_.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    losses = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels]
    return float(losses.sum() + penalty / 2 * (head.coef_.astype(np.float64) ** 2).sum())


if __name__ == "__main__":
    main()
