"""The tables of convergent learning, its claims among them: on the terminal, the page, as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from rich.table import Table

from ...runs.tables import titled
from ...show.labels import number as digits
from ..claims import Answer, Claim, Judge, claims_table, judged, verdict
from ..rows import as_csv, average, grouped, select
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
PAIRED = 2 / 3  # of the leaf pairs have a unit of each network
_SHORT = {"spectral": "SC", "hierarchical": "HAC"}
Told = tuple[str, bool]  # of a layer: its numbers, and whether the claim holds in it
_KEPT = ("itself", "identity", "matched")
_MATCHED = ("trained", "shuffled", "untrained")
_CLUSTERED = ("mixed", "balance", "several", "told", "by_one", "by_others")


def layers(rows: Sequence[Row]) -> list[str]:
    """The names of the layers, first to last."""
    return list(grouped(select(rows, ask="match"), "layer"))


def alphas(rows: Sequence[Row]) -> list[float]:
    """The strengths of the sparse maps, in rising order."""
    return sorted(grouped(select(rows, ask="map"), "alpha"))


def kept(rows: Iterable[Row], layer: int, key: str) -> float:
    """The mean over rows of the second part of what a layer, by number, kept."""
    return float(average(rows, lambda row: row["layers"][layer][key]))


def methods(rows: Sequence[Row]) -> list[str]:
    """The methods of the second part."""
    return list(grouped(select(rows, ask="keep"), "method"))


def published(layer: str) -> dict[float, float]:
    """The authors' losses by our alpha: their L1 times the layer's units.

    Their loss is a mean over units (0.5 is predicting the mean), their L1 counts the weights of all
    units; for one unit that is so many times stronger.
    """
    return {UNITS[layer] * l1: loss for l1, loss in PUBLISHED.get(layer, {}).items()}


# ---- claims --------------------------------------------------------------------------------------


def _convs(rows: Sequence[Row]) -> list[str]:
    return [name for name in layers(rows) if name.startswith("conv")]


def _shallow(rows: Sequence[Row]) -> list[str]:
    return [name for name in ("conv1", "conv2") if name in layers(rows)]


def _deep(rows: Sequence[Row]) -> list[str]:
    return _convs(rows)[2:]


def _matches(rows: Sequence[Row], layer: str) -> list[list[Row]]:
    """A layer's rows of trained networks, then of both nulls."""
    return [select(rows, ask="match", kind=kind, layer=layer) for kind in _MATCHED]


def _partly(rows: Sequence[Row], layer: str) -> Told:
    mine, *nulls = _matches(rows, layer)
    shuffled, untrained = (average(null, "bipartite_mean") for null in nulls)
    mean = average(mine, "bipartite_mean")
    best = average(mine, lambda row: row["bipartite"][0])
    worst = average(mine, lambda row: row["bipartite"][-1])
    return (
        f"best {best:.2f}, mean {mean:.2f}, worst {worst:.2f}; shuffled {shuffled:.2f}, untrained "
        f"{untrained:.2f}",
        best > STRONG > WEAK > worst and mean > max(shuffled, untrained),
    )


def _one_to_one(rows: Sequence[Row], layer: str) -> Told:
    mine = _matches(rows, layer)[0]
    semi, one = average(mine, "semi_mean"), average(mine, "bipartite_mean")
    return f"{semi:.3f} and {one:.3f}", one < semi


def _by_depth(rows: Sequence[Row]) -> Answer | None:
    """One to one, by convolutions, of which the paper's lowest is the fourth."""
    found = {}
    for kind in ("trained", "untrained"):
        found[kind] = {
            layer: float(
                average(select(rows, ask="match", kind=kind, layer=layer), "bipartite_mean")
            )
            for layer in _convs(rows)
        }
    means = found["trained"]
    if "conv4" not in means:
        return None
    highest = max(means, key=means.__getitem__) == "conv1"
    lowest = min(means, key=means.__getitem__) == "conv4"
    told = (
        f"{layer} {mean:.2f} (untrained {found['untrained'][layer]:.2f})"
        for layer, mean in means.items()
    )
    return verdict(highest and lowest, highest or lowest), ", ".join(told)


def across(rows: Sequence[Row], layer: str, kind: str) -> float:
    """The share of leaf pairs with a unit of each network, mean over pairs of networks."""
    found = select(rows, ask="leaves", kind=kind, layer=layer)
    return float(average(found, lambda row: row["across"] / row["pairs"]))


