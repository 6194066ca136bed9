"""The figures of the study of ensembles under attack, from its rows alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....nnlite.files import write_whole
from ...show.style import COLOURS, INK, bare, close, pyplot
from ..rows import average, grouped, select
from ..study import Row
from .tables import COLUMNS, LABELS, by_seed, in_column, kinds, paths, stated, summary_csv, tries

PANELS = {
    "transfer, separate": "transfer from a separate network",
    "transfer, start": "transfer from the start of FIP and FGE",
    "white box": "white box: the ensemble itself",
}
AGAINST = {
    "separate": "with the separate surrogate",
    "start": "with the start, the other surrogate",
    "members": "largest of any two members",
}
_LOOKS = {  # colour and marker
    "fip-onward": (COLOURS[5], "o"), "fip-afresh": (COLOURS[0], "s"), "fip-ball": (COLOURS[3], "^"),
    "deep": (COLOURS[1], "D"), "fge": (COLOURS[2], "v"), "adp": (COLOURS[4], "P"),
    "start": (INK, "X"),
}  # fmt: skip


def _colour(kind: str) -> str:
    return _LOOKS[kind][0]


def _look(kind: str) -> dict[str, Any]:
    colour, marker = _LOOKS[kind]
    return {"color": colour, "marker": marker, "ms": 4.5, "label": LABELS[kind]}


def draw(rows: Sequence[Row], folder: Path) -> Sequence[Path]:
    """All figures, into `folder`; the table beside it, as CSV."""
    plt = pyplot()
    write_whole(folder.parent / "table.csv", summary_csv(rows))
    return [
        _accuracy(plt, rows, folder / "accuracy.png"),
        _bends(plt, rows, folder / "bends.png"),
        _along(plt, rows, folder / "path.png"),
        _strength(plt, rows, folder / "strength.png"),
        _diversity(plt, rows, folder / "diversity.png"),
        _coherence(plt, rows, folder / "coherence.png"),
        _samples(plt, rows, folder / "samples.png"),
    ]


def _below(figure: Any, axis: Any, title: str = "") -> None:
    """The axis' legend in a line under all axes of the figure, where it covers nothing."""
    handles, labels = axis.get_legend_handles_labels()
    columns = min(len(labels), int(figure.get_figwidth() / 1.5))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=9,
                  title=title or None, title_fontsize=9)  # fmt: skip


def _accuracy(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """Accuracy by the attack's radius; the line is the ensemble, the band its members."""
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 4.2), sharey=True, layout="constrained")
    for axis, (column, title) in zip(axes, PANELS.items(), strict=True):
        for kind in kinds(rows):
            _one_kind(axis, rows, kind, select(rows, kind=kind, **COLUMNS[column]))
        axis.axvline(stated(rows), color=INK, lw=0.8, ls=":", zorder=0)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("radius of the attack (255ths of a pixel's range)")
        axis.set_xlim(0, max(r["epsilon"] for r in rows if r["ask"] == "white"))
    axes[0].set_ylabel("test accuracy %")
    axes[0].set_ylim(0, 100)
    _below(figure, axes[0], "line: the ensemble; band: the range of its members")
    return close(plt, figure, path)


def _one_kind(axis: Any, rows: Sequence[Row], kind: str, chosen: list[Row]) -> None:
    if not any(row["epsilon"] == 0 for row in chosen):  # unattacked, for white box
        chosen = chosen + [{**r, "epsilon": 0.0} for r in select(rows, ask="clean", kind=kind)]
    radii = sorted(grouped(chosen, "epsilon"))
    whole = [by_seed(select(chosen, epsilon=e, member=None)).mean() for e in radii]
    axis.plot(radii, 100 * np.array(whole), **_look(kind))
    alone = [
        [r["accuracy"] for r in select(chosen, epsilon=e) if r["member"] is not None] for e in radii
    ]
    if all(alone):
        low, high = (100 * np.array([f(a) for a in alone]) for f in (min, max))
        axis.fill_between(radii, low, high, color=_colour(kind), alpha=0.1, lw=0)


def _by_member(rows: Iterable[Row], value: str) -> np.ndarray:
    """The mean over seeds of a number of each member alone, in their order."""
    alone = grouped([row for row in rows if row["member"] is not None], "member")
    return np.array([average(alone[member], value) for member in sorted(alone)])


