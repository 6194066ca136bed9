"""Networks along a path on which nothing but the weights changes: an ensemble out of one network.

`path` with no second objective, each step on a batch of inputs of its own, so that no fixed few are
held while the rest drift, and a way back to the start's outputs after each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...nnlite import Network
from ..batches import Batches
from ..settings import COUNT, POSITIVE, Limit, check_settings, limited, whole
from ..tasks import Arrays
from .metric import Space
from .path import path


@dataclass(frozen=True)
class Walk:
    """How to walk: `steps` of `length`, each on `inputs` samples; `run` does it.

    mu, nu: damping of the direction and of the way back (nu None: no way back). iterations: of
    conjugate gradients, for each of the two. space: the metric's. seed: of direction and batches.

    Raises SettingError for settings that lead nowhere.
    """

    limits = limited(
        steps=COUNT, length=POSITIVE, inputs=COUNT, mu=POSITIVE, nu=POSITIVE, iterations=COUNT
    )
    steps: int = 50
    length: float = 1.0
    inputs: int = 200
    mu: float = 1e-3
    nu: float | None = 1e-2
    iterations: int = 8
    space: Space = "softmax-fisher"
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self, "Walk")

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
        whole("a walk's members", members, Limit(1, self.steps))
        wanted = {round(self.steps * (number + 1) / members) for number in range(members)}
        batches = Batches(net.ops, [train], self.inputs, self.seed, 0xF1F)
        kept: list[Network] = []

        def look(step: int, net: Network) -> None:
            if step in wanted:
                kept.append(net.like())
            if watch is not None:
                watch(step, net)

        path(
            net, lambda step: batches[step - 1][0], steps=self.steps, length=self.length,
            mu=self.mu, nu=self.nu, space=self.space, keep_every=self.steps,
            iterations=self.iterations, seed=self.seed, watch=look,
        )  # fmt: skip
        return kept
