"""Observer: what a caller may watch while `fit` runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from .result import Evaluation
from .tasks import Task


class Observer:
    """What a caller may watch while `fit` runs; by default only `stopping` does something."""

    def started(self, total_steps: int, done_steps: int, tasks: Sequence[Task]) -> None:
        """Training begins, or goes on after `done_steps` of `total_steps`."""

    def stepped(self, step: int, task: int, loss: float) -> None:
        """Optimizer step number `step` (from 1, over all tasks) of task `task` was taken."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """Accuracies were measured."""

    def task_began(self, task: int) -> None:
        """Training of task `task` begins, or goes on in a resumed run."""

    def task_learnt(self, task: int) -> None:
        """Task `task` was learnt and the method has what it keeps of it; tests come next."""

    def task_ended(self, task: int, row: np.ndarray) -> None:
        """Task `task` was tested; row (T,) is its row of R."""

    def saved(self, step: int) -> None:
        """A checkpoint of the state after `step` steps is on disk."""

    def stopping(self, name: str) -> None:
        """The signal `name` arrived, in whatever was going on; `fit` stops at its next safe point.

        Says so on the standard error, since a kernel's compilation or a task's tests may take a
        while.
        """
        print(f"{name}: {STOPPING}", file=sys.stderr, flush=True)


STOPPING = "stopping after this step, or this task's tests; once more stops at once"
