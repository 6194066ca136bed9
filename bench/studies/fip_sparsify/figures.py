"""Figures of the sparsification studies: the curve, the layers, what is still connected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....nnlite import Network
from ...show.style import COLOURS, GRID, INK, bare, close, pyplot
from ..rows import average, first_folder, grouped, select
from ..study import Row
from .lab import sparse_name
from .tables import ORDER, at_level, levels

_SHADES = (COLOURS[0], COLOURS[5], COLOURS[3], COLOURS[1], COLOURS[2], COLOURS[6])
_COLOUR: dict[str, str] = dict(zip(ORDER, _SHADES, strict=True))
_MARK = dict(zip(ORDER, "osDv^x", strict=True))
ZOOM = 0.1  # of accuracy, in the panel of the upper end
_LAYERED = ("FIP", "lottery tickets", "one-shot")


@dataclass(frozen=True)
class Paper:
    """What the paper prints: points by method, (sparsity, lowest, highest accuracy), and the share
    of zeros in each layer of its sparsest network."""

    points: dict[str, list[tuple[float, float, float]]]
    layers: tuple[float, ...]


def draw_curve(rows: Sequence[Row], paper: Paper, title: str, path: Path) -> Path:
    """Accuracy against the share of zeros: all of it, and the upper end drawn large.

    The share that is left lies on a logarithmic axis.
    """
    plt = pyplot()
    figure, both = plt.subplots(1, 2, figsize=(12, 4.4), gridspec_kw={"wspace": 0.16})
    for axes in both:
        _draw_lines(axes, rows)
        _draw_paper(axes, paper)
        _shares(axes, levels(rows))
        axes.set(xlabel="share of zeros")
        axes.yaxis.set_major_formatter(lambda v, _: f"{100 * v:g} %")
    top = max(row["accuracy"] for row in rows if "accuracy" in row)
    papers = [most for points in paper.points.values() for *_, most in points]
    both[0].set(ylabel="test accuracy", ylim=(0, min(1.03 * max([top, *papers]), 1.02)))
    both[1].set(ylim=(top - ZOOM, top + 0.06 * ZOOM))
    both[0].set_title(title)
    both[1].set_title(f"The upper {100 * ZOOM:g} points")
    _legend(both[1])
    return close(plt, figure, path)


def _draw_lines(axes: Any, rows: Sequence[Row]) -> None:
    """Each method's mean over seeds, with their range; the dense network's accuracy."""
    for method in ORDER:
        x, y, low, high = _line(rows, method)
        if len(x):
            look = {"color": _COLOUR[method], "lw": 2.0 if method == "FIP" else 1.4}
            axes.plot(x, y, marker=_MARK[method], ms=4.5, label=method, **look)
            axes.fill_between(x, low, high, color=_COLOUR[method], alpha=0.15, lw=0)
    dense = select(rows, method="dense")
    if dense:
        axes.axhline(average(dense, "accuracy"), color=INK, lw=1, ls=(0, (4, 3)), label="dense")


def _draw_paper(axes: Any, paper: Paper) -> None:
    """What the paper prints, as stars with its ranges."""
    for method, points in paper.points.items():
        for place, least, most in points:
            axes.errorbar(1 - place, (least + most) / 2, (most - least) / 2, color=_COLOUR[method],
                          marker="*", ms=12, mfc="white", capsize=4, ls="", zorder=5,
                          label=f"{method}, the paper")  # fmt: skip


def _line(rows: Sequence[Row], method: str) -> tuple[np.ndarray, ...]:
    """Shares left, mean accuracies and their range over seeds; of tickets, round by round."""
    key = "round" if method == "lottery tickets" else "level"
    found = sorted(grouped(select(rows, method=method), key).items())
    groups = [group for _, group in found]
    left = np.array([1 - average(group, "sparsity") for group in groups])
    parts = [[row["accuracy"] for row in group] for group in groups]
    return left, *(np.array([f(part) for part in parts]) for f in (np.mean, np.min, np.max))


def _shares(axes: Any, shown: Sequence[float]) -> None:
    """A logarithmic axis of what is left, read as what is gone; labels that keep their distance."""
    axes.set_xscale("log")
    axes.invert_xaxis()
    axes.minorticks_off()
    apart = 0.13 * np.log((1 - min(shown)) / (1 - max(shown)))
    chosen: list[float] = []
    for share in reversed(shown):  # the sparsest first: it is the one that is read
        if not chosen or np.log((1 - share) / (1 - chosen[-1])) >= apart:
            chosen.append(share)
    axes.set_xticks([1 - share for share in chosen], [f"{100 * share:g} %" for share in chosen])


def _legend(axes: Any) -> None:
    """Each label once."""
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axes.legend(
        once.values(), once.keys(), loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9
    )


# ---- layers --------------------------------------------------------------------------------------


def draw_layers(rows: Sequence[Row], paper: Paper, names: Sequence[str], path: Path) -> Path:
    """The share that is left of each of the weights `names` at the sparsest level: bars."""
    plt = pyplot()
    level = max(levels(rows))
    shown = {m: _left(at_level(rows, m, level), names) for m in _LAYERED}
    shown = {method: left for method, left in shown.items() if left}
    figure, axes = plt.subplots(figsize=(max(6.5, 0.5 * len(names) + 2.5), 3.8))
    width = 0.8 / len(shown)
    for number, (method, left) in enumerate(shown.items()):
        at = np.arange(len(names)) + (number - (len(shown) - 1) / 2) * width
        bars = axes.bar(at, [left[n] for n in names], width * 0.92, color=_COLOUR[method],
                        label=method)  # fmt: skip
        if len(names) <= 4:
            axes.bar_label(bars, fmt=lambda v: f"{100 * v:.1f}", fontsize=8, color=INK, padding=1)
    for place, zeros in enumerate(paper.layers):
        axes.plot([place - 0.45, place + 0.45], [1 - zeros] * 2, color=INK, lw=1.2, ls=(0, (3, 2)),
                  label="FIP, the paper" if not place else None)  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda v, _: f"{100 * v:g} %")
    axes.yaxis.set_minor_formatter(lambda *_: "")
    few = [f"layer {number + 1}" for number in range(len(names))]
    axes.set_xticks(range(len(names)), few if len(names) <= 4 else [_readable(n) for n in names],
                    rotation=0 if len(names) <= 4 else 60,
                    ha="center" if len(names) <= 4 else "right", fontsize=9)  # fmt: skip
    axes.grid(axis="x", visible=False)
    axes.set(ylabel="weights left")
    axes.set_title(f"What is left of each layer at {100 * level:g} % zeros")
    _legend(axes)
    return close(plt, figure, path)


def _left(found: Sequence[Row], names: Sequence[str]) -> dict[str, float]:
    """The mean share that is left of each layer's weights."""
    if not found:
        return {}
    return {n: 1 - average([row["layers"] for row in found], n) for n in names}


