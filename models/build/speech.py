"""The network of sound: Google's speech embedding, rounded to 8 bits and seen as a network of pictures.

Owns: reading its layers out of the package's ONNX file, and writing them for a picture of 32 mel bands (the lowest at the bottom) by 76
frames of 10 ms. Does not own: how sound becomes that picture (`src/preprocess/sound.rs`), or the parts that all backbones share (graph.py).
Invariant: as build.py.

    python models/build/speech.py --recordings DIR      # measures ranges/speech-embedding-int8.toml anew
    python models/build/speech.py --fidelity DIR        # cosine to the original, on other recordings

The original takes levels in dB / 10 + 2; a byte of the picture is 16 times that, and silence is 0 in both. All three colours of the
picture are alike; the first convolution reads the green one.
"""

import argparse
import pathlib
import wave

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import graph
import weights
from calibration import Calibration
from quantize import Scale, scale_of

NAME = "speech-embedding-int8"
BANDS, FRAMES = 32, 76
LEVELS = Scale(np.float32(1 / 16), 0)
RATE, HOP, SIZE = 16_000, 160, 512
SLOPE = np.float32(0.2)
LEAST = np.float32(-0.4)
# Below this the maximum with LEAST takes over, and nothing has to be told apart.
LOWEST = float(LEAST / SLOPE)


def layers(model: bytes) -> list:
    """Convolutions as (weight, bias, pads), poolings as (height, width), of the transposed network, in order."""
    of = onnx.load_from_string(model).graph
    constants = {it.name: numpy_helper.to_array(it) for it in of.initializer}
    found = []
    for node in of.node:
        attributes = {it.name: helper.get_attribute_value(it) for it in node.attribute}
        if node.op_type == "Conv":
            weight = constants[node.input[1]].astype(np.float64)
            bias = constants[node.input[2]].astype(np.float64) if len(node.input) > 2 else np.zeros(len(weight))
            # Time to the right, bands upward.
            weight = weight.transpose(0, 1, 3, 2)[:, :, ::-1]
            top, left, bottom, right = attributes.get("pads", [0] * 4)
            found.append((weight, bias, [left, top, right, bottom]))
        elif node.op_type == "MaxPool":
            found.append(tuple(attributes["kernel_shape"][::-1]))
        elif node.op_type == "LeakyRelu":
            assert np.float32(attributes["alpha"]) == SLOPE, "another slope than expected"
        elif node.op_type == "Max":
            assert constants[node.input[1]].item() == LEAST, "another maximum than expected"
    return found


