"""What was measured on photos: `ranges/NAME.toml`.

Owns: the file's format, and the change it makes to a network before it is rounded. Does not own: how it is measured
(calibrate.py). Invariant: a rebuild needs this file and no photo.

    [range]   tensor = [low, high]      where a tensor that no ReLU6 bounds is cut off, in the equalized unit
    [factor]  conv or stage = [k, …]    each output channel is multiplied by 2^(k/4), and divided where it is read
    [shift]   conv = [n, …]             added to each channel's bias, in sixteenths of a step of the conv's output
"""

import pathlib
import textwrap
import tomllib
from dataclasses import dataclass, field, replace

import numpy as np

from networks import Conv, Network

# 2^(0/4) … 2^(3/4) to the last bit, so that no library's power function takes part.
QUARTERS = np.array([1.0, 1.189207115002721, 1.4142135623730951, 1.681792830507429])
SHIFT_PARTS = 16
LINE = 116


@dataclass
class Calibration:
    range: dict[str, list[float]] = field(default_factory=dict)
    factor: dict[str, list[int]] = field(default_factory=dict)
    shift: dict[str, list[int]] = field(default_factory=dict)

    @staticmethod
    def read(path: pathlib.Path) -> "Calibration":
        return Calibration(**tomllib.loads(path.read_text(encoding="utf-8")))

    def write(self, path: pathlib.Path, comment: str) -> None:
        lines = [f"# {line}" for line in textwrap.wrap(comment, LINE)]
        for table in ("range", "factor", "shift"):
            lines += ["", f"[{table}]"]
            for name, values in getattr(self, table).items():
                lines += array(name, values)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def gain(self, name: str) -> np.ndarray | float:
        """What the output channels of a conv or a stage are multiplied by."""
        steps = np.array(self.factor.get(name, [0]))
        return np.ldexp(QUARTERS[steps % 4], steps // 4)

    def output_gains(self, network: Network) -> dict[str, np.ndarray]:
        """Conv -> the gain of its output channels."""
        stages = {block.convs[-1].name: block.stage for block in network.blocks}
        names = {conv.name: stages.get(conv.name, conv.name) for conv in network.convs}
        return {conv.name: self.gain(names[conv.name]) * np.ones(conv.channels) for conv in network.convs}

    def equalize(self, network: Network) -> Network:
        """The same function in other units: channels use more of their eight bits (Nagel et al. 2019, section 4.1)."""
        gains = self.output_gains(network)
        before = gains["stem"]
        stem, blocks = scaled(network.stem, np.ones(3), before), []
        for block in network.blocks:
            convs = []
            for conv in block.convs:
                convs.append(scaled(conv, before, gains[conv.name]))
                before = gains[conv.name]
            blocks.append(replace(block, convs=tuple(convs)))
        return replace(network, stem=stem, blocks=tuple(blocks), head=scaled(network.head, before, gains["head"]))


def scaled(conv: Conv, before: np.ndarray, after: np.ndarray) -> Conv:
    """`conv` for inputs that were multiplied by `before`, its outputs multiplied by `after`."""
    ratio = (after / before)[:, None] if conv.depthwise else after[:, None] / before[None, :]
    return replace(conv, weight=conv.weight * ratio[:, :, None, None], bias=conv.bias * after)


def array(name: str, values: list) -> list[str]:
    text = f"{name} = [{', '.join(f'{value:g}' for value in values)}]"
    if len(text) <= LINE:
        return [text]
    body = textwrap.wrap(text.split("[")[1][:-1], LINE - 4)
    return [f"{name} = [", *(f"    {line}" for line in body), "]"]
