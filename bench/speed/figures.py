"""The figures of the bench: rooflines, shares of the roofline, peers, and how costs grow.

Each is drawn from records (see `records`) and written as PNG and SVG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...kernels import spec
from ..show.style import COLOURS, GRID, INK, pyplot, save
from .conditions import conditions_of
from .kernels import title
from .peers import BASELINE
from .roofline import gpu_rate

Record = Mapping[str, Any]

_MARKERS = {
    "dense": "o",
    "per-sample": "s",
    "conv": "P",
    "image": "X",
    "norm": "h",
    "activation": "^",
    "loss": "D",
    "update": "v",
}
_LEVELS = {"L1": COLOURS[2], "L2": COLOURS[5], "L3": COLOURS[0], "memory": COLOURS[1]}
_RUNGS = {
    "one": COLOURS[3], "small": COLOURS[4], "medium": COLOURS[5], "large": COLOURS[0],
    "memory": COLOURS[1],
}  # fmt: skip
_PEERS = {
    "torch-eager": COLOURS[1], "torch-compile": COLOURS[4], "torch-func": COLOURS[3],
    "backpack": COLOURS[2], "jax": COLOURS[0], "cupy": COLOURS[5],
}  # fmt: skip


def _written(plt: Any, figure: Any, folder: Path, name: str) -> list[Path]:
    paths = [save(plt, figure, folder / f"{name}.{kind}") for kind in ("png", "svg")]
    plt.close(figure)
    return paths


def _own(records: Sequence[Record]) -> list[Record]:
    """The timed kernels of the fastest backend there is, in one dtype, on most threads."""
    timed = [one for one in records if one["status"] == "timed" and one["roof_share"] is not None]
    backends = [one["backend"] for one in timed]
    best = next((b for b in ("cuda", "cpu", "reference") if b in backends), None)
    dtype = next((one["dtype"] for one in timed), None)
    own = [one for one in timed if (one["backend"], one["dtype"]) == (best, dtype)]
    threads = max((one["threads"] for one in own), default=0)
    return [one for one in own if one["threads"] == threads]


def _roofs(one: Record, machine: Record) -> tuple[float, dict[str, float]]:
    """The peak in GFLOP/s that a kernel is held against, and GB/s of each memory level."""
    if one["backend"] == "cuda":
        gpu = machine["gpu"]
        return gpu_rate(gpu, one["dtype"]) or one["gflops"], {"memory": gpu["copy_gbs"]}
    which = "1" if one["threads"] == 1 else "all"
    return machine["fma_gflops"][one["dtype"]]["one" if which == "1" else "all"], {
        level: max(rate for name, rate in rates.items() if name.endswith(f"_{which}"))
        for level, rates in machine["bandwidth_gbs"].items()
    }


def roofline(kernels: Sequence[Record], machine: Record, folder: Path) -> list[Path]:
    """GFLOP/s against flops a byte, under the roofs of this machine's memory levels."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(8.6, 5.2))
    chosen = [one for one in _own(kernels) if one["flops"] and one["bytes"]]
    if not chosen:
        plt.close(figure)
        return []
    peak, roofs = _roofs(chosen[0], machine)
    x = np.geomspace(0.02, 2e3, 400)
    for level, best in roofs.items():
        colour = _LEVELS.get(level, INK)
        axes.plot(
            x, np.minimum(peak, best * x), color=colour, lw=1.6, label=f"{level} {best:,.0f} GB/s"
        )
    for one in chosen:
        known = spec.KERNELS.get(one["kernel"])  # a kernel of before has its record still
        family = known.family if known else "activation"
        axes.plot(
            one["flops"] / one["bytes"], one["gflops"], linestyle="none",
            marker=_MARKERS.get(family, "o"), color=_LEVELS.get(one["level"], INK), ms=5.5,
            mec="white", mew=0.6, alpha=0.9,
        )  # fmt: skip
    for family, marker in _MARKERS.items():
        axes.plot([], [], linestyle="none", marker=marker, color=INK, ms=5, label=family)
    axes.set(xscale="log", yscale="log", xlabel="intensity: flops a byte that must move",
             ylabel="GFLOP/s", xlim=(0.04, 400), ylim=(0.1, peak * 1.6))  # fmt: skip
    axes.set_title(
        f"Roofline, {chosen[0]['backend']} {chosen[0]['dtype']}: peak {peak:,.0f} GFLOP/s"
    )
    axes.grid(which="minor", visible=False)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5)
    hint = (
        "The colour of a point says where its arrays lie: hold it against the roof of that colour."
    )
    axes.text(0, -0.17, hint, transform=axes.transAxes, fontsize=8.5, color=INK)
    return _written(plt, figure, folder, "roofline")


