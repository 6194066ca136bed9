"""Networks along a path on which nothing but the weights changes: an ensemble out of one network.

`path` with no second objective, each step on a batch of inputs of its own, so that no fixed few are
held while the rest drift, and a way back to the start's outputs after each.

How far the outputs go is measured where no step has looked yet, on the inputs of the next one:
r_t, the root mean square over them of the angle between the answers before and after step t
(`fisher_rao`). Paths that wander differently can so be made equally long in outputs, R in all, at
any length in weights: step t + 1 of S is as many times as long as step t as what is left of R, for
each step that is left, is of r_t; at least 1/2 and at most 3/2 times:

    l_(t+1) / l_t = (R - r_1 - ... - r_t) / (S - t) / r_t
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...nnlite import Network
from ..batches import Batches
from ..settings import COUNT, POSITIVE, Limit, check_settings, limited, whole
from ..tasks import Arrays
from ..vectors import norm
from .distance import fisher_rao
from .metric import Space
from .path import Wander, path

_SLACK = 1e-9  # of a share of the way, for rounding


class Stop(NamedTuple):
    """A network of the walk; walked, turned: the path's length up to it, in weights and outputs.

    turned: the sum of r_t, in radians. walked: of |theta_t - theta_(t-1)|, steps back included; the
    distance from the start, over it, is how straight the path is.
    """

    net: Network
    step: int
    walked: float
    turned: float


@dataclass(frozen=True)
class Walk:
    """How to walk: `steps` of `length`, each on `inputs` samples; `run` does it.

    wander, rounds: where to go (`path`). turn: R, the path's length in outputs, in radians, about
    which it ends; `length` is then that of the first step alone; None: all are as long.
    mu, nu: damping of the direction and of the way back (nu None: no way back). iterations: of
    conjugate gradients, for each of the two. space: the metric's. seed: of directions and batches.

    Raises SettingError for settings that lead nowhere.
    """

    limits = limited(
        steps=COUNT, length=POSITIVE, inputs=COUNT, mu=POSITIVE, nu=POSITIVE, iterations=COUNT,
        rounds=COUNT, turn=POSITIVE,
    )  # fmt: skip
    steps: int = 50
    length: float = 1.0
    inputs: int = 200
    mu: float = 1e-3
    nu: float | None = 1e-2
    iterations: int = 8
    space: Space = "softmax-fisher"
    seed: int = 0
    wander: Wander = "onward"
    rounds: int = 2
    turn: float | None = None

    def __post_init__(self) -> None:
        check_settings(self, "Walk")

    def run(
        self,
        net: Network,
        train: Arrays,
        members: int,
        watch: Callable[[int, Network], None] | None = None,
    ) -> list[Stop]:
        """Walk from `net` (its theta moves), inputs from train x (N, ...); `members` of the path.

        They lie at equal distances in outputs along it with a `turn` (the first step that is as far
        or farther, and one a step where few are left), else at equal numbers of steps; the last at
        its end, the start not among them. watch(step, net) is told of every step. Raises
        SettingError for more members than steps.
        """
        whole("a walk's members", members, Limit(1, self.steps))
        batches = Batches(net.ops, [train], self.inputs, self.seed, 0xF1F)
        gauge = _Gauge(net, self.length, self.steps, self.turn)
        kept: list[Stop] = []

        def look(step: int, net: Network) -> None:
            gauge.read(net, batches[step][0])
            at = step / self.steps if self.turn is None else gauge.turned / self.turn
            few = self.steps - step < members - len(kept)
            if few or at >= (len(kept) + 1) / members - _SLACK:
                kept.append(Stop(net.like(), step, gauge.walked, gauge.turned))
            if len(kept) == members:
                gauge.next = 0.0
            if watch is not None:
                watch(step, net)

        path(
            net, lambda step: batches[step - 1][0], steps=self.steps, length=gauge.length,
            wander=self.wander, rounds=self.rounds, mu=self.mu, nu=self.nu, space=self.space,
            keep_every=self.steps, iterations=self.iterations, seed=self.seed, watch=look,
        )  # fmt: skip
        return kept


class _Gauge:
    """What each step came to, and how long the next one should be."""

    def __init__(self, net: Network, length: float, steps: int, turn: float | None) -> None:
        self.before = net.like()
        self.next, self.left, self.turn = length, steps, turn
        self.walked = self.turned = 0.0

    def length(self, step: int) -> float:
        """Of the step that is next, whatever its number; 0 where the walk is done."""
        return self.next

    def read(self, net: Network, x: np.ndarray) -> None:
        """Measure the step from `before` to `net` on x (n, ...), and go on from there."""
        device = net.device
        angles = device.get(fisher_rao(net, self.before.forward(x).copy(), net.forward(x)))
        turned = float(np.sqrt(np.square(angles, dtype=np.float64).mean()))
        self.walked += norm(net, net.theta - self.before.theta)
        self.turned += turned
        self.before.theta[:] = net.theta
        self.left -= 1
        if self.turn is not None and self.left:
            wanted = (self.turn - self.turned) / self.left
            self.next *= float(np.clip(wanted / max(turned, 1e-12), 0.5, 1.5))