class Quantized(graph.Writer):
    """What the board runs. NAME is a tensor in u8, NAME.d its value, NAME.f its value before it is rounded."""

    def __init__(self, found: list, ranges: dict[str, list[float]]):
        self.found, self.ranges = found, ranges
        self.nodes, self.initializers, self.macs, self.outputs = [], [], 0, []

    def write(self) -> onnx.ModelProto:
        self.node("DequantizeLinear", ["image", *self.scale("image", LEVELS)], "image.d")
        at, level, size = "image", LEVELS, [BANDS, FRAMES]
        convs = [it for it in self.found if len(it) == 3]
        number = pools = 0
        for layer in self.found:
            if len(layer) == 2:
                pools += 1
                size = [side // by for side, by in zip(size, layer)]
                self.node("MaxPool", [f"{at}.d"], f"pool{pools}.d", kernel_shape=layer, strides=layer)
                at = f"pool{pools}"
                for kind, operator in (("avg", "GlobalAveragePool"), ("max", "GlobalMaxPool")):
                    self.pool(operator, at, f"tap{pools}_{kind}")
                    self.outputs.append((f"tap{pools}_{kind}", channels))
                continue
            weight, bias, pads = layer
            number += 1
            if number == 1:
                weight = np.concatenate([np.zeros_like(weight), weight, np.zeros_like(weight)], axis=1)
            channels = len(weight)
            size = [side + pads[axis] + pads[axis + 2] - weight.shape[axis + 2] + 1 for axis, side in enumerate(size)]
            self.macs += size[0] * size[1] * weight.size
            name = f"conv{number}"
            scale = (np.abs(weight).max(axis=(1, 2, 3)) / 127).astype(np.float32)
            levels = np.rint(weight / scale.astype(np.float64)[:, None, None, None]).astype(np.int8)
            bias_scale = level.scale * scale
            biases = np.rint(bias / bias_scale.astype(np.float64)).astype(np.int32)
            inputs = [f"{at}.d", self.dequantized(f"{name}.w", levels, scale), self.dequantized(f"{name}.b", biases, bias_scale)]
            self.node("Conv", inputs, f"{name}.f", kernel_shape=weight.shape[2:], pads=pads)
            low, high = self.ranges[name]
            last = number == len(convs)
            self.store(name, scale_of(low if last else max(low, LOWEST), high))
            at = name
            if not last:
                self.node("LeakyRelu", [f"{name}.d"], f"{name}.l", alpha=float(SLOPE))
                self.node("Max", [f"{name}.l", self.constant(f"{name}.least", LEAST)], f"act{number}.f")
                at, level = f"act{number}", scale_of(float(LEAST), high)
                self.store(at, level)
        self.node("Flatten", [f"{at}.d"], "features", axis=1)
        self.outputs.insert(0, ("features", channels))
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 3, BANDS, FRAMES])
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width]) for name, width in self.outputs]
        made = helper.make_graph(self.nodes, NAME, [image], values, self.initializers)
        opsets = [helper.make_opsetid("", graph.OPSET)]
        return helper.make_model(made, opset_imports=opsets, ir_version=graph.IR_VERSION, producer_name="fieldhead")

    def scale(self, name: str, scale: Scale) -> list[str]:
        return [self.constant(f"{name}.s", scale.scale), self.constant(f"{name}.z", np.uint8(scale.zero))]

    def store(self, name: str, scale: Scale) -> None:
        names = self.scale(name, scale)
        self.node("QuantizeLinear", [f"{name}.f", *names], name)
        self.node("DequantizeLinear", [name, *names], f"{name}.d")

    dequantized = graph.Quantized.dequantized


def written_half(writer: Quantized, model: bytes) -> str:
    lines = ["[model]", 'file = "model.onnx"', f'sha256 = "{weights.sha256(model)}"']
    lines += [f"bytes = {len(model)}", f"macs = {writer.macs}", ""]
    lines += ["[input]", 'name = "image"', f"width = {FRAMES}", f"height = {BANDS}", "channels = 3", "pad_value = 0", ""]
    for output, width in writer.outputs:
        lines += ["[[output]]", f'name = "{output}"', f"width = {width}", ""]
    lines += ["[golden]", 'picture = "golden.png"', 'features = "golden.f32"', ""]
    return "\n".join(lines)