def _bends(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """How far paths lead for their length, what becomes of the norm, and where networks lie."""
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 4.2), layout="constrained")
    far, norms, places = axes
    for kind in paths(rows):
        clean = select(rows, ask="clean", kind=kind)
        walked = [0, *_by_member(clean, "walked")]
        far.plot(walked, [0, *_by_member(clean, "away")], **_look(kind))
        first = _first_norm(rows)
        norms.plot(walked, [first, *_by_member(clean, "length")], **_look(kind))
    most = max(row["walked"] for row in rows if row.get("walked"))
    far.plot([0, most], [0, most], color=INK, lw=0.8, ls=":", zorder=0)
    far.set(ylabel="distance from the start", title="How far a path leads (dotted: a ray)")
    norms.set(ylabel="norm of the weights", ylim=(0, None), title="How large weights become")
    for axis in (far, norms):
        axis.set_xlabel("length of the path, in weights")
    found = select(rows, ask="place", seed=rows[0]["seed"])
    for kind, mine in grouped(found, "kind").items():
        where = np.array([row["place"] for row in mine])
        line = "-" if kind.startswith("fip-") else ""
        look = _look(kind) | ({"ms": 9, "zorder": 5} if kind == "start" else {})
        places.plot(*where.T, line, lw=1, **look)
    shares = found[0]["shares"]
    places.set(xlabel=f"component 1 ({shares[0]:.0%} of the variance)",
               ylabel=f"component 2 ({shares[1]:.0%})",
               title=f"Networks in weight space, seed {found[0]['seed']}")  # fmt: skip
    _below(figure, places)
    return close(plt, figure, path)


def _first_norm(rows: Sequence[Row]) -> float:
    """The norm of the weights where paths begin, mean over seeds."""
    return float(average(select(rows, ask="clean", kind="start"), "length"))


