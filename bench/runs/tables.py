"""The table at the end of a run: each group's mean over trials, with its standard error."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.table import Table

from ...methods.metrics import intransigence
from ..show.labels import number
from .groups import Group, setting


@dataclass(frozen=True)
class Line:
    """One group of runs: mean and standard error of the mean (NaN for one trial).

    trials: those that are finished; failed: those that came to nothing. counts: for each number in
    how many of the trials it was measured; the mean is over these, and NaN for none.
    """

    method: str  # its label
    trials: int
    mean: dict[str, float]
    error: dict[str, float]
    kept_bytes: int
    convention: str
    asks_task: bool
    settings: dict[str, Any]
    failed: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def joint(self) -> bool:
        """Whether it is the upper bound, no method among others."""
        return bool(self.settings["name"] == "joint")

    @property
    def title(self) -> str:
        """The label, with what is missing from the line's means."""
        asked = self.trials + self.failed
        return f"{self.method} ({self.trials} of {asked} trials)" if self.failed else self.method


CLOCKS = ("seconds", "learning_seconds")
BETWEEN = ("min_acc", "wc_acc", "stability_gap")  # what R does not see: joint training has none
COUNTED = ("operations", "own_operations")
MORE = (*BETWEEN, "calibration_error", *COUNTED)
NUMBERS = ("acc", "bwt", "fwt", "forgetting", "intransigence", *MORE, *CLOCKS)
MORE_HEADS = ("min-ACC %", "WC-ACC %", "gap %", "ECE %", "Tflop", "own Tflop")
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
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place < left else "right")
    return table


def known_mean(values: Sequence[float | None]) -> tuple[float, float, int]:
    """Mean and standard error of what is known, not None or NaN, and how many that are."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    mean, error = mean_and_error(known) if known else (math.nan, math.nan)
    return mean, error, len(known)


def _bounds(groups: Sequence[Group]) -> dict[tuple[str, int], np.ndarray]:
    """Last rows of joint training, by everything else of the setting and the seed."""
    return {
        (setting(run, method=False), run.summary["seed"]): run.matrix[-1]
        for one in groups
        if one.method == "joint"
        for run in one.runs
    }


def _numbers(one: Group, bounds: dict[tuple[str, int], np.ndarray]) -> dict[str, list[Any]]:
    """What is measured of each finished run, by name; None where it is not."""
    found: dict[str, list[Any]] = {key: [s.get(key) for s in one.finished] for key in NUMBERS}
    if one.method == "joint":  # it learns no task before another: nothing can transfer or fade
        return found | {key: [None] * len(one.runs) for key in (*SHOWN[1:], *BETWEEN)}
    joint = [bounds.get((setting(run, method=False), run.summary["seed"])) for run in one.runs]
    found["intransigence"] = [
        None if bound is None else float(intransigence(run.matrix, bound).mean())
        for run, bound in zip(one.runs, joint, strict=True)
    ]
    return found


def aggregate(groups: Sequence[Group]) -> list[Line]:
    """A Line a group, in their order. A clock that some run lacks (it was resumed) is NaN."""
    bounds = _bounds(groups)
    lines = []
    for one in groups:
        about, trials = one.about, len(one.runs)
        found = {key: known_mean(values) for key, values in _numbers(one, bounds).items()}
        for key in CLOCKS:
            if found[key][2] < trials:
                found[key] = (math.nan, math.nan, 0)
        lines.append(
            Line(
                one.label,
                trials,
                {key: mean for key, (mean, _, _) in found.items()},
                {key: error for key, (_, error, _) in found.items()},
                one.finished[0]["persistent_state_bytes"][-1] if trials else 0,
                about["convention"],
                about.get("asks_task", False) and about["scenario"] != "task",
                about["method_settings"],
                len(one.failed),
                {key: count for key, (_, _, count) in found.items()},
            )
        )
    return lines


def best(lines: Sequence[Line]) -> float:
    """The highest mean accuracy of a method; NaN where there is none."""
    known = [line.mean["acc"] for line in lines if not line.joint]
    return max((acc for acc in known if not math.isnan(acc)), default=math.nan)


def percent(line: Line, key: str) -> str:
    """A number as "93.1 ±0.2", in percent, and of how many trials if not of all."""
    mean, error = line.mean[key], line.error[key]
    if math.isnan(mean):
        return "-"
    text = f"{100 * mean:.1f}"
    text = text if math.isnan(error) else f"{text} ±{100 * error:.1f}"
    known = line.counts.get(key, line.trials)
    return text if known == line.trials else f"{text} ({known} of {line.trials})"


def more(line: Line, key: str) -> str:
    """A number of MORE: in percent, operations in units of 10^12."""
    if key not in COUNTED:
        return percent(line, key)
    return "-" if math.isnan(line.mean[key]) else f"{line.mean[key] / 1e12:.3g}"


def measured_more(lines: Sequence[Line]) -> list[str]:
    """The numbers of MORE that some line has."""
    return [
        key for key in MORE if any(not math.isnan(line.mean.get(key, math.nan)) for line in lines)
    ]


def continual(lines: Sequence[Line]) -> Table | None:
    """What happens between the ends of tasks, how sure answers are, and the cost in operations.

    None where nothing of it was measured.
    """
    keys = measured_more(lines)
    if not keys:
        return None
    heads = [MORE_HEADS[MORE.index(key)] for key in keys]
    table = titled("continual evaluation, and cost in operations", ("method", *heads))
    for line in lines:
        table.add_row(line.title, *(more(line, key) for key in keys))
    return table


def kept(line: Line) -> str:
    """What the method keeps."""
    return size(line.kept_bytes) if line.trials else "-"


def clock(line: Line) -> str:
    """Seconds."""
    return "-" if math.isnan(line.mean["seconds"]) else f"{line.mean['seconds']:.1f}"


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
    return "" if lam is None else number(lam)


def left_out(line: Line) -> str:
    """What a line's means are not over: "1 failed; fwt of 2 of 3". "" for the usual."""
    said = [f"{line.failed} failed"] * bool(line.failed)
    said += [f"{key} of {count} of {line.trials}" for key, count in line.counts.items()
             if 0 < count < line.trials]  # fmt: skip
    return "; ".join(said)


