"""Split: every task is a group of classes (Zenke 2017: MNIST in five pairs)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...kernels.errors import SettingError
from ...methods.tasks import Scenario, Stream
from ..data import Dataset
from .common import (
    Normalise,
    check_normalise,
    check_scenario,
    listed,
    make_stream,
    make_task,
    whole,
)


def make(
    dataset: Dataset,
    scenario: Scenario,
    classes_per_task: int = 2,
    class_order: Sequence[int] | None = None,
    normalise: Normalise = None,
    flat: bool = True,
) -> Stream:
    """Groups of `classes_per_task` classes, in numerical order or in `class_order`.

    Scenario "task": one head for all classes, masked to the task's own in training and test.
    "class": the same head unmasked, so old and new classes compete at test. "domain": labels become
    0..classes_per_task-1 within each task ("the first or the second of the pair?").

    Raises SettingError when the groups do not fit, DataError for a group without images.
    """
    check_scenario("split", scenario, ("task", "class", "domain"))
    normalise = check_normalise("split", normalise)
    classes_per_task = whole("split", "classes_per_task", classes_per_task, least=1)
    total = dataset.num_classes
    given = range(total) if class_order is None else class_order
    order = [whole("split", "class_order", c) for c in listed("split", "class_order", given)]
    if sorted(order) != sorted(set(order)) or not set(order) <= set(range(total)):
        raise SettingError(f"class_order {order}: give each class of 0..{total - 1} at most once")
    if len(order) % classes_per_task:
        raise SettingError(
            f"{len(order)} classes do not divide into groups of classes_per_task={classes_per_task}"
        )
    tasks = []
    for start in range(0, len(order), classes_per_task):
        group = order[start : start + classes_per_task]
        rows = tuple(np.flatnonzero(np.isin(y, group)) for y in (dataset.train_y, dataset.test_y))
        active = np.isin(np.arange(total), group) if scenario == "task" else None
        relabel = None
        if scenario == "domain":
            relabel = np.zeros(total, np.int64)
            relabel[group] = np.arange(classes_per_task)
        name = "classes " + ", ".join(map(str, group))
        tasks.append(
            make_task(name, dataset, _same, normalise, flat, (rows[0], rows[1]), relabel, active)
        )
    settings = {"per_task": classes_per_task, "order": order, "normalise": normalise}
    classes = classes_per_task if scenario == "domain" else total
    return make_stream("split", scenario, dataset, tasks, classes, flat, settings)


def _same(images: np.ndarray) -> np.ndarray:
    return images
