"""FGE: an ensemble from one more stretch of training, whose learning rate goes up and down.

    t(i) = (mod(i - 1, c) + 1) / c,   rate(i) = (1 - 2t) high + 2t low            for t <= 1/2
                                                (2 - 2t) low + (2t - 1) high      else

(Garipov et al. 2018, arXiv 1802.10026, Eq. 8.) A member is saved in the middle of every cycle of c
steps, where the rate is lowest; the high rate between them leads from one to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..kernels.errors import DivergedError, SettingError
from ..nnlite import Network
from ..nnlite.optim import SGD, Optimizer, Streams
from ..nnlite.step import TrainingStep
from .batches import Batches
from .evaluate import finite
from .settings import COUNT, NOT_NEGATIVE, POSITIVE, check_settings, limited, real, whole
from .tasks import Arrays


@dataclass(frozen=True)
class Cycle:
    """The learning rate's way: `steps` (even) a cycle, from high down to low and up again.

    Raises SettingError for an odd number of steps, or rates out of order.
    """

    limits = limited(steps=COUNT, high=POSITIVE, low=POSITIVE)
    steps: int = 200
    high: float = 0.05
    low: float = 5e-4

    def __post_init__(self) -> None:
        check_settings(self, "cycle")
        if self.steps % 2 or self.high < self.low:
            raise SettingError(
                f"a cycle got steps={self.steps}, high={self.high}, low={self.low}; it needs an "
                "even number of steps, and high >= low"
            )

    def rate(self, step: int) -> float:
        """The learning rate of step `step`, from 1."""
        t = ((step - 1) % self.steps + 1) / self.steps
        if t <= 0.5:
            return (1 - 2 * t) * self.high + 2 * t * self.low
        return (2 - 2 * t) * self.low + (2 * t - 1) * self.high

    def is_middle(self, step: int) -> bool:
        """Whether the rate is lowest at step `step`: a member is saved after it."""
        return (step - 1) % self.steps + 1 == self.steps // 2


def train_fge(
    net: Network,
    train: Arrays,
    members: int,
    cycle: Cycle | None = None,
    optimizer: Optimizer | None = None,
    batch_size: int = 128,
    decay: float = 0.0,
    seed: int = 0,
    watch: Callable[[int, float], None] | None = None,
) -> list[Network]:
    """Go on training `net` in place on x (N, *input_shape), y (N,), and save `members` networks.

    optimizer: SGD with momentum 0.9 by default; its learning rate is the cycle's. decay: weight
    decay, (decay / 2) |theta|^2. watch(step, loss) is told of every step.

    Raises SettingError for an optimizer without a rate to set, DivergedError.
    """
    cycle, optimizer = cycle or Cycle(), optimizer or SGD(0.01, 0.9)
    whole("train_fge's members", members)
    real("train_fge's decay", decay, NOT_NEGATIVE)
    batches = Batches(net.ops, [train], batch_size, seed, 0xF6E)
    moments = optimizer.state(net.num_parameters, net.dtype, net.device)
    streams = Streams()
    if decay:  # a quadratic penalty with equal importances, anchored at zero
        streams = Streams(np.ones_like(net.theta), np.zeros_like(net.theta), decay)
    # a step with an `adjust` is never captured, and a captured one would keep its learning rate
    one = TrainingStep(net, optimizer, moments, streams, adjust=lambda *_: None)
    saved: list[Network] = []
    step = 0
    while len(saved) < members:
        step += 1
        one.optimizer = replace(optimizer, lr=cycle.rate(step))  # type: ignore[type-var]
        one.queue(*batches[step - 1], step)
        loss = one.read()[-1]
        if not np.isfinite(loss):
            raise DivergedError(
                f"FGE's loss became {loss} at step {step}; lower the cycle's high rate "
                f"(now {cycle.high})"
            )
        if cycle.is_middle(step):
            if not finite(net.theta):  # a loss says nothing of its own step
                raise DivergedError(
                    f"FGE's step {step} led to weights of NaN or infinity; lower the cycle's high "
                    f"rate (now {cycle.high})"
                )
            saved.append(net.like())
        if watch is not None:
            watch(step, loss)
    return saved
