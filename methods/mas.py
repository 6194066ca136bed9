"""Memory Aware Synapses (Aljundi et al. 2018) as a penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..nnlite import Network
from .base import TaskEnd
from .importance import mas
from .penalty import QuadraticPenalty


@dataclass
class MAS(QuadraticPenalty):
    """MAS: penalty lam sum Omega (theta - anchor)^2, no 1/2; Omega summed over tasks.

    output: "softmax" (Kutalev 2022) or "logits" (Aljundi 2018). Labels are not used.
    """

    name = "mas"
    convention = "lam sum Omega (theta-anchor)^2, Omega = mean of per-sample |d ||f||^2 / d theta|"
    output: Literal["softmax", "logits"] = "softmax"

    def importance(self, net: Network, x: np.ndarray, y: np.ndarray, end: TaskEnd) -> np.ndarray:
        return mas(net, x, self.output, end.task.active)
