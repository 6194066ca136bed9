"""Figures of the study `task-space`: what is forgotten, and what told it.

Pictures of the sets and their likeness are in `pictures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ....nnlite.files import write_whole
from ...show.style import COLOURS, GRID, INK, close, pyplot
from ..rows import select
from ..study import Row
from . import numbers, pictures
from .tables import pairs_csv

_LAM = (INK, COLOURS[5], COLOURS[0], COLOURS[2], COLOURS[4], COLOURS[3])
_LIKE = (COLOURS[0], COLOURS[6], COLOURS[1])  # correlated, neither, anti-correlated


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Every figure that the rows have numbers for; OUT/pairs.csv beside them."""
    if select(rows, kind="pair"):
        write_whole(folder.parent / "pairs.csv", pairs_csv(rows))
    made: list[tuple[str, Any, Any]] = [
        ("correlations", numbers.similarity, pictures.draw_correlations),
        ("digits", partial(select, kind="digits"), pictures.draw_digits),
        ("means", partial(select, kind="means"), pictures.draw_means),
        ("dendrogram", partial(select, kind="means"), pictures.draw_dendrogram),
        ("accuracies", numbers.sequence, draw_accuracies),
        ("schemes", numbers.schemes, draw_schemes), ("si", numbers.schemes, draw_si),
        ("forgetting", numbers.foretold, draw_forgetting),
        ("predictors", numbers.foretold, draw_predictors), ("times", numbers.pairs, draw_times),
        ("weights", partial(select, kind="weights"), pictures.draw_weights),
    ]  # fmt: skip
    drawn = (make(rows, found, folder / f"{name}.png")
             for name, read, make in made if (found := read(rows)))  # fmt: skip
    return [path for path in drawn if path is not None]


def draw_accuracies(rows: Sequence[Row], order: Any, path: Path) -> Path:
    """Each set alone, if there are such rows, and R of the sequence beside the published one."""
    plt = pyplot()
    alone, both = numbers.alone(rows), numbers.beside_published(rows)
    widths = [1.0] * bool(alone) + [1.25] + [1.25] * bool(both)
    figure, axes = plt.subplots(
        1, len(widths), figsize=(4.5 * sum(widths), 4.6), layout="constrained", squeeze=False,
        gridspec_kw={"width_ratios": widths},
    )  # fmt: skip
    left = list(axes[0])
    if alone:
        ax = left.pop(0)
        for place, mine in enumerate(alone.values()):
            _seeds(ax, [row["accuracy"] for row in mine], place, COLOURS[0], across=True)
        ax.set_yticks(range(len(alone)), list(alone))
        ax.set(xlabel="test accuracy, %; a dot a seed", ylim=(len(alone) - 0.5, -0.5))
        ax.set_title("Each set alone")
    matrices = [order[1], *([both[1]] if both else [])]
    titles = ("In sequence: after each (row), on each, %", "The authors' numbers")
    for ax, matrix, title in zip(left, matrices, titles, strict=False):
        pictures.matrix(ax, 100 * matrix, order[0], "Blues", (0, 100), "{:.0f}", size=8)
        ax.set_title(title)
    return close(plt, figure, path)


def _seeds(
    ax: Any, values: Sequence[float], at: float, colour: str, across: bool = False,
    label: str | None = None,
) -> None:  # fmt: skip
    """Fractions as percent, a dot a seed and a bar at the mean; no axis has to begin at 0."""
    dots, mean = 100 * np.array(values), [100 * float(np.mean(values))] * 2
    sides, beside = [at - 0.28, at + 0.28], [at] * len(dots)
    ax.plot(*((mean, sides) if across else (sides, mean)), color=colour, lw=2.5, label=label)
    ax.plot(*((dots, beside) if across else (beside, dots)), "o", color=colour, ms=4, alpha=0.6,
            mew=0)  # fmt: skip


def draw_schemes(rows: Sequence[Row], found: list[str], path: Path) -> Path:
    """Accuracy on each task of each scheme, visit after visit, naively."""
    plt = pyplot()
    figure, axes = plt.subplots(
        len(found), 1, figsize=(10, 2.4 * len(found)), squeeze=False, sharey=True,
        layout="constrained",
    )  # fmt: skip
    for ax, scheme in zip(axes[:, 0], found, strict=True):
        lam = min(numbers.by_lam(rows, scheme, numbers.at_the_end))
        names = scheme.split("+")
        curves = 100 * numbers.visits(rows, scheme, lam)
        at = np.arange(1, len(curves) + 1)
        for number, name in enumerate(names):
            mine = at[number :: len(names)]
            ax.plot(at, curves[:, number], color=COLOURS[number], lw=1.2, label=name)
            ax.plot(mine, curves[mine - 1, number], "o", ms=4, color=COLOURS[number])
        ax.set_xticks(at[:: len(names)], [str(i + 1) for i in range(len(at[:: len(names)]))])
        ax.set(ylim=(0, 102), ylabel="accuracy, %")
        ax.set_title(" + ".join(names), fontsize=10)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
    axes[-1, 0].set_xlabel("round; a dot where the task itself was visited")
    return close(plt, figure, path)


