"""Figures as PNG: quiet axes, colours that colour-blind readers can tell apart, legible numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...methods.result import Evaluation
from ..show.style import GRID, INK, close, pyplot
from .axes import (
    MARKERS,
    band,
    below,
    beside,
    error,
    error_axis,
    look,
    percent_axis,
    put_names,
    trials,
)
from .groups import Group
from .tables import known_mean

_METHOD_LOOK: dict[str, dict[str, Any]] = {
    "naive": {"color": "#8C8C8C", "ls": "-", "marker": "."},
    "joint": {"color": "#000000", "ls": (0, (4, 3)), "marker": "|"},
}


def accuracy_curves(
    history: Sequence[Evaluation], names: Sequence[str], title: str, path: Path
) -> Path:
    """Test accuracy of every task against training steps; each line starts with its own task."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(8.5, 4.2))
    steps = np.array([e.step for e in history])
    table = np.array([e.accuracies for e in history])
    at = np.array([e.task for e in history])
    shades = plt.get_cmap("viridis")(np.linspace(0.0, 0.92, len(names)))
    ends = [int(steps[at == task].max()) for task in range(len(names)) if (at == task).any()]
    for end in ends[:-1]:
        axes.axvline(end, color=GRID, lw=1.2, zorder=0)
    for task, name in enumerate(names):
        shown = (at >= task) & ~np.isnan(table[:, task])
        axes.plot(steps[shown], table[shown, task], color=shades[task], lw=1.8,
                  marker=MARKERS[task % len(MARKERS)], ms=4, markevery=max(1, shown.sum() // 12),
                  label=name)  # fmt: skip
    percent_axis(axes.yaxis)
    axes.grid(axis="x", visible=False)
    axes.set(xlabel="training steps", ylabel="test accuracy", xlim=(0, None))
    axes.set_title(f"Each task's accuracy as the next ones are learnt: {title}")
    beside(axes, title="task")
    return close(plt, figure, path)


def accuracy_matrix(r: np.ndarray, names: Sequence[str], title: str, path: Path) -> Path:
    """R as a heat map with its numbers, in percent; tasks not yet learnt are pale."""
    plt = pyplot()
    count = len(names)
    side = max(4.0, 0.55 * count + 1.2)
    figure, axes = plt.subplots(figsize=(side + 1, side))
    image = axes.imshow(r, cmap="viridis", vmin=0, vmax=1)
    for i in range(count):
        for j in range(count):
            value = r[i, j]
            ink = "#222222" if value > 0.62 else "white"
            axes.text(j, i, f"{100 * value:.0f}", ha="center", va="center", color=ink,
                      fontsize=8.5, alpha=1.0 if j <= i else 0.55)  # fmt: skip
    axes.set_xticks(range(count), names, rotation=45, ha="right", fontsize=8.5)
    axes.set_yticks(range(count), names, fontsize=8.5)
    axes.set(xlabel="tested on", ylabel="after learning")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title(f"Accuracy, %: {title}")
    figure.colorbar(image, ax=axes, fraction=0.045, pad=0.03)
    return close(plt, figure, path)


def _looks(groups: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """How each label is drawn: one colour a method, one dash and marker a variant of it.

    Where only one method stands beside the bounds, its variants have colours instead.
    """
    looks: dict[str, dict[str, Any]] = {}
    families: dict[str, list[str]] = {}
    for group in groups:
        families.setdefault(group.method, []).append(group.label)
    coloured = [name for name in families if name not in _METHOD_LOOK]
    for name, members in families.items():
        alone = len(coloured) == 1 and len(members) <= 6
        for index, label in enumerate(members):
            if name in _METHOD_LOOK:
                looks[label] = {**_METHOD_LOOK[name], "marker": MARKERS[index % len(MARKERS)]}
            elif alone:
                looks[label] = look(index)
            else:
                looks[label] = look(coloured.index(name), index)
    return looks


def _measured(groups: Sequence[Group]) -> dict[str, list[np.ndarray]]:
    """The accuracy matrices of each group, by label, of trials in which all was measured."""
    found = {
        group.label: [r for run in group.runs if not np.isnan(r := run.matrix).any()]
        for group in groups
    }
    return {label: matrices for label, matrices in found.items() if matrices}


def compare(groups: Sequence[Group], path: Path) -> Path | None:
    """Methods side by side: mean accuracy over the tasks seen so far, and at the end.

    Both axes are logarithmic in the error. None, and no file, where no run measured all tasks.
    """
    found = _measured(groups)
    if not found:
        return None
    plt = pyplot()
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11.5, max(4.4, 0.32 * len(found))),
        gridspec_kw={"width_ratios": [1.45, 1], "wspace": 0.32},
    )  # fmt: skip
    looks = _looks(groups)
    bounds = [group.label for group in groups if group.method == "joint"]
    drawn = []
    for label, matrices in found.items():
        seen = np.array([[r[i, : i + 1].mean() for i in range(len(r))] for r in matrices])
        if label in bounds:  # joint training has not "seen" tasks one by one
            bound = seen[:, -1].mean()
            left.axhline(error(bound), color="#000000", lw=1.2, ls=(0, (4, 3)),
                         label=f"{label} (bound)")  # fmt: skip
            drawn.append(bound)
        else:
            band(left, np.arange(1, seen.shape[1] + 1), error(seen), looks[label], label)
            drawn += seen.mean(axis=0).tolist()
    error_axis(left, "y", error(drawn))
    left.set(xlabel="tasks learnt", ylabel="mean accuracy on the tasks seen")
    left.set_xticks(range(1, max(len(matrices[0]) for matrices in found.values()) + 1))
    left.set_title("As tasks are added")
    below(left, 5)
    _at_the_end(right, found, looks)
    return close(plt, figure, path)


