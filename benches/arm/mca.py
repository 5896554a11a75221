"""What the inner loops of the Arm kernels cost on paper: the tables of docs/arm-kernels.md.

    python benches/arm/mca.py [program]

Cuts the loops out of a program with the kernels in it (built by boards/cross if none is given), follows a path through one round,
and lets llvm-mca run it on its models of processors; spills.py says how often each path is taken with the real weights. Needs
numpy, onnx, aarch64-linux-gnu-objdump, and an llvm-mca of LLVM 22 or newer.

Nothing here is a measurement: the models have no caches, and every branch is foreseen.
"""

import pathlib
import re
import shutil
import subprocess
import sys

import spills
from count import ROOT, build

# Columns, and the model for each; MEASURED is `in_order` below.
MODELS = {"A76": "neoverse-n1", "A72": "cortex-a72", "A53": "cortex-a53"}
MEASURED = "A53 meas."
# smmla is in none of the three; the Cortex-A710's server sibling has it.
I8MM = "neoverse-n2"
# Functions with the kernels, by their symbols.
FUNCTIONS = {
    "product": r"neon\.\.Neon.*kernels\.\.Kernel.*6matmul",
    "dotprod": "kernels7dotprod6matmul",
    "i8mm": "kernels4i8mm6matmul",
    "depthwise": "9depthwise9depthwise",
}
MACS = {"sdot": 16, "smmla": 32, "smull": 8, "smull2": 8, "smlal": 8, "smlal2": 8}
FORMS = {"8b": 8, "16b": 16, "4s": 16, "2d": 16}
WIDTHS = {"q": 16, "d": 8, "s": 4, "x": 8, "w": 4}
ACCUMULATE = {"smlal", "smlal2", "sadalp", "sdot", "smmla", "sqxtn2"}
BRANCH = re.compile(r"(b|b\.\w+|cbn?z|tbn?z)$")

# Cycles that an instruction keeps the Cortex-A53's vector pipeline, and until its result is there, measured on a Raspberry Pi 3:
# github.com/ocxtal/insn_bench_aarch64, results/raspberry-pi-3_cortex-a53.md.
MULTIPLY, FLOAT, NARROW, SIMPLE = (1, 4), (1, 4), (0.5, 4), (1, 2)
COSTS = {
    **dict.fromkeys(["smull", "smull2", "smlal", "smlal2"], MULTIPLY),
    **dict.fromkeys(["scvtf", "fmul", "fcvtns", "fadd", "fsub"], FLOAT),
    **dict.fromkeys(["sqxtn", "sqxtn2"], NARROW),
    **dict.fromkeys(["ext", "uzp1", "zip1", "zip2", "smax", "smin", "dup"], SIMPLE),
    **dict.fromkeys(["saddw", "saddw2", "sqadd"], (1, 3)),
    "sadalp": (2, 4),
}


class Instruction:
    def __init__(self, address, text):
        self.address = address
        text = re.sub(r"\s+(<|//).*", "", text).strip()
        self.name, _, self.operands = text.partition("\t")
        self.target = None
        if BRANCH.match(self.name):
            rest, comma, target = self.operands.rpartition(",")
            self.target = int(target, 16)
            # A branch leads nowhere in the model: what follows it is what is listed next.
            self.operands = f"{rest}{comma} ."
        self.text = f"{self.name} {self.operands}"
        self.load = self.name.startswith("ld")
        self.macs = MACS.get(self.name, 0)
        self.registers = self.list() if self.name.startswith("ld1") else re.findall(r"\b[vqdsxw]\d+", self.operands)

    def list(self):
        """Registers of a load of several: what is loaded, then the address."""
        loaded, address = self.operands.split("}")
        numbers = [int(n) for n in re.findall(r"v(\d+)", loaded)]
        if "-" in loaded:
            numbers = list(range(numbers[0], numbers[1] + 1))
        return [f"v{n}" for n in numbers] + re.findall(r"x\d+", address)

    def loaded(self):
        """Registers that a load fills."""
        if self.name.startswith("ld1"):
            return [r for r in self.registers if r[0] == "v"]
        return self.registers[: 2 if self.name == "ldp" else 1]

    def effects(self):
        """Registers written and read; a sum that is added to is among the written."""
        registers = [re.sub("^[qds]", "v", r) for r in self.registers]
        if self.load:
            count = len(self.loaded())
            return registers[:count], registers[count:]
        if self.target is not None or self.name in ("str", "cmp"):
            return [], registers
        return registers[:1], registers[1:]

    def bytes(self):
        if not self.load:
            return 0
        if self.name == "ldrb":
            return 1
        if self.name.startswith("ld1r"):
            return 8
        if self.name == "ld1":
            return FORMS[re.search(r"\.(\w+)", self.operands)[1]] * len(self.loaded())
        return WIDTHS[self.registers[0][0]] * len(self.loaded())


