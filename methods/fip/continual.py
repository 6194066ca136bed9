"""FIP: learning a task along a path on which the answers to earlier ones stay as they were.

Of each task learnt, some inputs are stored with the network's answers then (the frozen reference).
Two steps, alone or together (Raghavan & Thomson; their published code has the first):

| step     | the gradient v = grad L of the new task becomes                        |
|----------|------------------------------------------------------------------------|
| "anchor" | v + strength * grad of the mean distance to the stored answers         |
| "metric" | mu (g + mu I)^-1 v, g the metric on stored inputs, by a few CG products |
| "both"   | mu (g + mu I)^-1 (v + strength * grad of the distance)                 |

The distance is Bhattacharyya's, whose Hessian at the reference is 1/4 of the softmax's Fisher
metric: "anchor" is an explicit step of the trade-off that "metric" takes implicitly. The authors
add the sum over 50 stored images to a mean over 100 new ones, which is strength 50 here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...kernels.errors import SettingError, unknown_name
from ...nnlite import Network
from ...nnlite.optim import Optimizer
from ..base import Method, TaskEnd
from ..importance import probabilities
from ..memory import HOST, Memory
from .distance import bhattacharyya
from .metric import Metric, Space
from .solve import conjugate_gradients

StepKind = Literal["anchor", "metric", "both"]
STEPS = ("anchor", "metric", "both")
_KEY = 0xF19


@dataclass
class FIP(Method):
    """Functionally invariant steps. See the module's text.

    memory: samples stored of each task. batch: how many of them a step looks at (0: all), drawn by
    Philox from the network's seed and the step. strength: of the distance. mu: the larger, the
    freer. iterations: of conjugate gradients, each a metric product, begun at v / mu. space: of the
    metric. Passes over stored inputs are in mode "eval", the mode in which answers will be asked
    for; of batch statistics, those of the rows a step looks at.

    Raises SettingError or UnknownNameError for settings outside this.
    """

    name = "fip"
    convention = (
        "v + strength grad mean BD(answers, stored answers), then mu (g + mu I)^-1; "
        "v the mean gradient of the new task"
    )
    on_host = HOST | {"steps", "products"}
    memory: int = 500
    batch: int = 100
    step: StepKind = "anchor"
    strength: float = 10.0
    mu: float = 1e-2
    iterations: int = 5
    space: Space = "softmax-fisher"

    def __post_init__(self) -> None:
        if self.step not in STEPS:
            raise unknown_name("kind of step", self.step, STEPS)
        if self.memory < 1 or self.batch < 0 or self.iterations < 1:
            raise SettingError(
                f"fip got memory={self.memory}, batch={self.batch}, iterations={self.iterations}: "
                "memory and iterations are at least 1, batch at least 0"
            )
        if self.strength < 0 or not self.mu > 0:
            raise SettingError(f"fip got strength={self.strength}, mu={self.mu}: mu is above 0")

    def start(self, net: Network, optimizer: Optimizer) -> None:
        self.arrays["steps"] = np.zeros(1, np.int64)
        self.arrays["products"] = np.zeros(1, np.int64)  # metric products so far

    def adjust(self, net: Network, grad: np.ndarray) -> None:
        kept = Memory(self.arrays)
        if not kept.tasks:
            return
        rows = kept.draw(self.batch or len(kept), net.seed, _KEY, int(self.arrays["steps"][0]))
        self.arrays["steps"] += 1
        if self.step != "metric" and self.strength:
            self._add_anchor(net, kept, rows, grad)
        if self.step != "anchor":
            grad[...] = self._through_metric(net, kept, rows, grad)

    def end_task(self, net: Network, end: TaskEnd) -> None:
        Memory(self.arrays).add(net, end, self.memory, outputs=True)

    def _add_anchor(self, net: Network, kept: Memory, rows: np.ndarray, grad: np.ndarray) -> None:
        """grad += strength times the gradient of the mean distance over `rows`."""

        def cotangent(outputs: np.ndarray, part: np.ndarray) -> np.ndarray:
            then, made = kept.take(net, "outputs", part), np.empty_like(outputs)
            for _, at, active in kept.groups(part):
                reference = probabilities(net, then[at], active)
                made[at] = bhattacharyya(net, outputs[at], reference, active)[1]
            return made

        kept.pull(net, rows, cotangent, grad, beta=1.0, scale=self.strength)

    def _through_metric(
        self, net: Network, kept: Memory, rows: np.ndarray, v: np.ndarray
    ) -> np.ndarray:
        """mu (g + mu I)^-1 v, about: so many iterations from v / mu, which is where g is 0."""
        active = self.arrays["memory.active"][self.arrays["memory.task"][rows]]
        metric = Metric(net, kept.take(net, "x", rows), self.space, active, own=False)
        mu = net.dtype.type(self.mu)
        found = conjugate_gradients(
            metric, v, self.mu, tolerance=1e-2, iterations=self.iterations, start=v / mu
        )
        self.arrays["products"] += found.iterations + 1
        return found.x * mu
