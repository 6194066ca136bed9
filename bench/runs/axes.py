"""Axes and looks that the figures of runs share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..show.style import COLOURS, INK

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 2, 1, 2)))
LEAST = 1e-4  # of an error on a logarithmic axis: what errs less often stands here
_COARSE = (0.9, 0.8, 0.6, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.04, 0.03, 0.02, 0.01, 5e-3, 2e-3,
           1e-3, LEAST)  # fmt: skip


def percent_axis(axis: Any) -> None:
    """Fractions as percents, at round places, with as many digits as tell them apart."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
    axis.set_major_formatter(PercentFormatter(1.0))


def error(accuracy: Any) -> Any:
    """1 - accuracy, at least so much that a logarithm has it."""
    return np.maximum(1 - np.asarray(accuracy, float), LEAST)


def error_axis(axes: Any, which: str, errors: Iterable[float]) -> None:
    """Make an axis ("x" or "y") logarithmic in the error, and tell accuracies on it.

    So the best are told apart: 98 and 99 % lie as far from one another as 80 and 90. Better is up,
    or to the right. errors: all that is drawn, by which the ends are chosen.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    known = np.array([one for one in errors if np.isfinite(one)])
    low, high = np.log(known.min()), np.log(known.max())
    room = max(0.08 * (high - low), 0.02)
    ends = np.exp([high + room, low - room])  # the worst first
    {"x": axes.set_xscale, "y": axes.set_yscale}[which]("log")
    {"x": axes.set_xlim, "y": axes.set_ylim}[which](*ends)
    axis.set_major_locator(FixedLocator(error_ticks(float(ends[1]), float(ends[0]))))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * (1 - value):.4g}%"))


def error_ticks(low: float, high: float) -> list[float]:
    """Errors between two, at round accuracies: of a fixed list, or even ones where it has few."""
    from matplotlib.ticker import MaxNLocator

    found = [one for one in _COARSE if low <= one <= high]
    if len(found) < 3:
        even = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(1 - high, 1 - low)
        found = [float(1 - one) for one in even if low <= 1 - one <= high]
    return found


def look(rank: int, variant: int = 0) -> dict[str, Any]:
    """Colour, dash and marker of line `rank`, so that none is told by its colour alone.

    variant: of a line in several settings, which share their colour.
    """
    return {
        "color": COLOURS[rank % 6],
        "ls": DASHES[(rank // 6 + variant) % len(DASHES)],
        "marker": MARKERS[(rank + variant) % len(MARKERS)],
    }


def band(axes: Any, x: np.ndarray, rows: np.ndarray, looks: dict[str, Any], label: str) -> None:
    """The mean of `rows` (runs, X) as a line, its standard error as a band."""
    mean = rows.mean(axis=0)
    often = {"markevery": max(1, len(x) // 20)}
    axes.plot(x, mean, lw=1.8, ms=4.5, label=label, **looks, **often)
    if len(rows) > 1:
        spread = rows.std(axis=0, ddof=1) / np.sqrt(len(rows))
        axes.fill_between(x, mean - spread, mean + spread, color=looks["color"], alpha=0.18, lw=0)


def beside(axes: Any, **more: Any) -> None:
    """The legend to the right of the axes, where it covers nothing."""
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9, **more)


def below(axes: Any, columns: int) -> None:
    """The legend below the axes, where it covers nothing."""
    axes.legend(fontsize=8.5, ncols=columns, loc="upper left", bbox_to_anchor=(-0.06, -0.13))


Box = tuple[float, float, float, float]  # left, low, right, high; pixels


def put_names(axes: Any, names: Sequence[str], xs: Sequence[float], ys: Sequence[float]) -> None:
    """Names beside points, each where it covers least of other names and points."""
    from matplotlib.patheffects import withStroke

    axes.margins(x=0.16, y=0.12)
    axes.figure.canvas.draw()
    taken: list[Box] = []
    points = axes.transData.transform(np.column_stack([xs, ys]))
    scale = axes.figure.dpi / 72
    halo = [withStroke(linewidth=2.5, foreground="white")]  # legible where lines pass under it
    for name, (x, y) in sorted(zip(names, points, strict=True), key=lambda pair: -pair[1][1]):
        width, height = 5.0 * scale * len(name), 10 * scale
        wide = width / scale
        places = [(9, -3), (-9 - wide, -3), (-wide / 2, 8), (-wide / 2, -15), (8, 7), (8, -13),
                  (-8 - wide, 7), (-8 - wide, -13), (14, 16), (14, -22), (-14 - wide, 16),
                  (-14 - wide, -22), (-wide / 2, 18), (-wide / 2, -25)]  # fmt: skip
        boxes = [(x + a * scale, y + b * scale, x + a * scale + width, y + b * scale + height)
                 for a, b in places]  # fmt: skip
        costs = [_covered(box, taken, points, axes) + 0.01 * k for k, box in enumerate(boxes)]
        chosen = int(np.argmin(costs))
        taken.append(boxes[chosen])
        lead = {"arrowstyle": "-", "color": INK, "lw": 0.5} if chosen > 3 else None
        axes.annotate(
            name, axes.transData.inverted().transform((x, y)), xytext=places[chosen],
            textcoords="offset points", fontsize=8.5, arrowprops=lead, path_effects=halo,
        )  # fmt: skip


def _covered(box: Box, taken: Sequence[Box], points: np.ndarray, axes: Any) -> float:
    """How many names and points `box` lies on; 2 more if it is outside."""
    left, low, right, high = box
    names = sum(left < r and a < right and low < t and b < high for a, b, r, t in taken)
    dots = ((points > (left - 4, low - 4)) & (points < (right + 4, high + 4))).all(axis=1).sum()
    frame = axes.bbox
    outside = left < frame.x0 or right > frame.x1 or low < frame.y0 or high > frame.y1
    return float(names + dots + 2 * outside)


def trials(counts: Sequence[int]) -> str:
    """ "3 seeds" of lines that have so many runs each, "1 to 3 seeds" where they differ."""
    low, high = min(counts), max(counts)
    many = f"{low}" if low == high else f"{low} to {high}"
    return f"{many} seed" + "s" * (high > 1)
