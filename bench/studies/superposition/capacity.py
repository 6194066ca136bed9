"""How many models fit into one? Three questions (Cheung et al. 2019, sections 2 and 3).

noise     K random models are stored after the fact; how far is a retrieved one from the original?
stored    K trained models are stored after the fact; what is the accuracy of a retrieved one?
capacity  one network learns task after task under contexts; accuracy by width and number of tasks

The last is the curve that the paper leaves open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from ....kernels.errors import SettingError, check_name
from ....methods import Method, Naive, Stream, Superposition, accuracy, fit
from ....methods.linear import product
from ....nnlite import Linear, Network, models
from ....nnlite.init import generator
from ....nnlite.optim import Adam
from ... import data, streams
from ..lab import load_images
from ..rows import means
from ..study import Part, Row, Study, Work
from . import figures

ASKS = ("noise", "stored", "capacity")
KINDS = ("binary", "complex", "onepower", "rotation", "permutation")
COUNTS = (2, 4, 8, 16, 32)
NOISE_WIDTHS = (64, 256, 1024)
OUTPUTS = 64


@dataclass(frozen=True)
class Settings:
    """ask: which of the questions. widths: of both hidden layers. steps: a task.

    kinds: of contexts in place ("naive": none). keep_moments: those learnt once more with an Adam
    that is never reset. train_limit, test_limit: the first so many images of `data`.
    """

    ask: tuple[str, ...] = ASKS
    data: str = "mnist-demo"
    train_limit: int | None = None
    test_limit: int | None = 2000
    widths: tuple[int, ...] = (64, 128, 256, 512)
    kinds: tuple[str, ...] = ("naive", "binary")
    keep_moments: tuple[str, ...] = ()
    tasks: int = 20
    steps: int = 300


# ---- noise of what is retrieved ------------------------------------------------------------------


def noise(kind: str, width: int, count: int, seed: int = 0, backend: str = "cpu") -> Row:
    """Noise over signal of a model retrieved out of `count` random ones of one layer.

    weights: |retrieved - stored| / |stored|; sqrt(count - 1) is expected, whatever the width.
    aligned: the same of each unit's output when the input is its own weights, as it nearly is for a
    unit that answers: sqrt((count - 1) / width), and of complex kinds 1 / sqrt(2) of that, since
    this is the real part. random: for inputs that know nothing of the weights, where the signal is
    no larger than the noise of one model: sqrt(count - 1) again.
    """
    method = Superposition(kind)
    plain = Network((Linear(OUTPUTS, bias=False),), (width,), backend, seed=seed)
    method.wrap(plain)
    like = method.retrieve(0)
    stored = []
    for number in range(count):
        other = like.like()
        other.initialise(1000 * (seed + 1) + number)
        stored.append(other)
    method.store(stored)
    ours, theirs = (np.float64(net.device.get(net.theta)).reshape(OUTPUTS, -1)
                    for net in (method.retrieve(0), stored[0]))  # fmt: skip
    wrong = ours - theirs
    x = generator(seed, 0xA11, width).normal(size=(256, wrong.shape[1]))
    return {
        "ask": "noise", "kind": kind, "width": width, "models": count, "seed": seed,
        "weights": _rms(wrong) / _rms(theirs),
        "aligned": _rms((wrong * theirs).sum(axis=1)) / _rms((theirs**2).sum(axis=1)),
        "random": _rms(product(x, wrong.T)) / _rms(product(x, theirs.T)),
    }  # fmt: skip


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def ask_noise(kind: str, seed: int = 0, backend: str = "cpu") -> Iterator[Row]:
    """By the number of models at the widest, then by width at eight models."""
    for count in COUNTS:
        yield noise(kind, NOISE_WIDTHS[-1], count, seed, backend)
    for width in NOISE_WIDTHS[:-1]:
        yield noise(kind, width, 8, seed, backend)


# ---- trained models, stored after the fact -------------------------------------------------------


def mlp(stream: Stream, width: int, seed: int, backend: str) -> Network:
    """Two hidden layers of `width`, torch's default weights."""
    sizes = (*stream.input_shape, width, width, stream.num_classes)
    return models.mlp(sizes, seed=seed, backend=backend)


def ask_stored(
    stream: Stream, width: int, steps: int, seed: int = 0, backend: str = "cpu"
) -> Iterator[Row]:
    """Models trained alone, one a task, then summed: mean accuracy of those that come back."""
    trained = []
    for number, task in enumerate(stream):
        net = mlp(stream, width, seed + number, backend)
        fit(net, [task], Naive(), optimizer=Adam(), steps=steps, seed=seed)
        trained.append(net)
    for count in range(1, len(trained) + 1):
        yield {
            "ask": "stored", "kind": "binary", "width": width, "models": count, "seed": seed,
            "accuracy": stored_accuracy(stream, trained[:count], "binary"),
        }  # fmt: skip


