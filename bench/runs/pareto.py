"""What accuracy costs: each method against what it keeps between tasks, and the time it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..show.style import COLOURS, INK, close, pyplot
from .axes import error, error_axis, put_names, trials
from .tables import Line, size

_NOTHING = 1 << 10  # bytes: where a method that keeps nothing stands on the logarithmic axis


def front(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """Those that none other beats at both, in the order of their costs; of equals, the first."""
    order = sorted(range(len(costs)), key=lambda i: (costs[i], -gains[i]))
    found: list[int] = []
    for i in order:
        if not found or gains[i] > gains[found[-1]]:
            found.append(i)
    return found


def draw_pareto(lines: Sequence[Line], path: Path) -> Path | None:
    """Accuracy against bytes kept and training time; None, and no file, below three methods.

    Where no time is known the picture is of bytes alone.

    The line joins the methods that none beats at both, of those not told the task. Joint training
    is the bound. Time is in units of the naive method's, where that was run, and missing where a
    run was resumed. The accuracy's axis is logarithmic in the error: the best are told apart.
    """
    known = [line for line in lines if not math.isnan(line.mean["acc"])]
    methods = [line for line in known if not line.joint]
    if len(methods) < 3:
        return None
    bounds = [line for line in known if line.joint]
    timed = any(math.isfinite(line.mean["learning_seconds"]) for line in methods)
    plt = pyplot()
    wide = 11.5 if timed else 7.5
    figure, panels = plt.subplots(1, 1 + timed, figsize=(wide, 5.6), sharey=True, squeeze=False)
    left, *others = panels[0]
    error_axis(left, "y", _ends(known))
    kept = [max(line.kept_bytes, _NOTHING) for line in methods]
    _panel(left, methods, kept)
    _bytes_axis(left, kept)
    left.set_ylabel("accuracy, mean over all tasks")
    left.set_title("What it keeps between tasks")
    for right in others:
        _times(right, methods)
    for line in bounds:
        at = error(line.mean["acc"])
        for axes in panels[0]:
            axes.axhline(at, color=INK, lw=1.1, ls=(0, (4, 3)), zorder=0)
        name = line.method.removesuffix(" (bound)")
        left.annotate(f"{name} (bound)", (0.01, at), xycoords=("axes fraction", "data"),
                      xytext=(0, 3), textcoords="offset points", fontsize=8.5)  # fmt: skip
    said = ["blue: none is better at both"]
    if any(line.asks_task for line in methods):
        said.append("hollow: told in tests which task it is")
    if any(line.trials > 1 for line in methods):
        said.append(f"bars: standard error of {trials([line.trials for line in methods])}")
    figure.text(0.5, -0.02, ";  ".join(said), ha="center", fontsize=9)
    return close(plt, figure, path)


def _times(axes: Any, methods: Sequence[Line]) -> None:
    """The panel of training times."""
    times = [line.mean["learning_seconds"] for line in methods]
    plain = [t for line, t in zip(methods, times, strict=True) if line.settings["name"] == "naive"]
    if len(plain) == 1 and math.isfinite(plain[0]):  # several are no unit
        times = [t / plain[0] for t in times]
        axes.set_xlabel("training time, in units of the naive method's")
    else:
        axes.set_xlabel("training time, s")
    measured = [line for line, t in zip(methods, times, strict=True) if math.isfinite(t)]
    _panel(axes, measured, [t for t in times if math.isfinite(t)])
    _plain_ticks(axes)
    axes.set_title("What it takes to train")


def _ends(lines: Sequence[Line]) -> list[float]:
    """The errors of all lines, with what their bars reach."""
    reach = [0.0 if math.isnan(line.error["acc"]) else line.error["acc"] for line in lines]
    return [float(error(line.mean["acc"] + way * far))
            for line, far in zip(lines, reach, strict=True) for way in (-1, 1)]  # fmt: skip


def _panel(axes: Any, lines: Sequence[Line], costs: Sequence[float]) -> None:
    """Points with their names, error bars of the accuracy, and the front."""
    axes.set_xscale("log")
    untold = [i for i, line in enumerate(lines) if not line.asks_task]
    ours = front([costs[i] for i in untold], [lines[i].mean["acc"] for i in untold])
    best = [untold[i] for i in ours]
    errors = [error(line.mean["acc"]) for line in lines]
    for i, line in enumerate(lines):
        spread = line.error["acc"]
        colour = COLOURS[0] if i in best else COLOURS[6]
        axes.errorbar(costs[i], errors[i], yerr=None if math.isnan(spread) else spread, fmt="o",
                      ms=7, color=colour, mfc="white" if line.asks_task else colour, capsize=2,
                      zorder=3)  # fmt: skip
    if best:
        axes.step([costs[i] for i in best], [errors[i] for i in best], where="post", lw=1.4,
                  color=COLOURS[0], alpha=0.5, zorder=1)  # fmt: skip
    put_names(axes, [line.method for line in lines], costs, errors)


def _bytes_axis(axes: Any, kept: Sequence[float]) -> None:
    """Bytes for people, and "nothing" for what stands on the least of them."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    top = max(*kept, 1 << 21)
    ticks = [b for b in (_NOTHING, 1 << 14, 1 << 17, 1 << 20, 1 << 23, 1 << 26) if b <= 2 * top]
    axes.set_xticks(ticks)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "nothing" if value <= _NOTHING else size(int(value)))
    )
    axes.set_xlabel("kept from one task to the next")


def _plain_ticks(axes: Any) -> None:
    """1, 2, 5, 10 in place of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
