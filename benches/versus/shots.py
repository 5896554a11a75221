"""The rows that `fieldhead fewshot` draws: SplitMix64 and the shuffle of `src/learn/splits.rs`, again."""

import numpy as np

MASK = (1 << 64) - 1


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
