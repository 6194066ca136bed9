"""The tables of convergent learning, its claims among them: on the terminal, the page, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from ...runs.tables import titled
from ...show.labels import number as digits
from ..study import Row

# the authors' validation losses, from their logs: L1 (of a sum over the layer's units) -> loss
UNITS = {"conv1": 96, "conv2": 256}
PUBLISHED = {
    "conv1": {0: 0.168, 1e-5: 0.167, 1e-4: 0.160, 1e-3: 0.169, 10**-2.8: 0.193, 10**-2.6: 0.233,
              10**-2.4: 0.302, 10**-2.2: 0.404, 1e-2: 0.492, 1e-1: 0.480},
    "conv2": {0: 0.372, 1e-5: 0.368, 1e-4: 0.336, 1e-3: 0.386, 10**-2.8: 0.449, 10**-2.6: 0.499,
              1e-2: 0.512, 1e-1: 0.511},
}  # fmt: skip
# what a claim is held against
STRONG, WEAK = 0.7, 0.5  # a feature found again, and one that is not
POOR = 0.4  # a loss that is "poor even without regularisation"
FEW, MOST = 0.25, 0.8  # a map is sparse: by so few weights, so much of what all of them explain
MORE = 0.05  # R^2 by which a group tells more
ALIKE = 0.9  # of the correlation, by partners that mutual information chose
_SHORT = {"spectral": "SC", "hierarchical": "HAC"}
VERDICTS = ("reproduced", "not reproduced", "not testable")


class Claim(NamedTuple):
    """What was published, what was measured here, and one of VERDICTS."""

    claim: str
    measured: str
    verdict: str


def select(rows: Iterable[Row], **wanted: object) -> list[Row]:
    """The rows with these values."""
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def average(rows: Iterable[Row], value: str | Callable[[Row], Any]) -> float:
    """The mean of a value over rows (seeds and pairs); NaN for none."""
    read = value if callable(value) else lambda row: row[value]
    found = [x for x in map(read, rows) if x is not None]
    return float(np.mean(found)) if found else float("nan")


def layers(rows: Sequence[Row]) -> list[str]:
    """The names of the layers, first to last."""
    return list(dict.fromkeys(row["layer"] for row in rows if row["ask"] == "match"))


def alphas(rows: Sequence[Row]) -> list[float]:
    """The strengths of the sparse maps, in rising order."""
    return sorted({row["alpha"] for row in rows if row["ask"] == "map"})


def kept(rows: Iterable[Row], layer: int, key: str) -> float:
    """The mean over rows of the second part of what a layer, by number, kept."""
    return average(rows, lambda row: row["layers"][layer][key])


def methods(rows: Sequence[Row]) -> list[str]:
    """The methods of the second part."""
    return list(dict.fromkeys(row["method"] for row in rows if row["ask"] == "keep"))


def published(layer: str) -> dict[float, float]:
    """The authors' losses by our alpha: their L1 times the layer's units.

    Their loss is a mean over units (0.5 is predicting the mean), their L1 counts the weights of all
    units; for one unit that is so many times stronger.
    """
    return {UNITS[layer] * l1: loss for l1, loss in PUBLISHED.get(layer, {}).items()}


# ---- claims --------------------------------------------------------------------------------------


def claims(rows: Sequence[Row]) -> list[Claim]:
    """The published claims, each with what was found here."""
    made = (_partly, _one_to_one, _sparse, _dense, _groups, _information)
    return [claim(rows) for claim in made]


def _judge(claim: str, measured: list[str], holds: list[bool]) -> Claim:
    if not holds:
        return Claim(claim, "; ".join(measured) or "no such layer", VERDICTS[2])
    return Claim(claim, "; ".join(measured), VERDICTS[0] if all(holds) else VERDICTS[1])


def _convs(rows: Sequence[Row]) -> list[str]:
    return [name for name in layers(rows) if name.startswith("conv")]


def _partly(rows: Sequence[Row]) -> Claim:
    told, holds = [], []
    for layer in _convs(rows):
        mine, *nulls = (
            select(rows, ask="match", kind=kind, layer=layer)
            for kind in ("trained", "shuffled", "untrained")
        )
        shuffled, untrained = (average(null, "bipartite_mean") for null in nulls)
        mean = average(mine, "bipartite_mean")
        best = average(mine, lambda row: row["bipartite"][0])
        worst = average(mine, lambda row: row["bipartite"][-1])
        told.append(
            f"{layer}: best {best:.2f}, mean {mean:.2f}, worst {worst:.2f}; shuffled "
            f"{shuffled:.2f}, untrained {untrained:.2f}"
        )
        holds.append(best > STRONG > WEAK > worst and mean > max(shuffled, untrained))
    return _judge("some features are learnt by every network, others are not", told, holds)


def _one_to_one(rows: Sequence[Row]) -> Claim:
    told, holds = [], []
    for layer in _convs(rows):
        mine = select(rows, ask="match", kind="trained", layer=layer)
        semi, one = average(mine, "semi_mean"), average(mine, "bipartite_mean")
        told.append(f"{layer}: {semi:.3f} and {one:.3f}")
        holds.append(one < semi)
    return _judge("one-to-one matches are weaker than each unit's own best", told, holds)


def _least_loss(rows: Sequence[Row], layer: str) -> float:
    """Of the weakest L1."""
    return average(select(rows, ask="map", layer=layer, alpha=min(alphas(rows))), "loss")


def _sparse(rows: Sequence[Row]) -> Claim:
    told, holds = [], []
    for layer in (name for name in ("conv1", "conv2") if name in layers(rows)):
        least = _least_loss(rows, layer)
        found = [select(rows, ask="map", layer=layer, alpha=alpha) for alpha in alphas(rows)]
        units = found[0][0]["units"]
        few = [
            (average(maps, "loss"), average(maps, "nonzero"))
            for maps in found
            if average(maps, "nonzero") <= FEW * units
        ]
        loss, count = min(few, default=(0.5, 0.0))
        told.append(f"{layer}: loss {loss:.3f} by {count:.1f} of {units}, {least:.3f} by all")
        holds.append(least < POOR and 0.5 - loss >= MOST * (0.5 - least))
    return _judge("sparse maps exist in conv1 and conv2", told, holds)


def _dense(rows: Sequence[Row]) -> Claim:
    told, holds = [], []
    for layer in _convs(rows)[2:]:
        least = _least_loss(rows, layer)
        told.append(f"{layer}: {least:.3f} without L1")
        holds.append(least >= POOR)
    return _judge("from conv3 on maps are poor even without L1", told, holds)


def _groups(rows: Sequence[Row]) -> Claim:
    told, holds = [], []
    for layer in _convs(rows):
        mine = select(rows, ask="cluster", kind="spectral", layer=layer)
        whole, one, other = (average(mine, key) for key in ("told", "by_one", "by_others"))
        if np.isfinite(whole):
            told.append(f"{layer}: R2 {whole:.2f} by its group, {one:.2f} by one, {other:.2f} null")
            holds.append(whole > max(one, other) + MORE)
    return _judge("small groups of units span what groups of the other net span", told, holds)


def _information(rows: Sequence[Row]) -> Claim:
    told, holds = [], []
    for layer in _convs(rows):
        mine = select(rows, ask="information", layer=layer)
        best = average(select(rows, ask="match", kind="trained", layer=layer), "semi_mean")
        same, chosen, unsigned = (
            average(mine, f"semi_{key}") for key in ("agree", "chosen", "unsigned")
        )
        told.append(
            f"{layer}: {100 * same:.0f} % the same partner, r {chosen:.2f} of {best:.2f} "
            f"(|r| {unsigned:.2f})"
        )
        holds.append(chosen >= ALIKE * best)
    return _judge("mutual information pairs units as correlation does", told, holds)


# ---- tables --------------------------------------------------------------------------------------


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"


def tell(rows: Sequence[Row]) -> Sequence[Table]:
    """All tables."""
    found = [_matching(rows), _maps(rows), _beside(rows), _clusters(rows), _claims(rows)]
    return [*found, _keeping(rows)] if methods(rows) else found


def _matching(rows: Sequence[Row]) -> Table:
    shares = [100 * row["accuracy"] for row in select(rows, ask="network")]
    table = titled(
        f"mean correlation of matched units; networks of {min(shares):.1f} to {max(shares):.1f} %",
        ("layer", "units", "own best", "one to one", "shuffled", "untrained", "MI: same", "MI: r"),
    )
    for layer in layers(rows):
        mine, *nulls = (
            select(rows, ask="match", layer=layer, kind=kind)
            for kind in ("trained", "shuffled", "untrained")
        )
        told = select(rows, ask="information", layer=layer)
        table.add_row(
            layer, str(mine[0]["units"]),
            *(_number(average(mine, f"{name}_mean")) for name in ("semi", "bipartite")),
            *(_number(average(null, "bipartite_mean")) for null in nulls),
            f"{100 * average(told, 'semi_agree'):.0f} %", _number(average(told, "semi_chosen")),
        )  # fmt: skip
    return table


def _maps(rows: Sequence[Row]) -> Table:
    heads = ("alpha", *layers(rows))
    table = titled("sparse maps: loss on test images (weights not zero)", heads)
    for alpha in alphas(rows):
        cells = []
        for layer in layers(rows):
            found = select(rows, ask="map", layer=layer, alpha=alpha)
            cells.append(f"{average(found, 'loss'):.3f} ({average(found, 'nonzero'):.1f})")
        table.add_row(digits(alpha), *cells)
    return table


def _beside(rows: Sequence[Row]) -> Table:
    """The authors' losses beside ours, read off our path at the same alpha."""
    named = [layer for layer in PUBLISHED if layer in layers(rows)]
    heads = [head for layer in named for head in (f"{layer}: alpha", "paper", "ours")]
    table = titled(
        "sparse maps of the paper (AlexNet, ImageNet) at alpha = L1 x units", ["L1", *heads]
    )
    strengths = alphas(rows)
    for l1 in PUBLISHED["conv1"]:
        cells = []
        for layer in named:
            ours = [
                average(select(rows, ask="map", layer=layer, alpha=strength), "loss")
                for strength in strengths
            ]
            alpha, loss = UNITS[layer] * l1, PUBLISHED[layer].get(l1, float("nan"))
            here = np.interp(alpha, strengths, ours, right=float("nan"))
            cells += [f"{alpha:.2g}", _number(loss), _number(here)]
        table.add_row(f"{l1:.2g}", *cells)
    return table