def _leaves(rows: Sequence[Row]) -> Answer | None:
    found = []
    for layer in _convs(rows):
        chance = float(average(select(rows, ask="leaves", layer=layer), "chance"))
        found.append(
            (layer, across(rows, layer, "trained"), across(rows, layer, "untrained"), chance)
        )
    if not found or not np.isfinite(found[0][1]):
        return None
    told = (
        f"{layer} {100 * share:.0f} % (untrained {100 * null:.0f}, by chance {100 * chance:.0f})"
        for layer, share, null, chance in found
    )
    most = all(share >= PAIRED for _, share, _, _ in found)
    more = all(share > max(null, chance) for _, share, null, chance in found)
    return verdict(most and more, more), ", ".join(told)


def _least_loss(rows: Sequence[Row], layer: str) -> float:
    """Of the weakest L1."""
    found = select(rows, ask="map", layer=layer, alpha=min(alphas(rows)))
    return float(average(found, "loss"))


def _sparse(rows: Sequence[Row], layer: str) -> Told:
    least = _least_loss(rows, layer)
    found = grouped(select(rows, ask="map", layer=layer), "alpha").values()
    units = next(iter(found))[0]["units"]
    means = [(average(maps, "loss"), average(maps, "nonzero")) for maps in found]
    few = [(loss, count) for loss, count in means if count <= FEW * units]
    loss, count = min(few, default=(0.5, 0.0))
    return (
        f"loss {loss:.3f} by {count:.1f} of {units}, {least:.3f} by all",
        least < POOR and 0.5 - loss >= MOST * (0.5 - least),
    )


def _dense(rows: Sequence[Row], layer: str) -> Told:
    least = _least_loss(rows, layer)
    return f"{least:.3f} without L1", least >= POOR


def _groups(rows: Sequence[Row], layer: str) -> Told | None:
    mine = select(rows, ask="cluster", kind="spectral", layer=layer)
    whole, one, other = (average(mine, key) for key in ("told", "by_one", "by_others"))
    if not np.isfinite(whole):
        return None
    told = f"R2 {whole:.2f} by its group, {one:.2f} by one, {other:.2f} null"
    return told, whole > max(one, other) + MORE


def _information(rows: Sequence[Row], layer: str) -> Told:
    mine = select(rows, ask="information", layer=layer)
    best = average(_matches(rows, layer)[0], "semi_mean")
    same, chosen, unsigned = (average(mine, f"semi_{k}") for k in ("agree", "chosen", "unsigned"))
    return (
        f"{100 * same:.0f} % the same partner, r {chosen:.2f} of {best:.2f} (|r| {unsigned:.2f})",
        chosen >= ALIKE * best,
    )


def _in_each(judge: Callable[..., Told | None], named: Callable[..., list[str]] = _convs) -> Judge:
    """A claim holds where it does in each of the layers that the judge has numbers for."""

    def whole(rows: Sequence[Row]) -> Answer | None:
        found = [(name, *one) for name in named(rows) if (one := judge(rows, name))]
        told = "; ".join(f"{name}: {text}" for name, text, _ in found)
        return (verdict(all(holds for *_, holds in found)), told) if found else None

    return whole


def claims(rows: Sequence[Row]) -> list[Claim]:
    """The published claims, each with what was found here."""
    return judged(CLAIMS, rows, "no such layer")


CLAIMS = (
    ("some features are learnt by every network, others are not", _in_each(_partly)),
    ("one-to-one matches are weaker than each unit's own best", _in_each(_one_to_one)),
    ("matched correlations are highest in conv1 and lowest in conv4", _by_depth),
    ("sparse maps exist in conv1 and conv2", _in_each(_sparse, _shallow)),
    ("from conv3 on maps are poor even without L1", _in_each(_dense, _deep)),
    ("small groups of units span what groups of the other net span", _in_each(_groups)),
    ("the clusters at the leaves of the tree pair one unit of each net", _leaves),
    ("mutual information pairs units as correlation does", _in_each(_information)),
)


# ---- tables --------------------------------------------------------------------------------------


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"


def tell(rows: Sequence[Row]) -> Sequence[Table]:
    """All tables."""
    found = [_matching(rows), _alone(rows), _maps(rows), _beside(rows), _clusters(rows)]
    found.append(claims_table(claims(rows), ("claim", "here", "verdict")))
    return [*found, _keeping(rows)] if methods(rows) else found


