"""Training steps in ordinary memory: done at once, their losses at hand.

`ReplayedStep`: forward, loss, backward and the optimizer are one program. Many steps, whose batches
are known beforehand, are one call of it, and Python is entered again when the last of them is done.
`EagerStep`: gradient and update apart, for who looks at what lies between.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from .checks import explain_non_finite
from .net import Network
from .program.replay import Counts, MachineReplay, learn_many
from .step_program import StepProgram, Update


class EagerStep:
    """A gradient, then the update that `TrainingStep` makes of it."""

    def __init__(self, net: Network, grad: np.ndarray, active: np.ndarray | None) -> None:
        self._net, self._grad = net, grad
        self._active = None if active is None else net.mask(active)
        self._waiting: list[float] = []  # losses that nobody has read

    @property
    def full(self) -> bool:
        return bool(self._waiting)

    def queue(self, x: np.ndarray, y: np.ndarray, count: int, update: Update) -> None:
        loss, _ = self._net.loss_and_grad(x, y, self._grad, self._active, mode="train")
        self._waiting.append(loss)
        if math.isfinite(loss):  # a step along NaN would leave nothing to look at
            update(count)

    def read(self) -> list[float]:
        found, self._waiting = self._waiting, []
        return found


class ReplayedStep(EagerStep):
    """Steps by replay; eager where no program can hold the network."""

    def __init__(
        self, net: Network, program: StepProgram, grad: np.ndarray, active: np.ndarray | None
    ) -> None:
        super().__init__(net, grad, active)
        self._program = program
        self._checked: Any = None  # all samples that were looked at last
        self._loss = np.empty(1)

    @property
    def many(self) -> bool:
        """Whether many steps are one call."""
        return self._program.many

    def queue(self, x: np.ndarray, y: np.ndarray, count: int, update: Update) -> None:
        found = self._program.ready(len(x))
        if found is None:
            super().queue(x, y, count, update)
            return
        x, y, _ = self._net._check_batch(x, y, self._active)
        found.bind({"x": x, "y": y, "loss": self._loss})
        self._learn(self._loss, count, found.learn)
        if not math.isfinite(self._waiting[-1]):
            explain_non_finite(x)

    def queue_many(
        self, x: np.ndarray, y: np.ndarray, rows: np.ndarray, sizes: np.ndarray, count: int
    ) -> None:
        """See `TrainingStep.queue_many`."""
        if self._checked is None or self._checked[0] is not x or self._checked[1] is not y:
            x, y, _ = self._net._check_batch(x, y, self._active)
            self._checked = x, y
        kinds = np.flatnonzero(np.bincount(sizes))[::-1]
        turns = np.searchsorted(-kinds, -sizes)
        replays = self._of_sizes(kinds.tolist(), len(x))
        for each in replays:
            each.bind({"all x": x, "all y": y})

        def learn(counts: Counts) -> int:
            return learn_many(replays, turns, loss, rows, counts)

        loss = np.empty(len(sizes))
        begun = self._learn(loss, count, learn)
        if not math.isfinite(self._waiting[-1]):
            end = sizes[:begun].sum()
            explain_non_finite(x[rows[end - sizes[begun - 1] : end]])

    def _of_sizes(self, sizes: list[int], samples: int) -> list[MachineReplay]:
        """Replays for batches of these sizes, the largest first, whose memory does for all."""
        found = [self._program.ready(size, samples) for size in sizes]
        assert all(isinstance(each, MachineReplay) for each in found)  # or `many` had said so
        return cast("list[MachineReplay]", found)

    def _learn(self, loss: np.ndarray, count: int, learn: Callable[[Counts], int]) -> int:
        """Take steps from number `count` on, and keep their losses; returns how many were begun."""
        net = self._net
        with net._turn:  # as passes in mode "train" do
            done = learn({"step": count - 1, "draw": net._draws})
            begun = min(int(done) + 1, len(loss))
            net._draws += begun
        self._waiting += loss[:begun].tolist()
        return begun
