"""The wing of sweeps: settings chosen on held-out training images, then tested on fresh seeds.

space and plan say what is tried, trials is one of it, executors where it is worked on, results what
it came to. A new place to work is an Executor, a new way to draw settings an axis of space. It
depends on runs, experiments and data; the command line depends on it.
"""

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
