"""Method: what a continual-learning method may do while `fit` trains, as hooks that do nothing.

A method is settings plus `arrays`: everything it has to remember, by name. `fit` checkpoints those
arrays and puts them back, so a method that keeps all its state there resumes to the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..kernels.device import NUMPY, Device
from ..nnlite import Network
from ..nnlite.optim import Optimizer, Streams
from .settings import Limit, check_settings, limited
from .tasks import Arrays, Task

MANY = 1 << 62  # steps: as many as there are


@dataclass
class TaskEnd:
    """What a method sees when a task has been learnt."""

    index: int  # 0 for the first task
    task: Task
    train: Arrays  # the task's training arrays x (N, ...), y (N,), where the network computes
    seed: int
    device: Device = NUMPY


@dataclass
class Method:
    """The base of all methods, and by itself the naive one: plain fine-tuning.

    A sub-class declares its settings as fields, and in `limits` what those that are numbers may be;
    `methods.settings` checks them as it is made.

    `convention` says in a line what lam multiplies and which gradient is used; it is printed with
    every result, since a lam means nothing without it.
    """

    name: ClassVar[str] = "naive"
    convention: ClassVar[str] = "plain fine-tuning, nothing kept"
    joint: ClassVar[bool] = False  # train on all tasks together, as an upper bound
    asks_task: ClassVar[bool] = False  # a test must say which task it is
    on_host: ClassVar[frozenset[str]] = frozenset()  # arrays that no kernel reads
    limits: ClassVar[Mapping[str, Limit]] = limited()
    arrays: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        check_settings(self, self.name)

    def settings(self) -> dict[str, Any]:
        """The method's name and settings, for a config file."""
        values = {key: value for key, value in asdict(self).items() if key != "arrays"}
        return {"name": self.name, **values}

    def wrap(self, net: Network) -> Network:
        """The network to train, given the user's: the same, or one with contexts inserted."""
        return net

    def check(self, net: Network, sizes: Sequence[int]) -> None:
        """Raise a named error where `net` is none that this method can learn with.

        sizes: the training samples of each task. Before anything is trained.
        """

    def passes(self, net: Network, index: int, sizes: Sequence[int], batch: int) -> set[int]:
        """The samples in each pass in mode "train" that this method makes of its own.

        In a step of task `index` on `batch` samples; sizes: the training samples of each task.
        """
        return set()

    def start(self, net: Network, optimizer: Optimizer) -> None:
        """Make the arrays that exist from the first step on."""

    def begin_task(self, net: Network, index: int, task: Task, steps: int) -> None:
        """Training of task `index` (0 for the first) begins, or goes on in a resumed run.

        steps: how many the task has in all.
        """

    def streams(self) -> Streams:
        """What the fused optimizer step should add: omega and anchor, path, gain."""
        return Streams()

    def select(self, net: Network, task: int, step: int | None) -> None:
        """Make the network ready for a training step of a task or, with None, for its test."""

    def see(self, net: Network, x: np.ndarray, y: np.ndarray) -> None:
        """Look at the batch x (N, *input_shape), y (N,) of the training step that comes now.

        It may lie in buffers that the next batch overwrites.
        """

    def adjust(self, net: Network, grad: np.ndarray) -> None:
        """Change the gradient (P,) in place before the step."""

    def adjusts(self) -> bool:
        """Whether `adjust` does anything, with these settings, in the task that begins now."""
        return True

    def steady(self, task: int, step: int) -> int:
        """For how many steps from `step` on, which it was asked for, `select` has nothing to do."""
        return 1

    @property
    def hooked(self) -> bool:
        """Whether the gradient must be handed to `adjust`."""
        asked = self._answers("adjust", "adjusts")
        return self.adjusts() if asked else asked is None

    def free_steps(self, task: int, step: int) -> int:
        """How many steps from `step` on need no hook but `select` for the first of them.

        1 where one of them is overridden, unless `adjusts` or `steady` says more.
        """
        if self._answers("see") is None or self.hooked:
            return 1
        asked = self._answers("select", "steady")
        return self.steady(task, step) if asked else MANY if asked is False else 1

    def _answers(self, hook: str, answer: str = "") -> bool | None:
        """False: this hook is nobody's. True: `answer` speaks for it. None: it is overridden, and
        there is no such answer, or one that it inherits and that knows nothing of it."""
        kinds = type(self).__mro__
        owner = next(kind for kind in kinds if hook in vars(kind))
        if owner is Method:
            return False
        says = next((kind for kind in kinds if answer in vars(kind)), Method)
        return True if issubclass(says, owner) else None

    def end_task(self, net: Network, end: TaskEnd) -> None:
        """Refresh what is remembered, after a task."""

    def persistent_bytes(self) -> int:
        """Bytes that must be kept from one task to the next."""
        return sum(array.nbytes for array in self.arrays.values())


class Naive(Method):
    """Plain fine-tuning on each task in turn: the lower bound."""


class Joint(Method):
    """All tasks at once, mixed in every batch: the upper bound, not a continual method."""

    name = "joint"
    convention = "trained on all tasks together: an upper bound, not continual learning"
    joint = True
