"""Curves out of runs that are there, and their figures: accuracy by step, by width, by second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...kernels.errors import CheckpointError, SettingError, StorageError
from ...nnlite.files import write_whole
from ..show.style import COLOURS, GRID, close, pyplot
from .axes import band, beside, look, percent_axis
from .files import load
from .groups import Group, group
from .tables import known_mean

_PLAIN = ("naive", "standard")  # drawn in grey, whatever else there is
Curves = dict[str, tuple[np.ndarray, np.ndarray]]  # label -> x (X,), accuracies (runs, X)


# ---- out of runs ---------------------------------------------------------------------------------


def first_task(folders: Sequence[Path]) -> Curves:
    """Accuracy on the first task at every evaluation, out of the runs' metrics.jsonl."""
    found: Curves = {}
    for one in group(load(*folders)).groups:
        if one.runs:
            steps, accuracies = _evaluations(one)
            found[one.label] = steps, accuracies[:, :, 0]
    return found


def _evaluations(one: Group, task: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(steps (E,), accuracies (runs, E, tasks)) of all evaluations, or of those during `task`.

    Raises CheckpointError where trials were tested at different steps.
    """
    events = [[e for e in run.evaluations() if task in (None, e["task"])] for run in one.runs]
    steps = {tuple(e["step"] for e in event) for event in events}
    if len(steps) > 1:
        raise CheckpointError(
            f"metrics.jsonl of '{one.label}': trials of the same settings were tested at "
            "different steps, so one is damaged; do them again"
        )
    return np.array(*steps), np.array([[e["tasks"] for e in event] for event in events], float)


def by_width(folders: Sequence[Path]) -> Curves:
    """Mean accuracy after the last task, by the first hidden layer's width.

    A line for each of the lines of a run; at a width it has the mean of its trials.
    """
    found: dict[str, dict[int, float]] = {}
    for one in group(load(*folders)).groups:
        if one.runs:
            width = one.runs[0].config["hidden"][0]
            mean = known_mean([summary["acc"] for summary in one.finished])[0]
            points = found.setdefault(one.about["method"], {})
            if width in points:
                raise SettingError(
                    f"'{one.label}' is not the only line of its name with {width} units: draw runs "
                    "that differ in their width alone"
                )
            points[width] = mean
    return {
        label: (np.array(sorted(points)), np.array([[points[w] for w in sorted(points)]]))
        for label, points in found.items()
    }


def per_second(folders: Sequence[Path]) -> Curves:
    """Both tasks' mean accuracy while the second is learnt, by the seconds of its training.

    What a step that costs several metric products buys. Seconds are the median trial's, for a
    machine that is shared, less what the first task took (as in the quickest run), spread evenly;
    evaluation is in them for all methods alike. Raises StorageError where no run has two tasks.
    """
    runs = [run for run in load(*folders) if not run.failed and len(run.summary["tasks"]) == 2]
    if not runs:
        raise StorageError(f"no finished run of two tasks in {', '.join(map(str, folders))}")
    first = min(run.summary["seconds"] / run.summary["steps"] for run in runs)
    return {one.label: _in_seconds(one, first) for one in group(runs).groups}


def _in_seconds(one: Group, first: float) -> tuple[np.ndarray, np.ndarray]:
    """The curve of one method. first: seconds of a step of the first task, alike for all."""
    half = one.runs[0].summary["steps"] // 2
    each = float(np.median([run.summary["seconds"] for run in one.runs])) / half - first
    steps, accuracies = _evaluations(one, task=1)
    return (steps - half) * each, accuracies.mean(axis=2)


# ---- figures -------------------------------------------------------------------------------------


def readable(label: str) -> str:
    """The label of a line without what all of them say."""
    return label.replace("superposition kind=", "psp ").replace("onepower", "one power")


def colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each line; naive training is grey."""
    rest = [label for label in labels if label not in _PLAIN]
    return {
        label: COLOURS[6] if label in _PLAIN else COLOURS[rest.index(label) % 6] for label in labels
    }


def _draw_lines(axes: Any, curves: Curves) -> None:
    """Means as lines with their names, standard errors as bands."""
    shades = colours(list(curves))
    for number, (label, (x, rows)) in enumerate(curves.items()):
        looks = {**look(number), "color": shades[label]}
        band(axes, x, rows, looks, readable(label))


def _as_csv(curves: Curves) -> str:
    """A row an evaluation: its step, and each line's mean over its trials, in percent."""
    means = {label: dict(zip(x.tolist(), r.mean(axis=0), strict=True)) for label, (x, r) in
             curves.items()}  # fmt: skip
    rows = [",".join(["step", *means])]
    for step in sorted(set().union(*means.values())):
        found = (f"{100 * m[step]:.2f}" if step in m else "" for m in means.values())
        rows.append(",".join([str(step), *found]))
    return "\n".join(rows) + "\n"


def draw_first(folders: Sequence[Path], path: Path, title: str = "", turn: int = 0) -> Path:
    """`first_task` of the runs in `folders`, drawn, and as .csv."""
    return draw_first_task(first_task(folders), path, title, turn)


def draw_first_task(curves: Curves, path: Path, title: str = "", turn: int = 0) -> Path:
    """Accuracy on the first task against steps, and as .csv; a faint line every `turn` steps."""
    plt = pyplot()
    write_whole(path.with_suffix(".csv"), _as_csv(curves))
    figure, axes = plt.subplots(figsize=(8.5, 4.2))
    last = max(int(x[-1]) for x, _ in curves.values())
    _draw_lines(axes, curves)
    for at in range(turn, last + 1, turn) if turn else ():
        axes.axvline(at, color=GRID, lw=1.4, zorder=0)
    percent_axis(axes.yaxis)
    axes.grid(axis="x", visible=False)
    axes.set(xlabel="training steps", ylabel="test accuracy", xlim=(0, last), ylim=(None, 1.01))
    axes.set_title(title or "Accuracy on the first task during training")
    beside(axes)
    return close(plt, figure, path)


def draw_by_width(curves: Curves, path: Path, title: str = "") -> Path:
    """Accuracy after the last task against the width."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6.4, 4.2))
    _draw_lines(axes, curves)
    widths = sorted({int(w) for x, _ in curves.values() for w in x})
    axes.set_xscale("log", base=2)
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.set_xlabel("units in a hidden layer")
    percent_axis(axes.yaxis)
    axes.set(ylabel="accuracy, mean over all tasks")
    axes.set_title(title or "After the last task, by width")
    beside(axes)
    return close(plt, figure, path)


def draw_per_second(curves: Curves, path: Path, title: str = "") -> Path:
    """Both tasks' mean accuracy against the seconds of the second."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6.4, 4.2))
    _draw_lines(axes, curves)
    percent_axis(axes.yaxis)
    axes.set_xlabel("seconds of training on the second task")
    axes.set_ylabel("mean accuracy of both tasks")
    axes.set_title(title or "What a second buys")
    beside(axes)
    return close(plt, figure, path)
