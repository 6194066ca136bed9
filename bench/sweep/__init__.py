"""Sweeps: settings chosen on held-out training images, and the choice tested on fresh seeds."""

from __future__ import annotations

from .executors import Dask, Executor, Pool, make_executor
from .plan import Candidate, SweepPlan
from .space import Axis, read_axes
from .sweep import Outcome, failures, run_sweep
from .trials import Trial, run_trial

__all__ = [
    "Axis",
    "Candidate",
    "Dask",
    "Executor",
    "Outcome",
    "Pool",
    "SweepPlan",
    "Trial",
    "failures",
    "make_executor",
    "read_axes",
    "run_sweep",
    "run_trial",
]
