"""Held-out training images: what a choice may look at, so that the test images stay unseen.

A data set is cut, not a stream: in streams whose tasks show the same images in other ways
(permuted, rotated), an image held out of one task would otherwise be trained on in the next.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np

from ...kernels.errors import SettingError
from ...nnlite.init import generator
from .dataset import Dataset


@dataclass(frozen=True)
class HeldOut:
    """Part number `fold` (from 0) of the training images, `share` of each class, as the test set.

    The parts of different folds have no image in common; which image is where follows from nothing
    but the labels, so every seed and every machine cuts alike. Raises SettingError for a share or
    a fold that there is not.
    """

    share: float
    fold: int = 0

    def __post_init__(self) -> None:
        # Python's own numbers, which JSON takes
        object.__setattr__(self, "share", float(self.share))
        object.__setattr__(self, "fold", operator.index(self.fold))
        if not 0 < self.share < 1:
            raise SettingError(
                f"validation {self.share:g}: give a share of the training images between 0 and 1"
            )
        if not 0 < (self.fold + 1) * self.share < 1 + 1e-9:
            raise SettingError(
                f"fold {self.fold + 1} of shares of {self.share:g}: the training images make "
                f"{int(1 / self.share + 1e-9)} of them; lower --folds or --validation"
            )

    def of(self, dataset: Dataset) -> Dataset:
        """`dataset` without its test images: the held-out ones in their place, the rest to train.

        Raises SettingError where a class has too few images for that.
        """
        held = np.zeros(len(dataset.train_y), bool)
        for label in range(dataset.num_classes):
            rows = np.flatnonzero(dataset.train_y == label)
            shuffled = generator(0x4E1D, label).permutation(rows)
            lo, hi = (round(len(rows) * self.share * part) for part in (self.fold, self.fold + 1))
            if len(rows) and not 0 < hi - lo < len(rows):
                raise SettingError(
                    f"{dataset.name} has {len(rows)} training images of class {label}, and "
                    f"{self.share:g} of them is {hi - lo}; raise the limit or change --validation"
                )
            held[shuffled[lo:hi]] = True
        return dataset.of_rows(~held, held, tests="train")
