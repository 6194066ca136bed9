"""The wing of runs: a preset's methods and seeds, each in a folder of its own, and what they tell.

preset says what is asked for, make builds it, run does it, record keeps it, files reads it back;
groups, tables, figures, pareto and report tell many runs together, comparison all of this as an
experiment. A new figure of any runs goes here and into report; what only some experiments have is a
hook (`hooks`). It depends on data, streams, store and show; studies,
experiments, sweeps and the command line depend on it. `load` reads runs back for anybody, and
frames makes tables of pandas of them.
"""

from __future__ import annotations

from .files import Run, load
from .frames import history, matrices, table

__all__ = ["Run", "history", "load", "matrices", "table"]
