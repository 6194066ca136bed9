"""Sparse networks four ways, part by part: what fip-sparsify-lenet and fip-sparsify-resnet20 share.

A dense network is trained once a seed and left in the seed's folder; every part starts from that
file. The same steps, and the same samples a step, are given to the path and to fine-tuning for each
sparsity; lottery tickets take `rounds` trainings on the way, more than both. A row says how many
steps and seconds its network took after the dense one, and whether labels were read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....kernels import get_backend
from ....kernels.compiling import clock
from ....kernels.errors import SettingError
from ....methods import Task, accuracy
from ....methods.fip import SparsePath, authors_path, sparsify
from ....methods.fit import Augment
from ....methods.pruning import By, Training, layer_sparsity, lottery_tickets, one_shot, sparsity_of
from ....nnlite import Network, SparseNetwork
from ....nnlite.optim import Adam, Optimizer
from ....nnlite.workspace import Mode
from ...show.labels import number as digits
from ...speed.timing import measure
from ...streams.augment import augment
from ...streams.normalise import black
from ..lab import Lab
from ..study import Part, Row, Work

TIMED_BATCHES = (1, 128)


@dataclass(frozen=True)
class Settings:
    """What both studies can be told by --set.

    levels: shares of all parameters (biases and norms among them) that become zero. variant_levels:
    those at which the path is also walked by the authors' own step, and with labels. path_steps are
    taken for each level, by the path and by fine-tuning, of path_batch samples each. ticket_steps
    for each round of pruning, of ticket_batch. labels: the share of the task's loss in the path
    with labels (0 leaves that one out).
    """

    data: str = "mnist-demo"
    normalise: str = "mnist"
    train_limit: int = 0
    levels: tuple[float, ...] = (0.2, 0.6, 0.9, 0.95, 0.98, 0.991, 0.994)
    variant_levels: tuple[float, ...] = (0.9, 0.991, 0.994)
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
    labels. augmented: random crops and flips for all who train, the path among them. mode: of the
    path's batch norms. title, shape: of the figures, and of the inputs that they are drawn for.
    """

    build: Callable[[int, tuple[int, ...], int, str], Network]
    flat: bool
    by: By
    optimizer: Callable[[float], Optimizer]
    stages: tuple[tuple[float, float], ...]
    title: str
    shape: tuple[int, ...]
    augmented: bool = False
    mode: Mode = "eval"


def parts(settings: Settings, kind: Kind) -> Sequence[Part]:
    """A seed's parts, the dense network first. Raises SettingError for levels outside 0..1."""
    if not settings.levels or not all(0 < p < 1 for p in settings.levels):
        raise SettingError(f"levels={settings.levels}: shares of zeros, each above 0 and below 1")

    def of(made: Callable[[SparseLab], Iterable[Row]]) -> Callable[[Work], Iterable[Row]]:
        return lambda work: made(SparseLab(work, kind))

    named = {
        "dense": dense,
        "one-shot": without_training,
        "path": lambda lab: path(lab, 0.0),
        "fine-tuned": fine_tuned,
        "tickets": tickets,
        "path-labels": lambda lab: path(lab, settings.labels),
        "authors": authors_step,
        "inference": inference,
    }
    if not settings.labels:
        del named["path-labels"]
    return [Part(name, of(made)) for name, made in named.items()]


class SparseLab(Lab):
    """A seed's data, its dense network, and how a network is told as a row."""

    def __init__(self, work: Work, kind: Kind) -> None:
        super().__init__(work, work.settings.train_limit or None, flat=kind.flat)
        self.kind = kind
        self.task = Task.from_arrays(self.dataset.name, self.train, self.test)
        self.augment = self._augment(black(self.scaling, self.image_shape[-1]))

    def _augment(self, outside: np.ndarray) -> Augment | None:
        ops = get_backend(self.work.backend)
        return (lambda x, key: augment(ops, x, outside, key)) if self.kind.augmented else None

    def training(self, steps: int, batch: int) -> Training:
        """How a network learns from labels."""
        optimizer, stages = self.kind.optimizer(self.settings.dense_lr), self.kind.stages
        return Training(steps, batch, optimizer, stages, self.augment)

    def dense(self) -> Network:
        """The dense network, trained."""
        return self.load("dense", "dense")

    def fresh(self) -> Network:
        """The dense network before training."""
        shape = self.train[0].shape[1:]
        return self.kind.build(self.classes, shape, self.work.seed, self.work.backend)

    def accuracy(self, net: Network) -> float:
        """On all test images."""
        return accuracy(net, *self.test)

    def row(self, method: str, level: float, net: Network, mask: np.ndarray, **more: Any) -> Row:
        """A sparse network as a row, its layers among it."""
        return {
            "method": method, "level": level, "sparsity": sparsity_of(net.device.get(mask)),
            "accuracy": self.accuracy(net), "layers": layer_sparsity(net, mask), **more,
        }  # fmt: skip


def dense(lab: SparseLab) -> Iterator[Row]:
    """The network that all others are made from."""
    settings, begun = lab.settings, clock()
    net = lab.fresh()
    training = lab.training(settings.dense_steps, settings.dense_batch)
    training.run(net, lab.task, lab.work.seed)
    net.save(lab.file("dense"))
    yield lab.row(
        "dense", 0.0, net, np.ones_like(net.theta), steps=settings.dense_steps, labels=True,
        seconds=clock() - begun, parameters=net.num_parameters,
        train_images=len(lab.train[1]), test_images=len(lab.test[1]),
    )  # fmt: skip


