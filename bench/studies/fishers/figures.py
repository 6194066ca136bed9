"""strengths.png: accuracy by strength of each way; ways.png: each by its chosen strength."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...show.style import COLOURS, INK, close, pyplot
from ..rows import grouped, select
from ..study import Row
from .numbers import by_strength, differences
from .variants import VARIANTS

_LOOK = dict(zip(VARIANTS, zip(COLOURS, "osD^v", strict=False), strict=False))


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """The figures that the rows have numbers for."""
    made = (("search", "strengths.png", draw_search), ("chosen", "ways.png", draw_chosen))
    return [
        drawn(found, folder / name)
        for which, name, drawn in made
        if (found := select(rows, which=which))
    ]


def draw_search(rows: Sequence[Row], path: Path) -> Path:
    """Mean accuracy by strength, a line a way; dotted: no method."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(6.6, 4))
    for name, of in grouped(rows, "variant").items():
        means = by_strength(of)
        if name not in VARIANTS:
            axis.axhline(means[0.0], color=INK, linestyle=":", label="none")
            continue
        colour, mark = _LOOK[name]
        axis.plot(list(means), list(means.values()), color=colour, marker=mark, alpha=0.85,
                  label=VARIANTS[name].label)  # fmt: skip
    seeds = len(grouped(rows, "seed"))
    axis.set(xscale="log", xlabel="strength, with the factor 1/2",
             ylabel="accuracy over all tasks, %",
             title=f"EWC by strength ({seeds} seed{'s' * (seeds > 1)})")  # fmt: skip
    axis.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    return close(plt, figure, path)


def draw_chosen(rows: Sequence[Row], path: Path) -> Path:
    """Each seed a dot, the mean and its standard error beside it; "none" is left to the title."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(6.6, 3.2))
    ways = [name for name in VARIANTS if select(rows, variant=name)]
    for place, name in enumerate(ways):
        of = select(rows, variant=name)
        mean, error, _ = differences(of)
        colour, mark = _LOOK[name]
        axis.plot([100 * row["accuracy"] for row in of], [place] * len(of), "|", color=colour,
                  markersize=10, alpha=0.6)  # fmt: skip
        axis.errorbar(mean, place - 0.28, xerr=error, color=colour, marker=mark, capsize=3)
    axis.set(yticks=range(len(ways)), yticklabels=[VARIANTS[name].label for name in ways],
             xlabel="accuracy over all tasks, %", ylim=(len(ways) - 0.5, -0.7))  # fmt: skip
    none = differences(select(rows, variant="none"))
    axis.set_title(f"Five ways, {none[2]} seeds; no method: {none[0]:.1f} %")
    axis.grid(visible=False, axis="y")
    return close(plt, figure, path)