def _matching(rows: Sequence[Row]) -> Table:
    shares = [100 * row["accuracy"] for row in select(rows, ask="network")]
    table = titled(
        f"mean correlation of matched units; networks of {min(shares):.1f} to {max(shares):.1f} %",
        ("layer", "units", "own best", "one to one", "shuffled", "untrained", "MI: same", "MI: r"),
    )
    for layer in layers(rows):
        mine, *nulls = _matches(rows, layer)
        told = select(rows, ask="information", layer=layer)
        table.add_row(
            layer, str(mine[0]["units"]),
            *(_number(average(mine, f"{name}_mean")) for name in ("semi", "bipartite")),
            *(_number(average(null, "bipartite_mean")) for null in nulls),
            f"{100 * average(told, 'semi_agree'):.0f} %", _number(average(told, "semi_chosen")),
        )  # fmt: skip
    return table


def _alone(rows: Sequence[Row]) -> Table:
    """Of each network alone, and what the tree of two joins first; deviations over pairs."""
    heads = ("layer", "nearest", "untrained", "leaf pairs of both", "untrained", "by chance")
    table = titled("nearest unit of its own net; leaf pairs of both nets %, ± over pairs", heads)
    for layer in layers(rows):
        cells = [layer]
        for kind in ("trained", "untrained"):
            found = select(rows, ask="within", kind=kind, layer=layer)
            cells.append(_number(average(found, "nearest_mean"), 2))
        for kind in ("trained", "untrained"):
            found = select(rows, ask="leaves", kind=kind, layer=layer)
            shares = [100 * row["across"] / row["pairs"] for row in found]
            spread = f" ± {np.std(shares, ddof=1):.0f}" if len(shares) > 1 else ""
            cells.append(f"{np.mean(shares):.0f}{spread}")
        chance = average(select(rows, ask="leaves", layer=layer), "chance")
        table.add_row(*cells, f"{100 * chance:.0f}")
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
    for layer in layers(rows):
        for kind, short in _SHORT.items():
            found = select(rows, ask="cluster", layer=layer, kind=kind)
            table.add_row(
                layer, short, f"{average(found, 'clusters'):.0f}",
                *(_number(average(found, key), 2) for key in _CLUSTERED),
            )  # fmt: skip
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


def numbers_csv(rows: Sequence[Row]) -> str:
    """What the tables hold, a value a line: part, what, layer, key, mean over pairs and seeds."""
    lines: list[tuple[str, ...]] = []
    for layer in layers(rows):
        for kind, found in zip(_MATCHED, _matches(rows, layer), strict=True):
            lines += _lines("matching", kind, layer, found, ("semi_mean", "bipartite_mean"))
        for alpha in alphas(rows):
            found = select(rows, ask="map", layer=layer, alpha=alpha)
            lines += _lines("maps", digits(alpha), layer, found, ("loss", "nonzero"))
        for kind in _SHORT:
            found = select(rows, ask="cluster", layer=layer, kind=kind)
            lines += _lines("clusters", kind, layer, found, _CLUSTERED)
        for kind in ("trained", "untrained"):
            found = select(rows, ask="within", kind=kind, layer=layer)
            lines += _lines("within", kind, layer, found, ("nearest_mean",))
            found = select(rows, ask="leaves", kind=kind, layer=layer)
            lines += _lines("leaves", kind, layer, found, ("pairs", "across", "chance"))
    after = grouped(select(rows, ask="keep"), "method", "learnt")
    for (method, learnt), found in after.items():
        what = f"{method} after {learnt}"
        lines += _lines("keeping", what, "", found, ("first",))
        for number, layer in enumerate(found[0]["layers"]):
            mine = [row["layers"][number] for row in found]
            lines += _lines("keeping", what, layer["layer"], mine, _KEPT)
    lines += [("claims", c.claim, "", c.verdict, c.here) for c in claims(rows)]
    heads = ("part", "what", "layer", "key", "value")
    return as_csv(heads, (dict(zip(heads, line, strict=True)) for line in lines))


def _lines(
    part: str, what: str, layer: str, found: Sequence[Row], keys: Sequence[str]
) -> list[tuple[str, ...]]:
    return [(part, what, layer, key, _number(average(found, key), 4)) for key in keys]
