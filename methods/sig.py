"""Total absolute signal (Kutalev 2020): as a penalty (SIG), and as attenuated steps (WVA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..nnlite import Network
from ..nnlite.optim import Streams
from .base import Method, TaskEnd
from .importance import sig
from .penalty import QuadraticPenalty, check_samples_stand_alone, choose_samples
from .settings import COUNT, NOT_NEGATIVE, limited


@dataclass
class SIG(QuadraticPenalty):
    """SIG: penalty lam sum S (theta - anchor)^2, no 1/2; S = |w| mean |x|, summed over tasks."""

    name = "sig"
    convention = "lam sum S (theta-anchor)^2, S = mean absolute signal through the connection"

    def importance(self, net: Network, x: np.ndarray, y: np.ndarray, end: TaskEnd) -> np.ndarray:
        return sig(net, x)


@dataclass
class WVA(Method):
    """Weight Velocity Attenuation (Kutalev 2020): important weights move less; there is no anchor.

    Each step is multiplied by A = 1 / (1 + lam S) (rule "inverse") or exp(-lam S) ("exp"), S the
    signal summed over the tasks so far. on="step" attenuates the optimizer's step (his "deltas");
    on="gradient" the gradient before it, much of which an adaptive optimizer undoes again.
    """

    name = "wva"
    convention = "step times 1/(1+lam S) or exp(-lam S), S = mean absolute signal, no anchor"
    limits = limited(lam=NOT_NEGATIVE, samples=COUNT)
    lam: float = 1.0
    rule: Literal["inverse", "exp"] = "inverse"
    on: Literal["step", "gradient"] = "step"
    samples: int | None = None
    which: Literal["random", "last"] = "random"

    def check(self, net: Network, sizes: Sequence[int]) -> None:
        check_samples_stand_alone(net, self.name)

    def streams(self) -> Streams:
        return Streams(gain=self.arrays.get("gain") if self.on == "step" else None)

    def adjust(self, net: Network, grad: np.ndarray) -> None:
        if self.on == "gradient" and "gain" in self.arrays:
            grad *= self.arrays["gain"]

    def adjusts(self) -> bool:
        return self.on == "gradient" and "gain" in self.arrays

    def end_task(self, net: Network, end: TaskEnd) -> None:
        x, _ = choose_samples(end, self.samples, self.which)
        signal = sig(net, x)
        if "signal" in self.arrays:
            signal += self.arrays["signal"]
        self.arrays["signal"] = signal
        scaled = self.lam * signal
        gain = 1 / (1 + scaled) if self.rule == "inverse" else np.exp(-scaled)
        self.arrays["gain"] = gain.astype(signal.dtype)

    def persistent_bytes(self) -> int:
        return self.arrays["signal"].nbytes if "signal" in self.arrays else 0
