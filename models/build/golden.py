"""The golden picture: drawn with integers, written as PNG with the standard library.

Owns: a picture that every machine draws alike, and what a PNG of it is. Invariant: the same bytes everywhere; the PNG
holds the pixels unfiltered, in stored (uncompressed) blocks, so that no version of zlib can change it.
"""

import struct
import zlib

import numpy as np

from networks import SIDE

LARGEST_STORED_BLOCK = 65535  # RFC 1951, section 3.2.4
DISKS = (  # centre, radius, colour
    (70, 72, 46, (200, 30, 40)),
    (70, 72, 20, (250, 250, 245)),
    (150, 96, 34, (20, 60, 160)),
)


def picture() -> np.ndarray:
    """uint8 [SIDE, SIDE, 3]: gradients, stripes, disks, and a corner of hash noise."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.int64)
    red, green, blue = x * 255 // (SIDE - 1), y * 255 // (SIDE - 1), (x + y) * 255 // (2 * SIDE - 2)
    image = np.stack([red, green, 255 - blue], axis=-1)
    image[(y >= 140) & ((x + y) // 9 % 2 == 0)] = (240, 235, 60)
    for cx, cy, radius, colour in DISKS:
        image[(x - cx) ** 2 + (y - cy) ** 2 <= radius**2] = colour
    # Multiplicative hashing; the constants are Knuth's 2654435761 and the 32-bit mask.
    noise = ((y * SIDE + x) * 2654435761 & 0xFFFFFFFF) >> 16
    corner = (x >= 160) & (y >= 160)
    image[corner] = np.stack([noise, noise >> 3, noise >> 6], axis=-1)[corner] & 0xFF
    return image.astype(np.uint8)


def png(image: np.ndarray) -> bytes:
    height, width, _ = image.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", stored(rows)) + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def stored(data: bytes) -> bytes:
    """A zlib stream (RFC 1950) of stored blocks."""
    blocks = [data[i : i + LARGEST_STORED_BLOCK] for i in range(0, len(data), LARGEST_STORED_BLOCK)]
    body = b"".join(
        struct.pack("<BHH", block is blocks[-1], len(block), len(block) ^ 0xFFFF) + block for block in blocks
    )
    return b"\x78\x01" + body + struct.pack(">I", zlib.adler32(data))
