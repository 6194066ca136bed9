"""Figures of the sparsification studies: the curve, the layers, the paths in weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...show.style import COLOURS, INK, close, pyplot
from ..rows import average, first_seed, grouped, select
from ..study import Row
from .tables import ORDER, at_level, levels

_SHADES = tuple(COLOURS[number] for number in (0, 5, 3, 1, 2, 6, 7, 4))
_COLOUR: dict[str, str] = dict(zip(ORDER, _SHADES, strict=True))
_MARK: dict[str, str] = dict(zip(ORDER, "osDv^x+2", strict=True))
ZOOM = 0.1  # of accuracy, in the panel of the upper end
_LAYERED = ("FIP", "lottery tickets", "one-shot")


@dataclass(frozen=True)
class Paper:
    """What the paper prints: points by method, (sparsity, lowest, highest accuracy), and the share
    of zeros in each layer, with its error, of its networks of sparsity `layers_at`."""

    points: dict[str, list[tuple[float, float, float]]]
    layers: tuple[tuple[float, float], ...] = ()
    layers_at: float = 0.0


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
    """The share that is left of each of the weights `names`, by dots: at the paper's level where
    there is one, else at the sparsest."""
    plt = pyplot()
    level = paper.layers_at if paper.layers_at in levels(rows) else max(levels(rows))
    shown = {m: at_level(rows, m, level) for m in _LAYERED}
    shown = {method: found for method, found in shown.items() if found}
    few = len(names) <= 4
    figure, axes = plt.subplots(figsize=(max(6.5, 0.42 * len(names) + 2.5), 3.8))
    for number, (method, found) in enumerate(shown.items()):
        at = np.arange(len(names)) + 0.16 * (number - (len(shown) - 1) / 2)
        left = [[1 - row["layers"][name] for name in names] for row in found]
        for of_seed in left:
            axes.plot(at, of_seed, ls="", marker=_MARK[method], ms=5, mew=1.4,
                      color=_COLOUR[method], alpha=0.8, label=method)  # fmt: skip
        if few:
            for x, y in zip(at, np.mean(left, axis=0), strict=True):
                axes.annotate(f"{100 * y:.3g}", (x, y), (0, 7), textcoords="offset points",
                              ha="center", fontsize=8, color=_COLOUR[method])  # fmt: skip
    if level == paper.layers_at:
        for place, (zeros, error) in enumerate(paper.layers):
            axes.errorbar(place + 0.36, 1 - zeros, error, color=INK, marker="*", ms=10, mfc="white",
                          capsize=3, ls="", label="FIP, the paper")  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda v, _: f"{100 * v:g} %")
    axes.yaxis.set_minor_formatter(lambda *_: "")
    told = [f"layer {at + 1}" if few else name.removesuffix(".weight")
            for at, name in enumerate(names)]  # fmt: skip
    axes.set_xticks(range(len(names)), told, rotation=0 if few else 60,
                    ha="center" if few else "right", fontsize=9)  # fmt: skip
    axes.grid(axis="x", visible=False)
    seeds = len({row["seed"] for found in shown.values() for row in found})
    of = "one seed" if seeds == 1 else f"{seeds} seeds"
    axes.set(ylabel="weights left", ylim=(None, 1.3))
    axes.set_title(f"What is left of each layer at {100 * level:g} % zeros ({of})")
    _legend(axes)
    return close(plt, figure, path)


# ---- paths ---------------------------------------------------------------------------------------


def draw_bends(rows: Sequence[Row], path: Path) -> list[Path]:
    """Of the first seed: the paths' weights on their principal components, and how accurate the
    projection is along each. Nothing where no path was walked."""
    rows = first_seed(rows)
    walks = select(rows, method="path in weights")
    if not walks:
        return []
    plt = pyplot()
    figure, (first, second, right) = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    shades = plt.get_cmap("viridis_r")(np.linspace(0.1, 0.95, len(walks)))
    for colour, walk in zip(shades, walks, strict=True):
        places = np.array(walk["places"])
        for axes, other in ((first, 1), (second, 2)):
            axes.plot(places[:, 0], places[:, other], "-o", ms=3, lw=1.3, color=colour)
        (made,) = select(rows, method="FIP", level=walk["level"])
        record = np.array(made["record"], float)
        right.plot(record[:, 0], 100 * record[:, 4], color=colour,
                   label=f"{100 * walk['level']:g} % zeros")  # fmt: skip
    for axes, other in ((first, 1), (second, 2)):
        axes.plot(*places[0][[0, other]], "s", color="black", ms=7, zorder=5)
        axes.annotate("dense", places[0][[0, other]], (7, 7), textcoords="offset points")
        axes.set_xlabel(f"component 1 ({walks[0]['shares'][0]:.0%} of the variance)")
        axes.set_ylabel(f"component {other + 1} ({walks[0]['shares'][other]:.0%})")
    first.set_title("The paths in weights")
    right.set(xlabel="steps", ylabel="accuracy with the final share of zeros, %")
    right.set_title("On the way")
    _legend(right)
    return [close(plt, figure, path)]
