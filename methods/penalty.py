"""Quadratic penalties: what EWC, MAS and SIG share once the importance is known.

With F_t the importance after task t and theta_t the weights then, the loss gains the penalty
`scale * sum_i omega_i (theta_i - anchor_i)^2`, scale = lam / 2 if `half` else lam, and

| penalty  | omega             | anchor              | memory | source                       |
|----------|-------------------|---------------------|--------|------------------------------|
| separate | each F_t          | each theta_t        | 2 P T  | Kirkpatrick 2017             |
| merged   | S = sum F_t       | sum F_t theta_t / S | 2 P    | the same gradient, exactly   |
| online   | gamma omega + F_t | the latest theta    | 2 P    | Schwarz 2018, Huszar 2018    |
| latest   | sum F_t           | the latest theta    | 2 P    | Kutalev; online at gamma = 1 |

`online` applies gamma once, when a task is added (as avalanche and mammoth do; van de Ven's code
multiplies by it a second time in the loss).

`stabilised` is Kutalev's: lam omega is replaced by lam omega / (1 + lam lr omega), with the factor
1/2, so that one SGD step of the penalty can approach the anchor but never overshoot it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ..kernels.errors import ModeError
from ..nnlite import Network
from ..nnlite.init import generator
from ..nnlite.optim import Optimizer, Streams
from .base import Method, TaskEnd
from .settings import COUNT, NOT_NEGATIVE, SHARE, limited
from .tasks import Arrays

PenaltyKind = Literal["separate", "merged", "online", "latest"]


def choose_samples(end: TaskEnd, samples: int | None, which: str, key: int = 0xF15) -> Arrays:
    """Some of a task's training samples: all, the last ones, or a random choice by Philox.

    The choice follows from (seed, task, key), so that different purposes choose independently.
    """
    x, y = end.train
    if samples is None or samples >= len(x):
        return x, y
    if which == "last":
        return x[-samples:], y[-samples:]
    rows = np.sort(generator(end.seed, end.index, key).permutation(len(x))[:samples])
    chosen = end.device.put(rows)
    return x[chosen], y[chosen]


def check_samples_stand_alone(net: Network, name: str) -> None:
    """Raise ModeError where importances, which are means over single samples, are not defined."""
    if net.chain.couples("eval"):
        raise ModeError(
            f"{name} measures how much each sample depends on a weight, which is not defined where "
            "BatchNorm2d(statistics='batch') lets samples depend on each other: use "
            "statistics='running'"
        )


@dataclass
class QuadraticPenalty(Method):
    """A method that holds weights near where they were, by importance. Sub-classes measure it.

    samples: how many training samples the importance is taken over (None: all); which: "random" or
    "last". Raises SettingError or UnknownNameError for settings outside the tables above.
    """

    half: ClassVar[bool] = False
    limits = limited(lam=NOT_NEGATIVE, gamma=SHARE, samples=COUNT)
    lam: float = 1.0
    penalty: PenaltyKind = "latest"
    gamma: float = 1.0
    stabilised: bool = False
    samples: int | None = None
    which: Literal["random", "last"] = "random"

    def importance(self, net: Network, x: np.ndarray, y: np.ndarray, end: TaskEnd) -> np.ndarray:
        """F_t (P,) for the task just learnt."""
        raise NotImplementedError

    def check(self, net: Network, sizes: Sequence[int]) -> None:
        check_samples_stand_alone(net, self.name)

    def start(self, net: Network, optimizer: Optimizer) -> None:
        self._lr = optimizer.lr

    @property
    def _strength(self) -> float:
        """What multiplies omega (theta - anchor) in the gradient."""
        return self.lam if self.half else 2 * self.lam

    def _effective(self, omega: np.ndarray) -> np.ndarray:
        """The omega that the step multiplies by `streams().lam`."""
        if not self.stabilised:
            return omega
        return self.lam * omega / (1 + self.lam * self._lr * omega)

    def streams(self) -> Streams:
        if "omega" not in self.arrays or self.penalty == "separate":
            return Streams()
        lam = 1.0 if self.stabilised else self._strength
        omega = self.arrays["effective" if self.stabilised else "omega"]
        return Streams(omega=omega, anchor=self.arrays["anchor"], lam=lam)

    def adjust(self, net: Network, grad: np.ndarray) -> None:
        if self.penalty != "separate" or "omega" not in self.arrays:
            return
        lam = 1.0 if self.stabilised else self._strength
        omegas = self.arrays["effective" if self.stabilised else "omega"]
        for omega, anchor in zip(omegas, self.arrays["anchor"], strict=True):
            net.ops.penalty_gradient(net.theta, omega, anchor, lam, grad)

    def adjusts(self) -> bool:
        return self.penalty == "separate" and "omega" in self.arrays

    def end_task(self, net: Network, end: TaskEnd) -> None:
        x, y = choose_samples(end, self.samples, self.which)
        self.remember(net.theta, self.importance(net, x, y, end))

    def remember(self, theta: np.ndarray, fisher: np.ndarray) -> None:
        """Add one task's importance (P,), measured at theta (P,), to what is kept."""
        old, anchor = self.arrays.get("omega"), self.arrays.get("anchor")
        if self.penalty == "separate":
            rows = [] if old is None else [*old]
            anchors = [] if anchor is None else [*anchor]
            omega, anchor = np.stack([*rows, fisher]), np.stack([*anchors, theta])
        elif old is None or anchor is None:
            omega, anchor = fisher.copy(), theta.copy()
        elif self.penalty == "merged":
            omega = old + fisher
            with np.errstate(invalid="ignore"):  # 0/0 where no task ever used the weight
                mean = (old * anchor + fisher * theta) / omega
            anchor = np.where(omega > 0, mean, theta)
        else:
            decay = self.gamma if self.penalty == "online" else 1.0
            omega, anchor = old * old.dtype.type(decay) + fisher, theta.copy()
        self.arrays["omega"], self.arrays["anchor"] = omega, anchor
        if self.stabilised:
            self.arrays["effective"] = self._effective(omega).astype(theta.dtype)