def tool(name):
    found = [pathlib.Path(p) for p in [shutil.which(name)] if p] + list(pathlib.Path("/usr/lib").glob(f"llvm-*/bin/{name}"))
    said = {path: subprocess.run([path, "--version"], capture_output=True, text=True).stdout for path in found}
    versions = {path: [int(n) for n in re.search(r"version ([\d.]+\d)", text)[1].split(".")] for path, text in said.items()}
    best = max(versions, key=versions.get, default=None)
    if best is None or versions[best] < [22]:
        sys.exit(f"{name} of LLVM 22 or newer is missing")
    return best, ".".join(map(str, versions[best]))


def disassembled(program):
    symbols = subprocess.run(["aarch64-linux-gnu-nm", program], check=True, capture_output=True, text=True).stdout
    functions = {}
    for name, pattern in FUNCTIONS.items():
        symbol = next(line.split()[2] for line in symbols.splitlines() if re.search(pattern, line))
        said = subprocess.run(["aarch64-linux-gnu-objdump", "--no-show-raw-insn", f"--disassemble={symbol}", program],
                              check=True, capture_output=True, text=True).stdout
        lines = re.findall(r"^\s+([0-9a-f]+):\t(.*)$", said, re.M)
        functions[name] = [Instruction(int(address, 16), text) for address, text in lines]
    return functions


def loops(code):
    """(first, last) places of the innermost loops that multiply, by their backward branches."""
    at = {one.address: i for i, one in enumerate(code)}
    for last, one in enumerate(code):
        first = at.get(one.target, last)
        body = code[first : last + 1]
        if one.name == "b.ne" and any(i.macs for i in body) and not any(i.name in ("fmul", "mul", "cmp") for i in body):
            yield first, last


def path(code, loop, taken=()):
    """One round, in which the tests of the bits `taken` are true."""
    at = {one.address: i for i, one in enumerate(code)}
    i, last = loop
    done = []
    while True:
        one = code[i]
        done.append(one)
        if i == last:
            return done
        bit = re.search(r"#(\d+)", one.operands)
        i = at[one.target] if one.name == "b" or one.name == "tbnz" and int(bit[1]) in taken else i + 1


def finish(code, rounding, last, without):
    """Instructions that turn 64 sums into bytes by 16 of `rounding`, in one straight piece that ends in `last` and has nothing of
    `without`."""
    piece = []
    for one in code:
        piece.append(one)
        if one.target is not None:
            names = [i.name for i in piece]
            if one.name == last and names.count(rounding) == 16 and without not in names:
                while piece[0].name not in ("scvtf", "ldp"):
                    del piece[0]
                return piece
            piece = []
    sys.exit("no requantization found")