def picture() -> np.ndarray:
    """A picture [32, 76, 3] that looks a little like speech, of integers alone: bands of harmonics that rise and fall."""
    band, frame = np.mgrid[0:BANDS, 0:FRAMES]
    voice = 24 * np.abs((band * 5 + frame * (1 + band // 11)) % 16 - 8)
    loud = np.minimum(frame * 6, 120) - 3 * np.abs(band - 18) + 40
    return np.repeat(np.clip(loud - voice // 2 + frame * band % 7, 0, 200).astype(np.uint8)[:, :, None], 3, axis=2)


def levels_of(path: pathlib.Path) -> np.ndarray:
    """A recording of 8 or 16 kHz as the picture's bytes, [32, frames], at least 76 of them. As src/preprocess/sound.rs, but for the
    filter that doubles the rate."""
    with wave.open(str(path)) as file:
        rate, signal = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
    if rate * 2 == RATE:
        spectrum = np.fft.rfft(signal)
        signal = np.fft.irfft(np.concatenate([spectrum * 2, np.zeros(len(signal))])[: len(signal) + 1], 2 * len(signal))
    missing = max(0, SIZE + (FRAMES - 1) * HOP - len(signal))
    signal = np.pad(signal, (missing // 2, missing - missing // 2))
    window = np.zeros(SIZE)
    window[56:456] = np.hanning(401)[:400]
    frames = np.lib.stride_tricks.sliding_window_view(signal, SIZE)[::HOP] * window
    decibel = 10 * np.log10(np.maximum(np.abs(np.fft.rfft(frames)) ** 2 @ filters(), 1e-10))
    decibel = np.maximum(decibel, decibel.max() - 80)
    return np.clip(np.rint((decibel + 20) * 1.6), 0, 255).astype(np.uint8).T[::-1]


def filters() -> np.ndarray:
    """[257, 32]: triangles on Slaney's mel scale (Auditory Toolbox, 1998) from 60 to 3,800 Hz, each of area one."""
    top = 15 + np.log(3800 / 1000) / (np.log(6.4) / 27)
    mels = np.linspace(60 * 3 / 200, top, BANDS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
    line = np.arange(SIZE // 2 + 1)[:, None] * RATE / SIZE
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    return np.maximum(0, np.minimum((line - low) / (middle - low), (high - line) / (high - middle))) * 2 / (high - low)


def middle(levels: np.ndarray) -> np.ndarray:
    start = (levels.shape[1] - FRAMES) // 2
    return levels[:, start : start + FRAMES]


def reference(model: bytes, extra: bool) -> onnxruntime.InferenceSession:
    """The original, with what each convolution gives if `extra`."""
    loaded = onnx.load_from_string(model)
    if extra:
        convs = [node.output[0] for node in loaded.graph.node if node.op_type == "Conv"]
        loaded.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in convs)
    return onnxruntime.InferenceSession(loaded.SerializeToString(), providers=["CPUExecutionProvider"])


def original_input(levels: np.ndarray) -> np.ndarray:
    return (middle(levels)[::-1].T / np.float32(16))[None, :, :, None].astype(np.float32)


def build(card: dict, wheel: pathlib.Path | None, ranges: pathlib.Path) -> tuple[Quantized, bytes]:
    source = weights.read_package_file(card["source"], wheel)
    writer = Quantized(layers(source), Calibration.read(ranges).range)
    return writer, graph.to_bytes(writer.write())


def main() -> None:
    import build as builder

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=pathlib.Path, help="folder of folders of WAV files to measure ranges on")
    parser.add_argument("--fidelity", type=pathlib.Path, help="folder of folders of WAV files to compare on")
    parser.add_argument("--wheels", type=pathlib.Path)
    arguments = parser.parse_args()
    card = builder.read_card(NAME)
    wheel = builder.find_wheel(card["source"], arguments.wheels)
    source = weights.read_package_file(card["source"], wheel)
    if arguments.recordings:
        session, most = reference(source, True), {}
        files = sorted(arguments.recordings.glob("*/*.wav"))
        for file in files:
            for number, values in enumerate(session.run(None, {"input_1": original_input(levels_of(file))})[1:], 1):
                low, high = most.get(f"conv{number}", (0.0, 0.0))
                most[f"conv{number}"] = (min(low, float(values.min())), max(high, float(values.max())))
        found = {name: [float(f"{end:.5g}") for end in ends] for name, ends in most.items()}
        path = builder.RANGES / f"{NAME}.toml"
        Calibration(range=found).write(path, f"Written by speech.py from {len(files)} recordings.")
    if arguments.fidelity:
        _, model = build(card, wheel, builder.RANGES / f"{NAME}.toml")
        session, cosines = reference(source, False), []
        for file in sorted(arguments.fidelity.glob("*/*.wav")):
            levels = levels_of(file)
            ours = builder.run(model, np.repeat(middle(levels)[:, :, None], 3, axis=2))[0].ravel().astype(np.float64)
            theirs = session.run(None, {"input_1": original_input(levels)})[0].ravel().astype(np.float64)
            cosines.append(float(ours @ theirs / np.sqrt((ours @ ours) * (theirs @ theirs))))
        print(f"cosine to the original, {len(cosines)} recordings: mean {np.mean(cosines):.5f}, lowest {min(cosines):.4f}")


if __name__ == "__main__":
    main()