def shares(kernels: Sequence[Record], folder: Path) -> list[Path]:
    """Part of its roofline that each kernel reaches, a dot a size."""
    chosen = _own(kernels)
    if not chosen:
        return []
    plt = pyplot()
    names = list(dict.fromkeys(_title(one) for one in chosen))[::-1]
    figure, axes = plt.subplots(figsize=(8.6, 0.22 * len(names) + 1.4))
    for one in chosen:
        axes.plot(min(one["roof_share"], 1.5), names.index(_title(one)), "o", ms=6,
                  color=_RUNGS.get(one["rung"], INK), mec="white", mew=0.5)  # fmt: skip
    for rung, colour in _RUNGS.items():
        axes.plot([], [], "o", color=colour, label=rung)
    axes.axvline(1, color=INK, lw=1)
    axes.axvline(0.7, color=INK, lw=0.8, ls=(0, (4, 3)))
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlim=(0, 1.52), ylim=(-0.7, len(names) - 0.3), xlabel="part of the roofline reached")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(axis="y", color=GRID, lw=0.6)
    own = chosen[0]
    axes.set_title(f"Every kernel against its roofline, {own['backend']} {own['dtype']}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8.5, title="size")
    return _written(plt, figure, folder, "shares")


def _title(one: Record) -> str:
    return title(one["kernel"], one["variant"])


def _step(one: Record) -> str:
    said = conditions_of(one.get("threads", 0), one.get("busy", 0))
    return "  ".join(x for x in (one["operation"], one["size"], one.get("backend", ""), *said) if x)


def ratios(steps: Sequence[Record], folder: Path) -> list[Path]:
    """How many times weightspace's time each peer takes, with the confidence interval."""
    chosen = [one for one in steps if one.get("ratio")]
    if not chosen:
        return []
    plt = pyplot()
    rows = list(dict.fromkeys(_step(one) for one in chosen))[::-1]
    peers = list(dict.fromkeys(one["peer"] for one in chosen))
    figure, axes = plt.subplots(figsize=(8.6, 0.27 * len(rows) + 1.5))
    for one in chosen:
        beside = 0.16 * (peers.index(one["peer"]) - (len(peers) - 1) / 2)
        at = rows.index(_step(one)) + beside
        colour = _PEERS.get(one["peer"], INK)
        axes.plot([one["ratio_low"], one["ratio_high"]], [at, at], color=colour, lw=1.4)
        axes.plot(one["ratio"], at, "o", ms=5, color=colour, mec="white", mew=0.5)
    for peer in peers:
        axes.plot([], [], "o", color=_PEERS.get(peer, INK), label=peer)
    axes.axvline(1, color=INK, lw=1)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set(
        xscale="log",
        xlabel=f"time of the peer / time of {BASELINE}; right of 1, {BASELINE} is faster",
        ylim=(-0.7, len(rows) - 0.3),
    )
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.set_title("Whole operations against peers")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5)
    return _written(plt, figure, folder, "peers")


def growth(laws: Sequence[Record], folder: Path) -> list[Path]:
    """Cost against each axis on double logarithmic axes, with the fitted exponent."""
    if not laws:
        return []
    plt = pyplot()
    axes_of = list(dict.fromkeys(one["axis"] for one in laws))
    columns = min(3, len(axes_of))
    lines = -(-len(axes_of) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(3.6 * columns, 3.1 * lines), squeeze=False, layout="constrained"
    )
    for place, axis in zip(grid.flat, axes_of, strict=False):
        for index, one in enumerate(o for o in laws if o["axis"] == axis):
            label = f"{one['cost']}: {one['exponent']:.2f}"
            place.plot(one["values"], np.array(one["medians"]) * 1e3, marker="o", ms=3.5, lw=1.5,
                       color=COLOURS[index % len(COLOURS)], label=label)  # fmt: skip
        place.set(xscale="log", yscale="log", xlabel=axis, ylabel="ms")
        values = sorted({value for one in laws if one["axis"] == axis for value in one["values"]})
        place.set_xticks(values, [f"{value}" for value in values], fontsize=7.5)
        place.set_xticks([], minor=True)
        low, high = place.get_ylim()
        if high < 20 * low:  # a flat cost would look steep on an axis of its own height
            place.set_ylim((low * high) ** 0.5 / 4.5, (low * high) ** 0.5 * 4.5)
        place.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        place.yaxis.set_minor_formatter(lambda value, _: "")
        place.set_title(f"by {axis}", fontsize=10)
        place.grid(which="minor", visible=False)
        place.legend(fontsize=7.5)
    for place in list(grid.flat)[len(axes_of) :]:
        place.axis("off")
    figure.suptitle("How costs grow: the exponent of each, fitted to its largest values",
                    x=0.01, ha="left", fontweight="bold", fontsize=11)  # fmt: skip
    return _written(plt, figure, folder, "scaling")