def _readable(name: str) -> str:
    """ "8.body.2" for a residual block's second convolution, as the layout names it."""
    return name.removesuffix(".weight")


# ---- connections ---------------------------------------------------------------------------------


def draw_connections(rows: Sequence[Row], path: Path) -> list[Path]:
    """Of the first seed's sparsest network: pixels that are still seen, and the units behind them.

    Nothing is drawn where the network's file is not there.
    """
    file = first_folder(rows, path.parent) / f"{sparse_name(max(levels(rows)))}.safetensors"
    if not file.exists():
        return []
    net = Network.load(file, "reference")
    first, *others = [v for n, v in net.layout.views(net.theta).items() if n.endswith("weight")]
    plt = pyplot()
    figure, (pixels, graph) = plt.subplots(1, 2, figsize=(12, 5), width_ratios=(1, 1.75), dpi=90,
                                           gridspec_kw={"wspace": 0.08})  # fmt: skip
    _draw_pixels(plt, figure, pixels, first)
    _draw_graph(graph, others)
    return [close(plt, figure, path)]


def _draw_pixels(plt: Any, figure: Any, axes: Any, weight: np.ndarray) -> None:
    """How many connections each of 28 x 28 pixels has left."""
    side = round(weight.shape[1] ** 0.5)
    counts = (weight != 0).sum(axis=0).reshape(side, side).astype(float)
    shown = np.where(counts > 0, counts, np.nan)
    colours = plt.get_cmap("viridis_r").with_extremes(bad="#F4F4F4")
    image = axes.imshow(shown, cmap=colours, vmin=1)
    bare(axes)
    axes.set_title(f"Pixels still seen: {int((counts > 0).sum())} of {counts.size}")
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    bar.set_label("connections")
    bar.outline.set_visible(False)


def _draw_graph(axes: Any, weights: Sequence[np.ndarray]) -> None:
    """Layer to layer: a line a connection, blue where positive, wider where larger."""
    sizes = [weights[0].shape[1], *(len(weight) for weight in weights)]
    for at, weight in enumerate(weights):
        outs, ins = np.nonzero(weight)
        largest = abs(weight).max() if len(outs) else 1.0
        for o, i in zip(outs, ins, strict=True):
            share = abs(weight[o, i]) / largest
            axes.plot([at, at + 1], [_height(i, sizes[at]), _height(o, sizes[at + 1])],
                      color=COLOURS[0 if weight[o, i] > 0 else 1], lw=0.2 + 1.4 * share,
                      alpha=0.12 + 0.7 * share, solid_capstyle="round")  # fmt: skip
    for at, size in enumerate(sizes):
        alive = _alive(weights, at)
        heights = _height(np.arange(size), size)
        axes.plot([at] * size, heights, ls="", marker="o", ms=2, color=GRID, zorder=3)
        axes.plot([at] * int(alive.sum()), heights[alive], ls="", marker="o", ms=3.2, color=INK,
                  zorder=4)  # fmt: skip
        axes.annotate(f"{int(alive.sum())} of {size} units", (at, -0.02), ha="center", va="top",
                      fontsize=9, color=INK)  # fmt: skip
    axes.set(xlim=(-0.15, len(sizes) - 0.85), ylim=(-0.04, 1.0))
    axes.axis("off")
    axes.set_title("Connections behind them: blue positive, orange negative")


def _alive(weights: Sequence[np.ndarray], at: int) -> np.ndarray:
    """Which units of a column have a connection on the side(s) where columns are drawn."""
    before = (weights[at - 1] != 0).any(axis=1) if at else False
    after = (weights[at] != 0).any(axis=0) if at < len(weights) else False
    return np.asarray(before | after)


def _height(unit: Any, size: int) -> Any:
    """Where a unit stands in its column, from 1 at the top to 0."""
    return 1 - (unit + 0.5) / size