def without_training(lab: SparseLab) -> Iterator[Row]:
    """The smallest parameters set to zero, and nothing else."""
    for level in lab.settings.levels:
        begun, net = clock(), lab.dense()
        mask = one_shot(net, level)
        seconds = clock() - begun
        yield lab.row("one-shot", level, net, mask, steps=0, seconds=seconds, labels=False)


def fine_tuned(lab: SparseLab) -> Iterator[Row]:
    """One shot, then as many steps with labels as the path takes without."""
    settings = lab.settings
    training = lab.training(settings.path_steps, settings.path_batch)
    for done, level in enumerate(settings.levels):
        begun, net = clock(), lab.dense()
        mask = one_shot(net, level)
        training.run(net, lab.task, lab.work.seed, mask)
        yield lab.row(
            "one-shot + fine-tuning", level, net, mask, steps=training.steps, labels=True,
            seconds=clock() - begun,
        )  # fmt: skip
        lab.work.advance(done + 1, len(settings.levels))


def path(lab: SparseLab, labels: float) -> Iterator[Row]:
    """The functionally invariant path; the sparse networks stay in the seed's folder."""
    settings = lab.settings
    walk = SparsePath(
        steps=settings.path_steps, batch_size=settings.path_batch, optimizer=Adam(settings.path_lr),
        pull=settings.pull, growth=settings.growth, settle=settings.settle, labels=labels,
        mode=lab.kind.mode, augment=lab.augment,
    )  # fmt: skip
    name = "FIP with labels" if labels else "FIP"
    chosen = settings.variant_levels if labels else settings.levels
    return _walked(lab, name, chosen, walk)


def authors_step(lab: SparseLab) -> Iterator[Row]:
    """The same by the step that the authors' code takes, for the same number of steps."""
    settings = lab.settings
    walk = authors_path(
        steps=settings.path_steps, batch_size=settings.path_batch, mode=lab.kind.mode,
        augment=lab.augment,
    )  # fmt: skip
    return _walked(lab, "FIP, authors' step", settings.variant_levels, walk)


def _walked(lab: SparseLab, name: str, levels: Sequence[float], walk: SparsePath) -> Iterator[Row]:
    """Walk to each level, always from the dense network."""
    x, y = lab.train
    for number, level in enumerate(levels):

        def advance(step: int, before: int = number * walk.steps) -> None:
            lab.work.advance(before + step, len(levels) * walk.steps)

        found = sparsify(
            lab.dense(), x, level, walk, y=y if walk.labels else None, seed=lab.work.seed,
            look=max(walk.steps // 40, 1), advance=advance,
        )  # fmt: skip
        if name == "FIP":
            found.net.save(lab.file(sparse_name(level)))
        yield lab.row(
            name, level, found.net, found.mask, steps=walk.steps, seconds=found.seconds,
            labels=walk.labels > 0, record=[point[:4] for point in found.record],
        )  # fmt: skip


def sparse_name(level: float) -> str:
    """Under which a seed's sparse network of a level lies, zeros and all."""
    return f"sparse-{digits(level)}"


def tickets(lab: SparseLab) -> Iterator[Row]:
    """Lottery tickets: rounds of training and pruning until the sparsest level is reached.

    Level 0 in a row: its sparsity is what the rounds made it.
    """
    settings, begun = lab.settings, clock()
    training = lab.training(settings.ticket_steps, settings.ticket_batch)
    goal = max(settings.levels)
    rounds = math.ceil(math.log(1 - goal) / math.log(1 - settings.ticket_rate)) + 4
    rate = min(settings.output_rate, settings.ticket_rate)
    for ticket in lottery_tickets(
        lab.fresh(), lab.task, rounds, training, rewind=settings.rewind,
        rate=settings.ticket_rate, output_rate=rate, by=lab.kind.by, seed=lab.work.seed,
    ):  # fmt: skip
        yield lab.row(
            "lottery tickets", 0.0, ticket.net, ticket.mask, steps=ticket.steps, labels=True,
            seconds=clock() - begun, round=ticket.round,
        )  # fmt: skip
        lab.work.advance(ticket.round + 1, rounds + 1)
        if sparsity_of(ticket.net.device.get(ticket.mask)) >= goal:
            return


def inference(lab: SparseLab) -> Iterator[Row]:
    """Files and answers of the sparse networks against the dense kernels; checked, then timed."""
    for level in lab.settings.levels:
        net = lab.load("path", sparse_name(level))
        sparse = SparseNetwork(net)
        kept = lab.file(f"small-{digits(level)}")
        sparse.save(kept)
        sizes = {"dense_bytes": lab.file("dense").stat().st_size,
                 "sparse_bytes": kept.stat().st_size}  # fmt: skip
        for batch in TIMED_BATCHES:
            x = np.ascontiguousarray(lab.test[0][:batch])
            _check_equal(net, sparse, x)
            yield {
                "method": "inference", "level": level, "nonzeros": sparse.nonzeros, **sizes,
                "batch": batch, "dense_us": _microseconds(net, x),
                "sparse_us": _microseconds(sparse, x),
            }  # fmt: skip


def _microseconds(net: Network | SparseNetwork, x: np.ndarray) -> float:
    """The median time of an answer to x.

    Many short samples: beside other work most of them still run undisturbed.
    """
    timing = measure(
        lambda: net.forward(x), samples=101, sample_seconds=2e-4, wait=net.device.synchronize
    )
    return 1e6 * timing.median


def _check_equal(net: Network, sparse: SparseNetwork, x: np.ndarray) -> None:
    """Raise SettingError where the two do not answer alike: nothing wrong is timed."""
    get = net.device.get
    ours, theirs = get(sparse.forward(x)), get(net.forward(x))
    if not np.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * abs(theirs).max()):
        raise SettingError(
            f"the sparse network's answers differ by {abs(ours - theirs).max()}; it is not timed"
        )
