"""fieldhead's heads beside scikit-learn's, on the same rows, in one run.

    pip install -r benches/versus/requirements.txt
    python benches/versus/heads.py --data DIR               # all data sets of `datasets.py`, and training times
    python benches/versus/heads.py --train DIR --test DIR   # one pair of folders of photos

Both sides get the same features, and the same shots: those that `fieldhead fewshot` draws (the generator of `src/learn/splits.rs`).
Prints balanced accuracy by samples a class with the verdict, and training times. `--scaling` scales the rows that scikit-learn gets.
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
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeClassifier, RidgeClassifierCV
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.preprocessing import StandardScaler, normalize
from threadpoolctl import threadpool_limits

import datasets
from shots import draw

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target" / "release" / "fieldhead"
OWN = ("softmax", "ridge", "prototype", "lda")
# Points by which `auto` may be below the best peer of a cell.
SLACK = 0.5
# 1/C for the table of times: strong, middling and weak regularization of unit-length rows.
PENALTIES = (1.0, 0.1, 0.01)
RUNS = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--train", type=pathlib.Path)
    parser.add_argument("--test", type=pathlib.Path)
    parser.add_argument("--sets", default=",".join(datasets.SETS), help="of --data, those to run")
    parser.add_argument("--sensors", default="simple", choices=("simple", "own"), help="features of sensors: `sensors.py`, or fieldhead's")
    parser.add_argument("--features", default="final")
    parser.add_argument("--fit", default="squash")
    parser.add_argument("--shots", default="1,5,20")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scaling", default="none", choices=("none", "l2", "standardize"))
    parser.add_argument("--cache", type=pathlib.Path, help="folder in which features are kept for the next run")
    parser.add_argument("--only", choices=("accuracies", "times"))
    args = parser.parse_args()
    if (args.data is None) == (args.train is None or args.test is None):
        parser.error("give --data, or --train and --test")
    warnings.simplefilter("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"
    subprocess.run(["cargo", "build", "--release"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as folder:
        cache = args.cache or pathlib.Path(folder)
        cache.mkdir(parents=True, exist_ok=True)

        def embed(source, path):
            nowhere = cache / "no-field"
            options = ("--field", nowhere, "--fit", args.fit, "--features", args.features)
            fieldhead(*options, "features", "--from", source, "--out", path)

        if args.data is None:
            pairs = {"photos": [cache / "train.npz", cache / "test.npz"]}
            embed(args.train, pairs["photos"][0])
            embed(args.test, pairs["photos"][1])
        else:
            pairs = {name: datasets.write(args.data, name, cache, embed, args.sensors == "own") for name in args.sets.split(",")}
        if args.only != "times":
            accuracies(args, pairs)
        if args.only != "accuracies":
            times_of(args, cache, pairs, embed)


def fieldhead(*words) -> dict:
    done = subprocess.run([PROGRAM, *map(str, words), "--json"], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def folds(labels):
    return StratifiedKFold(min(5, np.bincount(labels).min()), shuffle=True, random_state=0)


def logistic(rows, labels):
    """C by stratified cross-validation where every class has two samples, else scikit-learn's default."""
    if np.bincount(labels).min() < 2:
        return LogisticRegression(max_iter=1000).fit(rows, labels)
    return LogisticRegressionCV(Cs=10, cv=folds(labels), max_iter=1000).fit(rows, labels)


def discriminant(rows, labels):
    """`None` for one sample a class, which has no scatter within."""
    if np.bincount(labels).min() < 2:
        return None
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(rows, labels)


PEERS = {
    "logistic": logistic,
    "LDA": discriminant,
    "kNN": lambda rows, labels: KNeighborsClassifier(min(5, np.bincount(labels).min())).fit(rows, labels),
    "centroid": lambda rows, labels: NearestCentroid().fit(rows, labels),
}


def scaled(scaling, rows, judges):
    if scaling == "l2":
        return normalize(rows), normalize(judges)
    if scaling == "standardize":
        scaler = StandardScaler().fit(rows)
        return scaler.transform(rows), scaler.transform(judges)
    return rows, judges