class Mca:
    def __init__(self):
        self.tool, self.version = tool("llvm-mca")

    def run(self, model, body, rounds, *options):
        command = [self.tool, "-mtriple=aarch64", f"-mcpu={model}", "-mattr=+dotprod,+i8mm", f"-iterations={rounds}", *options]
        text = "\n".join(one.text for one in body)
        return subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout

    def cycles(self, model, body):
        """A round among many."""
        if model == MEASURED:
            return in_order(body)
        total = [int(re.search(r"Total Cycles:\s+(\d+)", self.run(model, body, n))[1]) for n in (100, 300)]
        return (total[1] - total[0]) / 200

    def units(self, model, body):
        """The busiest units and the cycles that a round keeps them, dispatch among them."""
        said = self.run(model, body, 100)
        names = re.findall(r"^\[([\d.]+)\]\s+- \w+?Unit(\w+)", said, re.M)
        row = said.split("Resource pressure per iteration:\n")[1].splitlines()[1].split()
        units = {}
        for (_, name), busy in zip(names, row):
            if busy != "-":
                units[name] = max(units.get(name, 0), float(busy))
        width, operations = (int(re.search(rf"{what}:\s+(\d+)", said)[1]) for what in ("Dispatch Width", "Total uOps"))
        units["dispatch"] = operations / 100 / width
        return sorted(units.items(), key=lambda unit: -unit[1])

    def latencies(self, model, body):
        """Of each instruction: cycles to its result, and to its result as the sum of another like it."""
        said = self.run(model, body, 1, "-instruction-tables=full")
        rows = re.findall(r"^ (\d+)\s+(\d+)\s+[\d.]+[\s*U]+?(\d+)\s+\S.*\t", said.split("[9]: LLVM Opcode Name")[1], re.M)
        return [(int(latency), int(forwarded)) for _, latency, forwarded in rows]


def chain(body, latencies, rounds=24):
    """Cycles of the longest chain inside a round, and of the longest one from round to round."""
    def last(rounds):
        ready = {}
        for one, (latency, forwarded) in list(zip(body, latencies)) * rounds:
            written, read = one.effects()
            start = max([ready.get(r, (0, ""))[0] for r in read], default=0)
            end = start + latency
            if one.name in ACCUMULATE:
                before, by = ready.get(written[0], (0, ""))
                same = by[:3] == one.name[:3]
                end = max(end, before + (forwarded if same else latency))
            if one.load:
                for r in read:
                    ready[r] = (start + 1, "")
            for r in written:
                ready[r] = (end, one.name)
        return max(t for t, _ in ready.values())
    return last(1), (last(2 * rounds) - last(rounds)) / rounds