def stored_accuracy(stream: Stream, trained: Sequence[Network], kind: str) -> float:
    """Mean accuracy of real `trained` models (one a task) after they were stored together."""
    method = Superposition(kind)
    method.wrap(trained[0].like())
    method.store(trained)
    found = [
        accuracy(method.retrieve(number), *stream.tasks[number].load_test())
        for number in range(len(trained))
    ]
    return float(np.mean(found))


# ---- trained in place ----------------------------------------------------------------------------


def in_place(kind: str) -> Method:
    """The method of a kind of contexts. Raises SettingError for none of them."""
    return Naive() if kind == "naive" else Superposition(kind)


def ask_capacity(
    stream: Stream,
    width: int,
    kind: str,
    steps: int,
    seed: int = 0,
    reset: bool = True,
    backend: str = "cpu",
) -> Iterator[Row]:
    """Mean accuracy on the tasks learnt so far, after each task, by kind ("naive": none).

    reset: whether Adam begins anew with each task. Where it does not, its second moment, small at
    the end of a short task, lets the first steps of the next be several times lr.
    """
    result = fit(
        mlp(stream, width, seed, backend), stream, in_place(kind), optimizer=Adam(), steps=steps,
        seed=seed, reset_optimizer=reset,
    )  # fmt: skip
    for count in range(1, len(stream) + 1):
        seen = result.R[count - 1, :count]
        yield {
            "ask": "capacity", "kind": kind, "width": width, "tasks": count, "seed": seed,
            "reset": reset, "accuracy": float(seen.mean()), "first": float(seen[0]),
            "last": float(seen[-1]),
        }  # fmt: skip


# ---- the study -----------------------------------------------------------------------------------


def _noise(kind: str) -> Part:
    return Part(f"noise-{kind}", lambda work: ask_noise(kind, work.seed, work.backend))


def _learn(name: str, tasks: int, ask: Callable[..., Iterator[Row]], **more: Any) -> Part:
    """A part that asks of `tasks` permutations; more: what else."""

    def run(work: Work) -> Iterator[Row]:
        made = work.settings
        images = load_images(work, made.data, made.train_limit, made.test_limit)
        stream = streams.build("permuted", images, "domain", num_tasks=tasks, seed=work.seed)
        return ask(stream, steps=made.steps, seed=work.seed, backend=work.backend, **more)

    return Part(name, run)


def parts(settings: Settings) -> Sequence[Part]:
    """A part a kind of noise, a width, and a kind and width.

    Raises UnknownNameError for a question that is none, SettingError for settings that lead
    nowhere.
    """
    for name in settings.ask:
        check_name("question of psp-capacity", name, ASKS)
    for kind in (*settings.kinds, *settings.keep_moments):
        in_place(kind)
    if min(settings.tasks, settings.steps, *settings.widths) < 1:
        raise SettingError("widths, tasks and steps are 1 or more")
    check_name("data set", settings.data, data.NAMES)
    kept = [(kind, "-kept") for kind in settings.keep_moments]
    made = {
        "noise": [_noise(kind) for kind in KINDS],
        "stored": [_learn(f"stored-{width}", min(settings.tasks, 10), ask_stored, width=width)
                   for width in settings.widths],
        "capacity": [_learn(f"capacity-{kind}-{width}{more}", settings.tasks, ask_capacity,
                            kind=kind, width=width, reset=not more)
                     for kind, more in (*kept, *((kind, "") for kind in settings.kinds))
                     for width in settings.widths],
    }  # fmt: skip
    return [part for name in ASKS if name in settings.ask for part in made[name]]


TOLD = {
    "noise": (("kind", "width", "models"), ("weights", "aligned", "random")),
    "stored": (("kind", "width", "models"), ("accuracy",)),
    "capacity": (("kind", "reset", "width", "tasks"), ("accuracy", "first", "last")),
}


def tell(rows: Sequence[Row]) -> list[Table]:
    """The noise, what was stored, and what was learnt in place after the last task."""
    tasks = max((row["tasks"] for row in rows if "tasks" in row), default=0)
    last = [row for row in rows if row.get("tasks", tasks) == tasks]
    asked = dict.fromkeys(row["ask"] for row in rows)
    return [means(ask, [row for row in last if row["ask"] == ask], *TOLD[ask]) for ask in asked]


STUDY = Study(
    name="psp-capacity",
    summary="how many models one set of weights holds, by width (Cheung et al. 2019)",
    settings=Settings(),
    parts=parts,
    draw=figures.draw,
    tell=tell,
    row=figures.Noise | figures.Capacity | figures.Stored,
)
