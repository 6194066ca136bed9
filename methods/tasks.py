"""Task and Stream: what `fit` learns from, one after another.

A `Task` hands out arrays; a `Stream` is an ordered tuple of tasks with its scenario and a hash
of everything that defines it. How data sets become streams is `weightspace.bench.streams`' work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from ..kernels.errors import SettingError, ShapeError

Scenario = Literal["domain", "class", "task"]
SCENARIO_MEANING = {
    "domain": "domain-incremental: the inputs change, the classes and the head stay",
    "class": "class-incremental: new classes join one shared head, no task label at test",
    "task": "task-incremental: the task label is known and masks the head, in training and test",
}
Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Task:
    """One task: training and test arrays, made when asked for, and the classes it may use.

    `load_train` and `load_test` return `(x, y)`: x (N, *input_shape) float32 in [0, 1] or as
    standardised by the stream, y (N,) int64. They must return the same values at every call:
    whatever was random about a task (its permutation, its rotation) was drawn when the stream
    was made. `active` (K,) bool names the classes of the head this task trains and is tested
    with; None means all.
    """

    name: str
    load_train: Callable[[], Arrays] = field(repr=False)
    load_test: Callable[[], Arrays] = field(repr=False)
    train_size: int = 0
    test_size: int = 0
    active: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def from_arrays(
        cls,
        name: str,
        train: Arrays,
        test: Arrays,
        active: np.ndarray | None = None,
    ) -> Task:
        """Make a task of arrays already in memory. Raises ShapeError when x and y disagree."""
        for part, (x, y) in (("train", train), ("test", test)):
            if len(x) != len(y) or len(x) == 0:
                raise ShapeError(
                    f"task '{name}', {part}: {len(x)} inputs and {len(y)} labels; "
                    "give the same number of both, at least one"
                )
        return cls(name, lambda: train, lambda: test, len(train[0]), len(test[0]), active)


@dataclass(frozen=True)
class Stream:
    """Tasks in their order, with what is needed to build a network for them and to name them.

    `scenario` is required: the same tasks scored class-incrementally or task-incrementally give
    entirely different numbers. `hash` is a SHA-256 over the data, the transforms and the order.
    """

    name: str
    scenario: Scenario
    tasks: tuple[Task, ...]
    input_shape: tuple[int, ...]
    num_classes: int
    hash: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        if self.scenario not in get_args(Scenario):
            raise SettingError(
                f"scenario {self.scenario!r} of stream '{self.name}': expected one of "
                f"{', '.join(get_args(Scenario))}"
            )
        if not self.tasks:
            raise SettingError(f"stream '{self.name}' has no tasks; give at least one")

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self):
        return iter(self.tasks)


def as_tasks(tasks: Stream | Sequence[Task]) -> tuple[Task, ...]:
    """The tasks of a stream or of any sequence of tasks."""
    return tuple(tasks.tasks) if isinstance(tasks, Stream) else tuple(tasks)