def in_order(body):
    """Cycles of a round among many on a Cortex-A53 with COSTS: two instructions a cycle in their order, one vector pipeline,
    which a load of vectors keeps too, 8 bytes a cycle."""
    ready, marks = {}, []
    now, pipe, issued = 0.0, 0.0, 0
    for one in body * 60:
        vector = bool(one.registers) and one.registers[0][0] in "vqds"
        written, read = one.effects()
        start = max([now] + [ready.get(r, (0, ""))[0] for r in read] + [pipe] * vector)
        if one.name in ACCUMULATE:
            when, by = ready.get(written[0], (0, ""))
            forwarded = one.name.startswith("smlal") and by.startswith(("smlal", "smull"))
            start = max(start, when - 3 if forwarded else when)
        issued = issued + 1 if int(start) == int(now) else 1
        if issued > 2:
            start, issued = int(now) + 1.0, 1
        now = start
        if one.load:
            keeps = max(1, one.bytes() // 8) * vector
            pipe = start + keeps if vector else pipe
            ready |= {r: (start + 1, "") for r in read}
            ready |= {r: (start + 3 + keeps * (i + 1) / len(written), "") for i, r in enumerate(written)}
        else:
            keeps, latency = COSTS.get(one.name, (1, 2)) if vector else (0, 1)
            pipe = start + keeps if vector else pipe
            ready |= {r: (start + latency, one.name) for r in written}
        marks.append(max(now, pipe))
    return (marks[-1] - marks[20 * len(body) - 1]) / 40


def replaced(body, names, without=()):
    """The same with other instructions in place of some, which take a constant in v31, and without some."""
    def instead(one):
        to, by = re.findall(r"v\d+\.4s", one.operands)
        return Instruction(one.address, f"{names[one.name]}\t{to}, {by}, v31.4s")
    return [instead(one) if one.name in names else one for one in body if one.name not in without]


def hoisted(body):
    """Weights are read before the sums of the eight channels before them are gathered, the first before the pixels are."""
    body = list(body)
    for i, one in enumerate(body):
        if one.name == "ld1":
            to = i
            while to and body[to - 1].name in ("sadalp", "ext", "ld1r", "ldrb"):
                to -= 1
            body.insert(to, body.pop(i))
    return body


def alternating(body):
    """A row of taps whose weights are read one tap earlier, into v4 and v5 by turns."""
    done, first, taps = [], 0, 0
    for one in body:
        if one.name == "ld1" and one.operands.endswith("#16"):
            # Before the products of the tap before it; those of the first tap before its pixels.
            done.insert(first, Instruction(one.address, f"ld1\t{one.operands.replace('v4', f'v{4 + taps % 2}')}"))
            taps += 1
            first = None
        elif one.macs:
            first = len(done) if first is None else first
            done.append(Instruction(one.address, f"{one.name}\t{re.sub('v4[.]', f'v{5 - taps % 2}.', one.operands)}"))
        else:
            done.append(one)
    return done


def share(part, whole):
    return f"{100 * part / whole:.0f} %"


class Tables:
    def __init__(self, program):
        self.mca = Mca()
        self.code = disassembled(program)
        found = {name: list(loops(code)) for name, code in self.code.items()}
        most = lambda name: max(found[name], key=lambda loop: sum(one.macs for one in path(self.code[name], loop)))
        self.dots, self.smmlas, self.products = most("dotprod"), most("i8mm"), most("product")
        # A row of taps is known by what it reads: a byte, the weights, the pixels, all of these 16 bytes a tap or column.
        reads = {145: "3 x 3", 209: "5 x 5", 241: "3 x 3, two apart", 401: "5 x 5, two apart"}
        read = {loop: sum(one.bytes() for one in path(self.code["depthwise"], loop)) for loop in found["depthwise"]}
        self.taps = {name: next(loop for loop in read if read[loop] == bytes_) for bytes_, name in reads.items()}

    def product(self, *taken):
        return path(self.code["product"], self.products, taken)

    def row(self, name, times):
        """A row of taps that begins new products so many times."""
        bits = {0: (), 1: (0,), 2: (0, 2)}[times]
        return path(self.code["depthwise"], self.taps[name], bits)

    def rows(self):
        yield "dotprod, 5 x 16", path(self.code["dotprod"], self.dots), ["A76"]
        yield "i8mm, 4 x 16 (N2)", path(self.code["i8mm"], self.smmlas), []
        yield "product, 2 x 32", self.product(), [*MODELS]
        yield "  one eight leaves", self.product(0), [*MODELS]
        yield "  all four leave", self.product(0, 1, 2, 3), [*MODELS]
        for name in self.taps:
            yield name, self.row(name, 0), [*MODELS]
            yield "  leaves once", self.row(name, 1), [*MODELS]
            if "5" in name:
                yield "  leaves twice", self.row(name, 2), [*MODELS]

    def models(self, names):
        return [MODELS[name] if name in names else None for name in MODELS] + [MEASURED if "A53" in names else None]

    def cycles(self):
        print("Cycles of a round, and MACs a cycle\n")
        print(f"{'':20}{'MACs':>6}{'instr':>6}{'loads':>6}{'bytes':>6}", *[f"{m:>12}" for m in [*MODELS, MEASURED]], sep="")
        for name, body, columns in self.rows():
            macs = sum(one.macs for one in body)
            loads = [one for one in body if one.load]
            line = f"{name:20}{macs:6}{len(body):6}{len(loads):6}{sum(one.bytes() for one in loads):6}"
            models = self.models(columns) if columns else [I8MM, None, None, None]
            for model in models:
                cycles = model and self.mca.cycles(model, body)
                line += f"{cycles:6.0f}{macs / cycles:6.1f}" if model else f"{'-':>6}{'':6}"
            print(line.rstrip())

    def limits(self):
        print("\nWhat keeps a round: cycles of the busiest units; chains of results\n")
        print(f"{'':20}{'':6}{'units':40}{'in a round':>12}{'to the next':>13}")
        for name, body, columns in self.rows():
            if name.startswith(" ") or "apart" in name:
                continue
            for column in columns or ["N2"]:
                model = MODELS.get(column, I8MM)
                units = ", ".join(f"{unit} {busy:.0f}" for unit, busy in self.mca.units(model, body)[:4])
                inside, carried = chain(body, self.mca.latencies(model, body))
                print(f"{name:20}{column:6}{units:40}{inside:12}{carried:13.0f}")

    def orders(self):
        print("\nWeights read earlier: cycles of a round as it is, and so\n")
        print(f"{'':30}", *[f"{m:>14}" for m in [*MODELS, MEASURED]], sep="")
        pieces = [("product, 2 x 32", self.product(), hoisted)]
        pieces += [(f"{name}, leaves once", self.row(name, 1), alternating) for name in self.taps]
        for name, body, change in pieces:
            pairs = [[self.mca.cycles(model, piece) for piece in (body, change(body))] for model in self.models([*MODELS])]
            print(f"{name:30}", *[f"{before:8.0f}{after:6.0f}" for before, after in pairs], sep="")

    def finishes(self):
        """Variants of the requantization of 64 sums."""
        code = self.code["depthwise"]
        plain = finish(code, "fadd", "b.cc", "smin")
        yield "plain", plain
        yield "plain, fsub for scvtf", replaced(plain, {"scvtf": "fsub"})
        yield "clamped", finish(code, "fcvtns", "b.cc", "fadd")

    def requantization(self):
        print("\nRequantization: cycles of 64 sums (A76: and the cycles of V0)\n")
        print(f"{'':38}{'instr':>6}{'V0':>6}", *[f"{m:>12}" for m in [*MODELS, MEASURED]], sep="")
        for name, body in self.finishes():
            first = dict(self.mca.units(MODELS["A76"], body))["V0"]
            cycles = [f"{self.mca.cycles(model, body):12.0f}" for model in self.models([*MODELS])]
            print(f"{name:38}{len(body):6}{first:6.0f}", *cycles, sep="")

    def inference(self):
        models = {folder.parent.name: spills.Counts(folder.parent) for folder in sorted((ROOT / "models").glob("*/model.onnx"))}
        print("\nWhat leaves the fast path: shares by number, and by how often it runs in an inference\n")
        print(f"{'':26}{'groups':>8}{'run':>7}{'rows':>8}{'run':>7}{'largest block':>16}{'blocks above 32 KB':>21}")
        for name, counts in models.items():
            above = sum(size > 32 << 10 for size in counts.blocks)
            print(f"{name:26}{share(counts.leave, counts.groups):>8}{share(counts.leave_run, counts.groups_run):>7}"
                  f"{share(*counts.rows(False)):>8}{share(*counts.rows(True)):>7}{max(counts.blocks):16}"
                  f"{f'{above} of {len(counts.blocks)}':>21}")
        print("\nMillions of cycles an inference\n")
        print(f"{'':26}{'':12}{'products':>10}{'depthwise':>11}{'requant.':>10}{'sum':>7}")
        for name, counts in models.items():
            for column, model in zip([*MODELS, MEASURED], self.models([*MODELS])):
                parts = [part / 1e6 for part in self.total(counts, column, model)]
                print(f"{name:26}{column:12}{parts[0]:10.1f}{parts[1]:11.1f}{parts[2]:10.1f}{sum(parts):7.1f}")

    def total(self, counts, column, model):
        """Cycles of products, depthwise convolutions and requantization, as if every tile were full."""
        cycles = lambda body: self.mca.cycles(model, body)
        if column == "A76":
            body = path(self.code["dotprod"], self.dots)
            products = counts.macs / sum(one.macs for one in body) * cycles(body)
        else:
            stays, leaves = cycles(self.product()), cycles(self.product(0))
            products = counts.groups_run * stays / 4 + counts.leave_run * (leaves - stays)
        taps = sum(run * cycles(self.row(name, times)) for (name, times), (_, run) in counts.taps.items())
        return products, taps, counts.outputs / 64 * cycles(next(self.finishes())[1])


def main():
    given = sys.argv[1:]
    program = given[0] if given else build("inference", [ROOT / "boards/cross", "build", "--release", "--bench", "inference"], ROOT)
    tables = Tables(pathlib.Path(program))
    print(f"llvm-mca {tables.mca.version}\n")
    tables.cycles()
    tables.limits()
    tables.orders()
    tables.requantization()
    tables.inference()


if __name__ == "__main__":
    main()
