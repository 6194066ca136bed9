"""Rehearsal: what methods have in common that keep samples of earlier tasks and train on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from ..kernels.errors import SettingError, unknown_name
from ..nnlite import Network
from ..nnlite.workspace import Mode
from .base import Method, TaskEnd
from .memory import HOST, Memory

_KEY = 0x2EAD  # draws from the memory have random streams of their own


@dataclass
class Rehearsal(Method):
    """A method with a `Memory` of `memories` samples a task, filled as each task ends.

    mode: of the passes over the memory. "train": batch statistics, which move the running ones, and
    dropped units, as the batch's own pass has them. "eval": nothing moves. They differ only for
    networks with BatchNorm2d or Dropout.

    What is drawn at a step follows from (seed, tasks learnt, draws so far), kept in `arrays`.
    Raises SettingError or UnknownNameError for settings outside these.
    """

    on_host = HOST | {"clock"}
    memories: int = 256
    mode: Mode = "train"

    def __post_init__(self) -> None:
        self._check_whole("memories")
        if self.mode not in get_args(Mode):
            raise unknown_name("mode", self.mode, get_args(Mode))

    def _check_whole(self, name: str) -> None:
        value = getattr(self, name)
        if value < 1:
            raise SettingError(f"{self.name} got {name}={value}; it must be at least 1")

    def _check_not_negative(self, *names: str) -> None:
        for name in names:
            if not 0 <= getattr(self, name) < np.inf:
                raise SettingError(f"{self.name} got {name}={getattr(self, name)}; it is 0 or more")

    @property
    def memory(self) -> Memory:
        """The samples kept so far."""
        return Memory(self.arrays)

    def end_task(self, net: Network, end: TaskEnd) -> None:
        self._store(net, end)
        self.arrays["clock"] = np.array([end.seed, self.memory.tasks, 0])

    def _store(self, net: Network, end: TaskEnd) -> None:
        self.memory.add(net, end, self.memories)

    def _draw(self, size: int) -> np.ndarray:
        """The next `size` rows of the memory, at most all of them."""
        seed, task, count = self.arrays["clock"].tolist()
        self.arrays["clock"][2] += 1
        return self.memory.draw(size, seed, _KEY + task, count)
