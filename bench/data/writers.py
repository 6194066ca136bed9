"""Who wrote MNIST's digits: the labels of QMNIST, read beside MNIST's own images.

Yadav & Bottou (2019, "Cold Case: The Lost MNIST Digits", arXiv 1905.10498) found the image in
NIST's collection that each of MNIST's was made of. Their files have eight numbers an image, in
MNIST's order: its class, the series of NIST's forms (0 to 3: employees of the Census Bureau,
Special Database 3; 4: high-school students, Special Database 1), the writer, and five that are not
read here. The test file goes on for 50,000 rows after the 10,000 of MNIST's test images.

Of MNIST's test images the first 5,001 are the students', the other 4,999 the employees'; that the
first 5,000 are the easier employees', as is often read, is the wrong way round.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...kernels.errors import DataError
from .idx import NUMBERS, read_idx

STUDENTS = 4  # the series of the students; all others are of the employees
# SHA-256 without gzip of the training and the test file, whose MD5 with it `fetch` knows
SUMS = (
    "bb1b6e1ec7b04fd5696f1ed50b5f58f8ef195118edd5c93c81783df9740b8ac5",
    "92d0ccb8c25f9c6534270fb4be7e1d24a1c6d315edfc8a638bfbd31c70f362dd",
)


def read_writers(path: Path, labels: np.ndarray) -> np.ndarray:
    """Each image's writer and series, (N, 2) int64, for MNIST's `labels` (N,) in their order.

    Raises DataError for files other than the published ones, and where the classes of both differ.
    """
    table, found = read_idx(path, NUMBERS)
    if found not in SUMS:
        raise DataError(
            f"{path}: its checksum {found[:16]}... is that of none of QMNIST's label files; "
            "download them: weightspace data fetch mnist-writers"
        )
    same = table[: len(labels), 0] == labels[: len(table)]
    if len(table) < len(labels) or not same.all():
        raise DataError(
            f"{path}: of {len(labels):,} images of MNIST {int((~same).sum()):,} have another class "
            "there; give MNIST's own images, in their own order"
        )
    return table[: len(labels), [2, 1]]


def is_student(writers: np.ndarray) -> np.ndarray:
    """Whether each image (N,) of `writers` (N, 2) is a student's."""
    return writers[:, 1] == STUDENTS
