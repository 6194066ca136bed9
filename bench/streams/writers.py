"""Writers: every task is a group of people, who write as they do (Yadav & Bottou 2019's QMNIST).

The drift is real: no pixel is moved by hand. Of MNIST's 539 training writers 289 are employees of
the Census Bureau and 250 students, whose digits are harder to read; its test images are by 297
others.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ...kernels.errors import DataError, SettingError, check_name
from ...methods.tasks import Scenario, Stream
from ...nnlite.init import generator
from ...nnlite.settings import ANY, Limit, real, whole
from ..data import Dataset
from ..data.writers import is_student
from .common import (
    TASKS,
    Normalise,
    as_they_are,
    check_normalise,
    check_scenario,
    make_stream,
    make_task,
)

ORDERS = ("partitions", "drawn")
TESTS = ("same", "new", "common")


def make(
    dataset: Dataset,
    scenario: Scenario,
    num_tasks: int = 10,
    order: Literal["partitions", "drawn"] = "partitions",
    tests: Literal["same", "new", "common"] = "same",
    held: float = 0.2,
    seed: int = 0,
    normalise: Normalise = None,
    flat: bool = True,
) -> Stream:
    """Groups of writers, as many in each, drawn by Philox(seed); `held` of each writer's are kept.

    order "partitions": first groups of employees, then of students, so two tasks are NIST's two
    partitions; "drawn": groups of any writers. No task trains on the share `held` of a writer's
    images, whatever it is tested on. tests "same": on those, of the task's own writers. "new": on
    the test images of its partition, by writers that no task has. "common": on all test images.

    Raises SettingError for settings that do not fit, DataError for a data set that does not know
    its writers, and where a test's writers are not new.
    """
    check_scenario("writers", scenario, ("domain",))
    scaling = check_normalise("writers", normalise, dataset.input_shape[-1])
    num_tasks = whole("the writers stream's num_tasks", num_tasks, TASKS)
    seed = whole("the writers stream's seed", seed, ANY)
    share = real("the writers stream's held", held, Limit(0, 1, above=True, below=True))
    check_name("order of the writers stream", order, ORDERS)
    check_name("tests of the writers stream", tests, TESTS)
    if dataset.train_writers is None or dataset.test_writers is None:
        raise DataError(
            f"{dataset.name} does not say who wrote its images; data=mnist-writers does"
        )
    groups = _groups(dataset.train_writers, num_tasks, order, seed)
    kept = ~_held_out(dataset.train_writers[:, 0], share)
    if tests == "same":
        shown = dataset.of_rows(kept, ~kept, tests="train")
    else:
        shown = dataset.of_rows(kept, slice(None))
        _check_new(dataset)
    tasks = []
    for number, (name, group) in enumerate(groups):
        train, test = (np.flatnonzero(np.isin(w[:, 0], group)) for w in _both(shown))
        if tests != "same":
            test = _tested(shown, name, tests)
        tasks.append(
            make_task(f"{name} {number}", shown, as_they_are, scaling, flat, (train, test))
        )
    settings = {"order": order, "tests": tests, "held": share, "normalise": scaling}
    return make_stream(
        "writers", scenario, shown, tasks, dataset.num_classes, flat, settings,
        [*(group for _, group in groups), *_both(shown)],
    )  # fmt: skip


def _both(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The writers of both parts of a data set that knows them."""
    assert dataset.train_writers is not None and dataset.test_writers is not None
    return dataset.train_writers, dataset.test_writers


def _groups(
    writers: np.ndarray, num_tasks: int, order: str, seed: int
) -> list[tuple[str, np.ndarray]]:
    """Each task's name and writers (n,), of writers (N, 2). Raises SettingError for too many."""
    student = is_student(writers)
    parts = {"employees": np.unique(writers[~student, 0])}
    parts["students"] = np.unique(writers[student, 0])
    if order == "drawn":
        counts, parts = {"writers": num_tasks}, {"writers": np.unique(writers[:, 0])}
    else:
        total = sum(map(len, parts.values()))
        first = min(max(round(num_tasks * len(parts["employees"]) / total), 1), num_tasks - 1)
        counts = {"employees": first, "students": num_tasks - first}
    for name, count in counts.items():
        if not 1 <= count <= len(parts[name]):
            raise SettingError(
                f"num_tasks={num_tasks} makes {count} groups of {len(parts[name])} {name}; every "
                "group needs a writer, and order 'partitions' a group of each partition"
            )
    return [
        (name, np.sort(group))
        for key, (name, count) in enumerate(counts.items())
        for group in np.array_split(generator(seed, 0x3217, key).permutation(parts[name]), count)
    ]


def _held_out(writer: np.ndarray, share: float) -> np.ndarray:
    """A mask (N,) of the share of each writer's images, the same for every seed: one at least.

    Raises SettingError where that would be all of them.
    """
    held = np.zeros(len(writer), bool)
    for one in np.unique(writer):
        rows = generator(0x4E1E, int(one)).permutation(np.flatnonzero(writer == one))
        count = max(round(share * len(rows)), 1)
        if count == len(rows):
            raise SettingError(
                f"held={share:g} of the {len(rows)} images of writer {one} are all of them; lower "
                "it, or raise the limit of training images"
            )
        held[rows[:count]] = True
    return held


def _check_new(dataset: Dataset) -> None:
    """Raise DataError unless nobody wrote both training and test images."""
    train, test = (writers[:, 0] for writers in _both(dataset))
    known = np.intersect1d(train, test)
    if len(known):
        raise DataError(
            f"{len(known)} writers of {dataset.name} are in its test set and in its training set, "
            "as in a validation on held-out images; use tests='same' there"
        )


def _tested(dataset: Dataset, name: str, tests: str) -> np.ndarray:
    """The test rows of a task: all, or those of its partition. Raises SettingError without one."""
    student = is_student(_both(dataset)[1])
    if tests == "common":
        return np.arange(len(student))
    if name == "writers":
        raise SettingError("tests='new' are by partition, which order='drawn' mixes; use 'common'")
    return np.flatnonzero(student if name == "students" else ~student)
