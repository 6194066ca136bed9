"""Rehearsal: what methods have in common that keep samples of earlier tasks and train on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..nnlite import Network
from ..nnlite.workspace import Mode
from .base import Method, TaskEnd
from .importance import ROOM
from .memory import HOST, Memory
from .settings import COUNT, limited

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
    limits = limited(memories=COUNT)
    memories: int = 256
    mode: Mode = "train"

    def passes(self, net: Network, index: int, sizes: Sequence[int], batch: int) -> set[int]:
        if self.mode == "eval" or not index:
            return set()
        kept = [min(self.memories, size) for size in sizes[:index]]
        room = net.batch_within(ROOM)  # as `Memory.pull` cuts them
        return {n for rows in self._rows(kept, batch) for n in (min(rows, room), rows % room)} - {0}

    def _rows(self, kept: Sequence[int], batch: int) -> Sequence[int]:
        """The rows of the memory that each question of a step is about; kept: of each task."""
        return ()

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
