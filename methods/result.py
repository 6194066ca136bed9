"""Result: what `fit` measured, and the metrics that follow from it."""

from __future__ import annotations

from collections.abc import Callable
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
    calibration (T,): the calibration error on each task after the last one, where it was asked for.
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
    calibration: np.ndarray | None = None

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

    @property
    def looked_between(self) -> bool:
        """Whether more was measured than each task's end: else the following are NaN."""
        return len(self.history) > len(self.R)

    @property
    def min_acc(self) -> float:
        """The least accuracy on each old task, a mean (De Lange's min-ACC)."""
        return self._between(metrics.min_acc)

    @property
    def wc_acc(self) -> float:
        """Worst-case accuracy: the new task's, and the least on the old ones."""
        return self._between(metrics.wc_acc)

    @property
    def stability_gap(self) -> float:
        """What is lost and found again while later tasks are learnt."""
        return self._between(metrics.stability_gap)

    @property
    def calibration_error(self) -> float:
        """The mean of `calibration`, NaN where it was not asked for."""
        return float("nan") if self.calibration is None else float(self.calibration.mean())

    def _between(self, metric: Callable[[np.ndarray, np.ndarray], float]) -> float:
        if not self.looked_between:
            return float("nan")
        seen = np.array([one.accuracies for one in self.history])
        return metric(seen, np.array([one.task for one in self.history]))
