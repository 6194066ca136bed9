"""Launches of the optimizers' fused steps; the meaning is in `reference.update`."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from .launch import MOST_BLOCKS, REAL, THREADS, Family, Source, c_type, ceil_div, contiguous, moment

EACH = 4  # parameters a thread takes at once
# Whether there is a penalty, a path and a gain, as template arguments.
STREAMS = tuple(", ".join(there) for there in product(("false", "true"), repeat=3))
STEPS = tuple(f"{real}, {streams}" for real in REAL for streams in STREAMS)

SOURCE = Source(
    "update.cu",
    {
        "sgd_update": STEPS,
        "momentum_update": STEPS,
        "adam_update": STEPS,
        "rmsprop_update": STEPS,
        "adadelta_update": STEPS,
        "penalty_gradient": REAL,
        "advance": ("long long",),
    },
)
HELPERS = frozenset({"advance"})  # what only graphs need: no kernels of the contract


class Updates(Family):
    """Launches of update.cu. Streams that are None are not in the kernel that is launched."""

    def _update(
        self, kernel: str, theta: Any, grad: Any, moments: tuple[Any, ...],
        scalars: tuple[Any, ...], omega: Any, anchor: Any, lam: float, path: Any, gain: Any,
    ) -> None:  # fmt: skip
        contiguous(theta, grad, *moments, omega, anchor, path, gain)
        there = ", ".join("false" if s is None else "true" for s in (omega, path, gain))
        blocks = min(ceil_div(theta.size, THREADS * EACH), MOST_BLOCKS)
        self.launch(
            f"{kernel}<{c_type(theta)}, {there}>", (max(blocks, 1),), (THREADS,),
            np.int64(theta.size), theta, grad, *moments, *scalars, omega, anchor,
            theta.dtype.type(lam), path, gain,
        )  # fmt: skip

    def sgd_update(
        self, theta: Any, grad: Any, lr: float, omega: Any, anchor: Any, lam: float, path: Any,
        gain: Any,
    ) -> None:  # fmt: skip
        scalars = (theta.dtype.type(lr),)
        self._update("sgd_update", theta, grad, (), scalars, omega, anchor, lam, path, gain)

    def momentum_update(
        self, theta: Any, grad: Any, velocity: Any, lr: float, momentum: float, omega: Any,
        anchor: Any, lam: float, path: Any, gain: Any,
    ) -> None:  # fmt: skip
        real = theta.dtype.type
        self._update(
            "momentum_update", theta, grad, (velocity,), (real(lr), real(momentum)), omega, anchor,
            lam, path, gain,
        )  # fmt: skip

    def adam_update(
        self, theta: Any, grad: Any, m: Any, v: Any, lr: float, beta1: float, beta2: float,
        eps: float, step: Any, omega: Any, anchor: Any, lam: float, path: Any, gain: Any,
    ) -> None:  # fmt: skip
        """`step` is a number or an int64 array (1,) on the device, read when the kernel runs."""
        rates = np.float64(lr), np.float64(beta1), np.float64(beta2), theta.dtype.type(eps)
        self._update(
            "adam_update", theta, grad, (m, v), (*rates, *moment(step)), omega, anchor, lam, path,
            gain,
        )  # fmt: skip

    def rmsprop_update(
        self, theta: Any, grad: Any, square: Any, lr: float, alpha: float, eps: float, omega: Any,
        anchor: Any, lam: float, path: Any, gain: Any,
    ) -> None:  # fmt: skip
        real = theta.dtype.type
        scalars = real(lr), real(alpha), real(1 - alpha), real(eps)
        self._update(
            "rmsprop_update", theta, grad, (square,), scalars, omega, anchor, lam, path, gain
        )

    def adadelta_update(
        self, theta: Any, grad: Any, square: Any, moved: Any, lr: float, rho: float, eps: float,
        omega: Any, anchor: Any, lam: float, path: Any, gain: Any,
    ) -> None:  # fmt: skip
        real = theta.dtype.type
        scalars = real(lr), real(rho), real(1 - rho), real(eps)
        self._update(
            "adadelta_update", theta, grad, (square, moved), scalars, omega, anchor, lam, path, gain
        )

    def penalty_gradient(self, theta: Any, omega: Any, anchor: Any, lam: float, grad: Any) -> None:
        contiguous(theta, omega, anchor, grad)
        self.over(
            "penalty_gradient", theta, theta.size, theta, omega, anchor, theta.dtype.type(lam),
            grad, each=EACH,
        )  # fmt: skip

    def advance(self, clocks: Any, by: int = 1) -> None:
        """clocks int64, a few, += by, on the device: the numbers of a step that graphs replay."""
        self.launch("advance<long long>", (1,), (clocks.size,), clocks, np.int64(by))
