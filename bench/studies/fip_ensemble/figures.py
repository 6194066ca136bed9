"""The figures of the study of ensembles under attack, from its rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....nnlite.files import write_whole
from ...show.style import COLOURS, INK, bare, close, pyplot
from ..rows import average, grouped, select
from ..study import Row
from .tables import COLUMNS, LABELS, by_seed, in_column, kinds, stated, summary_csv, tries

PANELS = {
    "transfer, separate": "transfer from a separate network",
    "transfer, start": "transfer from the start of FIP and FGE",
    "white box": "white box: the ensemble itself",
}


def _colour(kind: str) -> str:
    return COLOURS[("fip", "deep", "fge", "adp", "start").index(kind)]


def draw(rows: Sequence[Row], folder: Path) -> Sequence[Path]:
    """All figures, into `folder`; the table beside it, as CSV."""
    plt = pyplot()
    write_whole(folder.parent / "table.csv", summary_csv(rows))
    return [
        _accuracy(plt, rows, folder / "accuracy.png"),
        _along(plt, rows, folder / "path.png"),
        _strength(plt, rows, folder / "strength.png"),
        _diversity(plt, rows, folder / "diversity.png"),
        _coherence(plt, rows, folder / "coherence.png"),
        _samples(plt, rows, folder / "samples.png"),
    ]


def _accuracy(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """Accuracy by the attack's radius; the line is the ensemble, the band its members."""
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.6), sharey=True, layout="constrained")
    for axis, (column, title) in zip(axes, PANELS.items(), strict=True):
        for kind in kinds(rows):
            _one_kind(axis, rows, kind, select(rows, kind=kind, **COLUMNS[column]))
        axis.axvline(stated(rows), color=INK, lw=0.8, ls=":", zorder=0)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("radius of the attack (255ths of a pixel's range)")
        axis.set_xlim(0, max(r["epsilon"] for r in rows if r["ask"] == "white"))
    axes[0].set_ylabel("test accuracy %")
    axes[0].set_ylim(0, 100)
    axes[-1].legend(title="line: ensemble\nband: its members", title_fontsize=8, fontsize=9)
    return close(plt, figure, path)


def _one_kind(axis: Any, rows: Sequence[Row], kind: str, chosen: list[Row]) -> None:
    if not any(row["epsilon"] == 0 for row in chosen):  # unattacked, for white box
        chosen = chosen + [{**r, "epsilon": 0.0} for r in select(rows, ask="clean", kind=kind)]
    radii = sorted(grouped(chosen, "epsilon"))
    whole = [by_seed(select(chosen, epsilon=e, member=None)).mean() for e in radii]
    axis.plot(radii, 100 * np.array(whole), "o-", ms=3.5, color=_colour(kind), label=LABELS[kind])
    alone = [
        [r["accuracy"] for r in select(chosen, epsilon=e) if r["member"] is not None] for e in radii
    ]
    if all(alone):
        low, high = (100 * np.array([f(a) for a in alone]) for f in (min, max))
        axis.fill_between(radii, low, high, color=_colour(kind), alpha=0.15, lw=0)


