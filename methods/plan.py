"""Plan: how many steps each task takes, of which batches, and whether the network can take them.

All of it is settled before the first step: sizes, the last batch of an epoch that is smaller than
the others, and the passes a method makes of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..kernels.errors import SettingError, ShapeError
from ..nnlite import Network
from .base import Method
from .settings import whole
from .tasks import Task


class Length(NamedTuple):
    """How long each task is trained: `steps`, or `epochs`; the other is 0."""

    steps: int
    epochs: int

    @classmethod
    def of(cls, steps: int | None, epochs: int | None) -> Length:
        """From what `fit` is told. Raises SettingError unless exactly one is given, 1 or more."""
        if (steps is None) == (epochs is None):
            raise SettingError("fit needs either steps or epochs (a task), and not both")
        if epochs is None:
            return cls(whole("steps", steps), 0)
        return cls(0, whole("epochs", epochs))

    def steps_over(self, size: int, batch_size: int) -> int:
        """Optimizer steps for a task of so many training samples."""
        return self.steps or math.ceil(size / batch_size) * self.epochs


def batch_sizes(total: int, batch_size: int, steps: int) -> set[int]:
    """The sizes of the batches that so many steps over `total` samples meet."""
    whole_ones, rest = divmod(total, batch_size)
    met = {batch_size} if whole_ones else set()
    return met | ({rest} if rest and steps > whole_ones else set())


def check_batches(
    net: Network,
    method: Method,
    tasks: Sequence[Task],
    sizes: Sequence[int],
    plan: Sequence[int],
    batch_size: int,
) -> None:
    """Raise SettingError where a training pass would have one sample, and `net` takes no such.

    BatchNorm2d has no variance of one value. A pass may be the task's or the method's own.
    """
    refused = _refuses_one(net) if net.moded else ""
    if not refused:
        return
    for index, (task, steps) in enumerate(zip(tasks, plan, strict=True)):
        total = sum(sizes) if method.joint else sizes[index]
        met = batch_sizes(total, batch_size, steps)
        if 1 in met:
            raise SettingError(
                f"task '{task.name}': {total} samples in batches of {batch_size} leave one of a "
                f"single sample. {refused}: choose another batch_size"
            )
        if any(1 in method.passes(net, index, sizes, size) for size in met):
            raise SettingError(
                f"task '{task.name}': with these settings {method.name} passes a single sample "
                f"through the network. {refused}: let it keep more samples, or pass them in "
                "mode 'eval'"
            )


def _refuses_one(net: Network) -> str:
    """What the network says of a training pass over one sample; nothing, if it takes it."""
    one = np.zeros((1, *net.input_shape), net.dtype)
    try:
        net.like().trace(one, "train")  # a twin: a pass moves statistics
    except ShapeError as wrong:
        return str(wrong)
    return ""
