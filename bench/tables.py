"""The table at the end of a run: each method's mean over trials, with its standard error."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from ..methods.metrics import intransigence


@dataclass(frozen=True)
class Line:
    """One method over its trials: mean and standard error of the mean (NaN for one trial)."""

    method: str
    trials: int
    mean: dict[str, float]
    error: dict[str, float]
    kept_bytes: int
    convention: str
    asks_task: bool
    settings: dict[str, Any]


CLOCKS = ("seconds", "learning_seconds")
NUMBERS = ("acc", "bwt", "fwt", "forgetting", "intransigence", *CLOCKS)
HEADS = ("method", "lambda", "ACC %", "BWT %", "FWT %", "forget %", "intrans %", "kept", "seconds")
SHOWN = ("acc", "bwt", "fwt", "forgetting", "intransigence")


def mean_and_error(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The mean, and its standard error: NaN for one value."""
    count = len(values)
    error = float(np.std(values, ddof=1) / math.sqrt(count)) if count > 1 else math.nan
    return float(np.mean(values)), error


def titled(title: str, heads: Sequence[str], left: int = 1) -> Table:
    """A table of plain columns, the first `left` of them of words, the others of numbers."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number < left else "right")
    return table


def _with_intransigence(summaries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each summary with its mean intransigence, against the joint run of the same seed."""
    joint = {s["seed"]: s["accuracy_matrix"][-1] for s in summaries if s["method"] == "joint"}
    return [
        {
            **s,
            "intransigence": float(
                intransigence(np.array(s["accuracy_matrix"]), joint[s["seed"]]).mean()
            )
            if s["seed"] in joint
            else None,
        }
        for s in summaries
    ]


def aggregate(summaries: list[dict[str, Any]]) -> list[Line]:
    """One Line a method, in the order of first appearance."""
    summaries = _with_intransigence(summaries)
    groups: dict[str, list[dict[str, Any]]] = {}
    for summary in summaries:
        groups.setdefault(summary["method"], []).append(summary)
    lines = []
    for method, group in groups.items():
        columns = {
            key: np.array([math.nan if s.get(key) is None else s[key] for s in group], float)
            for key in NUMBERS
        }
        if method == "joint":  # it learns no task before another, so nothing can transfer or fade
            for key in SHOWN[1:]:
                columns[key][:] = math.nan
        found = {key: mean_and_error(values) for key, values in columns.items()}
        lines.append(
            Line(
                method,
                len(group),
                {key: mean for key, (mean, _) in found.items()},
                {key: error for key, (_, error) in found.items()},
                group[0]["persistent_state_bytes"][-1],
                group[0]["convention"],
                group[0].get("asks_task", False) and group[0]["scenario"] != "task",
                group[0]["method_settings"],
            )
        )
    return lines


def percent(line: Line, key: str) -> str:
    """A number as "93.1 ±0.2", in percent."""
    mean, error = line.mean[key], line.error[key]
    if math.isnan(mean):
        return "-"
    text = f"{100 * mean:.1f}"
    return text if math.isnan(error) else f"{text} ±{100 * error:.1f}"


def size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def strength(line: Line) -> str:
    """The method's lambda, if it has one."""
    lam = line.settings.get("lam")
    return "" if lam is None else f"{lam:g}"


def as_csv(lines: list[Line]) -> str:
    """The table as CSV, without the clock: equal runs give equal bytes.

    Accuracies are fractions; the error columns are empty for one trial.
    """
    keys = [key for key in NUMBERS if key not in CLOCKS]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    errors = [f"{key}_error" for key in keys]
    writer.writerow(["method", "trials", *keys, *errors, "kept_bytes", "settings"])
    for line in lines:
        numbers = [line.mean[key] for key in keys] + [line.error[key] for key in keys]
        cells = ["" if math.isnan(value) else f"{value:.6g}" for value in numbers]
        settings = json.dumps(line.settings, sort_keys=True)
        writer.writerow([line.method, line.trials, *cells, line.kept_bytes, settings])
    return text.getvalue()


def render(lines: list[Line], title: str, width: int = 120) -> Table:
    """The table for a terminal of `width` columns; a narrow one gets fewer numbers, not folds."""
    shown = SHOWN if width >= 100 else ("acc", "bwt", "forgetting")
    best = max((line.mean["acc"] for line in lines if line.method != "joint"), default=math.nan)
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("method", no_wrap=True)
    heads = [HEADS[2 + SHOWN.index(key)] for key in shown]
    for name in ("lambda", *heads, "kept", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        style = "bold green" if line.mean["acc"] == best else ""
        table.add_row(
            line.method,
            strength(line),
            *(percent(line, key) for key in shown),
            size(line.kept_bytes),
            f"{line.mean['seconds']:.1f}",
            style=style,
        )
    return table


def render_correlations(pairs: dict[str, dict[str, float]], title: str) -> Table:
    """Correlations of importances, a line a pair and a column a layer."""
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("importances")
    for layer in next(iter(pairs.values())):
        table.add_column(layer, justify="right")
    for pair, layers in pairs.items():
        table.add_row(pair, *(f"{value:.2f}" for value in layers.values()))
    return table
