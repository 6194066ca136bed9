"""The IDX format of MNIST and Fashion-MNIST, gzip-compressed or plain.

A file is a big-endian magic number (0x0801 for labels, 0x0803 for images), one 32-bit length an
axis, then one byte a value.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from ...kernels.errors import DataError

LABELS, IMAGES = 0x0801, 0x0803


def _content(path: Path) -> bytes:
    raw = path.read_bytes()
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, OSError, zlib.error) as wrong:
        raise DataError(
            f"{path}: the gzip stream is cut short or damaged ({wrong}); download it again"
        ) from None


def read_idx(path: Path, magic: int) -> np.ndarray:
    """The array in `path`, uint8. Raises DataError for a wrong magic number, length or stream."""
    content = _content(path)
    axes = magic & 0xFF
    header = 4 + 4 * axes
    if len(content) < header:
        raise DataError(f"{path}: {len(content)} bytes, too few for an IDX header of {header}")
    found, *shape = struct.unpack(f">{1 + axes}I", content[:header])
    if found != magic:
        kind = "images" if magic == IMAGES else "labels"
        raise DataError(
            f"{path}: magic number {found:#010x}, expected {magic:#010x} for {kind}; "
            "is it another file under this name?"
        )
    expected = header + math.prod(shape)
    if len(content) != expected:
        what = "cut short" if len(content) < expected else "too long"
        raise DataError(
            f"{path}: {what}: {len(content):,} bytes, but its header {tuple(shape)} needs "
            f"{expected:,}; download it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def find_idx(folder: Path, stem: str) -> Path | None:
    """The file `stem` (train-images, ...) in `folder`, in any of its usual spellings."""
    axes = "idx3" if "images" in stem else "idx1"
    for name in (f"{stem}-{axes}-ubyte", f"{stem}.{axes}-ubyte"):
        for ending in ("", ".gz"):
            path = folder / (name + ending)
            if path.is_file():
                return path
    return None