def accuracies(args, pairs):
    heads = ("auto", *OWN)
    columns = (*heads, *PEERS)
    print(f"\nbalanced accuracy in %, mean of {args.seeds} draws; rows of scikit-learn's heads: {args.scaling}\n")
    print(f"{'':17}{'shots':>6}{'auto':>7} |" + "".join(f"{peer:>9}" for peer in PEERS) + f"{'auto − best':>18} |"
          + "".join(f"{head:>10}" for head in OWN) + "  auto chose")
    cells, short = [], []
    for name, paths in pairs.items():
        ours = fieldhead("fewshot", "--train", paths[0], "--test", paths[1], "--shots", args.shots, "--seeds", args.seeds,
                         "--heads", ",".join(heads))["results"]
        train, test = (np.load(path) for path in paths)
        for shots in args.shots.split(","):
            own = {one["head"]: one for one in ours if str(one["shots"]) == shots}
            cell = {head: 100 * own[head]["balanced_accuracy"] for head in heads}
            draws = {name: peer(args, fit, shots, train, test) for name, fit in PEERS.items()}
            cell |= {name: np.mean(ones) for name, ones in draws.items()}
            cells.append(cell)
            best = max((name for name in PEERS if not np.isnan(cell[name])), key=cell.get)
            lead, error = paired(100 * np.array(own["auto"]["draws"]), draws[best])
            short += [(name, shots, lead, error)] if lead < -SLACK else []
            row = f"{name:17}{shots:>6}{cell['auto']:>7.1f} |" + "".join(f"{cell[peer]:>9.1f}" for peer in PEERS)
            row += f"{lead:>+10.1f} ± {error:.1f}{'!' if lead < -SLACK else ' '} |"
            chose = ", ".join(f"{kind} {count}" for kind, count in own["auto"]["chosen"].items())
            print(row + "".join(f"{cell[head]:>10.1f}" for head in OWN) + f"  {chose}", flush=True)
    means = {column: np.nanmean([cell[column] for cell in cells]) for column in columns}
    print(f"\n{'mean':23}{means['auto']:>7.1f} |" + "".join(f"{means[peer]:>9.1f}" for peer in PEERS))
    print(f"cells in which auto is at least the best of scikit-learn's less {SLACK} points: {len(cells) - len(short)} of {len(cells)}")
    for name, shots, lead, error in short:
        print(f"not in {name}, {shots}: {lead:+.1f}, with a standard error of {error:.1f} from the draws alone")
    # A peer that cannot learn from one sample is compared where it can.
    for name in PEERS:
        lead = np.nanmean([cell["auto"] - cell[name] for cell in cells])
        print(f"auto is {'above' if lead > 0 else 'not above'} {name} on average, by {lead:+.1f} points")


def paired(ours, theirs):
    """By how much ours are above theirs on the same draws, and the standard error of that by the choice of the draws."""
    differences = ours - theirs
    return differences.mean(), differences.std(ddof=1) / len(differences) ** 0.5 if len(differences) > 1 else np.nan


def peer(args, fit, shots, train, test):
    """Balanced accuracy of each draw, in %."""
    scores = []
    for seed in range(1 if shots == "all" else args.seeds):
        drawn = slice(None) if shots == "all" else draw(seed, int(shots), train["labels"])
        rows, judges = scaled(args.scaling, train["features"][drawn], test["features"])
        head = fit(rows, train["labels"][drawn])
        if head is None:
            return np.full(args.seeds, np.nan)
        scores.append(100 * balanced_accuracy_score(test["labels"], head.predict(judges)))
    return np.array(scores)


def times_of(args, cache, pairs, embed):
    if args.data is None:
        return times("these photos", pairs["photos"][0], None)
    pictures, path = cache / "strokes", cache / "strokes.npz"
    if not path.exists():
        datasets.strokes(args.data, pictures)
        sides = []
        for side in ("train", "val"):
            embed(pictures / side, cache / f"strokes-{side}.npz")
            sides.append(np.load(cache / f"strokes-{side}.npz"))
        both = {key: np.concatenate([side[key] for side in sides]) for key in ("features", "labels")}
        np.savez(path, **both, label_names=sides[0]["label_names"])
    times("magic_wand's strokes as pictures", path, 20)
    path = cache / "clusters.npz"
    np.savez(path, **datasets.clusters(1024, 1024, 16))
    times("drawn clusters", path, 5)


