"""Photos for the SD card: drawn ones of three classes, and, where there is real data beside the repository, real ones too.

A drawn photo is a shape of some size and colour at some place on a noisy ground. The same seed gives the same photos.
"""

import os
import random
import shutil
import struct
import zlib
from pathlib import Path

SIDE = 96
SHAPES = {
    "disc": lambda x, y: x * x + y * y < 1,
    "square": lambda x, y: max(abs(x), abs(y)) < 0.85,
    "cross": lambda x, y: min(abs(x), abs(y)) < 0.3 and max(abs(x), abs(y)) < 1,
}
# Of shared data, see tests/support: classes of TrashNet.
REAL = ["glass", "metal", "paper"]


def png(rows):
    """A picture of 8-bit RGB as PNG (RFC 2083)."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def draw(shape, chance):
    """One photo of a shape."""
    size = chance.uniform(0.25, 0.4) * SIDE
    left, top = (chance.uniform(size, SIDE - size) for _ in "xy")
    ground, colour = ([chance.randrange(low, low + 90) for _ in "rgb"] for low in (20, 140))
    rows = []
    for y in range(SIDE):
        row = []
        for x in range(SIDE):
            inside = SHAPES[shape]((x - left) / size, (y - top) / size)
            noise = chance.randrange(25)
            row += [channel + noise - 12 for channel in (colour if inside else ground)]
        rows.append(row)
    return png(rows)


def write(folder, a_class, seed):
    """A folder a class with so many photos in each; how many in all."""
    chance = random.Random(seed)
    for shape in SHAPES:
        (folder / shape).mkdir(parents=True)
        for number in range(a_class):
            (folder / shape / f"{number:02}.png").write_bytes(draw(shape, chance))
    data = Path(os.environ.get("FIELDHEAD_DATA", Path(__file__).parents[2] / "../shared/data"))
    for name in REAL:
        found = sorted((data / "trashnet/train" / name).glob("*.jpg"))
        if found:
            (folder / name).mkdir()
        for path in found[seed * a_class : (seed + 1) * a_class]:
            shutil.copy(path, folder / name)
    return sum(1 for path in folder.rglob("*.*"))
