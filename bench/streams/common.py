"""What all streams share: pixels to float, hashing, and making tasks out of transforms."""

from __future__ import annotations

import hashlib
import json
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ...kernels.errors import DataError, SettingError
from ...methods.tasks import SCENARIO_MEANING, Arrays, Scenario, Stream, Task
from ..data import Dataset

Normalise = tuple[float, float] | None
Transform = Callable[[np.ndarray], np.ndarray]  # images uint8 (N, H, W, C) -> the same, transformed


def to_float(images: np.ndarray, normalise: Normalise, flat: bool) -> np.ndarray:
    """uint8 images as float32 in [0, 1], standardised if asked; flat: (N, D)."""
    x = images.reshape(len(images), -1) if flat else images
    x = np.multiply(x, np.float32(1 / 255), dtype=np.float32)
    if normalise is not None:
        mean, deviation = normalise
        x -= np.float32(mean)
        x /= np.float32(deviation)
    return x


def check_scenario(kind: str, given: str, allowed: Sequence[str]) -> None:
    """Raise SettingError unless `given` is a scenario that a stream of this kind can have."""
    if given not in allowed:
        raise SettingError(
            f"scenario {given!r} makes no sense for a {kind} stream; it can be: "
            + "; ".join(f"'{name}' ({SCENARIO_MEANING[name]})" for name in allowed)
        )


def make_task(
    name: str,
    dataset: Dataset,
    transform: Transform,
    normalise: Normalise,
    flat: bool,
    rows: tuple[np.ndarray, np.ndarray] | None = None,
    relabel: np.ndarray | None = None,
    active: np.ndarray | None = None,
) -> Task:
    """A task over some rows of the data set (None: all), made anew each time it is asked for.

    The uint8 base is shared by all tasks, so a stream of any length holds no float copies.
    relabel (classes,): new label of each old one. Raises DataError for a task without images.
    """

    def part(x: np.ndarray, y: np.ndarray, mine: np.ndarray | None) -> Arrays:
        if mine is not None:
            x, y = x[mine], y[mine]
        return to_float(transform(x), normalise, flat), y if relabel is None else relabel[y]

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
        lambda: part(dataset.train_x, dataset.train_y, train_rows),
        lambda: part(dataset.test_x, dataset.test_y, test_rows),
        train_size,
        test_size,
        active,
    )


def make_stream(
    kind: str,
    scenario: Scenario,
    dataset: Dataset,
    tasks: Iterable[Task],
    num_classes: int,
    flat: bool,
    settings: dict[str, Any],
    arrays: Sequence[np.ndarray] = (),
) -> Stream:
    """Put tasks together, with the hash of everything that defines them and a line for people.

    settings: JSON-able, and all of them; arrays: what was drawn (permutations).
    """
    tasks = tuple(tasks)
    total = hashlib.sha256(
        json.dumps([kind, scenario, dataset.hash, num_classes, flat, settings]).encode()
    )
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    sizes = {(task.train_size, task.test_size) for task in tasks}
    each = " each" if len(sizes) == 1 else " in the first"
    first = tasks[0]
    return Stream(
        name=f"{kind} {dataset.name}",
        scenario=scenario,
        tasks=tasks,
        input_shape=(int(np.prod(dataset.input_shape)),) if flat else dataset.input_shape,
        num_classes=num_classes,
        hash=total.hexdigest(),
        description=(
            f"{kind}: {len(tasks)} tasks of {dataset.name} ({first.train_size:,} training and "
            f"{first.test_size:,} test images{each}), {SCENARIO_MEANING[scenario]}"
        ),
    )


def whole(kind: str, setting: str, given: Any, least: int | None = None) -> int:
    """`given` as an int. Raises SettingError for what is no whole number, or below `least`."""
    expected = "a whole number" if least is None else f"a whole number of at least {least}"
    try:
        number = operator.index(given)
    except TypeError:
        number = None
    if number is None or isinstance(given, bool) or (least is not None and number < least):
        raise SettingError(f"a {kind} stream got {setting}={given!r}; give {expected}")
    return number


def listed(kind: str, setting: str, given: Any) -> list[Any]:
    """`given` as a list. Raises SettingError for a single value (a string is one) or for none."""
    values = [] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if not values:
        raise SettingError(f"a {kind} stream got {setting}={given!r}; give a list of at least one")
    return values


def check_normalise(kind: str, given: Any) -> Normalise:
    """`given` as (mean, deviation) in float, or None. Raises SettingError unless it is a pair
    of finite numbers whose second is above 0: any other would make inputs that are not finite."""
    if given is None:
        return None
    try:
        mean, deviation = (float(number) for number in given)
    except (TypeError, ValueError):
        mean = deviation = math.nan
    if not (math.isfinite(mean) and math.isfinite(deviation) and deviation > 0):
        raise SettingError(
            f"a {kind} stream got normalise={given!r}; give (mean, deviation) of the pixels in "
            "[0, 1], both finite and the deviation above 0, or None"
        )
    return mean, deviation
