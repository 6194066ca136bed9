"""Figures of how many models fit into one, from the rows of `psp-capacity`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...runs.axes import percent_axis
from ...runs.curves import colours, readable
from ...show.style import close, pyplot
from ..study import PartRow, Row

_MARKS = "osD^v"


class Noise(PartRow):
    """Noise over signal of so many models in so many units."""

    ask: Literal["noise"]
    kind: str
    width: int
    models: int
    weights: float
    aligned: float
    random: float


class Capacity(PartRow):
    """So many tasks trained in place."""

    ask: Literal["capacity"]
    kind: str
    width: int
    tasks: int
    reset: bool
    accuracy: float
    first: float
    last: float


class Stored(PartRow):
    """So many models stored after they were trained."""

    ask: Literal["stored"]
    kind: str
    width: int
    models: int
    accuracy: float


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """The figures that the rows have numbers for: noise.png, capacity.png."""
    return [
        draw_one(rows, folder / f"{ask}.png")
        for ask, draw_one in (("noise", draw_noise), ("capacity", draw_trained))
        if any(row["ask"] == ask for row in rows)
    ]


def _mean(lines: Sequence[Row], x: str, y: str) -> tuple[list[float], list[float]]:
    places = sorted({line[x] for line in lines})
    return places, [float(np.mean([e[y] for e in lines if e[x] == place])) for place in places]


def draw_noise(lines: Sequence[Row], path: Path) -> Path:
    """Noise over signal of retrieved weights by number of models, of outputs by width."""
    plt = pyplot()
    mine = [line for line in lines if line["ask"] == "noise"]
    kinds = list(dict.fromkeys(line["kind"] for line in mine))
    widest = max(line["width"] for line in mine)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), gridspec_kw={"wspace": 0.28})
    shades = colours(kinds)
    fixed = 8
    for number, kind in enumerate(kinds):
        of = [line for line in mine if line["kind"] == kind]
        look = {"color": shades[kind], "marker": _MARKS[number % 5], "ms": 7, "ls": "", "mew": 1.4,
                "mfc": "none", "label": readable(kind)}  # fmt: skip
        left.plot(*_mean([e for e in of if e["width"] == widest], "models", "weights"), **look)
        right.plot(*_mean([e for e in of if e["models"] == fixed], "width", "aligned"), **look)
    counts = np.geomspace(2, max(line["models"] for line in mine), 50)
    widths = sorted({line["width"] for line in mine})
    left.plot(counts, np.sqrt(counts - 1), color="#000000", lw=1.2, label=r"$\sqrt{K-1}$")
    right.plot(widths, np.sqrt((fixed - 1) / np.array(widths)), color="#000000", lw=1.2,
               label=r"$\sqrt{(K-1)/M}$")  # fmt: skip
    right.plot(widths, np.sqrt((fixed - 1) / 2 / np.array(widths)), color="#000000", lw=1.2,
               ls=(0, (4, 3)), label=r"$\sqrt{(K-1)/2M}$, real part")  # fmt: skip
    left.set(xscale="log", yscale="log", xlabel="models stored, K", ylabel="noise / signal")
    counts_there = sorted({line["models"] for line in mine})
    _plain_ticks(left, counts_there, (1, 2, 3, 4, 6))
    right.set(xscale="log", yscale="log", xlabel="inputs of the layer, M", ylabel="noise / signal")
    _plain_ticks(right, widths, (0.1, 0.2, 0.3))
    left.set_title(f"Retrieved weights, {widest} inputs")
    right.set_title(f"Outputs for aligned inputs, {fixed} models")
    left.legend(fontsize=9)
    right.legend(fontsize=9)
    return close(plt, figure, path)


def _plain_ticks(axes: Any, x: Sequence[float], y: Sequence[float]) -> None:
    axes.minorticks_off()
    axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.set_yticks(y, [f"{value:g}" for value in y])


def draw_trained(lines: Sequence[Row], path: Path) -> Path:
    """Mean accuracy on the tasks so far against their number, a panel a kind, a line a width."""
    plt = pyplot()
    mine = [line for line in lines if line["ask"] in ("capacity", "stored")]

    def in_place(kind: str, reset: bool) -> Callable[[Row], bool]:
        return lambda e: e["ask"] == "capacity" and (e["kind"], e["reset"]) == (kind, reset)

    lines_of = [(e["kind"], e["reset"]) for e in mine if e["ask"] == "capacity"]
    panels = [
        (_title(kind, reset), "tasks", in_place(kind, reset))
        for kind, reset in sorted(set(lines_of), key=lambda of: (of[0] != "naive", not of[1]))
    ]
    if any(e["ask"] == "stored" for e in mine):
        panels.append(("Stored afterwards, binary", "models", lambda e: e["ask"] == "stored"))
    figure, row = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 4), sharey=True,
                               squeeze=False, gridspec_kw={"wspace": 0.08})  # fmt: skip
    widths = sorted({e["width"] for e in mine})
    shades = plt.get_cmap("viridis")(np.linspace(0.0, 0.85, len(widths)))
    for axes, (title, x, wanted) in zip(row[0], panels, strict=True):
        for width, shade in zip(widths, shades, strict=True):
            of = [e for e in mine if wanted(e) and e["width"] == width]
            axes.plot(*_mean(of, x, "accuracy"), color=shade, lw=1.8, marker="o", ms=3,
                      label=f"{width} units")  # fmt: skip
        axes.set(xlabel="tasks learnt" if x == "tasks" else "models stored", ylim=(0, 1))
        axes.set_title(title)
        axes.xaxis.get_major_locator().set_params(integer=True)
    percent_axis(row[0][0].yaxis)
    row[0][0].set_ylabel("mean accuracy on them")
    row[0][0].legend(fontsize=9, loc="lower left")
    return close(plt, figure, path)


def _title(kind: str, reset: bool) -> str:
    """The title of a panel."""
    name = "No contexts" if kind == "naive" else f"In place, {readable(kind)}"
    return name if reset else f"{name}, Adam kept"
