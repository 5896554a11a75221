"""Simple features of sensor recordings, as rows for any head: what a backbone is for photos.

Each function reads one recording and gives a vector of fixed width:

- `motion`: a CSV of channels over time. Mean, standard deviation, least and greatest value of each channel, and the logarithm of the
  energy in eight equal bands of its spectrum.
- `vibration`: raw float32 of one accelerometer. Logarithm of the standard deviation, skewness, kurtosis, crest factor, and the
  logarithm of the energy in 64 equal bands of the spectrum.
- `path`: a CSV of points of a stroke. 32 points at equal distances along it, less their mean, divided by their greatest coordinate.
- `speech`: a mono 16-bit WAV. 32 log-mel energies in windows of 32 ms every 16 ms: the mean in each quarter of the recording, and the
  standard deviation over all of it.
"""

import csv
import pathlib
import wave

import numpy as np


def motion(path: pathlib.Path) -> np.ndarray:
    channels = table(path).T
    return np.concatenate([
        np.concatenate([[c.mean(), c.std(), c.min(), c.max()], bands(c - c.mean(), 8)]) for c in channels
    ])


def vibration(path: pathlib.Path) -> np.ndarray:
    signal = np.fromfile(path, "<f4").astype(np.float64)
    signal -= signal.mean()
    deviation = signal.std()
    unit = signal / deviation
    moments = [np.log(deviation), (unit**3).mean(), (unit**4).mean(), np.abs(unit).max()]
    return np.concatenate([moments, bands(signal, 64)])


def path(path: pathlib.Path) -> np.ndarray:
    points = table(path)
    steps = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate([[0], np.cumsum(steps)])
    wanted = np.linspace(0, along[-1], 32)
    resampled = np.stack([np.interp(wanted, along, axis) for axis in points.T], axis=1)
    resampled -= resampled.mean(axis=0)
    return (resampled / np.abs(resampled).max()).ravel()


def speech(path: pathlib.Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        rate = file.getframerate()
        signal = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    size, hop = rate * 32 // 1000, rate * 16 // 1000
    signal = np.pad(signal, (0, max(0, 4 * size - len(signal))))
    windows = np.lib.stride_tricks.sliding_window_view(signal, size)[::hop] * np.hanning(size)
    energy = np.abs(np.fft.rfft(windows)) ** 2
    mel = np.log(energy @ filters(32, size, rate).T + 1e-6)
    quarters = [part.mean(axis=0) for part in np.array_split(mel, 4)]
    return np.concatenate([*quarters, mel.std(axis=0)])


def table(path: pathlib.Path) -> np.ndarray:
    """The numbers of a CSV with a line of names, `[rows, columns]`."""
    with open(path, newline="") as file:
        lines = list(csv.reader(file))[1:]
    return np.array(lines, dtype=np.float64)


def bands(signal: np.ndarray, count: int) -> np.ndarray:
    """Logarithm of the energy in equal bands of the spectrum."""
    energy = np.abs(np.fft.rfft(signal * np.hanning(len(signal)))) ** 2
    return np.log([part.mean() + 1e-9 for part in np.array_split(energy[1:], count)])


def filters(count: int, size: int, rate: int) -> np.ndarray:
    """Triangles equally wide on the mel scale, `[count, size / 2 + 1]` (O'Shaughnessy, 1987: 2595 log₁₀(1 + f/700))."""
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, count + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return np.maximum(0, np.minimum(rising, falling))


def tree(folder: pathlib.Path, features, classes=None) -> dict:
    """All recordings of `DIR/<label>/<file>` as the arrays that `fieldhead fewshot` reads."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    names = [name for name in names if classes is None or name in classes]
    files = [(file, label) for label, name in enumerate(names) for file in sorted((folder / name).iterdir())]
    return {
        "features": np.stack([features(file) for file, _ in files]).astype(np.float32),
        "labels": np.array([label for _, label in files], dtype=np.int64),
        "label_names": np.array(names),
    }
