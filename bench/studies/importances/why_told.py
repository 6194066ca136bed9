"""What the rows of the study `why-sig` come to: each line at its strength, answers, a figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table

from ...runs.tables import mean_and_error, titled
from ...show.style import COLOURS, GRID, close, pyplot
from ..claims import IN_PART, NOT_REPRODUCED, REPRODUCED, Answer, verdict
from ..rows import grouped, select, with_error
from ..study import Row

NOTES = (
    "ACC: test accuracy after the last task, the mean over tasks. A line's lam has the best mean "
    "over seeds on held-out training images; at the end of its grid it is marked.",
    "Share: of what MAS holds beyond nothing held, (ACC - none) / (MAS - none).",
)


class Chosen(NamedTuple):
    """A line at its strength: test accuracy by seed. edge: the strength ends the grid."""

    lam: float
    edge: bool
    accuracies: dict[int, float]

    @property
    def mean(self) -> float:
        return float(np.mean([*self.accuracies.values()]))


def chosen(rows: Sequence[Row], depth: int, line: str) -> Chosen | None:
    """A line at the lam that held-out images choose; None where it was not run."""
    by_lam = grouped(select(rows, kind="line", depth=depth, line=line), "lam")
    if not by_lam:
        return None
    held = {lam: np.mean([row["held_out"] for row in mine]) for lam, mine in by_lam.items()}
    best = max(held, key=lambda lam: held[lam])
    edge = len(held) > 1 and best in (min(held), max(held))
    return Chosen(best, edge, {row["seed"]: row["accuracy"] for row in by_lam[best]})


def lines(rows: Sequence[Row], depth: int) -> dict[str, Chosen]:
    """Every line of a depth at its strength, the best first."""
    names = grouped(select(rows, kind="line", depth=depth), "line")
    found = {name: one for name in names if (one := chosen(rows, depth, name))}
    return dict(sorted(found.items(), key=lambda item: -item[1].mean))


def share(found: dict[str, Chosen], line: str, of: str = "mas") -> float:
    """What `line` holds as a share of what `of` does; NaN where that is nothing."""
    held = found[of].mean - found["none"].mean
    return (found[line].mean - found["none"].mean) / held if held > 0 else float("nan")


def middle(rows: Sequence[Row]) -> int:
    """The depth whose importances were taken apart: that with most lines."""
    return max(depths(rows), key=lambda depth: len(lines(rows, depth)))


def depths(rows: Sequence[Row]) -> list[int]:
    """Layers of the networks, fewest first."""
    return sorted(grouped(select(rows, kind="line"), "depth"))


# ---- answers -------------------------------------------------------------------------------------


def _as_well(rows: Sequence[Row]) -> Answer | None:
    """SIG holds at least 90 % of what MAS does; in part: half."""
    found = lines(rows, middle(rows))
    part = share(found, "sig")
    told = f"SIG {_points(found, 'sig')}, MAS {_points(found, 'mas')}, FIS {_points(found, 'fis')}"
    return verdict(part >= 0.9, part >= 0.5), f"{told}, none {_points(found, 'none')} %"


def _by_layers(rows: Sequence[Row]) -> Answer | None:
    """Shuffled within layers, SIG holds at least 90 % of what it did; in part: half."""
    found = lines(rows, middle(rows))
    ours, theirs = (share(found, f"{one} shuffled within layers", one) for one in ("sig", "mas"))
    even = share(found, "flat", "sig")
    told = f"shuffled, SIG keeps {ours:.0%} and MAS {theirs:.0%}; all weights alike: {even:.0%}"
    return verdict(ours >= 0.9, ours >= 0.5), told


def _by_totals(rows: Sequence[Row]) -> Answer | None:
    """Divided among layers as MAS and within them as itself, SIG holds more than by itself; in
    part: MAS loses by SIG's division among layers."""
    found = lines(rows, middle(rows))
    ours = share(found, "sig within, mas among layers", "sig")
    theirs = share(found, "mas within, sig among layers")
    told = f"SIG with MAS's totals holds {ours:.0%} of SIG, MAS with SIG's {theirs:.0%} of MAS"
    return verdict(ours > 1 and theirs < 1, theirs < 1), told


def _by_input(rows: Sequence[Row]) -> Answer | None:
    """The mean |x| alone holds at least 90 % of what SIG does, and |w| alone less; in part: more
    than |w| does."""
    found = lines(rows, middle(rows))
    x, w = (share(found, f"{one} within, sig among layers", "sig") for one in ("input", "weight"))
    told = f"mean |x| alone holds {x:.0%} of what SIG does, |w| alone {w:.0%}"
    return verdict(x >= 0.9 > w, x > w), told


