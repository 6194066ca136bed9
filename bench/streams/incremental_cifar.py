"""Incremental CIFAR: all of CIFAR-10, then groups of the classes of CIFAR-100.

Cheung et al. (2019, superposition) follow CIFAR-10 with labels 10-19, 20-29, 30-39 and 40-49 of
CIFAR-100 and never use 0-9, which is the default here. Zenke et al. (2017) take five groups from
the first class on, with a masked head: slices=5, first_class=0, scenario "task".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...kernels.errors import SettingError
from ...methods.tasks import Scenario, Stream, Task
from ...nnlite.settings import NOT_NEGATIVE, whole
from ..data import Dataset
from .common import (
    Normalise,
    Scaling,
    as_they_are,
    check_normalise,
    check_scenario,
    check_sets,
    make_stream,
    make_task,
    rows_of,
)

_KIND = "incremental-cifar"


def make(
    datasets: Sequence[Dataset],
    scenario: Scenario,
    classes_per_task: int = 10,
    slices: int = 4,
    first_class: int = 10,
    normalise: Normalise = None,
    flat: bool = False,
) -> Stream:
    """The first data set whole, then `slices` groups of the second's classes from `first_class` on.

    Scenario "class": one shared head, where a group's classes follow all those before it. "task":
    the same head, masked to the task's own in training and test. "domain": one head of
    `classes_per_task` outputs that every task uses anew, with its labels counted from 0.

    Raises SettingError when the groups, the heads or the shapes of the images do not fit, DataError
    for a group without images.
    """
    datasets = check_sets(_KIND, datasets, least=2, most=2)
    check_scenario(_KIND, scenario, ("class", "task", "domain"))
    first, second = datasets
    scaling = check_normalise(_KIND, normalise, first.input_shape[-1])
    its = f"the {_KIND} stream's "
    classes_per_task = whole(f"{its}classes_per_task", classes_per_task)
    slices = whole(f"{its}slices", slices)
    first_class = whole(f"{its}first_class", first_class, NOT_NEGATIVE)
    _check_fit(first, second, scenario, classes_per_task, slices, first_class)

    total = first.num_classes + slices * classes_per_task
    tasks = [_task(first.name, first, range(first.num_classes), 0, total, scenario, scaling, flat)]
    for i in range(slices):
        low = first_class + i * classes_per_task
        group = range(low, low + classes_per_task)
        name = f"{second.name} classes {group[0]}-{group[-1]}"
        start = first.num_classes + i * classes_per_task
        tasks.append(_task(name, second, group, start, total, scenario, scaling, flat))
    settings = {
        "per_task": classes_per_task,
        "slices": slices,
        "first_class": first_class,
        "normalise": scaling,
    }
    classes = classes_per_task if scenario == "domain" else total
    return make_stream(_KIND, scenario, datasets, tasks, classes, flat, settings)


def _check_fit(
    first: Dataset, second: Dataset, scenario: str, per_task: int, slices: int, start: int
) -> None:
    end = start + slices * per_task
    if end > second.num_classes:
        raise SettingError(
            f"{slices} slices of {per_task} classes from {start} on reach class {end - 1}, but "
            f"{second.name} has 0..{second.num_classes - 1}; lower slices, classes_per_task or "
            "first_class"
        )
    if scenario == "domain" and per_task != first.num_classes:
        raise SettingError(
            f"scenario 'domain' has one head that all tasks use, but {first.name} has "
            f"{first.num_classes} classes and classes_per_task={per_task}; make them equal, or "
            "choose scenario 'class' or 'task'"
        )


def _task(
    name: str,
    dataset: Dataset,
    group: range,
    start: int,
    total: int,
    scenario: str,
    scaling: Scaling,
    flat: bool,
) -> Task:
    """The classes `group` as labels from `start` on, or from 0 on in scenario "domain"."""
    labels = (0 if scenario == "domain" else start) + np.arange(len(group))
    relabel = np.zeros(dataset.num_classes, np.int64)
    relabel[group] = labels
    active = np.isin(np.arange(total), labels) if scenario == "task" else None
    # the whole set needs no rows, which would copy its images
    rows = None if len(group) == dataset.num_classes else rows_of(dataset, group)
    return make_task(name, dataset, as_they_are, scaling, flat, rows, relabel, active)
