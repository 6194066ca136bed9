"""The lab of the sparsification studies: settings, kinds of networks, what a seed's parts share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....kernels import get_backend
from ....methods import Task, accuracy
from ....methods.fit import Augment
from ....methods.pruning import By, Training, layer_sparsity, sparsity_of
from ....nnlite import Network
from ....nnlite.optim import Optimizer
from ....nnlite.workspace import Mode
from ...show.labels import number as digits
from ...streams.augment import augment
from ...streams.normalise import black
from ..lab import Lab
from ..study import Row, Work

WAYS = (
    "one-shot", "random", "path", "fine-tuned", "tickets", "path-labels", "authors", "inference",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What both studies can be told by --set.

    levels: shares of all parameters (biases and norms among them) that become zero. ways: to sparse
    networks, of `WAYS`. variant_levels: those at which the path is also
    walked by the authors' own step and with labels, and random networks are drawn. path_steps are
    taken for each level, by the path and by fine-tuning, of path_batch samples each; authors_steps
    by the authors' step. ticket_steps for each round of pruning, of ticket_batch. labels: the share
    of the task's loss in the path with labels. drawn: random networks of each kind.
    """

    data: str = "mnist-demo"
    normalise: str = "mnist"
    train_limit: int = 0
    levels: tuple[float, ...] = (0.2, 0.6, 0.9, 0.95, 0.98, 0.991, 0.994)
    ways: tuple[str, ...] = WAYS
    variant_levels: tuple[float, ...] = (0.991, 0.994)
    dense_steps: int = 6000
    dense_batch: int = 60
    dense_lr: float = 1.2e-3
    path_steps: int = 4000
    path_batch: int = 200
    path_lr: float = 1e-3
    pull: float = 0.1
    growth: float = 0.5
    settle: float = 0.4
    labels: float = 0.5
    authors_steps: int = 4000
    drawn: int = 10
    ticket_steps: int = 3000
    ticket_batch: int = 60
    ticket_rate: float = 0.2
    output_rate: float = 0.1
    rewind: int = 0


@dataclass(frozen=True)
class Kind:
    """What differs between the two studies.

    build(classes, input shape, seed, backend): the network. flat: images as vectors. by: where
    lottery tickets look for the smallest. optimizer(rate), stages: of everything that learns from
    labels; decay: of the weights, there. augmented: random crops and flips for all who train, the
    path among them. mode: of the path's batch norms. title, shape: of the figures, and of the
    inputs that they are drawn for.
    """

    build: Callable[[int, tuple[int, ...], int, str], Network]
    flat: bool
    by: By
    optimizer: Callable[[float], Optimizer]
    stages: tuple[tuple[float, float], ...]
    title: str
    shape: tuple[int, ...]
    decay: float = 0.0
    augmented: bool = False
    mode: Mode = "eval"


class SparseLab(Lab):
    """A seed's data, its dense network, and how a network is told as a row."""

    def __init__(self, work: Work, kind: Kind) -> None:
        super().__init__(work, work.settings.train_limit or None, flat=kind.flat)
        self.kind = kind
        # `fit` need not test: parts do
        self.task = Task.from_arrays(self.dataset.name, self.train, self.first(1))
        self.augment = self._augment(black(self.scaling, self.image_shape[-1]))

    def _augment(self, outside: np.ndarray) -> Augment | None:
        ops = get_backend(self.work.backend)
        return (lambda x, key: augment(ops, x, outside, key)) if self.kind.augmented else None

    def training(self, steps: int, batch: int) -> Training:
        """How a network learns from labels."""
        optimizer, stages = self.kind.optimizer(self.settings.dense_lr), self.kind.stages
        return Training(steps, batch, optimizer, stages, self.augment, self.kind.decay)

    def dense(self) -> Network:
        """The dense network, trained."""
        return self.load("dense", "dense")

    def fresh(self, other: int = 0) -> Network:
        """The dense network before training; with a number, another of the kind."""
        shape, seed = self.train[0].shape[1:], self.work.seed
        return self.kind.build(self.classes, shape, seed + 1000 * other, self.work.backend)

    def accuracy(self, net: Network) -> float:
        """On all test images."""
        return accuracy(net, *self.test)

    def row(self, method: str, level: float, net: Network, mask: np.ndarray, **more: Any) -> Row:
        """A sparse network as a row, its layers among it."""
        return {
            "method": method, "level": level, "sparsity": sparsity_of(net.device.get(mask)),
            "accuracy": self.accuracy(net), "layers": layer_sparsity(net, mask), **more,
        }  # fmt: skip


def sparse_name(level: float) -> str:
    """Under which a seed's sparse network of a level lies, zeros and all."""
    return f"sparse-{digits(level)}"


def walk_name(level: float) -> str:
    """Under which the weights lie that the path to a level came by."""
    return f"walk-{digits(level)}"