def _first_layer(rows: Sequence[Row]) -> Answer | None:
    """Of MAS with one layer divided as SIG, the first loses least; in part: less than the last."""
    depth = middle(rows)
    found = lines(rows, depth)
    kept = [share(found, f"mas, layer {layer} divided as sig") for layer in range(1, depth + 1)]
    told = ", ".join(f"layer {place + 1} {part:.0%}" for place, part in enumerate(kept))
    return verdict(kept[0] == max(kept), kept[0] > kept[-1]), f"of MAS is left: {told}"


def _shallow(rows: Sequence[Row]) -> Answer | None:
    """SIG's share of MAS falls from each depth to the next; in part: from the first to the last."""
    found = {depth: share(lines(rows, depth), "sig") for depth in depths(rows)}
    if len(found) < 2:
        return None
    parts = [*found.values()]
    told = ", ".join(f"{depth} layers {part:.0%}" for depth, part in found.items())
    falls = all(after < before for before, after in pairwise(parts))
    return verdict(falls, parts[-1] < parts[0]), f"SIG's share of what MAS holds: {told}"


QUESTIONS: tuple[tuple[str, Callable[[Sequence[Row]], Answer | None]], ...] = (
    ("SIG holds tasks as well as MAS", _as_well),
    ("how SIG divides importance within a layer does not matter", _by_layers),
    ("how it divides importance among layers is what is amiss", _by_totals),
    ("within a layer it is the input's activity that counts, not the weight's size", _by_input),
    ("near the input SIG's division is nearest to MAS's", _first_layer),
    ("the fewer layers, the nearer SIG comes to MAS", _shallow),
)


_WORDS = {REPRODUCED: "yes", IN_PART: "in part", NOT_REPRODUCED: "no"}


class Told(NamedTuple):
    """A question, the answer in a word, and the numbers behind it."""

    question: str
    answer: str
    numbers: str


def answers(rows: Sequence[Row]) -> list[Told]:
    """Each question with its answer; those whose lines were not run are left out, and all where
    there was nothing to hold or neither SIG nor MAS held it."""
    found: list[Told] = []
    for depth in depths(rows):
        mine = lines(rows, depth)
        if not all(one in mine and mine[one].mean > mine["none"].mean for one in ("sig", "mas")):
            return found
    for question, judge in QUESTIONS:
        try:
            said = judge(rows)
        except KeyError:  # a line that was not run
            said = None
        if said:
            found.append(Told(question, _WORDS[said[0]], said[1]))
    return found


def _points(found: dict[str, Chosen], line: str) -> str:
    mean, error = mean_and_error([*found[line].accuracies.values()])
    return with_error(100 * mean, 100 * error)


# ---- tables and figure ---------------------------------------------------------------------------


def tell(rows: Sequence[Row]) -> list[Table]:
    """Answers, and every line at its strength."""
    said = titled("why does SIG hold tasks?", ("question", "answer", "numbers"), 3)
    for told in answers(rows):
        said.add_row(*told)
    tables = [said]
    for depth in depths(rows):
        found = lines(rows, depth)
        table = titled(f"{depth} layers", ("importance", "ACC %", "share of MAS", "lam", "seeds"))
        for name, one in found.items():
            part = f"{share(found, name):.0%}" if {"mas", "none"} <= found.keys() else ""
            lam = f"{one.lam:g}" + " (end of the grid)" * one.edge if one.lam else ""
            table.add_row(name, _points(found, name), part, lam, str(len(one.accuracies)))
        tables.append(table)
    return tables


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """A line a row: every seed a dot, the mean a bar, and what nothing and MAS hold."""
    if not select(rows, kind="line"):
        return []
    plt = pyplot()
    found = lines(rows, middle(rows))
    seeds = len(next(iter(found.values())).accuracies)
    figure, ax = plt.subplots(figsize=(9, 0.8 + 0.3 * len(found)), layout="constrained")
    for place, one in enumerate(found.values()):
        values = 100 * np.array([*one.accuracies.values()])
        ax.plot(values, [place] * len(values), "o", ms=4, color=COLOURS[0], alpha=0.6, mew=0)
        ax.plot([values.mean()] * 2, [place - 0.3, place + 0.3], color=COLOURS[1], lw=2)
    for name in {"none", "mas"} & found.keys():
        ax.axvline(100 * found[name].mean, color=GRID, lw=1.5, zorder=0)
    ax.set_yticks(range(len(found)), list(found), fontsize=9)
    ax.set(ylim=(len(found) - 0.5, -0.5), xlabel="test accuracy after the last task, %")
    ax.set_title(f"Importances taken apart: {seeds} seeds, each at its own strength", fontsize=10)
    return [close(plt, figure, folder / "lines.png")]
