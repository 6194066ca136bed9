"""Survey: all tasks' data looked at before the first step, and told apart by their content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..kernels.errors import NonFiniteError, ShapeError, WeightspaceError
from ..nnlite import Network
from .evaluate import counts, labels
from .identity import hash_arrays
from .tasks import Arrays, Task, as_pair


def checked(task: Task, part: str, arrays: Any, net: Network) -> Arrays:
    """A task's arrays as the network needs them; a named error says what is wrong with them."""
    x, y = as_pair(arrays, f"task '{task.name}', {part}")
    declared = task.train_size if part == "training" else task.test_size
    if declared not in (0, len(x)):
        raise ShapeError(
            f"task '{task.name}' declares {declared} {part} samples, but hands out {len(x)}"
        )
    if x.shape[1:] != net.input_shape:
        raise ShapeError(
            f"task '{task.name}': {part} inputs have shape {x.shape[1:]} a sample; the network "
            f"takes {net.input_shape}"
        )
    with np.errstate(over="ignore"):  # told below
        x = np.ascontiguousarray(x, net.dtype)
    if not np.isfinite(x).all():
        rows = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))
        raise NonFiniteError(
            f"task '{task.name}': {len(rows)} of {len(x)} {part} inputs hold NaN or infinity, or "
            f"what {net.dtype} cannot hold (first: row {rows[0]})"
        )
    try:
        y = labels(net, len(x), y, task.active, ignored=True)
    except WeightspaceError as wrong:
        raise type(wrong)(f"task '{task.name}', {part}: {wrong}") from None
    if part == "test" and len(y) and not counts(net, y).any():
        raise ShapeError(
            f"task '{task.name}': the loss ignores all {len(y)} test labels, so there is no "
            "accuracy to tell"
        )
    return x, y


class Data(NamedTuple):
    """What was seen of all tasks' data before the first step."""

    tests: list[Arrays]
    sizes: list[int]  # training samples of each task
    hashes: dict[str, str]  # of what tells it from other data, by what that is


def survey(tasks: Sequence[Task], known: str, net: Network, hashed: bool) -> Data:
    """Look at all data that will be needed. Raises the named errors of bad data.

    known: a stream's hash; its training data, made by its own rules, are looked at when their turn
    comes. Without one all are looked at now and, where `hashed`, told apart by their content.
    """
    tests = [checked(task, "test", task.load_test(), net) for task in tasks]
    if known and all(task.train_size for task in tasks):
        return Data(tests, [task.train_size for task in tasks], {"stream": known})
    sizes, hashes = [], {"stream": known} if known else {}
    for number, (task, test) in enumerate(zip(tasks, tests, strict=True)):
        train = checked(task, "training", task.load_train(), net)
        sizes.append(len(train[0]))
        if hashed and not known:
            hashes[f"task {number}"] = hash_arrays((*train, *test, task.active))
    return Data(tests, sizes, hashes)
