"""The figure of a sweep: validation accuracy against each thing that was swept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..runs.axes import look
from ..show.style import close, pyplot
from .plan import Candidate, SweepPlan
from .results import Choice, Results, scores
from .space import Axis

_WIDE = 3  # panels in a row
Points = list[tuple[Candidate, float]]


def draw(plan: SweepPlan, choices: Sequence[Choice], results: Results, target: Path) -> Path:
    """A panel for each kind of key: ewc.lam and si.lam share one, a colour a line of the table.

    A dot a candidate, its mean over inner seeds and folds; a line through the best at each value of
    a grid; a ring around what was chosen; a dashed line for a method of which nothing was swept.
    """
    plt = pyplot()
    panels: dict[str, list[Axis]] = {}
    for axis in plan.axes:
        panels.setdefault(axis.key.rpartition(".")[2] if axis.method else axis.key, []).append(axis)
    wide = min(len(panels), _WIDE)
    tall = math.ceil(len(panels) / wide)
    figure, grid = plt.subplots(
        tall, wide, figsize=(max(4.1 * wide, 5.6), 3.7 * tall), squeeze=False, sharey=True
    )
    judged = [(c, scores(plan.inner_trials(c), results)) for c in plan.candidates()]
    found = [(c, score.mean) for c, score in judged if score.whole]
    looks = {_line(choice): look(i) for i, choice in enumerate(choices)}
    for axes, (name, kin) in zip(grid.flat, panels.items(), strict=False):
        for axis in kin:
            for choice in choices:
                if axis.method in (None, choice.method):
                    mine = [one for one in found if _line(one[0]) == _line(choice)]
                    _draw_line(axes, axis, _names(kin), mine, choice, looks[_line(choice)])
        for choice in choices:
            if choice.validation is not None and choice.candidate and not choice.candidate.settings:
                level = 100 * choice.validation.mean
                axes.axhline(level, color=looks[_line(choice)]["color"], lw=1.4, ls=(0, (5, 3)))
        _label(axes, name, kin)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel("validation accuracy, %")
    _legend(figure, grid, looks)
    figure.tight_layout()
    return close(plt, figure, target)


def _line(one: Candidate | Choice) -> tuple[str, str]:
    """The line of the table that a candidate or a choice belongs to."""
    return one.method, one.label


def _names(kin: Sequence[Axis]) -> list[str]:
    """The values of axes that share a panel, each once, where they are names; none for numbers."""
    if not any(axis.names for axis in kin):
        return []
    return list(dict.fromkeys(text for axis in kin for text in axis.texts))


def _place(text: str, names: Sequence[str]) -> float:
    """Where a value lies: numbers where they are, names one after another."""
    return float(names.index(text) if names else text)


def _draw_line(
    axes: Any,
    axis: Axis,
    names: Sequence[str],
    mine: Points,
    choice: Choice,
    looks: dict[str, Any],
) -> None:
    found = [(c.settings[axis.key], 100 * acc) for c, acc in mine]
    at = [(_place(text, names), acc) for text, acc in found]
    if not at:
        return
    colour = looks["color"]
    axes.plot(*zip(*at, strict=True), looks["marker"], color=colour, ms=4.5, alpha=0.65, mew=0)
    if not axis.source:
        best = {x: max(acc for place, acc in at if place == x) for x, _ in sorted(at)}
        axes.plot(list(best), list(best.values()), color=colour, lw=1.6)
    if choice.candidate is not None and choice.validation is not None:
        x = _place(choice.candidate.settings[axis.key], names)
        axes.plot(x, 100 * choice.validation.mean, "o", ms=10, mfc="none", mec=colour, mew=1.8)


def _label(axes: Any, name: str, kin: Sequence[Axis]) -> None:
    axes.set_xlabel(name)
    if names := _names(kin):
        axes.set_xticks(range(len(names)), names)
        axes.margins(x=0.15)
    elif all(axis.log for axis in kin):
        axes.set_xscale("log")


def _legend(figure: Any, grid: Any, looks: dict[tuple[str, str], dict[str, Any]]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], ms=4.5, label=label, **{**one, "ls": "-"})
               for (_, label), one in looks.items()]  # fmt: skip
    handles.append(Line2D([], [], color="#333333", marker="o", ms=9, mfc="none", lw=0,
                          label="chosen"))  # fmt: skip
    figure.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
