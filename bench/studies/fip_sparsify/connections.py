"""What is still connected in sparse networks of dense layers: six of them, and one in detail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....nnlite import Network
from ...show.style import COLOURS, GRID, INK, bare, close, pyplot
from ..rows import first_folder
from ..study import Row
from .lab import sparse_name
from .tables import levels

_SIX = 6  # as many as the paper's Fig. 3F has


def draw_connections(rows: Sequence[Row], path: Path) -> list[Path]:
    """Of the first seed's sparsest network: pixels that are still seen, and the units behind them.

    Nothing is drawn where the network's file is not there.
    """
    file = first_folder(rows, path.parent) / f"{sparse_name(max(levels(rows)))}.safetensors"
    if not file.exists():
        return []
    first, *others = _weights(file)
    plt = pyplot()
    figure, (pixels, graph) = plt.subplots(1, 2, figsize=(12, 5), width_ratios=(1, 1.75), dpi=90,
                                           gridspec_kw={"wspace": 0.08})  # fmt: skip
    _draw_pixels(plt, figure, pixels, first)
    _draw_graph(graph, others)
    return [close(plt, figure, path)]


def draw_six(rows: Sequence[Row], path: Path) -> list[Path]:
    """The sparsest networks of up to six, the sparsest level first, then the next: each seed's.

    Nothing is drawn where files are gone.
    """
    seeds = sorted({row["seed"] for row in rows})
    asked = [(level, seed) for level in reversed(levels(rows)) for seed in seeds]
    out = path.parent.parent
    files = [(level, seed, out / f"seed-{seed}" / f"{sparse_name(level)}.safetensors")
             for level, seed in asked][:_SIX]  # fmt: skip
    if not all(file.exists() for *_, file in files):
        return []
    plt = pyplot()
    down = -(-len(files) // 3)
    figure, grid = plt.subplots(down, 3, figsize=(13, 4.2 * down), dpi=90, squeeze=False,
                                layout="constrained")  # fmt: skip
    for axes in grid.flat[len(files) :]:
        axes.axis("off")
    for axes, (level, seed, file) in zip(grid.flat, files, strict=False):
        first, *others = _weights(file)
        _draw_graph(axes, others)
        seen = int((first != 0).any(axis=0).sum())
        found = [row["accuracy"] for row in rows if row.get("method") == "FIP"
                 and (row["level"], row["seed"]) == (level, seed)]  # fmt: skip
        axes.set_title(f"seed {seed}, {100 * level:g} % zeros: {100 * found[0]:.1f} %, "
                       f"{seen} pixels seen", fontsize=10)  # fmt: skip
    return [close(plt, figure, path)]


def _weights(file: Path) -> list[np.ndarray]:
    """The weights of a network's layers."""
    net = Network.load(file, "reference")
    return [v for n, v in net.layout.views(net.theta).items() if n.endswith("weight")]


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
