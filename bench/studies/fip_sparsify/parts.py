"""Sparse networks, way by way, part by part: what fip-sparsify-lenet and -resnet20 share.

A dense network is trained once a seed and left in the seed's folder; every part starts from that
file. The path and fine-tuning are a part a level, so that a stopped run goes on there. The same
steps, and the same samples a step, are given to the path and to fine-tuning for each sparsity;
lottery tickets take `rounds` trainings on the way, more than both. A row says how many steps and
seconds its network took after the dense one, and whether labels were read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from ....kernels.compiling import clock
from ....kernels.errors import SettingError, check_name
from ....methods import accuracy
from ....methods.fip import SparsePath, authors_path, principal, sparsify
from ....methods.pruning import lottery_tickets, one_shot, sparsity_of
from ....nnlite import Network, SparseNetwork
from ....nnlite.checkpoint import load_arrays, save_arrays
from ....nnlite.init import generator
from ....nnlite.optim import Adam
from ...show.labels import number as digits
from ...speed.timing import measure
from ..lab import left_by
from ..study import Part, Row, Work
from .lab import WAYS, Kind, Settings, SparseLab, sparse_name, walk_name

TIMED_BATCHES = (1, 128)
LOOKS = 40  # at a path, while it is walked
KEPT = 10  # about so many of the looks keep the weights
_WATCHED = 1000  # test images behind the accuracy along a path
_SETTLING = 20  # batches for a random network's running statistics
COMPONENTS = 3
_KEY = 0x5BA  # random masks have streams of their own


def parts(settings: Settings, kind: Kind) -> Sequence[Part]:
    """A seed's parts, the dense network first.

    Raises SettingError for levels outside 0..1, UnknownNameError for ways that are none.
    """
    every = (*settings.levels, *settings.variant_levels)
    if not settings.levels or not all(0 < p < 1 for p in every):
        raise SettingError(f"levels={every}: shares of zeros, each above 0 and below 1")
    for way in settings.ways:
        check_name("way to a sparse network", way, WAYS)

    def of(made: Callable[[SparseLab], Iterable[Row]]) -> Callable[[Work], Iterable[Row]]:
        return lambda work: made(SparseLab(work, kind))

    found = {"dense": of(dense)} if set(settings.ways) - {"tickets"} else {}  # theirs is their own
    for way in (way for way in WAYS if way in settings.ways):
        made = _WAYS[way]
        if way not in _BY_LEVEL:
            found[way] = of(made)
        else:
            levels = settings.variant_levels if way in _VARIANTS else settings.levels
            found |= {f"{way}-{digits(at)}": of(partial(made, level=at)) for at in levels}
        if way == "path":
            found["bends"] = of(bends)
    if not settings.labels:
        found = {name: part for name, part in found.items() if not name.startswith("path-labels")}
    return [Part(name, part) for name, part in found.items()]


def dense(lab: SparseLab) -> Iterator[Row]:
    """The network that all others are made from."""
    settings, begun = lab.settings, clock()
    net = lab.fresh()
    training = lab.training(settings.dense_steps, settings.dense_batch)
    training.run(net, lab.task, lab.work.seed, kept=lab.file("dense-under-way"))
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


def fine_tuned(lab: SparseLab, level: float) -> Iterator[Row]:
    """One shot, then as many steps with labels as the path takes without."""
    settings, begun, net = lab.settings, clock(), lab.dense()
    training = lab.training(settings.path_steps, settings.path_batch)
    mask = one_shot(net, level)
    training.run(net, lab.task, lab.work.seed, mask, kept=lab.file("tuned-under-way"))
    yield lab.row(
        "one-shot + fine-tuning", level, net, mask, steps=training.steps, labels=True,
        seconds=clock() - begun,
    )  # fmt: skip


def random_networks(lab: SparseLab) -> Iterator[Row]:
    """What zeros alone come to: the dense network under random masks, and networks of random
    weights projected by magnitude.

    Running statistics, where there are some, are taken anew on some batches: those of the dense
    network are another's.
    """
    settings, x = lab.settings, lab.train[0]
    for level in settings.variant_levels:
        for number in range(settings.drawn):
            net = lab.dense()
            draw = generator(lab.work.seed, _KEY, number)
            mask = np.ones(net.num_parameters, net.dtype)
            zeros = round(level * len(mask))
            mask[draw.permutation(len(mask))[:zeros]] = 0
            net.theta *= net.device.put(mask)
            yield _random_row(lab, "random zeros", level, net, mask, x)
            net = lab.fresh(1 + number)
            yield _random_row(lab, "random weights", level, net, one_shot(net, level), x)


def _random_row(
    lab: SparseLab, method: str, level: float, net: Network, mask: np.ndarray, x: np.ndarray
) -> Row:
    if lab.kind.mode == "train":
        batch = lab.settings.path_batch
        for lo in range(0, min(_SETTLING * batch, len(x)), batch):
            net.forward(x[lo : lo + batch], "train")
    return lab.row(method, level, net, mask, steps=0, seconds=0.0, labels=False)


def path(lab: SparseLab, level: float, labels: float = 0.0) -> Iterator[Row]:
    """The functionally invariant path; the sparse networks stay in the seed's folder."""
    settings = lab.settings
    walk = SparsePath(
        steps=settings.path_steps, batch_size=settings.path_batch, optimizer=Adam(settings.path_lr),
        pull=settings.pull, growth=settings.growth, settle=settings.settle, labels=labels,
        mode=lab.kind.mode, augment=lab.augment,
    )  # fmt: skip
    yield _walked(lab, "FIP with labels" if labels else "FIP", level, walk)


