"""Figures as PNG: quiet axes, colours that colour-blind readers can tell apart, legible numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...methods.result import Evaluation
from ..show.style import COLOURS, GRID, INK, close, pyplot
from .groups import Group
from .tables import known_mean

_METHOD_COLOUR = {"naive": "#8C8C8C", "joint": "#000000"}
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 2, 1, 2)))


def _percent_axis(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


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
        axes.plot(steps[shown], table[shown, task], color=shades[task], lw=1.8, marker="o", ms=2.5,
                  label=name)  # fmt: skip
    _percent_axis(axes.yaxis)
    axes.grid(axis="x", visible=False)
    axes.set(xlabel="training steps", ylabel="test accuracy", ylim=(0, 1.02), xlim=(0, None))
    axes.set_title(f"Each task's accuracy as the next ones are learnt: {title}")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5, title="task")
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


def _looks(groups: Sequence[Group]) -> dict[str, tuple[str, Any]]:
    """Colour and dash of each label: one colour a method, one dash a variant of it.

    Where only one method stands beside the bounds, its variants have colours instead. When the
    colours have run out they begin again, dashed.
    """
    looks: dict[str, tuple[str, Any]] = {}
    families: dict[str, list[str]] = {}
    for group in groups:
        families.setdefault(group.method, []).append(group.label)
    coloured = [name for name in families if name not in _METHOD_COLOUR]
    for name, members in families.items():
        rank = coloured.index(name) if name in coloured else 0
        colour = _METHOD_COLOUR.get(name) or COLOURS[rank % 6]
        alone = name in coloured and len(coloured) == 1 and len(members) <= 6
        for index, label in enumerate(members):
            dash = _DASHES[(rank // 6 + index) % len(_DASHES)]
            looks[label] = (COLOURS[index], "-") if alone else (colour, dash)
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

    None, and no file, where no run measured all tasks.
    """
    found = _measured(groups)
    if not found:
        return None
    plt = pyplot()
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 4.4), gridspec_kw={"width_ratios": [1.55, 1], "wspace": 0.3}
    )
    looks = _looks(groups)
    bounds = [group.label for group in groups if group.method == "joint"]
    bars = []
    for label, matrices in found.items():
        colour, dash = looks[label]
        seen = np.array([[r[i, : i + 1].mean() for i in range(len(r))] for r in matrices])
        if label not in bounds:  # joint training has not "seen" tasks one by one
            _band(left, np.arange(1, seen.shape[1] + 1), seen, colour, dash, label)
        mean, error, _ = known_mean(seen[:, -1].tolist())
        bars.append((label, mean, 0.0 if np.isnan(error) else error, colour))
        if label in bounds:
            left.axhline(mean, color="#000000", lw=1.2, ls=(0, (4, 3)), label=f"{label} (bound)")
    _percent_axis(left.yaxis)
    left.set(xlabel="tasks learnt", ylabel="mean accuracy on the tasks seen", ylim=(None, 1.0))
    left.set_xticks(range(1, max(len(matrices[0]) for matrices in found.values()) + 1))
    left.set_title("As tasks are added")
    if len(found) > 8:  # more than fit inside
        left.legend(fontsize=8.5, ncols=5, loc="upper left", bbox_to_anchor=(-0.06, -0.13))
    else:
        left.legend(fontsize=9)
    _final_bars(right, bars)
    return close(plt, figure, path)


def _band(axes: Any, x: np.ndarray, rows: np.ndarray, colour: str, dash: Any, label: str) -> None:
    """The mean of `rows` as a line, its standard error as a band."""
    mean = rows.mean(axis=0)
    axes.plot(x, mean, color=colour, lw=2, ls=dash, marker="o", ms=3.5, label=label)
    if len(rows) > 1:
        error = rows.std(axis=0, ddof=1) / np.sqrt(len(rows))
        axes.fill_between(x, mean - error, mean + error, color=colour, alpha=0.18, lw=0)


def _broken(label: str) -> str:
    """A long label in two lines, so that it stays beside its bar."""
    head, space, tail = label.rpartition(" ")
    return f"{head}\n{tail}" if space and len(label) > 16 else label


def _final_bars(axes: Any, bars: list[tuple[str, float, float, str]]) -> None:
    bars = sorted(bars, key=lambda bar: bar[1])
    labels, means, errors, colours = zip(*bars, strict=True)
    axes.barh(
        [_broken(label) for label in labels], means, xerr=errors if any(errors) else None,
        color=colours, height=0.62, error_kw={"ecolor": INK, "capsize": 3},
    )  # fmt: skip
    for row, (mean, error) in enumerate(zip(means, errors, strict=True)):
        axes.text(mean + error + 0.012, row, f"{100 * mean:.1f}", va="center", fontsize=9.5)
    _percent_axis(axes.xaxis)
    axes.set(xlim=(0, 1.12), xlabel="accuracy, mean over all tasks")
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.grid(axis="y", visible=False)
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
    for name, found in points.items():
        colour = looks[found[0][0]][0]
        middle, errors = np.array([p[1] for p in found]), np.array([p[2] for p in found])
        axes.plot(*middle.T, color=colour, lw=1.4, zorder=1)
        axes.errorbar(*middle.T, xerr=errors[:, 0], yerr=errors[:, 1], fmt="o", ms=6, color=colour,
                      ecolor=colour, capsize=2, label=name)  # fmt: skip
        for number, (label, place, _) in enumerate(found):
            text = label.partition("lam=")[2] or label
            away = (6, 6) if number % 2 == 0 else (-4, -14)  # in turn above and below
            axes.annotate(text, place, xytext=away, textcoords="offset points", fontsize=8.5)
    _percent_axis(axes.xaxis)
    _percent_axis(axes.yaxis)
    first, second = next(iter(tasks))
    axes.set(xlabel=f"accuracy on {first}, learnt first", xlim=(-0.02, 1.04),
             ylabel=f"accuracy on {second}, learnt second", ylim=(-0.02, 1.04))  # fmt: skip
    axes.set_title("After both tasks (numbers: lambda)")
    axes.legend(loc="lower left", fontsize=9)
    return close(plt, figure, path)
