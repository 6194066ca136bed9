"""Continual-learning metrics: functions of accuracies, and of nothing else.

R (T, T): R[i, j] is the accuracy on task j after learning task i, each task weighing the same
whatever its size. EQUATIONS and names follow Lopez-Paz & Ranzato 2017 (ACC, BWT, FWT) and Chaudhry
et al. 2018 (forgetting, intransigence). T = 1 has nothing to forget: those are NaN.

Continual evaluation (De Lange, van de Ven & Tuytelaars 2023, arXiv 2205.13452) tests while tasks
are learnt: right after a switch, accuracy on earlier tasks often falls far and comes back, which R
never sees. seen (E, T): accuracies at each of E evaluations, in order; at (E,): the task that was
learnt then, whose end is its last evaluation. How deep a fall is found depends on how often one
looks.
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


# ---- between the ends of tasks -------------------------------------------------------------------


def _evaluations(seen: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    seen, at = np.asarray(seen, np.float64), np.asarray(at)
    if (
        seen.ndim != 2
        or at.shape != seen.shape[:1]
        or set(at.tolist()) != set(range(seen.shape[1]))
    ):
        raise ShapeError(
            f"accuracies {seen.shape} at evaluations {at.shape}: give (E, T) and (E,), those of a "
            "run that has ended, each task tested while it was learnt"
        )
    return seen, at


def minimum_accuracies(seen: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The least accuracy on each task but the last while later ones are learnt, (T - 1,)."""
    seen, at = _evaluations(seen, at)
    return np.array([np.nanmin(seen[at > i, i]) for i in range(seen.shape[1] - 1)])


def min_acc(seen: np.ndarray, at: np.ndarray) -> float:
    """min-ACC = mean over i < T of the least accuracy on i after it was learnt (De Lange)."""
    return _mean(minimum_accuracies(seen, at))


def wc_acc(seen: np.ndarray, at: np.ndarray) -> float:
    """WC-ACC = R[T, T] / T + (1 - 1/T) min-ACC: the new task, and the worst of the old (De Lange).

    For T = 1 it is R[1, 1].
    """
    seen, at = _evaluations(seen, at)
    tasks = seen.shape[1]
    old = (1 - 1 / tasks) * min_acc(seen, at) if tasks > 1 else 0.0
    return float(seen[-1, -1]) / tasks + old


def stability_gap(seen: np.ndarray, at: np.ndarray) -> float:
    """How far accuracy falls below where it begins and ends while a later task is learnt.

        gap(i, j) = min(R[j-1, i], R[j, i]) - min over evaluations n during j of A(i, n)

    the mean over all i < j: what is lost and found again. 0 where accuracy goes straight from one
    end to the other. De Lange et al. show the gap and give it no number: this one is ours.
    """
    seen, at = _evaluations(seen, at)
    ends = [seen[at == task][-1] for task in range(seen.shape[1])]
    gaps = [
        min(ends[j - 1][i], ends[j][i]) - np.nanmin(seen[at == j, i])
        for j in range(1, seen.shape[1])
        for i in range(j)
    ]
    return _mean(np.array(gaps))
