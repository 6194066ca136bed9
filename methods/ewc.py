"""Elastic Weight Consolidation (Kirkpatrick et al. 2017): the importance is the Fisher diagonal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..nnlite import Network
from .base import TaskEnd
from .importance import FisherKind, fisher
from .penalty import QuadraticPenalty


@dataclass
class EWC(QuadraticPenalty):
    """EWC: penalty (lam / 2) sum F (theta - anchor)^2, F a mean over samples of per-sample squares.

    fisher: "sampled" (one label a sample from the model), "true" (all classes, exact) or
    "empirical" (the data's labels). penalty, gamma, samples: see `methods.penalty`.
    """

    name = "ewc"
    convention = "(lam/2) sum F (theta-anchor)^2, F = mean of per-sample squared gradients"
    half = True
    fisher: FisherKind = "sampled"

    def importance(self, net: Network, x: np.ndarray, y: np.ndarray, end: TaskEnd) -> np.ndarray:
        seed = end.seed * 1_000_003 + end.index
        return fisher(net, x, y, self.fisher, seed, end.task.active)