# Of each kind of head: scikit-learn's at a fixed penalty, and with its own choice of settings.
EQUALS = {
    "softmax": (
        lambda penalty: LogisticRegression(C=1 / penalty, max_iter=10_000),
        lambda labels: LogisticRegressionCV(Cs=10, cv=folds(labels), max_iter=1000),
    ),
    "ridge": (lambda penalty: RidgeClassifier(alpha=penalty), lambda labels: RidgeClassifierCV(np.logspace(-3, 3, 13))),
    "lda": (lambda penalty: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),) * 2,
    "prototype": (lambda penalty: NearestCentroid(),) * 2,
}


def times(what, path, wanted):
    """Both on one thread, and both on as many as they take by themselves; scikit-learn's rows are scaled before its clock starts, ours
    after. `wanted`: how many times longer than ours it should take."""
    table = np.load(path)
    rows, labels = table["features"], table["labels"]
    words = ["cargo", "bench", "--quiet", "--bench", "heads", "--", str(path), "auto", *map(str, PENALTIES)]
    done = subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    auto, *ours = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    print(f"\ntraining on {' x '.join(map(str, (*rows.shape, labels.max() + 1)))}, {what}; times in ms: fieldhead, scikit-learn\n")
    print(f"{'':58}{'one thread':>30}{'all threads':>30}{'objective':>14}{'theirs':>14}")
    kind, penalty = auto["kind"], auto["penalty"]
    fixed, chosen = EQUALS[kind]
    same, _ = scaled(auto["normalization"], rows, rows)
    head = f"auto: {kind}, {auto['normalization']}"
    ratio = line(f"{head}, at its settings (penalty {penalty:.3g})", auto["ms"], lambda: fixed(penalty), same, labels, RUNS)
    line(f"{head}, choice of settings included", auto["ms_with_choice"], lambda: chosen(labels), same, labels, 1)
    unit = normalize(rows)
    for one in ours:
        penalty = one["penalty"]
        make = lambda: LogisticRegression(C=1 / penalty, max_iter=10_000)
        theirs = objective(unit.astype(np.float64), labels, make().fit(unit, labels), penalty)
        line(f"softmax, l2, penalty {penalty}", one["ms"], make, unit, labels, RUNS, (one["objective"], theirs))
    if wanted:
        verdicts = (f"{'held' if times >= wanted else 'not held'} on {threads}" for times, threads in zip(ratio, ("one thread", "all threads")))
        print(f"at least {wanted} times less for the head that auto picked, at its settings: {', '.join(verdicts)}")


def line(name, ms, make, rows, labels, runs, objectives=()):
    """Prints one comparison; gives how many times as long scikit-learn takes on one thread and on all."""
    with threadpool_limits(1):
        one = fit_ms(make, rows, labels, runs)
    theirs = one, fit_ms(make, rows, labels, runs)
    ratio = [their / our for our, their in zip(ms, theirs)]
    print(f"{name:58}" + "".join(f"{our:>10.1f}{their:>9.1f} ({times:.1f} x)".ljust(30) for our, their, times in zip(ms, theirs, ratio))
          + "".join(f"{value:>14.4f}" for value in objectives), flush=True)
    return ratio


def fit_ms(make, rows, labels, runs) -> float:
    spent = []
    for _ in range(runs):
        start = time.perf_counter()
        make().fit(rows, labels)
        spent.append(1e3 * (time.perf_counter() - start))
    return float(np.median(spent))


def objective(rows, labels, head, penalty) -> float:
    """Σ log-loss + λ/2 ‖W‖² in f64, from the weights that came out."""
    scores = rows @ head.coef_.T.astype(np.float64) + head.intercept_.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    losses = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels]
    return float(losses.sum() + penalty / 2 * (head.coef_.astype(np.float64) ** 2).sum())


if __name__ == "__main__":
    main()