def _along(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """FIP's members by their distance from the start: unattacked, by transfer, and directly."""
    figure, axis = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
    clean = [row for row in select(rows, ask="clean", kind="fip") if row["member"] is not None]
    members, alone = zip(*sorted(grouped(clean, "member").items()), strict=True)
    away = [average(mine, "away") for mine in alone]
    labels = ("unattacked", PANELS["transfer, separate"], "transfer from the start", "white box")
    for column, label, colour in zip(COLUMNS, labels, (INK, *COLOURS[5:2:-1]), strict=True):
        chosen = in_column(rows, column, "fip")
        values = [100 * by_seed(select(chosen, member=m)).mean() for m in members]
        axis.plot(away, values, "o-", ms=4, color=colour, label=label)
    axis.set_ylim(0, 100)
    axis.set_xlim(left=0)
    axis.set_xlabel("distance of the member's weights from the start")
    axis.set_ylabel("test accuracy %")
    axis.set_title(f"Along the FIP path, {stated(rows):g}/255", fontsize=10)
    axis.legend(fontsize=8, loc="lower left")
    return close(plt, figure, path)


def _strength(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """White-box accuracy by steps, and with restarts."""
    figure, axis = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
    hard, chosen = tries(rows), select(rows, ask="strength")
    for kind in ("start", *kinds(rows)):
        values = [
            100 * by_seed(select(chosen, kind=kind, steps=s, restarts=n)).mean() for s, n in hard
        ]
        axis.plot(values, "o-", ms=4, color=_colour(kind), label=LABELS[kind])
    axis.set_xticks(
        range(len(hard)),
        [f"{s} steps" + (f"\n{n} restarts" if n > 1 else "") for s, n in hard],
    )
    axis.set_ylim(bottom=0)
    axis.set_ylabel("white-box accuracy %")
    axis.set_title(f"Does the attack gain by trying harder? ({stated(rows):g}/255)", fontsize=10)
    axis.legend(fontsize=8)
    return close(plt, figure, path)


def _diversity(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """A box a layer and kind: the std over members of a layer's norm, over the inputs."""
    chosen = [
        row for row in select(rows, ask="diversity") if row["name"] not in ("Dropout", "Flatten")
    ]  # these two hand norms through
    layers = sorted(grouped(chosen, "layer", "name"))
    figure, axis = plt.subplots(figsize=(max(7, 1.0 * len(layers)), 3.6), layout="constrained")
    for number, kind in enumerate(kinds(rows)):
        offset = (number - 1.5) * 0.19
        boxes = [_box(select(chosen, kind=kind, layer=layer)) for layer, _ in layers]
        drawn = axis.bxp(
            boxes, positions=np.arange(len(layers)) + offset, widths=0.15, showfliers=False,
            patch_artist=True, medianprops={"color": "white", "lw": 1.2},
            boxprops={"facecolor": _colour(kind), "edgecolor": _colour(kind)},
            whiskerprops={"color": _colour(kind)}, capprops={"visible": False},
        )  # fmt: skip
        drawn["boxes"][0].set_label(LABELS[kind])
    axis.set_yscale("log")
    axis.set_xticks(range(len(layers)), [f"{layer}\n{name}" for layer, name in layers], fontsize=8)
    axis.set_xlim(-0.6, len(layers) - 0.4)
    axis.grid(axis="x", visible=False)
    axis.set_ylabel("std of the activation's norm")
    axis.set_title("Diversity by layer", fontsize=10)
    axis.legend(fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.06))
    return close(plt, figure, path)


def _box(rows: list[Row]) -> dict[str, Any]:
    low, first, middle, third, high = np.mean([row["quantiles"] for row in rows], axis=0)
    return {"whislo": low, "q1": first, "med": middle, "q3": third, "whishi": high}


def _coherence(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """How the largest cosine of two members' input gradients is spread over the inputs."""
    figure, axis = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
    for kind in kinds(rows):
        counts = np.sum([r["counts"] for r in select(rows, ask="coherence", kind=kind)], axis=0)
        edges = np.linspace(-1, 1, len(counts) + 1)
        share = 100 * counts / counts.sum()
        axis.stairs(share, edges, color=_colour(kind), lw=1.6, label=LABELS[kind])
        axis.stairs(share, edges, color=_colour(kind), alpha=0.12, fill=True)
    axis.set_xlim(0, 1)
    axis.set_xlabel("coherence: largest cosine of two members' input gradients")
    axis.set_ylabel("inputs %")
    axis.set_title("Do members fall for the same change?", fontsize=10)
    axis.legend(fontsize=8)
    return close(plt, figure, path)


def _samples(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """Images before and after, their difference, and what each ensemble says of them."""
    chosen = select(rows, ask="sample", seed=rows[0]["seed"])
    figure, axes = plt.subplots(
        3, len(chosen), figsize=(1.35 * len(chosen) + 0.4, 4.6), layout="constrained", squeeze=False
    )
    for column, row in zip(axes.T, chosen, strict=True):
        before, after = (
            np.reshape(row[key], row["shape"]).squeeze() for key in ("before", "after")
        )
        span = max(1, np.abs(after - before).max())
        change = (after - before) / (2 * span) + 0.5
        for axis, image, most in zip(column, (before, after, change), (255, 255, 1), strict=True):
            axis.imshow(image, cmap="gray", vmin=0, vmax=most)
            bare(axis)
        column[0].set_title(f"class {row['label']}", fontsize=9, fontweight="normal", loc="center")
        told = [f"{k}: {v}{'' if v == row['label'] else ' ✗'}" for k, v in row["answers"].items()]
        column[2].set_xlabel("\n".join(told), fontsize=8)
    for axis, name in zip(axes[:, 0], ("image", "attacked", "change"), strict=True):
        axis.set_ylabel(name, fontsize=9)
    return close(plt, figure, path)
