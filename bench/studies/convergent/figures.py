"""The figures of convergent learning: from its rows, and from the file of pictures beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....nnlite.checkpoint import load_arrays
from ....nnlite.files import write_whole
from ...show.style import COLOURS, INK, bare, close, pyplot
from ..rows import average, first_folder, grouped, select
from ..study import Row
from .tables import alphas, kept, layers, methods, numbers_csv, published
from .tree import draw as draw_trees

PLACES = 4  # filters of the best, the middle and the worst pairs
GROUPS = ("best", "middle", "worst")
MOST = 48  # units of a layer that a matrix of correlations shows


def draw(rows: Sequence[Row], folder: Path) -> Sequence[Path]:
    """All figures, into `folder`; the numbers beside it, as CSV."""
    plt = pyplot()
    write_whole(folder.parent / "table.csv", numbers_csv(rows))
    pictures, _ = load_arrays(first_folder(rows, folder) / "pictures.safetensors")
    found = [
        _matched(plt, rows, folder / "matching.png"),
        _within(plt, rows, folder / "within.png"),
        _matrices(plt, pictures, layers(rows), folder / "correlations.png"),
        _filters(plt, pictures, layers(rows)[0], folder / "filters.png"),
        _features(plt, pictures, layers(rows), folder / "features.png"),
        _maps(plt, rows, folder / "maps.png"),
        _clusters(plt, rows, folder / "clusters.png"),
        draw_trees(plt, rows, pictures, layers(rows), folder / "tree.png"),
    ]
    return [*found, _keeping(plt, rows, folder / "keeping.png")] if methods(rows) else found


def _matched(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """Sorted correlations of matched units, layer by layer, with both nulls: means over pairs."""
    names = layers(rows)
    figure, axes = _panels(plt, 1, len(names), 3.3)
    lines = (
        ("its own best", "trained", "semi", COLOURS[0]),
        ("one to one", "trained", "bipartite", COLOURS[1]),
        ("one to one, untrained", "untrained", "bipartite", COLOURS[2]),
        ("one to one, shuffled images", "shuffled", "bipartite", COLOURS[6]),
    )
    for axis, name in zip(axes[0], names, strict=True):
        for label, kind, matching, colour in lines:
            found = [row[matching] for row in select(rows, ask="match", kind=kind, layer=name)]
            _curves(axis, found, colour, label)
        units = select(rows, ask="match", layer=name)[0]["units"]
        axis.set_title(f"{name}, {units} units", fontsize=10)
        axis.set_xlabel("units, best first %")
    axes[0, 0].set_ylabel("correlation with the partner")
    axes[0, 0].set_ylim(min(-0.05, axes[0, 0].get_ylim()[0]), 1.02)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9
    )
    return close(plt, figure, path)


def _panels(plt: Any, lines: int, columns: int, high: float) -> tuple[Any, np.ndarray]:
    """A figure of so many lines and columns, each line with one y axis."""
    return plt.subplots(
        lines, columns, figsize=(2.5 * columns + 1.2, high), sharey="row", layout="constrained",
        squeeze=False,
    )  # fmt: skip


def _curves(axis: Any, found: Sequence[Sequence[float]], colour: str, label: str) -> None:
    """Sorted values against the share of them: each row faintly, their mean on top."""
    places = (np.arange(100) + 0.5) / 100
    lines = [
        np.interp(places, (np.arange(len(one)) + 0.5) / len(one), one) for one in found if len(one)
    ]
    for line in lines if len(lines) > 1 else []:
        axis.plot(100 * places, line, color=colour, lw=0.6, alpha=0.35)
    if lines:
        axis.plot(100 * places, np.mean(lines, axis=0), color=colour, lw=1.7, label=label)
    axis.set_xlim(0, 100)


def _within(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """Of each network alone: a unit's nearest in its own layer, and how much units vary."""
    names = layers(rows)
    figure, axes = _panels(plt, 2, len(names), 5.4)
    keys = (("nearest", "correlation with the\nnearest of its own net"),
            ("deviations", "standard deviation"))  # fmt: skip
    for line, (key, label) in zip(axes, keys, strict=True):
        for axis, name in zip(line, names, strict=True):
            for kind, colour in (("trained", COLOURS[0]), ("untrained", COLOURS[2])):
                found = select(rows, ask="within", kind=kind, layer=name)
                _curves(axis, [row[key] for row in found], colour, kind)
        line[0].set_ylabel(label)
    for name, upper, lower in zip(names, *axes, strict=True):
        units = select(rows, ask="within", layer=name)[0]["units"]
        upper.set_title(f"{name}, {units} units", fontsize=10)
        lower.set(yscale="log", xlabel="units, largest first %")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return close(plt, figure, path)


