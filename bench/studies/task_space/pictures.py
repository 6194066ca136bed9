"""Pictures of the study `task-space`: the sets, how alike they are, and what weights look like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....kernels.errors import MissingExtraError
from ....methods import taskspace
from ....nnlite.checkpoint import load_arrays
from ...show.cells import cells
from ...show.style import COLOURS, INK, close, pyplot
from ..rows import first_folder, first_seed, grouped, select
from ..study import Row
from . import numbers

_GAP = 2  # pixels between mean images


def matrix(
    ax: Any, values: np.ndarray, names: Sequence[str], colours: str,
    limits: tuple[float, float], form: str = "", size: float = 7,
) -> Any:  # fmt: skip
    """`cells` of a square matrix."""
    return cells(ax, values, names, names, colours, limits, form, size)


def _outer(axes: np.ndarray, count: int) -> None:
    """Names at the left and below only, where the first `count` of a grid of axes are used."""
    columns = axes.shape[1]
    for number, ax in enumerate(axes.flat):
        if number >= count:
            ax.axis("off")
            continue
        if number % columns:
            ax.set_yticks([])
        if number + columns < count:
            ax.set_xticks([])


def _kept(rows: Sequence[Row], path: Path, name: str) -> tuple[dict[str, np.ndarray], Any] | None:
    """Arrays that the first seed left beside its rows; None where they are gone."""
    file = first_folder(rows, path.parent) / f"{name}.safetensors"
    return load_arrays(file) if file.exists() else None


def draw_correlations(rows: Sequence[Row], r: numbers.Similarity, path: Path) -> Path:
    """Sets by sets: the mean over digits, its z-scores, SSIM; and each digit."""
    plt = pyplot()
    digits = select(first_seed(rows), kind="tasks")
    columns = max(3, (len(digits) + 1) // 2)
    figure = plt.figure(figsize=(16, 12), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[1.05, 1])
    z = numbers.similarity(rows, "z")
    ssim = numbers.similarity(rows, "ssim")
    assert z is not None and ssim is not None  # they stand in the same row
    most = np.abs(z.matrix).max()
    shown = ((r.matrix, "Correlation of mean images, mean over digits", (-1, 1)),
             (z.matrix, "z-scores over all, mean over digits", (-most, most)),
             (ssim.matrix, "Structural similarity, mean over digits", (-1, 1)))  # fmt: skip
    for ax, (values, title, limits) in zip(upper.subplots(1, 3), shown, strict=True):
        matrix(ax, values, r.sets, "RdBu", limits, "{:.2f}", size=8)
        ax.set_title(title, fontsize=10)
    small = lower.subplots(2, columns, squeeze=False)
    image = None
    for ax, row in zip(small.flat, digits, strict=False):
        image = matrix(ax, np.array(row["matrix"]), r.sets, "RdBu", (-1, 1), size=6.5)
        ax.set_title(f"digit {row['digit']}", fontsize=9)
    _outer(small, len(digits))
    lower.colorbar(image, ax=small, shrink=0.6, label="Pearson's r")
    return close(plt, figure, path)


def draw_digits(rows: Sequence[Row], found: Sequence[Row], path: Path) -> Path:
    """Digits by digits, within each set."""
    found = first_seed(found)
    plt = pyplot()
    columns = min(5, len(found))
    lines = -(-len(found) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(2.5 * columns + 0.6, 2.6 * lines), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    names = [str(digit) for digit in range(len(found[0]["matrix"]))]
    image = None
    for ax, row in zip(axes.flat, found, strict=False):
        image = matrix(ax, np.array(row["matrix"]), names, "RdBu", (-1, 1), size=7)
        ax.set_title(row["set"], fontsize=10)
    _outer(axes, len(found))
    figure.colorbar(image, ax=axes, shrink=0.6, label="Pearson's r of mean images")
    return close(plt, figure, path)


def draw_means(rows: Sequence[Row], found: Sequence[Row], path: Path) -> Path | None:
    """Mean images, sets by digits, as one picture."""
    kept = _kept(found, path, "means")
    if kept is None:
        return None
    plt = pyplot()
    shape, sets = kept[1]["shape"], kept[1]["sets"]
    tasks, classes = kept[0]["means"].shape[:2]
    images = kept[0]["means"].reshape(tasks, classes, *shape).mean(axis=-1)
    tall, wide = shape[0] + _GAP, shape[1] + _GAP
    whole = np.full((classes * tall - _GAP, tasks * wide - _GAP), np.nan)
    for (task, digit), _ in np.ndenumerate(images[:, :, 0, 0]):
        top, left = digit * tall, task * wide
        whole[top : top + shape[0], left : left + shape[1]] = images[task, digit]
    figure, ax = plt.subplots(figsize=(0.72 * tasks, 0.72 * classes + 0.3))
    ax.imshow(whole, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.xaxis.tick_top()
    ax.set_xticks(wide * np.arange(tasks) + shape[1] / 2, sets, fontsize=8)
    ax.set_yticks(tall * np.arange(classes) + shape[0] / 2, [str(c) for c in range(classes)])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return close(plt, figure, path)


def draw_dendrogram(rows: Sequence[Row], found: Sequence[Row], path: Path) -> Path | None:
    """Ward's clustering of all mean images; a strip below says which set each is of."""
    kept = _kept(found, path, "means")
    if kept is None:
        return None
    try:
        from scipy.cluster.hierarchy import dendrogram
    except ImportError:
        raise MissingExtraError("scipy", "analysis", "a dendrogram") from None
    plt = pyplot()
    means, sets = kept[0]["means"], kept[1]["sets"]
    tasks, classes = means.shape[:2]
    figure, (ax, strip) = plt.subplots(
        2, 1, figsize=(15, 6.6), sharex=True, layout="constrained",
        gridspec_kw={"height_ratios": [3, 0.24 * tasks]},
    )  # fmt: skip
    tree = dendrogram(
        taskspace.ward(means.reshape(tasks * classes, -1)), ax=ax, no_labels=True,
        color_threshold=0, above_threshold_color=INK,
    )  # fmt: skip
    ax.set_ylabel("Ward's distance")
    ax.set_title(f"The {tasks * classes} mean images; each below its leaf, in its set's row")
    for place, leaf in enumerate(tree["leaves"]):
        task, digit = divmod(leaf, classes)
        x = 10 * place + 5
        colour = COLOURS[task % (len(COLOURS) - 1)]
        strip.add_patch(plt.Rectangle((x - 5, task - 0.5), 10, 1, color=colour, alpha=0.25, lw=0))
        strip.text(x, task, str(digit), ha="center", va="center", fontsize=6.5, color=INK)
    strip.set_yticks(range(tasks), sets, fontsize=8)
    strip.set(ylim=(tasks - 0.5, -0.5), xticks=[])
    strip.grid(axis="x", visible=False)
    return close(plt, figure, path)