def _clusters(rows: Sequence[Row]) -> Table:
    table = titled(
        "clusters of the units of both networks; R² of a unit of net 1 by net 0's",
        ("layer", "by", "k", "mixed", "balance", "2+:2+", "its group", "best one", "others"),
    )
    keys = ("mixed", "balance", "several", "told", "by_one", "by_others")
    for layer in layers(rows):
        for kind in ("spectral", "hierarchical"):
            found = select(rows, ask="cluster", layer=layer, kind=kind)
            table.add_row(
                layer, _SHORT[kind], f"{average(found, 'clusters'):.0f}",
                *(_number(average(found, key), 2) for key in keys),
            )  # fmt: skip
    return table


def _claims(rows: Sequence[Row]) -> Table:
    table = titled("published claims", ("claim", "here", "verdict"), left=3)
    for found in claims(rows):
        table.add_row(found.claim, found.measured, found.verdict)
    return table


def _keeping(rows: Sequence[Row]) -> Table:
    """After the last task: the first task's accuracy, and each layer's units with themselves."""
    last = max(row["learnt"] for row in rows if row["ask"] == "keep")
    names = [layer["layer"] for layer in select(rows, ask="keep")[0]["layers"]]
    heads = ("method", "first task %", "all %", *names)
    title = f"after {last} tasks, on the first: correlation with itself (share matched to itself)"
    table = titled(title, heads)
    for method in methods(rows):
        mine = select(rows, ask="keep", method=method, learnt=last)
        cells = [
            f"{kept(mine, number, 'itself'):.2f} ({100 * kept(mine, number, 'identity'):.0f} %)"
            for number in range(len(names))
        ]
        all_tasks = average(mine, lambda r: np.mean(r["accuracies"]))
        table.add_row(
            method, f"{100 * average(mine, 'first'):.1f}", f"{100 * all_tasks:.1f}", *cells
        )
    return table