def _matrices(plt: Any, pictures: dict[str, np.ndarray], names: list[str], path: Path) -> Path:
    """Correlations of the first network's units with one another and with the second's.

    Of a wide layer MOST of the units that vary, evenly spaced in the order of the matching: a pixel
    for each of more would show nothing.
    """
    figure, axes = plt.subplots(
        3, len(names), figsize=(2.1 * len(names) + 1.0, 6.7), layout="constrained", squeeze=False
    )
    for column, name in zip(axes.T, names, strict=True):
        r, partner = pictures[f"{name}.r"], pictures[f"{name}.partner"]
        order = np.argsort(-pictures[f"{name}.score"], kind="stable")
        vary = [unit for unit in order if r[unit].any() and r[:, partner[unit]].any()]
        places = np.linspace(0, len(vary) - 1, min(MOST, len(vary))).round().astype(int)
        order = np.array(vary)[places]
        drawn = np.sort(order)
        shown = (pictures[f"{name}.within"][np.ix_(order, order)], r[np.ix_(drawn, drawn)],
                 r[np.ix_(order, partner[order])])  # fmt: skip
        for axis, values in zip(column, shown, strict=True):
            image = axis.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
            bare(axis)
        some = f"{len(r)} units" if len(order) == len(r) else f"{len(order)} of {len(r)} units"
        column[0].set_title(f"{name}, {some}", fontsize=9)
    labels = ("net 0 with itself,\nin the order below", "net 0 with net 1,\nas they are",
              "net 0 with net 1,\nmatched, best first")  # fmt: skip
    for axis, label in zip(axes[:, 0], labels, strict=True):
        axis.set_ylabel(label, fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.6, label="correlation")
    return close(plt, figure, path)


def _filters(plt: Any, pictures: dict[str, np.ndarray], name: str, path: Path) -> Path:
    """First-layer filters of matched pairs, the two networks' one above the other."""
    shown, partner = pictures[f"{name}.shown"][3:], pictures[f"{name}.partner"]
    few = len(shown) // 3
    widths = [*([1] * few + [0.35]) * 2, *[1] * few]
    figure, axes = plt.subplots(
        2, len(widths), figsize=(0.8 * sum(widths) + 0.5, 2.1),
        gridspec_kw={"width_ratios": widths, "wspace": 0.08, "hspace": 0.08}, squeeze=False,
    )  # fmt: skip
    for column in (few, 2 * few + 1):
        for axis in axes[:, column]:
            axis.set_visible(False)
    columns = [column for column in range(len(widths)) if column not in (few, 2 * few + 1)]
    for column, unit in zip(columns, shown, strict=True):
        for net, of in ((0, unit), (1, partner[unit])):
            _filter(axes[net, column], pictures[f"filters.{net}"][of])
        axes[1, column].set_xlabel(f"{pictures[f'{name}.score'][unit]:.2f}", fontsize=9)
    for number, group in enumerate(GROUPS):
        axes[0, number * (few + 1)].set_title(group, fontsize=10)
    for net, axis in enumerate(axes[:, 0]):
        axis.set_ylabel(f"net {net}", fontsize=9)
    return close(plt, figure, path)


def _filter(axis: Any, weights: np.ndarray) -> None:
    """Weights (R, S, C): grey for one channel, colours for three, else the channels' mean."""
    most = np.abs(weights).max() or 1.0
    if weights.ndim != 3:
        weights = weights.reshape(1, -1, 1)
    if weights.shape[2] == 3:
        axis.imshow(0.5 + weights / (2 * most), interpolation="nearest")
    else:
        axis.imshow(weights.mean(axis=2), cmap="gray", vmin=-most, vmax=most,
                    interpolation="nearest")  # fmt: skip
    bare(axis)


