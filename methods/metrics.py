"""Continual-learning metrics: functions of the accuracy matrix R, and of nothing else.

R (T, T): R[i, j] is the accuracy on task j after learning task i, each task weighing the same
whatever its size. EQUATIONS and names follow Lopez-Paz & Ranzato 2017 (ACC, BWT, FWT) and Chaudhry
et al. 2018 (forgetting, intransigence). T = 1 has nothing to forget: those are NaN.
"""

from __future__ import annotations

import numpy as np

from ..kernels.errors import ShapeError


def _square(r: np.ndarray) -> np.ndarray:
    r = np.asarray(r, np.float64)
    if r.ndim != 2 or r.shape[0] != r.shape[1] or not r.size:
        raise ShapeError(f"R has shape {r.shape}; it must be (T, T), T the number of tasks")
    return r


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def acc(r: np.ndarray) -> float:
    """ACC = mean over j of R[T, j]: what the network can do after the last task."""
    return _mean(_square(r)[-1])


def bwt(r: np.ndarray) -> float:
    """BWT = mean over j < T of R[T, j] - R[j, j]: how later tasks changed earlier ones."""
    r = _square(r)
    return _mean((r[-1] - np.diag(r))[:-1])


def fwt(r: np.ndarray, baseline: np.ndarray) -> float:
    """FWT = mean over j > 1 of R[j-1, j] - b_j; baseline b (T,): accuracies before training."""
    r = _square(r)
    return _mean(np.diag(r, 1) - np.asarray(baseline, np.float64)[1:])


def forgetting(r: np.ndarray) -> np.ndarray:
    """f_j = max over i < T of R[i, j] - R[T, j], (T - 1,): the drop from the best (Chaudhry)."""
    r = _square(r)
    # a task counts from when it was learnt: before that, R[i, j] is luck or transfer
    learnt = np.where(np.tri(len(r), dtype=bool), r, -np.inf)[:-1, :-1]
    return learnt.max(axis=0) - r[-1, :-1] if len(r) > 1 else np.empty(0)


def forgetting_since_learnt(r: np.ndarray) -> np.ndarray:
    """R[j, j] - R[T, j], (T - 1,): the drop from right after the task (as avalanche counts it)."""
    r = _square(r)
    return (np.diag(r) - r[-1])[:-1]


def intransigence(r: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """I_j = R*_j - R[j, j], (T,): what learning in sequence cost each task when it was new.

    joint R* (T,): the accuracy on task j of a network trained on all tasks together.
    """
    return np.asarray(joint, np.float64) - np.diag(_square(r))