def as_csv(lines: list[Line]) -> str:
    """The table as CSV, without the clock: equal runs give equal bytes.

    Accuracies are fractions; the error columns are empty for one trial. A last column says what was
    left out, where anything was.
    """
    known = measured_more(lines)
    keys = [key for key in NUMBERS if key not in (*CLOCKS, *MORE) or key in known]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    errors = [f"{key}_error" for key in keys]
    out = [[left_out(line)] for line in lines] if any(map(left_out, lines)) else [[]] * len(lines)
    heads = ["method", "trials", *keys, *errors, "kept_bytes", "settings"]
    writer.writerow([*heads, *(["left_out"] if any(out) else [])])
    for line, said in zip(lines, out, strict=True):
        numbers = [line.mean[key] for key in keys] + [line.error[key] for key in keys]
        cells = ["" if math.isnan(value) else f"{value:.6g}" for value in numbers]
        settings = json.dumps(line.settings, sort_keys=True)
        kept_bytes = line.kept_bytes if line.trials else ""
        writer.writerow([line.method, line.trials, *cells, kept_bytes, settings, *said])
    return text.getvalue()


def render(lines: list[Line], title: str, width: int = 120) -> Table:
    """The table for a terminal of `width` columns; a narrow one gets fewer numbers, not folds."""
    shown = SHOWN if width >= 100 else ("acc", "bwt", "forgetting")
    top = best(lines)
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("method", no_wrap=True)
    heads = [HEADS[2 + SHOWN.index(key)] for key in shown]
    for name in ("lambda", *heads, "kept", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        style = "bold green" if line.mean["acc"] == top else ""
        table.add_row(
            line.title,
            strength(line),
            *(percent(line, key) for key in shown),
            kept(line),
            clock(line),
            style=style,
        )
    return table