def _features(plt: Any, pictures: dict[str, np.ndarray], names: list[str], path: Path) -> Path:
    """The images that move the best, a middle and the worst matched pair of each layer most.

    One mosaic: an axis for each image would take most of the study's drawing.
    """
    high, wide = (size + 2 for size in pictures["images"].shape[1:3])
    count = pictures[f"{names[0]}.images"].shape[2]
    tops = [high * (row + 0.35 * (row // 3)) for row in range(3 * len(names))]  # gaps at layers
    lefts = [wide * (column + 0.5 * (column // count)) for column in range(2 * count)]
    mosaic = np.ones((round(tops[-1]) + high, round(lefts[-1]) + wide, 3))
    rings, labels = [], []
    for row, top in enumerate(tops):
        name, place = names[row // 3], row % 3
        shown = pictures[f"{name}.images"][place].ravel(), pictures[f"{name}.at"][place]
        for number, at, left in zip(shown[0], shown[1].reshape(-1, 2), lefts, strict=True):
            y, x = round(top), round(left)
            mosaic[y : y + high - 2, x : x + wide - 2] = _shades(pictures["images"][number])
            if name.startswith("conv"):  # where the map was largest
                rings.append((x + at[1] * (wide - 2) - 0.5, y + at[0] * (high - 2) - 0.5))
        score = pictures[f"{name}.score"][pictures[f"{name}.shown"][place]]
        labels.append(f"{name} {GROUPS[place]}  {score:.2f}")
    figure, axis = plt.subplots(figsize=(8.2, 8.2 * mosaic.shape[0] / mosaic.shape[1] / 1.12))
    axis.imshow(mosaic, interpolation="nearest")
    axis.plot(*np.reshape(rings, (-1, 2)).T, "o", ms=8, mfc="none", mec=COLOURS[1], mew=1.0)
    bare(axis)
    axis.set_yticks([top + high / 2 for top in tops], labels, fontsize=8)
    axis.tick_params(length=0)
    for net in (0, 1):
        axis.text(lefts[net * count], -6, f"net {net}", fontsize=10, fontweight="bold")
    return close(plt, figure, path)


def _shades(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 1 or 3) from its darkest to its brightest, in three channels."""
    low, high = image.min(), image.max()
    return np.broadcast_to((image - low) / ((high - low) or 1), (*image.shape[:2], 3))


def _maps(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """The loss of sparse maps by their strength, and by how many weights they have left."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.9), layout="constrained")
    strengths = alphas(rows)
    least = min(alpha for alpha in strengths if alpha) / 3  # where 0 is drawn
    for colour, name in zip(COLOURS, layers(rows), strict=False):
        found = [select(rows, ask="map", layer=name, alpha=alpha) for alpha in strengths]
        loss, count = ([average(f, key) for f in found] for key in ("loss", "nonzero"))
        x = [alpha or least for alpha in strengths]
        left.plot(x, loss, "-o", ms=3.5, color=colour, label=f"{name}, {found[0][0]['units']}")
        share = 100 * np.array(count) / found[0][0]["units"]
        right.plot(share, loss, "-o", ms=3.5, color=colour)
        old = published(name)
        if old:
            left.plot([a or least for a in old], old.values(), ":^", ms=4, color=colour, alpha=0.7,
                      label=f"paper, {name}")  # fmt: skip
    for axis in (left, right):
        axis.axhline(0.5, color=INK, lw=0.8, ls="--")
        axis.set_ylim(0, 0.54)
    left.set_xscale("log")
    left.set_xlim(least / 1.5, 3.6)
    left.set_xlabel("L1 strength alpha of a unit")
    left.set_ylabel("loss on test images")
    left.set_title("Predicting net 1's units from net 0's", fontsize=10)
    left.annotate("predicting the mean", (least, 0.5), (0, 3), textcoords="offset points",
                  fontsize=8)  # fmt: skip
    left.set_xticks([least, 1e-3, 1e-2, 1e-1, 1], ["none", "0.001", "0.01", "0.1", "1"])
    right.set_xlabel("weights that are not zero %")
    right.set_title("By how many are left", fontsize=10)
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", fontsize=9)
    return close(plt, figure, path)


def _clusters(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """How much of a unit its group tells, by layer; units of both nets in each cluster."""
    names = layers(rows)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10.5, 3.7), layout="constrained", gridspec_kw={"width_ratios": [1.5, 1]}
    )
    bars = (("told", "all of its group"), ("by_one", "the best of its group"),
            ("by_others", "as many others"))  # fmt: skip
    for number, (key, label) in enumerate(bars):
        values = [
            average(select(rows, ask="cluster", kind="spectral", layer=name), key) for name in names
        ]
        left.bar(np.arange(len(names)) + 0.27 * (number - 1), np.nan_to_num(values), 0.25,
                 color=COLOURS[(0, 1, 6)[number]], label=label)  # fmt: skip
    left.set_xticks(range(len(names)), names)
    left.grid(axis="x", visible=False)
    left.set_ylim(0, 1)
    left.set_ylabel("R² of a unit of net 1")
    left.set_title("What of a unit do units of net 0 tell?", fontsize=10)
    left.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.08))
    _sizes(right, rows, names)
    return close(plt, figure, path)


def _sizes(axis: Any, rows: Sequence[Row], names: list[str]) -> None:
    """Clusters by their units of either network: the larger a circle, the more of them."""
    most = 0
    for colour, name in zip(COLOURS, names, strict=False):
        found = select(rows, ask="cluster", kind="spectral", layer=name)
        both = [np.stack([row["first"], row["second"]], axis=1) for row in found]
        places, counts = np.unique(np.concatenate(both), axis=0, return_counts=True)
        axis.scatter(*(places.T + 0.5), s=14 * (1 + np.log2(counts)), alpha=0.75,
                     facecolors="none", edgecolors=colour, linewidths=1.2)  # fmt: skip
        axis.plot([], [], "o", ms=6, mfc="none", mec=colour, mew=1.2, label=name)
        most = max(most, int(places.max()))
    axis.plot((0.5, most), (0.5, most), color=INK, lw=0.8, ls="--", zorder=0)
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="units of the first net + 1/2",
        ylabel="units of the second + 1/2",
        xlim=(0.3, 2.2 * most),
        ylim=(0.3, 2.2 * most),
    )
    axis.set_title("Spectral clusters; larger: more of them", fontsize=10)
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _keeping(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """Units with themselves before, on the first task, as more are learnt; and its accuracy."""
    names = [layer["layer"] for layer in select(rows, ask="keep")[0]["layers"]]
    figure, axes = plt.subplots(
        2, len(names) + 1, figsize=(2.2 * (len(names) + 1) + 0.6, 5.2), sharex=True,
        layout="constrained",
    )  # fmt: skip
    panels = (("itself", 1, "correlation with itself"), ("identity", 100, "matched to itself %"))
    for colour, method in zip(COLOURS, methods(rows), strict=False):
        mine = select(rows, ask="keep", method=method)
        learnt, found = zip(*sorted(grouped(mine, "learnt").items()), strict=True)
        for (key, scale, _), line in zip(panels, axes, strict=True):
            for number, axis in enumerate(line[:-1]):
                values = [scale * kept(rows_then, number, key) for rows_then in found]
                axis.plot(learnt, values, "-o", ms=3.5, color=colour, label=method)
        first = [100 * average(rows_then, "first") for rows_then in found]
        every = [100 * average(rows_then, _mean_accuracy) for rows_then in found]
        for axis, values in zip(axes[:, -1], (first, every), strict=True):
            axis.plot(learnt, values, "-o", ms=3.5, color=colour)
    _label_keeping(axes, names, panels)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=8)
    return close(plt, figure, path)


def _mean_accuracy(row: Row) -> float:
    return float(np.mean(row["accuracies"]))


def _label_keeping(axes: np.ndarray, names: list[str], panels: Any) -> None:
    for (_, scale, label), line in zip(panels, axes, strict=True):
        line[0].set_ylabel(label)
        for axis, name in zip(line[:-1], names, strict=True):
            axis.set_title(name, fontsize=10)
            axis.set_ylim(min(0, *(y for of in axis.lines for y in of.get_ydata())), 1.03 * scale)
    axes[0, -1].set_title("first task's accuracy %", fontsize=10)
    axes[1, -1].set_title("all so far, accuracy %", fontsize=10)
    for axis in axes[1]:
        axis.set_xlabel("tasks learnt")
        axis.xaxis.get_major_locator().set_params(integer=True)
