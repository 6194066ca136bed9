"""Data sets: every task is a data set of its own, under one head of all their classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...methods.tasks import Scenario, Stream
from ..data import Dataset
from .common import (
    Normalise,
    as_they_are,
    check_normalise,
    check_scenario,
    check_sets,
    make_stream,
    make_task,
)


def make(
    datasets: Sequence[Dataset],
    scenario: Scenario,
    normalise: Normalise = None,
    flat: bool = True,
) -> Stream:
    """One task a data set, in order; its labels follow those of the sets before it.

    MNIST then Fashion-MNIST has labels 0..9, then 10..19, and a head of 20. Scenario "class": the
    head is shared and unmasked. "task": masked to the task's own classes in training and test.

    Raises SettingError for images of different shapes, DataError for a set without images.
    """
    datasets = check_sets("datasets", datasets, least=1)
    check_scenario("datasets", scenario, ("class", "task"))
    scaling = check_normalise("datasets", normalise, datasets[0].input_shape[-1])
    total = sum(dataset.num_classes for dataset in datasets)
    tasks = []
    start = 0
    for dataset in datasets:
        labels = np.arange(start, start + dataset.num_classes)
        start += dataset.num_classes
        active = np.isin(np.arange(total), labels) if scenario == "task" else None
        tasks.append(
            make_task(
                dataset.name, dataset, as_they_are, scaling, flat, relabel=labels, active=active
            )
        )
    settings = {"normalise": scaling}
    return make_stream("datasets", scenario, datasets, tasks, total, flat, settings)
