"""Task and Stream: what `fit` learns from, one after another.

A `Task` hands out arrays; a `Stream` is an ordered tuple of tasks with its scenario and a hash
of everything that defines it. How data sets become streams is `weightspace.bench.streams`' work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from ..kernels.errors import DtypeError, SettingError, ShapeError
from .settings import COUNT, NOT_NEGATIVE, whole

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
    with; None means all. train_size, test_size: how many samples there are, where that is known
    beforehand; 0 has `fit` look.

    Raises SettingError for what is no task.
    """

    name: str
    load_train: Callable[[], Arrays] = field(repr=False)
    load_test: Callable[[], Arrays] = field(repr=False)
    train_size: int = 0
    test_size: int = 0
    active: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for part, load in (("load_train", self.load_train), ("load_test", self.load_test)):
            if not callable(load):
                raise SettingError(
                    f"task '{self.name}': {part} is no function, but a {type(load).__name__}; for "
                    "arrays there is Task.from_arrays(name, (x, y), (x_test, y_test))"
                )
        for name in ("train_size", "test_size"):
            size = whole(f"task '{self.name}': {name}", getattr(self, name), NOT_NEGATIVE)
            object.__setattr__(self, name, size)
        if self.active is not None:
            active = np.asarray(self.active)
            if active.dtype != bool or active.ndim != 1:
                raise SettingError(
                    f"task '{self.name}': active holds {active.dtype} in shape {active.shape}; "
                    "give a bool for each class of the head"
                )
            object.__setattr__(self, "active", active)

    @classmethod
    def from_arrays(
        cls,
        name: str,
        train: Arrays,
        test: Arrays,
        active: np.ndarray | None = None,
    ) -> Task:
        """Make a task of (x, y) in memory: arrays, or what NumPy makes arrays of.

        Raises ShapeError or DtypeError where they are none, or x and y disagree.
        """
        train, test = as_pair(train, f"task '{name}', train"), as_pair(test, f"task '{name}', test")
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
        if not len(self.tasks):
            raise SettingError(f"stream '{self.name}' has no tasks; give at least one")
        object.__setattr__(self, "tasks", tuple(self.tasks))
        shape = tuple(whole(f"stream '{self.name}': a size", size) for size in self.input_shape)
        object.__setattr__(self, "input_shape", shape)
        classes = whole(f"stream '{self.name}': num_classes", self.num_classes, COUNT)
        object.__setattr__(self, "num_classes", classes)

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self):
        return iter(self.tasks)


def as_tasks(tasks: Stream | Task | Iterable[Task]) -> tuple[Task, ...]:
    """The tasks of a stream, of any sequence of tasks, or of a single one.

    Raises SettingError for anything else, and for none.
    """
    found: tuple[Any, ...]
    try:
        found = (tasks,) if isinstance(tasks, Task) else tuple(tasks)
    except TypeError:
        found = (tasks,)  # which is told below
    for number, task in enumerate(found):
        if not isinstance(task, Task):
            raise SettingError(
                f"tasks: number {number} is of type {type(task).__name__}, not a Task; make one by "
                "Task.from_arrays(name, (x, y), (x_test, y_test))"
            )
    if not found:
        raise SettingError("there are no tasks to learn; give at least one")
    return found


def as_pair(arrays: Any, what: str) -> Arrays:
    """(x, y) as NumPy arrays of equal length, at least one.

    Lists, data frames and tensors that NumPy reads are taken; `what` names them in errors. Raises
    ShapeError or DtypeError.
    """
    if not isinstance(arrays, tuple | list) or len(arrays) != 2:
        raise ShapeError(f"{what}: got {type(arrays).__name__}, which is no pair; give (x, y)")
    x, y = _numbers(arrays[0], f"{what} inputs"), _numbers(arrays[1], f"{what} labels")
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(x) == 0:
        raise ShapeError(
            f"{what}: inputs of shape {x.shape} and labels of shape {y.shape}; give the same "
            "number of both, at least one"
        )
    return x, y


def _numbers(value: Any, what: str) -> np.ndarray:
    """`value` as a NumPy array of numbers."""
    if isinstance(value, np.ma.MaskedArray):
        raise DtypeError(f"{what}: a masked array, whose mask would be lost; .filled(0) fills")
    try:
        array = np.asarray(value)
    except Exception as wrong:  # whatever the library it comes from has to say
        raise DtypeError(
            f"{what}: NumPy makes no array of this {type(value).__name__} ({wrong}); give a NumPy "
            "array"
        ) from None
    if array.dtype.kind not in "biuf":
        raise DtypeError(f"{what} are {array.dtype}; give numbers in a NumPy array")
    return array
