"""What a person sees while networks train: live bars in a terminal, sparse lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ...kernels.compiling import clock
from ...methods import Observer
from ...methods.observer import STOPPING
from ...methods.result import Evaluation
from ...methods.tasks import Task

_REDRAW = 0.1  # seconds between updates of a bar; a step takes well under a millisecond


def make_progress(console: Console) -> Progress:
    """Bars with steps, time left, and the last accuracy; silent when not a terminal."""
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
    )


class Watcher(Observer):
    """Shows one run of `fit`."""

    def __init__(self, console: Console, progress: Progress, label: str) -> None:
        self.console, self.progress, self.label = console, progress, label
        self._bar = progress.add_task(label, total=None, note="")
        self._drawn = 0.0
        self._tasks = 0
        self._accuracy = ""
        self.begun: float | None = None  # when the training of a task last did, by `clock`
        # seconds of training, without compiling for it; None where part of it was before
        self.learning: float | None = 0.0

    def started(self, total_steps: int, done_steps: int, tasks: Sequence[Task]) -> None:
        self._tasks = len(tasks)
        self.progress.update(self._bar, total=total_steps, completed=done_steps)
        if done_steps:
            self.learning = None
            self.console.print(f"{self.label}: going on after step {done_steps:,}")

    def task_began(self, task: int) -> None:
        self.begun = clock()

    def task_learnt(self, task: int) -> None:
        if self.learning is not None and self.begun is not None:
            self.learning += clock() - self.begun

    def stepped(self, step: int, task: int, loss: float) -> None:
        now = time.monotonic()
        if now - self._drawn < _REDRAW:
            return
        self._drawn = now
        note = f"task {task + 1}/{self._tasks}  loss {loss:6.3f}{self._accuracy}"
        self.progress.update(self._bar, completed=step, note=note)

    def evaluated(self, evaluation: Evaluation) -> None:
        seen = evaluation.accuracies[~np.isnan(evaluation.accuracies)]
        mean = seen[: evaluation.task + 1].mean() if len(seen) else float("nan")
        self._accuracy = f"  tasks so far {mean:6.2%}"

    def task_ended(self, task: int, row: np.ndarray) -> None:
        if not self.console.is_terminal and (task + 1 == self._tasks or task == 0):
            mean = row[: task + 1].mean()
            self.console.print(f"{self.label}: task {task + 1}/{self._tasks} learnt, {mean:.2%}")
        if task + 1 == self._tasks:
            total = self.progress.tasks[self._bar].total
            note = f"tasks so far {row.mean():6.2%}"
            self.progress.update(self._bar, completed=total, note=note)

    def stopping(self, name: str) -> None:
        self.console.print(f"{self.label}: {name}, {STOPPING}", highlight=False)

    def skipped(self, error: str | None = None) -> None:
        """The run had ended before, with an error if it came to nothing."""
        self.progress.update(self._bar, total=1, completed=1, note="done before")
        if error is not None:
            self.failed(error)

    def failed(self, error: str) -> None:
        """The run came to nothing."""
        self.progress.update(self._bar, note="came to nothing")
        self.console.print(
            f"[yellow]{escape(f'{self.label}: {error}')}[/]", highlight=False, soft_wrap=True
        )
