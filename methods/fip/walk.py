"""Networks along a path on which nothing but the weights changes: an ensemble out of one network.

With no second objective (L = 0 in Eq. 4 of Raghavan & Thomson) every direction in which the outputs
stay is as good as any other, and the paper does not say which to take. Here each step does two
things, on a batch of inputs of its own, so that no fixed few are held while the rest drift:

    u = length d / |d|,   (g + mu I) d = d_before       go on, but for what would move the outputs
    theta += (g + nu I)^-1 J^T M (f_0 - f) / N          back towards the outputs of the start

The first direction is random. The second part is one damped Gauss-Newton step; without it the
small changes of many steps add up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...kernels.errors import SettingError
from ...nnlite import Network
from ..batches import Batches
from ..tasks import Arrays
from ..vectors import inner
from .metric import Metric, Space
from .solve import conjugate_gradients, random_direction


@dataclass(frozen=True)
class Walk:
    """How to walk: `steps` of `length`, each on `inputs` samples; `run` does it.

    mu, nu: damping of the direction and of the way back (nu None: no way back). iterations: of
    conjugate gradients, for each of the two. space: the metric's. seed: of direction and batches.

    Raises SettingError for settings that lead nowhere.
    """

    steps: int = 50
    length: float = 1.0
    inputs: int = 200
    mu: float = 1e-3
    nu: float | None = 1e-2
    iterations: int = 8
    space: Space = "softmax-fisher"
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.inputs, self.iterations) < 1 or not self.length > 0:
            raise SettingError(
                f"a walk got steps={self.steps}, inputs={self.inputs}, iterations="
                f"{self.iterations}, length={self.length}: all above 0"
            )

    def run(
        self,
        net: Network,
        train: Arrays,
        members: int,
        watch: Callable[[int, Network], None] | None = None,
    ) -> list[Network]:
        """Walk from `net` (its theta moves), inputs from train x (N, ...); `members` of the path.

        They lie at equal distances along it, the last at its end, the start not among them.
        watch(step, net) is told of every step. Raises SettingError for more members than steps.
        """
        if not 1 <= members <= self.steps:
            raise SettingError(f"{members} members of a walk of {self.steps} steps: 1 to that many")
        wanted = {round(self.steps * (number + 1) / members) for number in range(members)}
        batches = Batches(net.ops, [train], self.inputs, self.seed, 0xF1F)
        start, kept = net.like(), []
        direction = random_direction(net, 1.0, self.seed, 0)
        for step in range(1, self.steps + 1):
            metric = Metric(net, batches[step - 1][0], self.space)
            direction = self._step(net, start, metric, direction)
            if step in wanted:
                kept.append(net.like())
            if watch is not None:
                watch(step, net)
        return kept

    def _step(self, net: Network, start: Network, metric: Metric, before: np.ndarray) -> np.ndarray:
        """Move net.theta by one step and back to the start's outputs; the new direction (P,)."""
        found = conjugate_gradients(metric, before, self.mu, iterations=self.iterations).x
        found *= net.dtype.type(1 / np.sqrt(inner(net, found, found)))
        net.theta += net.dtype.type(self.length) * found
        if self.nu is not None:
            metric.move()
            pull = metric.pull(start.forward(metric.x) - metric.outputs())
            back = conjugate_gradients(metric, pull, self.nu, iterations=self.iterations)
            net.theta += back.x
        return found
