"""Split: every task is a group of classes (Zenke 2017: MNIST in five pairs)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...kernels.errors import DataError, SettingError
from ...methods.tasks import Scenario, Stream
from ..data import Dataset
from .common import Normalise, check_scenario, make_stream, make_task


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

    Raises SettingError when the groups do not fit, DataError for a class without images.
    """
    check_scenario("split", scenario, ("task", "class", "domain"))
    total = dataset.num_classes
    order = list(range(total)) if class_order is None else [int(c) for c in class_order]
    if sorted(order) != sorted(set(order)) or not set(order) <= set(range(total)):
        raise SettingError(f"class_order {order}: give each class of 0..{total - 1} at most once")
    if classes_per_task < 1 or len(order) % classes_per_task or not order:
        raise SettingError(
            f"{len(order)} classes do not divide into groups of classes_per_task={classes_per_task}"
        )
    tasks = []
    for start in range(0, len(order), classes_per_task):
        group = order[start : start + classes_per_task]
        rows = tuple(np.flatnonzero(np.isin(y, group)) for y in (dataset.train_y, dataset.test_y))
        if not len(rows[0]) or not len(rows[1]):
            raise DataError(f"{dataset.name} has no training or no test image of classes {group}")
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