# ---- CSV -----------------------------------------------------------------------------------------


def as_csv(rows: Sequence[Row]) -> str:
    """What the tables hold, a value a line: part, what, layer, key, mean over pairs and seeds."""
    lines: list[tuple[str, ...]] = [("part", "what", "layer", "key", "value")]
    for layer in layers(rows):
        for kind in ("trained", "shuffled", "untrained"):
            found = select(rows, ask="match", layer=layer, kind=kind)
            for key in ("semi_mean", "bipartite_mean"):
                lines.append(("matching", kind, layer, key, _number(average(found, key), 4)))
        for alpha in alphas(rows):
            found = select(rows, ask="map", layer=layer, alpha=alpha)
            for key in ("loss", "nonzero"):
                lines.append(("maps", digits(alpha), layer, key, _number(average(found, key), 4)))
        for kind in ("spectral", "hierarchical"):
            found = select(rows, ask="cluster", layer=layer, kind=kind)
            for key in ("mixed", "balance", "several", "told", "by_one", "by_others"):
                lines.append(("clusters", kind, layer, key, _number(average(found, key), 4)))
    for method in methods(rows):
        lines += _kept_lines(rows, method)
    lines += [("claims", c.claim, "", c.verdict, c.measured) for c in claims(rows)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _kept_lines(rows: Sequence[Row], method: str) -> list[tuple[str, ...]]:
    mine = select(rows, ask="keep", method=method)
    lines: list[tuple[str, ...]] = []
    for learnt in sorted({row["learnt"] for row in mine}):
        found = select(mine, learnt=learnt)
        what = f"{method} after {learnt}"
        lines.append(("keeping", what, "", "first", _number(average(found, "first"), 4)))
        for number, layer in enumerate(found[0]["layers"]):
            for key in ("itself", "identity", "matched"):
                value = _number(kept(found, number, key), 4)
                lines.append(("keeping", what, layer["layer"], key, value))
    return lines
