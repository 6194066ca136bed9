"""The IDX format of MNIST, Fashion-MNIST and QMNIST, gzip-compressed or plain.

A file is a big-endian magic number (0x0801 for labels, 0x0803 for images, 0x0C02 for rows of
numbers), one 32-bit length an axis, then one byte a value, or four of a number. What the header
says is read, and no more: a stream that goes on is refused at its first byte too many, one that
cannot hold so much before anything is allocated.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from ...kernels.errors import DataError

Source = io.BufferedReader | gzip.GzipFile
LABELS, IMAGES, NUMBERS = 0x0801, 0x0803, 0x0C02
_KINDS = {LABELS: "labels", IMAGES: "images", NUMBERS: "rows of numbers"}
INFLATION = 1032  # bytes that one byte of a deflate stream can become at most
_MOST = 1 << 32  # bytes that a compressed file is taken at its word for
_CHUNK = 1 << 20


def _open(path: Path) -> tuple[Source, int]:
    """The content of `path` as a stream, and what it cannot be longer than."""
    size = path.stat().st_size
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if packed:
        return gzip.open(path), min(size * INFLATION, _MOST)
    return path.open("rb"), size


def read_idx(path: Path, magic: int) -> tuple[np.ndarray, str]:
    """The array in `path`, uint8 or int64, and the SHA-256 of the file without gzip.

    Raises DataError for a wrong magic number, shape, length or stream, and for an unreadable file.
    """
    try:
        file, most = _open(path)
        with file:
            return _read(path, file, most, magic)
    except (EOFError, zlib.error, gzip.BadGzipFile) as wrong:
        raise DataError(
            f"{path}: the gzip stream is cut short or damaged ({wrong}); download it again"
        ) from None
    except OSError as wrong:
        raise DataError(f"{path} cannot be read: {wrong.strerror or wrong}") from None


def _read(path: Path, file: Source, most: int, magic: int) -> tuple[np.ndarray, str]:
    """`read_idx` of an open stream of at most `most` bytes."""
    axes = magic & 0xFF
    header = file.read(4 + 4 * axes)
    shape = _shape(path, header, magic)
    size = math.prod(shape) * (4 if magic == NUMBERS else 1)
    expected = len(header) + size
    needs = f"its header {shape} needs {expected:,}; download it again"
    if expected > most:
        raise DataError(f"{path}: cut short: it holds no more than {most:,} bytes, but {needs}")
    content = np.empty(size, np.uint8)
    total, held, view = hashlib.sha256(header), 0, content.data
    while held < len(view):
        count = file.readinto(view[held : held + _CHUNK])
        if not count:
            raise DataError(f"{path}: cut short: {len(header) + held:,} bytes, but {needs}")
        total.update(view[held : held + count])
        held += count
    if file.read(1):  # the end of a gzip stream, with its checksum, is read by this, too
        raise DataError(f"{path}: too long: there is more after {expected:,} bytes, but {needs}")
    if magic == NUMBERS:
        content = content.view(">i4").astype(np.int64)
    return content.reshape(shape), total.hexdigest()


def _shape(path: Path, header: bytes, magic: int) -> tuple[int, ...]:
    """The shape that the header of an IDX file states. Raises DataError."""
    needed = 4 + 4 * (magic & 0xFF)
    if len(header) < needed:
        raise DataError(f"{path}: {len(header)} bytes, too few for an IDX header of {needed}")
    found, *shape = struct.unpack(f">{needed // 4}I", header)
    if found != magic:
        raise DataError(
            f"{path}: magic number {found:#010x}, expected {magic:#010x} for {_KINDS[magic]}; "
            "is it another file under this name?"
        )
    if 0 in shape:
        raise DataError(f"{path}: its header {tuple(shape)} says that it is empty")
    return tuple(shape)


def find_idx(folder: Path, stem: str) -> Path | None:
    """The file `stem` (train-images, ...) in `folder`, in any of its usual spellings."""
    axes = "idx3" if "images" in stem else "idx1"
    for name in (f"{stem}-{axes}-ubyte", f"{stem}.{axes}-ubyte"):
        for ending in ("", ".gz"):
            path = folder / (name + ending)
            if path.is_file():
                return path
    return None
