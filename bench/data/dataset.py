"""Dataset: images and labels as they were published, with where they came from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ...kernels.errors import DataError, LabelError, SettingError


@dataclass(frozen=True)
class Dataset:
    """Training and test images (N, H, W, C) uint8 with labels (N,) int64 in 0..num_classes-1.

    Raises DataError when images and labels differ in number, LabelError for a label outside.
    """

    name: str
    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    num_classes: int
    source: str

    def __post_init__(self) -> None:
        for part, x, y in (
            ("training", self.train_x, self.train_y),
            ("test", self.test_x, self.test_y),
        ):
            if len(x) != len(y):
                raise DataError(
                    f"{self.name}, {part} set: {len(x)} images but {len(y)} labels "
                    f"({self.source}); the two files do not belong together"
                )
            if len(y) and not 0 <= int(y.min()) <= int(y.max()) < self.num_classes:
                raise LabelError(
                    f"{self.name}, {part} set: labels run from {y.min()} to {y.max()}, expected "
                    f"0..{self.num_classes - 1} ({self.source})"
                )

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
        """The first `train` and `test` images only (None: all). Raises SettingError below 1."""
        if (train is not None and train < 1) or (test is not None and test < 1):
            raise SettingError(f"limits train={train}, test={test}: at least one image each")
        return replace(
            self,
            train_x=self.train_x[:train],
            train_y=self.train_y[:train],
            test_x=self.test_x[:test],
            test_y=self.test_y[:test],
        )
