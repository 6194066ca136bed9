"""Runs that were read back, as tables of pandas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...kernels.errors import MissingExtraError
from .files import Run
from .groups import group
from .tables import NUMBERS, aggregate

if TYPE_CHECKING:
    import pandas


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise MissingExtraError("pandas", "analysis", "a table of runs") from None
    return pandas


def table(runs: Sequence[Run]) -> pandas.DataFrame:
    """A row for each group of runs that differ in nothing but the seed, as `table.csv` has them.

    Columns: trials, failed, kept_bytes, each number's mean (a fraction; seconds) and NUMBER_error,
    its standard error. The index is the group's label. Raises MissingExtraError without pandas.
    """
    rows = {}
    for line in aggregate(group(runs).groups):
        row: dict[str, Any] = {"trials": line.trials, "failed": line.failed}
        row |= {key: line.mean[key] for key in NUMBERS}
        row |= {f"{key}_error": line.error[key] for key in NUMBERS}
        rows[line.method] = row | {"kept_bytes": line.kept_bytes}
    return _pandas().DataFrame.from_dict(rows, orient="index").rename_axis("method")


def history(runs: Sequence[Run]) -> pandas.DataFrame:
    """Every evaluation of the finished runs: columns method, seed, step, learning, task, accuracy.

    learning: the number of the task that was being learnt; task: the name of the one tested.
    Raises MissingExtraError without pandas, CheckpointError for a damaged file.
    """
    rows = [
        (label, run.summary["seed"], event["step"], event["task"], name, _number(accuracy))
        for label, run in _finished(runs)
        for event in run.evaluations()
        for name, accuracy in zip(run.summary["tasks"], event["tasks"], strict=True)
    ]
    columns = ["method", "seed", "step", "learning", "task", "accuracy"]
    return _pandas().DataFrame(rows, columns=columns)


def matrices(runs: Sequence[Run]) -> pandas.DataFrame:
    """R of the finished runs, a row for each (method, seed, task learnt), a column for each task.

    Raises MissingExtraError without pandas.
    """
    rows, index = [], []
    tasks: list[str] = []
    for label, run in _finished(runs):
        tasks = run.summary["tasks"]
        rows += run.matrix.tolist()
        index += [(label, run.summary["seed"], name) for name in tasks]
    pandas = _pandas()
    names = pandas.MultiIndex.from_tuples(index, names=["method", "seed", "after"])
    return pandas.DataFrame(rows, index=names, columns=tasks)


def _finished(runs: Sequence[Run]) -> list[tuple[str, Run]]:
    """The finished runs with the labels of their groups."""
    return [(one.label, run) for one in group(runs).groups for run in one.runs]


def _number(value: float | None) -> float:
    return math.nan if value is None else value