def _along(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """Members of each path by its length in outputs: unattacked, by transfer, and directly."""
    walks = paths(rows)
    figure, grid = plt.subplots(
        1, len(walks), figsize=(3.7 * len(walks) + 0.4, 4.0), sharey=True, layout="constrained",
        squeeze=False,
    )  # fmt: skip
    labels = ("unattacked", PANELS["transfer, separate"], "transfer from the start", "white box")
    looks = zip(labels, (INK, *COLOURS[5:2:-1]), "osD^", strict=True)
    for (label, colour, marker), column in zip(list(looks), COLUMNS, strict=True):
        for axis, kind in zip(grid[0], walks, strict=True):
            turned = _by_member(select(rows, ask="clean", kind=kind), "turned")
            values = 100 * _by_member(in_column(rows, column, kind), "accuracy")
            axis.plot(turned, values, marker=marker, ms=4, color=colour, label=label)
            axis.set_title(LABELS[kind], fontsize=10)
            axis.set_xlabel("length of the path in outputs (radians)")
            axis.set_xlim(left=0)
    grid[0, 0].set_ylim(0, 100)
    grid[0, 0].set_ylabel(f"test accuracy %, attacks of {stated(rows):g}/255")
    _below(figure, grid[0, 0])
    return close(plt, figure, path)


def _strength(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """White-box accuracy by steps, and with restarts."""
    figure, axis = plt.subplots(figsize=(7.4, 3.6), layout="constrained")
    hard, chosen = tries(rows), select(rows, ask="strength")
    for number, kind in enumerate(("start", *kinds(rows))):
        values = [
            100 * by_seed(select(chosen, kind=kind, steps=s, restarts=n)).mean() for s, n in hard
        ]
        aside = 0.03 * (number - len(kinds(rows)) / 2)  # of equal ones, all are seen
        axis.plot(np.arange(len(hard)) + aside, values, **_look(kind))
    axis.set_xticks(
        range(len(hard)),
        [f"{s} steps" + (f"\n{n} restarts" if n > 1 else "") for s, n in hard],
    )
    axis.set_ylim(0, 100)
    axis.set_ylabel("white-box accuracy %")
    axis.set_title(f"Does the attack gain by trying harder? ({stated(rows):g}/255)", fontsize=10)
    axis.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return close(plt, figure, path)


def _diversity(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """A box a layer and kind: the std over members of a layer's norm, over the inputs."""
    chosen = [
        row for row in select(rows, ask="diversity") if row["name"] not in ("Dropout", "Flatten")
    ]  # these two hand norms through
    layers, shown = sorted(grouped(chosen, "layer", "name")), kinds(rows)
    figure, axis = plt.subplots(figsize=(max(7, 1.2 * len(layers)), 4.2), layout="constrained")
    wide = 0.8 / len(shown)
    for number, kind in enumerate(shown):
        offset = (number - (len(shown) - 1) / 2) * wide
        boxes = [_box(select(chosen, kind=kind, layer=layer)) for layer, _ in layers]
        drawn = axis.bxp(
            boxes, positions=np.arange(len(layers)) + offset, widths=0.8 * wide, showfliers=False,
            patch_artist=True, medianprops={"color": "white", "lw": 1.2},
            boxprops={"facecolor": _colour(kind), "edgecolor": _colour(kind)},
            whiskerprops={"color": _colour(kind)}, capprops={"visible": False},
        )  # fmt: skip
        drawn["boxes"][0].set_label(LABELS[kind])
    axis.set_yscale("log")
    axis.set_xticks(range(len(layers)), [f"{layer}\n{name}" for layer, name in layers], fontsize=8)
    axis.set_xlim(-0.6, len(layers) - 0.4)
    axis.grid(axis="x", visible=False)
    axis.set_ylabel("std over members of the activation's norm")
    axis.set_title("Diversity by layer", fontsize=10)
    _below(figure, axis, "box: the middle half of the inputs; whiskers: 5 to 95 % of them")
    return close(plt, figure, path)


def _box(rows: list[Row]) -> dict[str, Any]:
    low, first, middle, third, high = np.mean([row["quantiles"] for row in rows], axis=0)
    return {"whislo": low, "q1": first, "med": middle, "q3": third, "whishi": high}


def _coherence(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """How cosines of input gradients are spread over inputs (and members): Fig. 4E."""
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 4.0), layout="constrained")
    for axis, (against, title) in zip(axes, AGAINST.items(), strict=True):
        for kind in kinds(rows):
            mine = select(rows, ask="coherence", kind=kind, against=against)
            counts = np.sum([row["counts"] for row in mine], axis=0)
            counts = counts.reshape(-1, 2).sum(axis=1)  # bins twice as wide: steadier
            share, edges = 100 * counts / counts.sum(), np.linspace(-1, 1, len(counts) + 1)
            axis.stairs(share, edges, color=_colour(kind), lw=1.5, label=LABELS[kind])
            mean = float(average(mine, "mean"))
            axis.plot(mean, 0, _LOOKS[kind][1], color=_colour(kind), ms=7, clip_on=False, zorder=5)
        axis.set_xlim(-1 if against != "members" else 0, 1)
        axis.set_ylim(bottom=0)
        axis.set_xlabel("cosine of two input gradients")
        axis.set_title(title, fontsize=10)
    axes[0].set_ylabel("inputs (times members) %")
    _below(figure, axes[0], "markers on the axis: means")
    return close(plt, figure, path)


def _samples(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """Images before and after, their difference, and what all say of them."""
    chosen = select(rows, ask="sample", seed=rows[0]["seed"])
    figure, axes = plt.subplots(
        3, len(chosen), figsize=(1.75 * len(chosen) + 0.4, 6.4), layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for column, row in zip(axes.T, chosen, strict=True):
        before, after = (
            np.reshape(row[key], row["shape"]).squeeze() for key in ("before", "after")
        )
        span = max(1, np.abs(after - before).max())
        change = (after - before) / (2 * span) + 0.5
        for axis, image, most in zip(column, (before, after, change), (255, 255, 1), strict=True):
            axis.imshow(image, cmap="gray", vmin=0, vmax=most)
            bare(axis)
        said, now = (_told(row, row[key]["separate"]) for key in ("unattacked", "answers"))
        column[0].set_title(f"class {row['label']}\nattacked network: {said}", **_SMALL)
        column[1].set_title(f"attacked network: {now}", **_SMALL)
        column[2].set_title(f"change (at most {span})", **_SMALL)
        told = [
            f"{LABELS[kind]}: {_told(row, answer)}"
            for kind, answer in row["answers"].items()
            if kind != "separate"
        ]
        column[2].set_xlabel("\n".join(told), fontsize=8)
    for axis, name in zip(axes[:, 0], ("image", "attacked", "change"), strict=True):
        axis.set_ylabel(name, fontsize=9)
    figure.suptitle(
        f"The first test images, attacked through the separate network ({stated(rows):g}/255); "
        "underneath, what each ensemble says of the attacked ones", fontsize=9,
    )  # fmt: skip
    return close(plt, figure, path)


_SMALL = {"fontsize": 8, "fontweight": "normal", "loc": "center"}


def _told(row: Row, answer: int) -> str:
    return f"{answer}{'' if answer == row['label'] else ' ✗'}"
