"""The two protocols: what is learned, by which network, out of which images.

permuted: 14 x 14 images (means of 2 x 2 pixels), whose pixels every task shuffles; all of
196-14-10 learns. split: five pairs of digits, classes masked to the pair, on latents of a
convolutional trunk that learned Fashion-MNIST and is frozen; 64-32-10 learns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ....methods import Task, fit
from ....nnlite import Conv2d, Flatten, Linear, Network, models
from ....nnlite.init import generator
from ....nnlite.optim import Adam
from ...embedded.models import as_floats
from ..lab import load_images
from ..study import Work

Arrays = tuple[np.ndarray, np.ndarray]
TAIL = 2  # layers that learn on the trunk


@dataclass(frozen=True)
class TaskData:
    """Training and test samples (float32, int64 labels), and the classes in play (K,) or None."""

    train: Arrays
    test: Arrays
    active: np.ndarray | None = None


def _halved(images: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels, flat."""
    n, height, width = images.shape[:3]
    blocks = images.reshape(n, height // 2, 2, width // 2, 2)
    return blocks.mean(axis=(2, 4), dtype=np.float32).reshape(n, -1)


def permuted(work: Work) -> list[TaskData]:
    """`settings.tasks` orders of the pixels, the first as they are."""
    found = load_images(work, work.settings.data)
    train, test = _halved(as_floats(found.train_x)), _halved(as_floats(found.test_x))
    tasks = []
    for number in range(work.settings.tasks):
        order = generator(work.seed, 0x9E, number).permutation(train.shape[1])
        order = np.arange(train.shape[1]) if number == 0 else order
        tasks.append(TaskData((train[:, order], found.train_y), (test[:, order], found.test_y)))
    return tasks


def split(work: Work) -> list[TaskData]:
    """Pairs of digits, (28, 28, 1)."""
    found = load_images(work, work.settings.data)
    tasks = []
    for first in range(0, 10, 2):
        rows, others = (np.isin(y, (first, first + 1)) for y in (found.train_y, found.test_y))
        active = np.zeros(10, bool)
        active[first : first + 2] = True
        tasks.append(TaskData(
            (as_floats(found.train_x[rows]), found.train_y[rows]),
            (as_floats(found.test_x[others]), found.test_y[others]), active,
        ))  # fmt: skip
    return tasks


def small(work: Work) -> Network:
    """196-14-10."""
    return models.mlp((196, 14, 10), backend=work.backend, seed=work.seed)


def trunk_and_tail(work: Work) -> Network:
    """Two convolutions and 64 units that have learned Fashion-MNIST, and a fresh 64-32-10 on them.

    Kept in the seed's folder; raises the data set's errors.
    """
    path = work.folder / "trunk.safetensors"
    if not path.exists():
        found = load_images(work, work.settings.trunk_data)
        net = _network(work)
        task = Task.from_arrays("trunk", (as_floats(found.train_x), found.train_y),
                                (as_floats(found.test_x), found.test_y))  # fmt: skip
        fit(net, [task], optimizer=Adam(1e-3), steps=work.settings.trunk_steps, batch_size=64,
            seed=work.seed)  # fmt: skip
        work.folder.mkdir(parents=True, exist_ok=True)
        net.save(path)
    net, fresh = Network.load(path, work.backend), _network(work)
    begin = net.layout.offset("4.weight")
    net.theta[begin:] = fresh.theta[begin:]
    return net


def _network(work: Work) -> Network:
    layers = [
        Conv2d(8, 5, 2, activation="relu"), Conv2d(16, 5, 2, activation="relu"), Flatten(),
        Linear(64, "relu"), Linear(32, "relu"), Linear(10),
    ]  # fmt: skip
    return Network(layers, (28, 28, 1), backend=work.backend, seed=work.seed)


def batches(task: TaskData, steps: int, size: int, *key: int) -> Iterator[Arrays]:
    """`steps` batches of a task's training samples, each drawn anew."""
    x, y = task.train
    rng = generator(*key)
    for _ in range(steps):
        rows = rng.integers(0, len(x), size)
        yield x[rows], y[rows].astype(np.int32)
