"""The binary format of CIFAR-10 and CIFAR-100: records of label bytes and a 3 x 32 x 32 image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...kernels.errors import DataError

_PIXELS = 3 * 32 * 32


def read_records(path: Path, label_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) uint8 and labels (N,) int64, the last of each record's label bytes.

    (CIFAR-100 has two, coarse then fine.) A file that ends between records is taken as it is; one
    that ends inside a record is a DataError.
    """
    try:
        raw = np.fromfile(path, np.uint8)
    except OSError as wrong:
        raise DataError(f"{path} cannot be read: {wrong.strerror or wrong}") from None
    record = label_bytes + _PIXELS
    if raw.size == 0 or raw.size % record:
        raise DataError(
            f"{path}: {raw.size:,} bytes is not a whole number of records of {record:,} bytes "
            f"({raw.size / record:.2f}); it is cut inside a record: download it again"
        )
    rows = raw.reshape(-1, record)
    images = rows[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), rows[:, label_bytes - 1].astype(np.int64)