def draw_si(rows: Sequence[Row], found: list[str], path: Path) -> Path:
    """Mean accuracy over a scheme's tasks at the ends of rounds, by lam, a dot a seed."""
    plt = pyplot()
    figure, both = plt.subplots(2, 1, figsize=(10, 6), sharex=True, layout="constrained")
    measures = (numbers.throughout, numbers.at_the_end)
    titles = ("Mean over the ends of all rounds", "After the last round")
    middles: list[float] = []
    for ax, measure, title in zip(both, measures, titles, strict=True):
        middles.clear()
        for place, scheme in enumerate(found):
            values = numbers.by_lam(rows, scheme, measure)
            for number, (lam, seeds) in enumerate(values.items()):
                label = (f"SI, lam {lam:g}" if lam else "naive") if not place else None
                at = place * (len(values) + 1) + number
                _seeds(ax, seeds, at, _LAM[number % len(_LAM)], label=label)
            middles.append(place * (len(values) + 1) + (len(values) - 1) / 2)
        ax.set(ylabel="accuracy, %")
        ax.grid(axis="x", visible=False)
        ax.set_title(title, fontsize=10)
    labels = [scheme.replace("+", " + ") for scheme in found]
    both[1].set_xticks(middles, [_wrapped(label) for label in labels])
    both[0].legend(ncols=6, fontsize=9, loc="upper left", bbox_to_anchor=(0.0, 1.32))
    return close(plt, figure, path)


def _wrapped(label: str, width: int = 24) -> str:
    """A long label in lines."""
    lines = [""]
    for word in label.split(" + "):
        longer = f"{lines[-1]} + {word}" if lines[-1] else word
        if len(longer) > width:
            lines[-1] += " +"
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


# ---- pairs ---------------------------------------------------------------------------------------


def _scatter(
    ax: Any, found: numbers.Pairs, key: str, verdict: numbers.Verdict, size: float
) -> None:
    """Forgetting against a predictor: a dot a pair, coloured by likeness, and the line."""
    x, y = found[key], 100 * found["forgetting"]
    for colour, (name, mine) in zip(_LIKE, numbers.by_likeness(found).items(), strict=True):
        ax.plot(x[mine], y[mine], "o", ms=size, color=colour, alpha=0.75, mew=0, label=name)
    ends = np.array([np.nanmin(x), np.nanmax(x)])
    line = verdict.line
    ax.plot(ends, 100 * (line.intercept + line.slope * ends), color=INK, lw=1.2)


def draw_forgetting(rows: Sequence[Row], foretold: Any, path: Path) -> Path:
    """Forgetting of A after B against the correlation of their pixels."""
    (found, told), plt = foretold, pyplot()
    figure, ax = plt.subplots(figsize=(7.6, 5), layout="constrained")
    verdict = told[numbers.PIXELS]
    _scatter(ax, found, numbers.PIXELS, verdict, 5)
    line = verdict.line
    ax.set(xlabel="correlation of the mean images of A and B, mean over digits",
           ylabel="points of accuracy on A lost to B")  # fmt: skip
    ax.set_title(
        f"r = {line.pearson:.2f} ({line.low:.2f} to {line.high:.2f}), R² = {line.r2:.2f}, "
        f"{len(found)} ordered pairs", fontsize=10,
    )  # fmt: skip
    ax.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return close(plt, figure, path)


def draw_predictors(rows: Sequence[Row], foretold: Any, path: Path) -> Path:
    """Each predictor against forgetting, and how well they tell it, side by side."""
    (found, told), plt = foretold, pyplot()
    figure, axes = plt.subplots(2, 4, figsize=(14, 6.6), layout="constrained")
    for ax, (key, verdict) in zip(axes.flat, told.items(), strict=False):
        _scatter(ax, found, key, verdict, 3)
        label = f"{key}, afterwards" if key == numbers.AFTER else key
        ax.set_title(f"{label}: r = {verdict.line.pearson:.2f}", fontsize=10)
    for ax in axes[:, 0]:
        ax.set_ylabel("points lost")
    ax = axes.flat[-1]
    names = list(told)[::-1]
    for place, key in enumerate(names):
        line = told[key].line
        low, high = sorted((abs(line.low), abs(line.high)))
        low = 0.0 if line.low * line.high < 0 else low
        colour = COLOURS[6] if key == numbers.AFTER else COLOURS[0]
        ax.plot([low, high], [place, place], color=colour, lw=2.5, solid_capstyle="butt")
        ax.plot(abs(line.pearson), place, "o", color=colour, ms=6)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set(xlim=(0, 1))
    ax.set_title("|r| and 95 % over sets", fontsize=10)
    return close(plt, figure, path)


def draw_times(rows: Sequence[Row], found: numbers.Pairs, path: Path) -> Path:
    """Steps until B is learnt after A, against the correlation of their pixels."""
    plt = pyplot()
    figure, ax = plt.subplots(figsize=(8, 4.4), layout="constrained")
    x, y = found[numbers.PIXELS], found["steps_to"]
    never = ~np.isfinite(y)
    for colour, (name, mine) in zip(_LIKE, numbers.by_likeness(found).items(), strict=True):
        ax.plot(x[mine], y[mine], "o", ms=4.5, color=colour, alpha=0.75, mew=0, label=name)
    top = 1.08 * np.nanmax(y, initial=1.0, where=~never)
    ax.plot(x[never], np.full(never.sum(), top), "x", ms=5, color="black", label="never")
    ax.set(xlabel="correlation of the mean images of A and B", ylabel="steps to threshold",
           ylim=(-0.02 * top, 1.04 * top))  # fmt: skip
    alone = list(numbers.scratch(rows).values())
    if alone and np.isfinite(alone).any():
        ax.axhspan(np.nanmin(alone), np.nanmax(alone), color=GRID, alpha=0.6, zorder=0,
                   label="without A")  # fmt: skip
    ax.set_title("How long B takes after A")
    ax.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return close(plt, figure, path)
