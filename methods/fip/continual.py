"""FIP: learning a task along a path on which the answers to earlier ones stay as they were.

Of each task learnt, some inputs are stored with the network's answers then (the frozen reference).
Two steps, alone or together (Raghavan & Thomson; their published code has the first):

| step     | the gradient v = grad L of the new task becomes                        |
|----------|------------------------------------------------------------------------|
| "anchor" | v + strength * grad of the mean distance to the stored answers         |
| "metric" | mu (g + mu I)^-1 v, g the metric on stored inputs, by a few CG products |
| "both"   | mu (g + mu I)^-1 (v + strength * grad of the distance)                 |

The distance is Bhattacharyya's, whose Hessian at the reference is g / 4, g the softmax's Fisher
metric. So under plain gradient descent "both", with mu = 4 / (lr strength), is the implicit step of
the trade-off that "anchor" takes explicitly,

    (I + lr strength g / 4) u = -lr (v + strength grad D)

Momentum sums such steps, Adam rescales them, and neither sum is an implicit step of anything. With
momentum 0.9, too, "both" was seen to stay stable at strengths where "anchor" diverges; that is a
measurement, which the identity does not say. "metric" alone has no memory of where the
answers were, and drifts. The authors add a sum over 50 stored images to a mean over 100 new ones,
strength 50 at lr 1e-3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...kernels.errors import SettingError
from ...nnlite import Network
from ...nnlite.optim import Optimizer
from ...nnlite.workspace import Mode
from ..base import TaskEnd
from ..importance import ROOM, probabilities
from ..memory import Memory
from ..rehearsal import Rehearsal
from ..settings import COUNT, NOT_NEGATIVE, POSITIVE, limited
from .distance import bhattacharyya
from .metric import Metric, Space
from .solve import conjugate_gradients

StepKind = Literal["anchor", "metric", "both"]


@dataclass
class FIP(Rehearsal):
    """Functionally invariant steps. See the module's text.

    memories: samples stored of each task. batch: how many of all of them a step looks at (0: all).
    strength: of the distance. mu: the larger, the freer; None is 4 / (lr strength).
    iterations: of conjugate gradients, each a metric product, begun at v / mu. space: of the
    metric. mode: of the anchor's passes over stored inputs: "eval", in which answers will be asked
    for. The metric's are always in it.

    Raises SettingError or UnknownNameError for settings outside this.
    """

    name = "fip"
    convention = (
        "v + strength grad mean BD(answers, stored answers), then mu (g + mu I)^-1; "
        "v the mean gradient of the new task"
    )
    limits = limited(batch=NOT_NEGATIVE, strength=NOT_NEGATIVE, mu=POSITIVE, iterations=COUNT)
    memories: int = 500
    mode: Mode = "eval"
    batch: int = 100
    step: StepKind = "anchor"
    strength: float = 1.0
    mu: float | None = None
    iterations: int = 5
    space: Space = "softmax-fisher"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mu is None and self.step != "anchor" and not self.strength:
            raise SettingError("fip got strength=0, which says nothing of mu: set mu")

    def check(self, net: Network, sizes: Sequence[int]) -> None:
        rows = sum(min(self.memories, size) for size in sizes[:-1])
        rows = min(self.batch or rows, rows)
        if self.step != "anchor" and net.chain.couples("eval") and rows > net.batch_within(ROOM):
            raise SettingError(
                f"fip's metric on {rows} samples does not fit one pass of {ROOM / 2**20:.0f} MiB, "
                "which BatchNorm2d(statistics='batch') needs: set a smaller batch, or "
                "statistics='running'"
            )

    def _rows(self, kept: Sequence[int], batch: int) -> Sequence[int]:
        asked = self.step != "metric" and self.strength
        return (min(self.batch or sum(kept), sum(kept)),) if asked else ()

    def start(self, net: Network, optimizer: Optimizer) -> None:
        self._lr = optimizer.lr

    def adjust(self, net: Network, grad: np.ndarray) -> None:
        kept = self.memory
        if not kept.tasks:
            return
        rows = self._draw(self.batch or len(kept))
        if self.step != "metric" and self.strength:
            self._add_anchor(net, kept, rows, grad)
        if self.step != "anchor":
            grad[...] = self._through_metric(net, kept, rows, grad)

    def _store(self, net: Network, end: TaskEnd) -> None:
        self.memory.add(net, end, self.memories, outputs=True)

    def _add_anchor(self, net: Network, kept: Memory, rows: np.ndarray, grad: np.ndarray) -> None:
        """grad += strength times the gradient of the mean distance over `rows`."""

        def cotangent(outputs: np.ndarray, part: np.ndarray) -> np.ndarray:
            then, made = kept.take(net, "outputs", part), np.empty_like(outputs)
            for _, at, active in kept.groups(part):
                reference = probabilities(net, then[at], active)
                made[at] = bhattacharyya(net, outputs[at], reference, active)[1]
            return made

        kept.pull(net, rows, cotangent, grad, beta=1.0, scale=self.strength, mode=self.mode)

    def _through_metric(
        self, net: Network, kept: Memory, rows: np.ndarray, v: np.ndarray
    ) -> np.ndarray:
        """mu (g + mu I)^-1 v, about: so many iterations from v / mu, which is where g is 0."""
        active = self.arrays["memory.active"][self.arrays["memory.task"][rows]]
        metric = Metric(net, kept.take(net, "x", rows), self.space, active, own=False)
        free = 4 / (self._lr * self.strength) if self.mu is None else self.mu
        mu = net.dtype.type(free)
        found = conjugate_gradients(
            metric, v, free, tolerance=1e-2, iterations=self.iterations, start=v / mu
        )
        return found.x * mu
