"""The lab of the study `task-space`: its settings, its tasks and how they are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ....kernels.compiling import clock
from ....methods import Observer, Stream, Task, fit
from ....methods.result import Evaluation, Result
from ....nnlite import Network, models
from ....nnlite.optim import Optimizer, get_optimizer
from ... import streams
from ...streams import manipulated
from .. import lab
from ..study import Work

PARTS = ("correlations", "isolated", "sequence", "iterative", "pairs")
COUNTS = (
    "batch_size", "steps", "pair_steps", "every", "visit_steps", "rounds", "samples",
    "gram_samples", "ssim_images", "held_out",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """sets: those compared and paired; sequence: the naive one; schemes: tasks joined by "+".

    parts: of PARTS; "pairs" needs "isolated". steps: a task's in isolated, sequence and pairs' A;
    pair_steps: B's; every: steps between its tests; threshold: the share of B's isolated accuracy
    that counts as learnt. visit_steps: a visit's in a scheme of `rounds` rounds; kept_rounds: whose
    weights are drawn; lams, xi: of Synaptic Intelligence, 0 is naive; held_out: the last so many
    training images, which schemes do not learn: they choose a lam. samples: of a task, behind
    gradients and Fishers; gram_samples: behind metric overlaps; ssim_images: of each class.
    """

    data: str = "mnist-demo"
    train_limit: int | None = 10_000
    test_limit: int | None = 2000
    sets: tuple[str, ...] = manipulated.ALL
    sequence: tuple[str, ...] = manipulated.ORDER
    schemes: tuple[str, ...] = (
        "orig+rot90", "rot90+inv+orig", "orig+rot90+cutud", "noise1+rotated+basic+noise3+noise5",
    )  # fmt: skip
    parts: tuple[str, ...] = PARTS
    hidden: tuple[int, ...] = (256, 256)
    init: str = "glorot_uniform"
    optimizer: str = "adam"
    lr: float = 1e-3
    batch_size: int = 256
    steps: int = 200
    pair_steps: int = 200
    every: int = 5
    threshold: float = 0.95
    visit_steps: int = 80
    rounds: int = 10
    kept_rounds: tuple[int, ...] = (1, 5, 10)
    lams: tuple[float, ...] = (0.0, 0.2, 0.5, 1.0, 10.0, 100.0)
    xi: float = 0.1
    held_out: int = 1000
    samples: int = 500
    gram_samples: int = 30
    ssim_images: int = 20


class Lab(lab.Lab):
    """A seed's tasks, networks and training, as the settings ask for them."""

    def __init__(self, work: Work) -> None:
        made: Settings = work.settings
        super().__init__(work, made.train_limit, made.test_limit)
        named = [name for scheme in made.schemes for name in scheme.split("+")]
        order = list(dict.fromkeys([*made.sets, *made.sequence, *named]))
        stream: Stream = streams.build("manipulated", self.dataset, "domain", order=order)
        self.tasks = {task.name: _kept(task) for task in stream}

    @property
    def distinct(self) -> list[str]:
        """The settings' sets, each once: `basic` is `orig`, image for image."""
        sets = self.settings.sets
        return [name for name in sets if name != "basic" or "orig" not in sets]

    def network(self) -> Network:
        """A new network; all of a seed begin with the same weights."""
        made: Settings = self.settings
        sizes = (int(np.prod(self.image_shape)), *made.hidden, self.classes)
        return models.mlp(sizes, backend=self.work.backend, seed=self.work.seed, init=made.init)

    @property
    def optimizer(self) -> Optimizer:
        return get_optimizer(self.settings.optimizer, lr=self.settings.lr)

    def learn(self, net: Network, tasks: Sequence[Task], steps: int, **more: Any) -> Result:
        """Train `net` on `tasks` in turn, `steps` each."""
        made: Settings = self.settings
        return fit(
            net, tasks, optimizer=self.optimizer, steps=steps, batch_size=made.batch_size,
            seed=self.work.seed, **more,
        )  # fmt: skip

    def warm_up(self) -> None:
        """Two steps and a test that nobody times: what compiles and loads does so now."""
        self.learn(self.network(), [next(iter(self.tasks.values()))], 2)

    def alone(self, name: str) -> Network:
        """The network that learnt `name` alone. Raises CheckpointError where there is none."""
        return self.load("isolated", f"alone-{name}")


def _kept(task: Task) -> Task:
    """The task, its arrays made once."""
    return Task(
        task.name, cache(task.load_train), cache(task.load_test), task.train_size, task.test_size,
        task.active,
    )  # fmt: skip


class Stopwatch(Observer):
    """How accuracy rises on a single task, and the seconds of training alone that it took.

    curve: (step, accuracy) of each test; clock: the seconds until then, tests not counted.
    """

    def __init__(self) -> None:
        self.curve: list[tuple[int, float]] = []
        self.clock: list[float] = []
        self._spent = 0.0

    def started(self, total_steps: int, done_steps: int, tasks: Sequence[Task]) -> None:
        self._last = clock()

    def stepped(self, step: int, task: int, loss: float) -> None:
        now = clock()
        self._spent, self._last = self._spent + now - self._last, now

    def evaluated(self, evaluation: Evaluation) -> None:
        self.curve.append((evaluation.step, float(evaluation.accuracies[0])))
        self.clock.append(self._spent)
        self._last = clock()


def reached(
    curve: Sequence[Sequence[float]], clock: Sequence[float], target: float
) -> tuple[int | None, float | None]:
    """(steps, seconds) at the first test whose accuracy was `target` or more; None, None: none."""
    for (step, accuracy), seconds in zip(curve, clock, strict=True):
        if accuracy >= target:
            return int(step), seconds
    return None, None
