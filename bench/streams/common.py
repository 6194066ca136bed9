"""What all streams share: checking settings, hashing, and making tasks out of transforms."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ...kernels.errors import DataError, SettingError
from ...methods.tasks import SCENARIO_MEANING, Arrays, Scenario, Stream, Task
from ...nnlite.settings import Limit, flag
from ..data import Dataset
from .normalise import Normalise, Scaling, check_normalise, reordered, to_float

Transform = Callable[[np.ndarray], np.ndarray]  # images uint8 (N, H, W, C) -> the same, transformed
Transforms = Transform | tuple[Transform, Transform]  # of both parts, or of training and of test


# Permutations, angles and classes of a stream are made before its first task: what is no experiment
# any more, but a slip of the hand, is named before it fills the memory.
TASKS = Limit(1, 100_000)


def check_scenario(kind: str, given: str, allowed: Sequence[str]) -> None:
    """Raise SettingError unless `given` is a scenario that a stream of this kind can have."""
    if given not in allowed:
        raise SettingError(
            f"scenario {given!r} makes no sense for the {kind} stream; it can be: "
            + "; ".join(f"'{name}' ({SCENARIO_MEANING[name]})" for name in allowed)
        )


def check_sets(kind: str, given: Any, least: int, most: int | None = None) -> list[Dataset]:
    """The data sets a stream is made of, from one or a sequence. most None: any number.

    Raises SettingError for a wrong number of them, and for images of different shapes; DataError
    where two of different names are one.
    """
    sets = [given] if isinstance(given, Dataset) else list(given)
    if not least <= len(sets) <= (len(sets) if most is None else most):
        wanted = f"{least}" if most == least else f"at least {least}"
        raise SettingError(
            f"the {kind} stream takes {wanted} data set{'s' * (least > 1)}, got {len(sets)} "
            f"({', '.join(dataset.name for dataset in sets)}); several are named with a plus: "
            "data=mnist+fashion-mnist"
        )
    if len({dataset.name for dataset in sets}) > len({dataset.hash for dataset in sets}):
        raise DataError(
            f"the {kind} stream got the same images and labels as "
            f"{' and as '.join(f'{d.name} (from {d.source})' for d in sets)}; give each data set a "
            "folder of its own"
        )
    if len({dataset.input_shape for dataset in sets}) > 1:
        shapes = ", ".join(f"{dataset.name} {dataset.input_shape}" for dataset in sets)
        raise SettingError(
            f"the {kind} stream needs images of one shape (H, W, C), got {shapes}; "
            "choose data sets whose images agree"
        )
    return sets


def rows_of(dataset: Dataset, group: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """The training and the test rows whose class is one of `group`, in their order."""
    classes = list(group)
    train, test = (np.flatnonzero(np.isin(y, classes)) for y in (dataset.train_y, dataset.test_y))
    return train, test


def as_they_are(images: np.ndarray) -> np.ndarray:
    """The transform of a task that shows its images unchanged."""
    return images


def make_task(
    name: str,
    dataset: Dataset,
    transform: Transforms,
    scaling: Scaling,
    flat: bool,
    rows: tuple[np.ndarray, np.ndarray] | None = None,
    relabel: np.ndarray | None = None,
    active: np.ndarray | None = None,
) -> Task:
    """A task over some rows of the data set (None: all), made anew each time it is asked for.

    The uint8 base is shared by all tasks, so a stream of any length holds no float copies.
    relabel (classes,): new label of each old one. Raises DataError for a task without images.
    """

    of_train, of_test = transform if isinstance(transform, tuple) else (transform, transform)

    def part(x: np.ndarray, y: np.ndarray, mine: np.ndarray | None, change: Transform) -> Arrays:
        if mine is not None:
            x, y = x[mine], y[mine]
        return to_float(change(x), scaling, flat), y if relabel is None else relabel[y]

    train_rows, test_rows = rows or (None, None)
    train_size = len(dataset.train_y) if train_rows is None else len(train_rows)
    test_size = len(dataset.test_y) if test_rows is None else len(test_rows)
    if not train_size or not test_size:
        raise DataError(
            f"task '{name}' of {dataset.name} has {train_size} training and {test_size} test "
            "images; it needs at least one of each, so raise the limits or leave the task out"
        )
    return Task(
        name,
        lambda: part(dataset.train_x, dataset.train_y, train_rows, of_train),
        lambda: part(dataset.test_x, dataset.test_y, test_rows, of_test),
        train_size,
        test_size,
        active,
    )


def make_stream(
    kind: str,
    scenario: Scenario,
    datasets: Dataset | Sequence[Dataset],
    tasks: Iterable[Task],
    num_classes: int,
    flat: bool,
    settings: dict[str, Any],
    arrays: Sequence[np.ndarray] = (),
) -> Stream:
    """Put tasks together, with the hash of everything that defines them and a line for people.

    settings: JSON-able, and all of them; arrays: what was drawn (permutations).
    """
    tasks, flat = tuple(tasks), flag(f"the {kind} stream's flat", flat)
    datasets = [datasets] if isinstance(datasets, Dataset) else datasets
    hashes = [dataset.hash for dataset in datasets]
    # a single set's hash stands alone, as it did when there were no others
    identity = hashes[0] if len(hashes) == 1 else hashes
    names = " then ".join(dataset.name for dataset in datasets)
    shape = datasets[0].input_shape
    total = hashlib.sha256(
        json.dumps([kind, scenario, identity, num_classes, flat, settings]).encode()
    )
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    sizes = {(task.train_size, task.test_size) for task in tasks}
    each = " each" if len(sizes) == 1 else " in the first"
    first = tasks[0]
    origins = "".join(f"; {told}" for told in dict.fromkeys(d.origin for d in datasets) if told)
    return Stream(
        name=f"{kind} {names}",
        scenario=scenario,
        tasks=tasks,
        input_shape=(math.prod(shape),) if flat else shape,
        num_classes=num_classes,
        hash=total.hexdigest(),
        description=(
            f"{kind}: {len(tasks)} {'tasks' if len(tasks) > 1 else 'task'} of {names} "
            f"({first.train_size:,} training and {first.test_size:,} test images{each}), "
            f"{SCENARIO_MEANING[scenario]}{origins}"
        ),
    )


def listed(kind: str, setting: str, given: Any) -> list[Any]:
    """`given` as a list. Raises SettingError for a single value (a string is one) or for none."""
    values = [] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if not values:
        raise SettingError(
            f"the {kind} stream got {setting}={given!r}; give a list of at least one"
        )
    return values


__all__ = [
    "Normalise",
    "Scaling",
    "Transform",
    "Transforms",
    "as_they_are",
    "check_normalise",
    "check_scenario",
    "check_sets",
    "listed",
    "make_stream",
    "make_task",
    "reordered",
    "rows_of",
]