def draw_weights(rows: Sequence[Row], weights: Sequence[Row], path: Path) -> Path | None:
    """Weights of the schemes after some rounds, naively: pixels of layer 1, units of layer 2."""
    files = {n: _kept(rows, path, f"weights-{n}") for n in grouped(weights, "scheme")}
    found = {name: kept for name, kept in files.items() if kept is not None}
    if not found:
        return None
    plt = pyplot()
    rounds = next(iter(found.values()))[1]["rounds"]
    figure, axes = plt.subplots(
        len(found), 2 * len(rounds), figsize=(2.3 * 2 * len(rounds), 2.25 * len(found)),
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for line, (scheme, (arrays, about)) in zip(axes, found.items(), strict=True):
        shape = about["shape"]
        pixels = [arrays[f"{n}.pixels"].reshape(shape).mean(axis=-1) for n in rounds]
        units = [arrays[f"{n}.units"] for n in rounds]
        most, reach = np.max(pixels), np.quantile(np.abs(units), 0.995)
        for ax, number, image in zip(line, rounds, pixels, strict=False):
            shown = ax.imshow(image, cmap="magma", vmin=0, vmax=most)
            ax.set_title(f"round {number}", fontsize=9, fontweight="normal")
        figure.colorbar(shown, ax=line[: len(rounds)], shrink=0.8)
        for ax, number, image in zip(line[len(rounds) :], rounds, units, strict=False):
            shown = ax.imshow(image, cmap="RdBu", vmin=-reach, vmax=reach, interpolation="nearest")
            ax.set_title(f"round {number}", fontsize=9, fontweight="normal")
        figure.colorbar(shown, ax=line[len(rounds) :], shrink=0.8)
        for ax in line:
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
        line[0].set_ylabel(scheme.replace("+", "\n"), fontsize=8)
    figure.suptitle(
        "Left: mean |w| from each pixel.  Right: the first units of layer 2", fontsize=10
    )
    return close(plt, figure, path)