def path_with_labels(lab: SparseLab, level: float) -> Iterator[Row]:
    """The same, with a share of the distance replaced by the task's loss."""
    return path(lab, level, lab.settings.labels)


def authors_step(lab: SparseLab, level: float) -> Iterator[Row]:
    """The path by the step that the authors' code takes."""
    settings = lab.settings
    walk = authors_path(
        steps=settings.authors_steps, batch_size=settings.path_batch, mode=lab.kind.mode,
        augment=lab.augment,
    )  # fmt: skip
    yield _walked(lab, "FIP, authors' step", level, walk)


def _walked(lab: SparseLab, name: str, level: float, walk: SparsePath) -> Row:
    """Walk to a level from the dense network; its record says how accurate it is on the way."""
    (x, y), get = lab.train, lab.fresh().device.get
    look = max(walk.steps // LOOKS, 1)
    every = look * max(walk.steps // (look * KEPT), 1)
    weights: list[np.ndarray] = [get(lab.dense().theta).copy()]

    def keep(step: int, w: np.ndarray) -> None:
        if name == "FIP" and step % every == 0:
            weights.append(get(w).copy())

    found = sparsify(
        lab.dense(), x, level, walk, y=y if walk.labels else None, seed=lab.work.seed, look=look,
        watch=lambda net: accuracy(net, *lab.first(_WATCHED)), keep=keep,
        advance=lambda step: lab.work.advance(step, walk.steps),
    )  # fmt: skip
    if name == "FIP":
        found.net.save(lab.file(sparse_name(level)))
        save_arrays(lab.file(walk_name(level)), {"weights": np.stack(weights)}, {})
    return lab.row(
        name, level, found.net, found.mask, steps=walk.steps, seconds=found.seconds,
        labels=walk.labels > 0, record=found.record,
    )  # fmt: skip


def bends(lab: SparseLab) -> Iterator[Row]:
    """All paths' weights on their principal components, the dense network at 0; how straight."""
    files = {at: left_by(f"path-{digits(at)}", lab.file(walk_name(at)))
             for at in lab.settings.levels}  # fmt: skip
    walks = {at: load_arrays(file)[0]["weights"] for at, file in files.items()}
    places, shares = principal(np.concatenate(list(walks.values())), COMPONENTS)
    for level, weights in walks.items():
        mine, places = places[: len(weights)], places[len(weights) :]
        steps = np.linalg.norm(np.diff(weights, axis=0), axis=1)
        yield {
            "method": "path in weights", "level": level, "shares": shares.tolist(),
            "places": mine.tolist(),
            "length": float(steps.sum()),
            "distance": float(np.linalg.norm(weights[-1] - weights[0])),
        }  # fmt: skip


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
        net = lab.load(f"path-{digits(level)}", sparse_name(level))
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


_WAYS: dict[str, Callable[..., Iterable[Row]]] = {
    "one-shot": without_training,
    "random": random_networks, "path": path, "fine-tuned": fine_tuned, "tickets": tickets,
    "path-labels": path_with_labels, "authors": authors_step, "inference": inference,
}  # fmt: skip
_VARIANTS = ("path-labels", "authors")
_BY_LEVEL = ("path", "fine-tuned", *_VARIANTS)
