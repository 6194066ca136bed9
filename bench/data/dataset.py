"""Dataset: images and labels as they were published, with where they came from."""

from __future__ import annotations

import hashlib
import operator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ...kernels.errors import DataError, DtypeError, LabelError, SettingError, ShapeError

Rows = slice | np.ndarray  # a slice, a mask or numbers


@dataclass(frozen=True)
class Dataset:
    """Training and test images (N, H, W, C) uint8 with labels (N,) int64 in 0..num_classes-1.

    source: where they were found. origin: what is to be told of where they come from; nothing where
    they are the published ones. train_writers, test_writers: of sets that know it, each image's
    writer and series, (N, 2) int64 (`writers`). Labels of any whole type are taken, and kept as
    int64. Raises DataError when images, labels and writers differ in number, or the images of both
    parts in shape;
    DtypeError and ShapeError for arrays of another kind, LabelError for a label outside.
    """

    name: str
    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    num_classes: int
    source: str
    origin: str = ""
    train_writers: np.ndarray | None = None
    test_writers: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_classes", operator.index(self.num_classes))
        for part in ("train", "test"):
            what = f"{self.name}, {'training' if part == 'train' else part} set"
            x, y = getattr(self, f"{part}_x"), getattr(self, f"{part}_y")
            self._check_images(what, x)
            if len(x) != len(y):
                raise DataError(
                    f"{what}: {len(x)} images but {len(y)} labels ({self.source}); the two files "
                    "do not belong together"
                )
            object.__setattr__(self, f"{part}_y", self._labels(what, y))
            writers = getattr(self, f"{part}_writers")
            if writers is not None and writers.shape != (len(y), 2):
                raise DataError(
                    f"{what}: {len(y)} images, and writers in shape {writers.shape}; give (N, 2), "
                    "a writer and a series for each image"
                )
        if self.train_x.shape[1:] != self.test_x.shape[1:]:
            raise DataError(
                f"{self.name}: training images are {self.train_x.shape[1:]} (H, W, C) and test "
                f"images {self.test_x.shape[1:]} ({self.source}); they are not of one set"
            )

    def _check_images(self, what: str, x: np.ndarray) -> None:
        if getattr(x, "dtype", None) != np.uint8:
            raise DtypeError(
                f"{what}: images are {getattr(x, 'dtype', type(x).__name__)}; give the pixels as "
                "they are published, uint8 in 0..255"
            )
        if x.ndim != 4 or 0 in x.shape[1:]:
            raise ShapeError(f"{what}: images have shape {x.shape}; give (N, H, W, C)")

    def _labels(self, what: str, y: np.ndarray) -> np.ndarray:
        """The labels as int64 of an array of its own kind. Raises LabelError, ShapeError."""
        y = np.asarray(y)
        if y.ndim != 1:
            raise ShapeError(f"{what}: labels have shape {y.shape}; give (N,), one an image")
        if len(y) and y.dtype.kind not in "iu":
            raise LabelError(
                f"{what}: labels are {y.dtype}; give whole numbers, as .astype('int64') makes them"
            )
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < self.num_classes:
            raise LabelError(
                f"{what}: labels run from {y.min()} to {y.max()}, expected "
                f"0..{self.num_classes - 1} ({self.source})"
            )
        return np.ascontiguousarray(y, np.int64)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(H, W, C) of one image."""
        return tuple(self.train_x.shape[1:])

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the arrays: equal exactly when the images and labels are."""
        total = hashlib.sha256()
        for array in (self.train_x, self.train_y, self.test_x, self.test_y):
            total.update(f"{array.dtype.str}{array.shape}".encode())
            total.update(np.ascontiguousarray(array).data)
        return total.hexdigest()

    def limited(self, train: int | None = None, test: int | None = None) -> Dataset:
        """The first `train` and `test` images only (None: all).

        Raises SettingError for what is no whole number of at least 1.
        """
        for limit in (train, test):
            if limit is not None and not (hasattr(limit, "__index__") and limit >= 1):
                raise SettingError(
                    f"limits train={train!r}, test={test!r}: whole numbers, at least one image each"
                )
        return self.of_rows(slice(train), slice(test))

    def of_rows(self, train: Rows, test: Rows, tests: Literal["test", "train"] = "test") -> Dataset:
        """Some rows to train, others to test: of the test set, or of the training set, too."""
        parts = {"train": ("train", train), "test": (tests, test)}
        made: dict[str, Any] = {}
        for part, (of, rows) in parts.items():
            for name in ("x", "y", "writers"):
                held = getattr(self, f"{of}_{name}")
                made[f"{part}_{name}"] = None if held is None else held[rows]
        return replace(self, **made)
