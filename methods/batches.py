"""Batches: shuffled mini-batches by number, the same ones whoever asks and in whatever order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..kernels import Backend
from ..nnlite.init import Generators
from .settings import whole
from .tasks import Arrays


class Batches:
    """The batches of one task, or of all of them mixed: any step's batch, in any order.

    parts: arrays x (N, ...), y (N,), several for tasks that are mixed. (seed, key, epoch) decide
    the order. The samples are moved to the backend's device once; a batch is gathered there, into
    buffers that stay where they are. Raises SettingError for a size that is none.
    """

    def __init__(
        self, ops: Backend, parts: Sequence[Arrays], size: int, seed: int, key: int
    ) -> None:
        self.ops, self.size = ops, whole("batch_size", size)
        self._generators = Generators(seed, key)
        self.total = sum(len(x) for x, _ in parts)
        self.per_epoch = math.ceil(self.total / self.size)
        self._epoch = -1
        device = ops.device
        self.arrays = tuple(device.put(_joined(arrays)) for arrays in zip(*parts, strict=True))
        self._room = tuple(
            device.empty((min(self.size, self.total), *array.shape[1:]), array.dtype)
            for array in self.arrays
        )

    def rows(self, step: int, count: int = 1) -> np.ndarray:
        """The numbers (n,) of the samples of `count` steps, one after another."""
        epoch, position = divmod(step, self.per_epoch)
        end = position + count
        parts = [self._order_of(epoch)[position * self.size : end * self.size]]
        while end > self.per_epoch:
            epoch, end = epoch + 1, end - self.per_epoch
            parts.append(self._order_of(epoch)[: end * self.size])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def sizes(self, step: int, count: int) -> np.ndarray:
        """How many samples each of these steps takes, (count,) int64."""
        found = np.full(count, self.size, np.int64)
        found[self.per_epoch - 1 - step % self.per_epoch :: self.per_epoch] = (
            self.total - (self.per_epoch - 1) * self.size
        )
        return found

    def _order_of(self, epoch: int) -> np.ndarray:
        """The samples' numbers (total,) in the order of an epoch."""
        if epoch != self._epoch:
            order = self._generators[1 + epoch].permutation(self.total)
            self._order, self._epoch = self.ops.device.put(order), epoch
        return self._order

    def __getitem__(self, step: int) -> Arrays:
        rows = self.rows(step)
        x, y = (room[: len(rows)] for room in self._room)
        for source, target in zip(self.arrays, (x, y), strict=True):
            self.ops.gather_rows(_flat(source), rows, _flat(target))
        return x, y


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _flat(array: np.ndarray) -> np.ndarray:
    """A sample a row."""
    return array.reshape(len(array), -1)
