"""Result: what `fit` measured, and the metrics that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..nnlite import Network
from . import metrics


@dataclass(frozen=True)
class Evaluation:
    """Accuracies (T,) on every task after `step` steps in all, while learning task `task`.

    Tasks that were not measured then are NaN.
    """

    step: int
    task: int
    accuracies: np.ndarray


@dataclass(frozen=True)
class Result:
    """The outcome of learning T tasks in sequence.

    R (T, T): accuracy on task j after task i. baseline (T,): accuracies before any training.
    history: every evaluation, in order. losses: each step's mean loss. method: name and settings.
    network: what was trained, as the method wrapped it: with contexts or gates if it gives some.
    """

    R: np.ndarray
    baseline: np.ndarray
    history: tuple[Evaluation, ...]
    losses: np.ndarray
    method: dict[str, Any]
    convention: str
    network: Network = field(repr=False)
    persistent_bytes: tuple[int, ...] = ()  # what the method keeps, after each task
    task_names: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def acc(self) -> float:
        """Mean accuracy over all tasks after the last one (each task weighs the same)."""
        return metrics.acc(self.R)

    @property
    def bwt(self) -> float:
        """Backward transfer."""
        return metrics.bwt(self.R)

    @property
    def fwt(self) -> float:
        """Forward transfer, against the untrained network."""
        return metrics.fwt(self.R, self.baseline)

    @property
    def forgetting(self) -> float:
        """Mean forgetting from the best ever (Chaudhry); `metrics` has the other definition."""
        drops = metrics.forgetting(self.R)
        return float(drops.mean()) if drops.size else float("nan")
