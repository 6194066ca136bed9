"""Split: every task is a group of classes (Zenke 2017: MNIST in five pairs)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...kernels.errors import SettingError, check_name
from ...methods.tasks import Scenario, Stream
from ...nnlite.settings import ANY, whole
from ..data import Dataset
from .common import (
    Normalise,
    as_they_are,
    check_normalise,
    check_scenario,
    listed,
    make_stream,
    make_task,
    rows_of,
)

# orders with a name: the data set they are for, and the classes that come first; the others follow
# in numerical order. "fip" is that of functionally invariant paths (Raghavan et al. 2024), which
# names its first two groups of five: dolphin, whale, otter, baby, wardrobe; boy, man, bowl, cup,
# cattle.
ORDERS = {"fip": ("cifar-100", (30, 95, 55, 2, 94, 11, 46, 10, 28, 19))}


def make(
    dataset: Dataset,
    scenario: Scenario,
    classes_per_task: int = 2,
    class_order: Sequence[int] | str | None = None,
    normalise: Normalise = None,
    flat: bool = True,
) -> Stream:
    """Groups of `classes_per_task` classes, in numerical order or in `class_order`.

    class_order: numbers, or a name of ORDERS (alone or in a list) for the data set it belongs to.

    Scenario "task": one head for all classes, masked to the task's own in training and test.
    "class": the same head unmasked, so old and new classes compete at test. "domain": labels become
    0..classes_per_task-1 within each task ("the first or the second of the pair?").

    Raises SettingError when the groups do not fit, UnknownNameError for an order that is none,
    DataError for a group without images.
    """
    check_scenario("split", scenario, ("task", "class", "domain"))
    scaling = check_normalise("split", normalise, dataset.input_shape[-1])
    classes_per_task = whole("the split stream's classes_per_task", classes_per_task)
    total = dataset.num_classes
    order = _order(dataset, class_order)
    if len(order) % classes_per_task:
        raise SettingError(
            f"{len(order)} classes do not divide into groups of classes_per_task={classes_per_task}"
        )
    tasks = []
    for start in range(0, len(order), classes_per_task):
        group = order[start : start + classes_per_task]
        rows = rows_of(dataset, group)
        active = np.isin(np.arange(total), group) if scenario == "task" else None
        relabel = None
        if scenario == "domain":
            relabel = np.zeros(total, np.int64)
            relabel[group] = np.arange(classes_per_task)
        name = "classes " + ", ".join(map(str, group))
        tasks.append(make_task(name, dataset, as_they_are, scaling, flat, rows, relabel, active))
    settings = {"per_task": classes_per_task, "order": order, "normalise": scaling}
    classes = classes_per_task if scenario == "domain" else total
    return make_stream("split", scenario, dataset, tasks, classes, flat, settings)


def _order(dataset: Dataset, given: Sequence[int] | str | None) -> list[int]:
    """The classes in the order `given`. Raises SettingError or UnknownNameError."""
    total = dataset.num_classes
    if given is None:
        return list(range(total))
    named = [given] if isinstance(given, str) else listed("split", "class_order", given)
    if len(named) == 1 and isinstance(named[0], str):  # a list is what a command line makes of it
        return _named_order(dataset, named[0])
    order = [whole("the split stream's class_order", number, ANY) for number in named]
    if len(order) != len(set(order)) or not set(order) <= set(range(total)):
        raise SettingError(f"class_order {order}: give each class of 0..{total - 1} at most once")
    return order


def _named_order(dataset: Dataset, name: str) -> list[int]:
    check_name("class order", name, ORDERS)
    owner, first = ORDERS[name]
    if dataset.name != owner:
        raise SettingError(
            f"class_order '{name}' is an order of the classes of {owner}, not of {dataset.name}; "
            "give the numbers of the classes, or none for numerical order"
        )
    return [*first, *(c for c in range(dataset.num_classes) if c not in first)]