def _broken(label: str) -> str:
    """A long label in two lines, so that it stays beside its points."""
    head, space, tail = label.rpartition(" ")
    return f"{head}\n{tail}" if space and len(label) > 16 else label


def _at_the_end(
    axes: Any, found: dict[str, list[np.ndarray]], looks: dict[str, dict[str, Any]]
) -> None:
    """After the last task, the best above: each run faint, the mean with its standard error."""
    last = {label: np.array([r[-1].mean() for r in found[label]]) for label in found}
    order = sorted(last, key=lambda label: float(last[label].mean()))
    for row, label in enumerate(order):
        mean, spread, _ = known_mean(last[label].tolist())
        shown = {"color": looks[label]["color"], "marker": looks[label]["marker"]}
        reach = 0.0 if np.isnan(spread) else spread
        if reach:
            axes.plot(error(last[label]), np.full(len(last[label]), row), lw=0, ms=3.5, alpha=0.4,
                      mew=0, **shown)  # fmt: skip
            axes.plot(error([mean - reach, mean + reach]), [row, row], color=INK, lw=1.3)
        axes.plot(error(mean), row, ms=7, lw=0, **shown)
        axes.annotate(f"{100 * mean:.1f}", (1.02, row), xycoords=("axes fraction", "data"),
                      va="center", fontsize=9.5)  # fmt: skip
    axes.set_yticks(range(len(order)), [_broken(label) for label in order])
    error_axis(axes, "x", error(np.concatenate(list(last.values()))))
    axes.set_xlabel(
        "accuracy, mean over all tasks; "
        + ("lines: standard error of " if max(map(len, last.values())) > 1 else "")
        + trials([len(one) for one in last.values()]),
        fontsize=9,
    )
    axes.set_title("After the last task")


def trade_off(groups: Sequence[Group], path: Path) -> Path | None:
    """What is kept of the first of two tasks against what is learnt of the second.

    A point a setting, the mean of its trials with their standard error; the settings of one method
    are joined in the order of their strength. None, and no file, for other than the same two tasks.
    """
    tasks = {tuple(summary["tasks"]) for group in groups for summary in group.finished}
    measured = _measured(groups)
    if len(tasks) != 1 or len(*tasks) != 2 or not measured:
        return None
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6.4, 5.6))
    looks = _looks(groups)
    points: dict[str, list[tuple[str, np.ndarray, np.ndarray]]] = {}
    for group in groups:
        if group.label in measured:
            last = np.array([matrix[-1] for matrix in measured[group.label]])
            error = last.std(axis=0, ddof=1) / np.sqrt(len(last)) if len(last) > 1 else np.zeros(2)
            points.setdefault(group.method, []).append((group.label, last.mean(axis=0), error))
    names: list[str] = []
    places: list[list[float]] = []
    for name, found in points.items():
        colour, marker = looks[found[0][0]]["color"], looks[found[0][0]]["marker"]
        middle, errors = np.array([p[1] for p in found]), np.array([p[2] for p in found])
        axes.plot(*middle.T, color=colour, lw=1.4, zorder=1)
        axes.errorbar(*middle.T, xerr=errors[:, 0], yerr=errors[:, 1], fmt=marker, ms=6,
                      color=colour, ecolor=colour, capsize=2, label=name)  # fmt: skip
        names += [label.partition("lam=")[2] or label for label, *_ in found]
        places += middle.tolist()
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    first, second = next(iter(tasks))
    axes.set(xlabel=f"accuracy on {first}, learnt first",
             ylabel=f"accuracy on {second}, learnt second")  # fmt: skip
    put_names(axes, names, *zip(*places, strict=True))
    said = f"; bars: standard error of {trials([len(found) for found in measured.values()])}"
    axes.set_title("After both tasks (numbers: lambda" + said * any(
        len(found) > 1 for found in measured.values()) + ")", fontsize=10)  # fmt: skip
    beside(axes)
    return close(plt, figure, path)
