"""The tree of the units of two networks: what does it join first, units of one net or of both?

Average linkage by 1 - |r|, as the hierarchical clusters are (`methods.unit_clusters`). Its leaf
pairs are units that are nearest to one another; where features are found again by the other
network, a pair has one unit of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....methods import Moments
from ....methods.activations import Units
from ....methods.unit_clusters import affinity, leaf_pairs, linkage
from ...show.style import COLOURS, INK, close
from ..rows import select
from ..study import Row

KINDS = ("trained", "untrained")


def leaves(of: Moments, units: int) -> Row:
    """Leaf pairs, how many of them have a unit of each network, and the share by chance.

    units: of the first network; of units that vary. Chance: of a pair drawn from all of them.
    """
    tree, net = _tree(of, units)
    first, second = net[leaf_pairs(tree)].T
    ones, all_of = int(net.sum()), len(net)
    return {
        "pairs": len(first), "across": int((first != second).sum()),
        "chance": 2 * ones * (all_of - ones) / (all_of * (all_of - 1)),
    }  # fmt: skip


def _tree(of: Moments, units: int) -> tuple[np.ndarray, np.ndarray]:
    """The tree of the units that vary, and the network (0 or 1) of each."""
    live = np.flatnonzero(of.alive)
    return linkage(affinity(of.correlation())[np.ix_(live, live)]), (live >= units).astype(np.int64)


def grown(found: Iterable[tuple[Units, Moments]], kind: str) -> dict[str, np.ndarray]:
    """Arrays for `draw`: LAYER.KIND.tree (U - 1, 4) and LAYER.KIND.net (U,), of convolutions."""
    arrays: dict[str, np.ndarray] = {}
    for layer, of in found:
        if layer.name.startswith("conv"):
            tree, net = _tree(of, layer.units)
            arrays |= {f"{layer.name}.{kind}.tree": tree, f"{layer.name}.{kind}.net": net}
    return arrays


def draw(
    plt: Any, rows: Sequence[Row], pictures: dict[str, np.ndarray], names: list[str], path: Path
) -> Path:
    """The trees of the first and the last convolution; the share of their pairs, by layer."""
    convs = [name for name in names if name.startswith("conv")]
    shown = [name for name in dict.fromkeys((convs[0], convs[-1]))]
    figure = plt.figure(figsize=(10.5, 2.5 * len(shown) + 2.9), layout="constrained")
    grid = figure.add_gridspec(len(shown) + 1, 2, height_ratios=[*[1.0] * len(shown), 1.1])
    for line, name in enumerate(shown):
        for column, kind in enumerate(KINDS):
            axis = figure.add_subplot(grid[line, column])
            _draw_tree(axis, pictures[f"{name}.{kind}.tree"], pictures[f"{name}.{kind}.net"])
            axis.set_title(f"{name}, {kind}", fontsize=10)
            axis.set_ylabel("1 - |r|")
    _draw_shares(figure.add_subplot(grid[-1, :]), rows, names)
    return close(plt, figure, path)


def _draw_tree(axis: Any, tree: np.ndarray, net: np.ndarray) -> None:
    """Links, those of leaf pairs in colour; a dot for each unit in its network's."""
    from scipy.cluster.hierarchy import dendrogram

    grown = dendrogram(tree, no_plot=True)
    order = net[grown["leaves"]]
    for x, y in zip(grown["icoord"], grown["dcoord"], strict=True):
        leaf = y[0] == y[3] == 0
        ends = order[[round((x[0] - 5) / 10), round((x[3] - 5) / 10)]] if leaf else (0, 0)
        colour = COLOURS[2] if leaf and ends[0] != ends[1] else COLOURS[4] if leaf else COLOURS[6]
        axis.plot(x, y, color=colour, lw=1.6 if leaf else 0.7, zorder=2 + leaf)
    places = 5 + 10 * np.arange(len(order))
    for number in (0, 1):
        mine = places[order == number]
        axis.plot(mine, np.full(len(mine), -0.045), "|", ms=6, mew=1.6, color=COLOURS[number])
    axis.set(xticks=[], xlim=(0, 10 * len(order)), ylim=(-0.08, 1.0))
    axis.grid(visible=False)


def _draw_shares(axis: Any, rows: Sequence[Row], names: list[str]) -> None:
    """A dot for each pair of networks, a bar at their mean, chance as a line."""
    chance = []
    for place, name in enumerate(names):
        for shift, kind, colour in (
            (-0.13, "trained", COLOURS[0]),
            (0.13, "untrained", COLOURS[6]),
        ):
            found = select(rows, ask="leaves", kind=kind, layer=name)
            shares = [100 * row["across"] / row["pairs"] for row in found]
            axis.plot(
                [place + shift] * len(shares), shares, "o", ms=5, mew=1, mfc="none", mec=colour
            )
            axis.plot(place + shift + np.array([-0.09, 0.09]), [np.mean(shares)] * 2, lw=2.4,
                      color=colour, label=None if place else kind)  # fmt: skip
        chance.append(
            100 * np.mean([row["chance"] for row in select(rows, ask="leaves", layer=name)])
        )
        axis.plot([place - 0.35, place + 0.35], [chance[-1]] * 2, color=INK, lw=0.9, ls="--",
                  label=None if place else "a pair drawn at random")  # fmt: skip
    for number in (0, 1):
        axis.plot([], [], "|", ms=8, mew=2, color=COLOURS[number], label=f"a unit of net {number}")
    axis.plot([], [], color=COLOURS[2], lw=2, label="leaf pair of both nets")
    axis.plot([], [], color=COLOURS[4], lw=2, label="leaf pair of one net")
    axis.set_xticks(range(len(names)), names)
    axis.grid(axis="x", visible=False)
    axis.set_ylim(-3, 103)
    axis.set_ylabel("leaf pairs of both nets %")
    axis.legend(fontsize=8.5, loc="center left", bbox_to_anchor=(1, 0.5))
