"""Instructions of one inference on 64-bit Arm, exactly, beside onnxruntime's own library on the same file.

    python benches/arm/count.py [--operators]

Everything runs on one thread in QEMU's user emulator with the plugin count.c, which counts between two marks; the third inference
is printed, and repeats agree to a few instructions in a million. Needs a Debian or Ubuntu on x86-64 with cc, pip, apt and the
right to install the packages that boards/cross asks for; builds take a few minutes, the counting less than one.

Instructions are not cycles: docs/arm-kernels.md says what they cost on real processors.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODELS = ["efficientnet-lite0-int8", "mobilenet-v2-int8"]
# What the emulator is told to be, and the kernel that such a processor is given.
PROCESSORS = {
    "Cortex-A76": ("cortex-a76", "dotprod"),
    "Cortex-A72": ("cortex-a72", "neon"),
    "Cortex-A53": ("cortex-a53", "neon"),
    "with i8mm": ("max,sve=off,sme=off", "i8mm"),
}
# For libraries that ask the kernel which processor this is: their numbers in Arm's register MIDR_EL1, the A76's for the last.
PART = {"cortex-a53": "0xd03", "cortex-a72": "0xd08", "cortex-a76": "0xd0b", "max,sve=off,sme=off": "0xd0b"}
BASE = "fp asimd evtstrm aes pmull sha1 sha2 crc32"
FEATURES = {"cortex-a76": f"{BASE} asimddp", "max,sve=off,sme=off": f"{BASE} asimddp i8mm"}
DEBIAN = ["libc6:arm64", "libstdc++6:arm64", "libgcc-s1:arm64"]


def build(name, command, folder, environment=None):
    """Runs cargo and gives the path of the program of that name: a bench target brings the program of the project along."""
    said = subprocess.run(command + ["--message-format=json"], cwd=folder, check=True, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, **(environment or {})})
    made = [json.loads(line) for line in said.stdout.splitlines()]
    return next(one["executable"] for one in made if one.get("executable") and one["target"]["name"] == name)


def onnxruntime(work):
    """The library from the published wheel for 64-bit Arm, and the C and C++ libraries it stands on."""
    wheel = work / "wheel"
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (27, 28, 34)]
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platforms,
                    "--python-version=312", f"--dest={wheel}", "onnxruntime"], check=True)
    archive = next(wheel.glob("*.whl"))
    with zipfile.ZipFile(archive) as inside:
        name = next(n for n in inside.namelist() if "/libonnxruntime.so" in n)
        library = inside.extract(name, wheel)
    system = work / "system"
    (system / "proc").mkdir(parents=True)
    subprocess.run(["apt-get", "download", "--quiet", *DEBIAN], cwd=work, check=True, stdout=subprocess.DEVNULL)
    for package in work.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", package, system], check=True)
    return library, system, archive.name.split("-")[1]


def count(plugin, processor, program, arguments, out, options=(), environment=None):
    """Instructions between the marks, and what the program printed."""
    command = ["qemu-aarch64", "-cpu", processor, *options, "-plugin", f"{plugin},out={out}", program, *arguments]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})
    return [int(line) for line in out.read_text().splitlines()], said.stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--operators", action="store_true", help="also where fieldhead's instructions go")
    options = parser.parse_args()
    ours = build("inference", [ROOT / "boards/cross", "build", "--release", "--bench", "inference"], ROOT)
    # A library that is loaded at run time needs a program that is not linked statically.
    flags = {"CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS": "", "CARGO_TARGET_DIR": str(ROOT / "target" / "onnxruntime")}
    theirs = build("onnxruntime-inference", [ROOT / "boards/cross", "build", "--release"], HERE / "onnxruntime", flags)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        plugin, out = work / "count.so", work / "counts"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", plugin, HERE / "count.c"], check=True)
        library, system, version = onnxruntime(work)
        kinds = {}
        print(f"Millions of instructions an inference, one thread; onnxruntime {version}\n")
        print(f"{'':26}{'':12}{'fieldhead':>20}{'onnxruntime':>13}{'ratio':>8}")
        for name in MODELS:
            model = ROOT / "models" / name
            for title, (processor, kernel) in PROCESSORS.items():
                counts, said = count(plugin, processor, ours, [model], out, environment={"FIELDHEAD_KERNEL": kernel})
                mine = counts[3] / 1e6
                operators = [line.split(" ", 2) for line in said.splitlines()[1:]]
                for (kind, macs, _), instructions in zip(operators, counts[4:]):
                    sums = kinds.setdefault((name, title), {}).setdefault(kind, [0, 0])
                    sums[0] += int(macs)
                    sums[1] += instructions
                features = FEATURES.get(processor, BASE)
                (system / "proc/cpuinfo").write_text(
                    f"processor\t: 0\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
                    f"CPU variant\t: 0x0\nCPU part\t: {PART[processor]}\nCPU revision\t: 1\n\n")
                counts, _ = count(plugin, processor, theirs, [library, model / "model.onnx"], out, ["-L", system])
                peer = counts[3] / 1e6
                print(f"{name:26}{title:12}{kernel:>9}{mine:11.1f}{peer:13.1f}{mine / peer:8.2f}")
        if options.operators:
            print(f"\n{'':38}{'M macs':>10}{'M instr':>10}{'macs each':>11}")
            for (name, title), sums in kinds.items():
                for kind, (macs, instructions) in sums.items():
                    each = macs / instructions
                    print(f"{name:26}{title:12}{kind:12}{macs / 1e6:8.1f}{instructions / 1e6:10.2f}{each:11.2f}")


if __name__ == "__main__":
    main()
