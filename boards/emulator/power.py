"""Power cuts: QEMU is killed while the board collects and trains, and what was acknowledged has to be there after the next boot.

A sample is acknowledged by its line on the console, a head by its version there. In each life of the board a file is written that
nobody asks the card to keep: that it is gone afterwards shows that a cut takes what is only in the board's memory.
"""

import os
import shutil
import subprocess
import time

from devices import Board, objects
from machine import Machine

# What is done in turn until the power goes: samples of a simulated line, and a head of all that there are.
COLLECT = "fieldhead --threads 1 --json collect --label gear --source line:$n --count 3"
TRAIN = "fieldhead --threads 1 --json train --head ridge --penalty 1 --normalization l2"
# The longest that this goes on: about two turns of both.
LONGEST_S = 10.0
# Samples that can be on disk before their lines are on this side: one that is just committed, and one whose line is on its way.
UNSAID = 2
UNSYNCED = "/sd/unsynced"
OTHER_BACKBONE = "mobilenet-v2-int8"


def check(report, image, host, logs, cuts, chance):
    """As many cuts as asked for, then a look at all that there is, on the board and on this machine."""
    said = Said()
    for cut in range(1, cuts + 1):
        seconds = chance.uniform(0.5, LONGEST_S)
        with (logs / f"cut-{cut:03}.log").open("wb") as log, Machine(image, log) as machine:
            if not report.run(f"power cut {cut}", life, machine, said, cut, seconds):
                return
    with (logs / "after.log").open("wb") as log, Machine(image, log) as machine:
        report.run("after the last cut", last_life, machine, said)
    report.run("the card on the host", elsewhere, image, host, said)


class Said:
    """What the board said is kept, and what it was found to have kept."""

    def __init__(self):
        self.samples, self.version = set(), 0
        self.acknowledged = 0
        # Files that were only in the board's memory, and those of them that were lost.
        self.unsynced, self.lost = 0, 0

    def take(self, text):
        """Takes what the console said; a last line without its end does not count."""
        for line in objects(text[: text.rfind("\n") + 1]):
            if "id" in line:
                self.samples.add(line["id"])
                self.acknowledged += 1
            self.version = max(self.version, line.get("version", 0))

    def check(self, machine):
        """Looks for it after a boot."""
        board = Board(machine)
        ids = {sample["id"] for sample in board.run("samples")}
        (version,) = (it["version"] for it in board.run("history") if it["current"])
        assert self.samples <= ids, f"acknowledged samples {sorted(self.samples - ids)} are lost"
        assert version >= self.version, f"head {version} is in use, {self.version} was acknowledged"
        if self.unsynced:
            assert len(ids - self.samples) <= UNSAID, f"samples {sorted(ids - self.samples)} were not acknowledged"
            self.lost += machine.run(f"cat {UNSYNCED}-{self.unsynced}")[1].strip() != str(self.unsynced)
        # Reads the head in use and checks it.
        board.run("export /tmp/head.fhead")
        self.samples, self.version = ids, version


def life(machine, said, cut, seconds):
    """Boots, looks for all that was acknowledged, works, and loses the power."""
    machine.boot()
    said.check(machine)
    found, before = len(said.samples), said.version
    machine.run(f"echo {cut} > {UNSYNCED}-{cut}")
    said.unsynced = cut
    # Every other life begins with the head.
    first, second = (COLLECT, TRAIN) if cut % 2 else (TRAIN, COLLECT)
    machine.type(f"n={1000 * cut}; while n=$((n + 1)); do {first}; {second}; done")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        machine.read(end - time.monotonic())
    machine.cut()
    while machine.read(0):
        pass
    said.take(machine.said.decode(errors="replace"))
    new = len(said.samples) - found
    return f"{found} samples and head {before} found; cut after {seconds:.1f} s with {new} more samples and head {said.version}"


def last_life(machine, said):
    """Boots, looks for all, learns from all, and switches off."""
    machine.boot()
    said.check(machine)
    (head,) = Board(machine).run("train --head ridge --penalty 1 --normalization l2")
    assert head["n"] == len(said.samples), f"{head['n']} of {len(said.samples)} samples were learned from"
    said.version = head["version"]
    machine.switch_off()
    cuts = said.unsynced
    assert said.acknowledged and said.lost, f"{said.acknowledged} samples, {said.lost} unsynced files lost: this shows nothing"
    return f"{said.acknowledged} samples acknowledged in {cuts} lives, 0 lost; {said.lost} cuts took what was not synced"


def elsewhere(image, host, said):
    """Reads the board's field on this machine: every sample, every photo by another backbone, every head."""
    field = host.folder / "board"
    shutil.rmtree(field, ignore_errors=True)
    field.mkdir()
    tool = shutil.which("debugfs", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    subprocess.run([tool, "-R", f"rdump /field {field}", image.card], check=True, capture_output=True)
    field /= "field"
    assert {sample["id"] for sample in host.run(f"--field {field} samples")} == said.samples
    versions = [it["version"] for it in host.run(f"--field {field} history")]
    assert said.version in versions, f"head {said.version} is not among {versions}"
    for version in versions:
        # An earlier head is checked before it is put back in use.
        host.run(f"--field {field} rollback {version}")
    (head,) = host.run(f"--field {field} --backbone {OTHER_BACKBONE} train --head ridge")
    assert head["n"] == len(said.samples), head
    return f"{head['n']} samples with their photos and {len(versions)} heads are read"
