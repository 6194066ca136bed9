"""May the rare filters go? Filters dropped in several orders, at equal size, tuned or as they are.

A wish at the end of the slides of Li, Yosinski, Clune, Lipson & Hopcroft (2015): what another
network does not find again may be what can be left out. A filter is rare where its partner in a
twin network, one to one, is little correlated with it. The same share of every convolution's
filters goes in each order, so all networks of a share have the same size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ....kernels.errors import SettingError, check_name
from ....methods import fip
from ....methods.importance import sig
from ....methods.surgery import HiddenRow, columns, cut
from ....nnlite import Network
from ....nnlite.init import generator
from ...runs.axes import band, below, look, percent_axis
from ...runs.tables import titled
from ...show.style import close, pyplot
from ..rows import average, grouped, means, select
from ..study import Part, Row, Study, Work
from .pair import (
    NUMBERS,
    PairLab,
    PairSettings,
    apart,
    check_pair,
    in_millions,
    of_kind,
    said,
    train,
)  # fmt: skip

ORDERS = ("rare", "common", "magnitude", "sig", "metric", "random")
AGREES = 0.3  # rank correlation of a filter's rarity with its cost: from here on it tells something
METRIC_IMAGES = 200  # of those behind the other importances: a pass a filter


@dataclass(frozen=True)
class Settings(PairSettings):
    """shares: of each convolution's filters that go. orders: which go first, of ORDERS."""

    shares: tuple[float, ...] = (0.25, 0.5, 0.75)
    orders: tuple[str, ...] = ORDERS


def _convolutions(net: Network, lab: PairLab, twin: Network) -> dict[int, tuple[str, Any]]:
    """The matched rows of filters (not of dense units), by the layer that makes them."""
    found = lab.paired([net, twin])
    return {one.row.made: (one.name, one) for one in found if one.name.startswith("conv")}


def metric_costs(net: Network, row: HiddenRow, x: np.ndarray) -> np.ndarray:
    """v' g v (units,) for v that takes each unit's outgoing weights to 0: how far outputs move."""
    metric = fip.Metric(net, x)
    theta = net.device.get(net.theta)
    costs = []
    for unit in range(row.units):
        v = np.zeros_like(theta)
        columns(net, row, v)[:, :, unit] = columns(net, row, theta)[:, :, unit]
        costs.append(metric.squared_length(net.device.put(v)))
    return np.array(costs)


def importances(net: Network, row: HiddenRow, r: np.ndarray, lab: PairLab) -> dict[str, np.ndarray]:
    """How much each filter is worth by each order, (units,): the least goes first.

    rare: its correlation with its partner, `common` the reverse; magnitude: sum of |w| of its own
    weights (Li, Kadav et al. 2017); sig: the signal that its outgoing weights carry; metric: how
    far the outputs move when those are 0; random: drawn.
    """
    own = abs(net.device.get(net.layout.view(net.theta, f"{row.made}.weight")))
    signal = net.device.get(columns(net, row, sig(net, lab.x)))
    drawn = generator(lab.work.seed, 0x9A, row.made).permutation(row.units)
    return {
        "rare": r, "common": -r, "magnitude": own.reshape(row.units, -1).sum(axis=1),
        "sig": signal.sum(axis=(0, 1)), "metric": metric_costs(net, row, lab.x[:METRIC_IMAGES]),
        "random": drawn.astype(float),
    }  # fmt: skip


def score(work: Work) -> Iterator[Row]:
    """Each filter's worth by each order."""
    lab = PairLab(work)
    net, twin = lab.pair()
    found = _convolutions(net, lab, twin)
    for done, (made, (name, one)) in enumerate(found.items()):
        work.advance(done, len(found), name)
        worth = importances(net, one.row, one.matching.score, lab)
        ranks = {order: np.argsort(np.argsort(values)) for order, values in worth.items()}
        yield {"ask": "score", "layer": name, "made": made, "units": one.row.units,
               **{order: values.tolist() for order, values in worth.items()},
               "agree": {order: float(np.corrcoef(ranks["rare"], ranks[order])[0, 1])
                         for order in ORDERS[2:]}}  # fmt: skip


def prune(work: Work) -> Iterator[Row]:
    """Every order and share: accuracy as it is then, and after tuning."""
    lab, made = PairLab(work), work.settings
    net, twin = lab.pair()
    worth = {layer: importances(net, one.row, one.matching.score, lab)
             for layer, (_, one) in _convolutions(net, lab, twin).items()}  # fmt: skip
    grid = [("none", 0.0), *((order, share) for share in made.shares for order in made.orders)]
    for done, (order, share) in enumerate(grid):
        work.advance(done, len(grid), f"{order} {share:g}")
        kept = {layer: np.sort(np.argsort(-values[order], kind="stable")[: kept_of(values, share)])
                for layer, values in worth.items()} if share else {}  # fmt: skip
        small = cut(net, kept)
        before = lab.accuracy(small)
        yield {"ask": "prune", "order": order, "share": share, "parameters": small.num_parameters,
               "accuracy": before, "tuned": lab.accuracy(lab.tune(small))}  # fmt: skip


def kept_of(worth: dict[str, np.ndarray], share: float) -> int:
    """How many filters of a row stay: at least one."""
    units = len(worth["rare"])
    return max(1, units - round(share * units))


# ---- what came out -------------------------------------------------------------------------------


def questions(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """(question, verdict, numbers): rare first against every other order, over all shares."""
    pruned = select(rows, ask="prune")
    found = []
    for other in [order for order in grouped(pruned, "order") if order not in ("none", "rare")]:
        for value, when in (("accuracy", "as it is"), ("tuned", "after tuning")):
            mine, theirs = of_kind(pruned, order="rare"), of_kind(pruned, order=other)
            verdict, told = said(apart(mine, theirs, value))
            found.append((f"rare first is better than {other} first, {when}", verdict, told))
    for layer, scored in grouped(select(rows, ask="score"), "layer").items():
        agrees = {order: average([row["agree"] for row in scored], order) for order in ORDERS[2:]}
        told = ", ".join(f"{order} {value:.2f}" for order, value in agrees.items())
        verdict = "yes" if agrees["metric"] > AGREES else "no"
        found.append((f"rare filters of {layer} matter least to the outputs", verdict,
                      f"rank correlation with {told}"))  # fmt: skip
    return found


def tell(rows: Sequence[Row]) -> list[Table]:
    """Accuracies, and the questions with their verdicts."""
    pruned = select(rows, ask="prune")
    table = titled("questions", ("question", "verdict", "here"), left=3)
    for line in questions(rows):
        table.add_row(*line)
    return [means("filters dropped", in_millions(pruned), ("share", "order"), NUMBERS), table]


def draw(rows: Sequence[Row], folder: Path) -> Sequence[Path]:
    """Accuracy by the share that went, before and after tuning; what rare filters are worth."""
    plt = pyplot()
    pruned = select(rows, ask="prune")
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    orders = [order for order in grouped(pruned, "order") if order != "none"]
    for axes, value, title in ((left, "accuracy", "As it is"), (right, "tuned", "After tuning")):
        for rank, order in enumerate(orders):
            of = [*select(pruned, order="none"), *select(pruned, order=order)]
            seeds = grouped(of, "seed").values()
            shares = sorted(grouped(of, "share"))
            lines = [[one[value] for one in sorted(mine, key=lambda row: row["share"])]
                     for mine in seeds]  # fmt: skip
            band(axes, 100 * np.array(shares), np.array(lines), look(rank), f"{order} first")
        percent_axis(axes.yaxis)
        axes.set(xlabel="filters of each convolution that went, %", ylabel="test accuracy")
        axes.set_title(title)
    below(left, 3)
    return [close(plt, figure, folder / "pruned.png"), _worth(plt, rows, folder / "rare.png")]


def _worth(plt: Any, rows: Sequence[Row], path: Path) -> Path:
    """A filter's correlation with its partner against what leaving it out moves, all seeds."""
    scored = grouped(select(rows, ask="score"), "layer")
    figure, panels = plt.subplots(1, len(scored), figsize=(5.2 * len(scored), 4), squeeze=False)
    for axes, (layer, mine) in zip(panels[0], scored.items(), strict=True):
        for rank, row in enumerate(mine):
            looks = look(rank)
            axes.plot(row["rare"], row["metric"], lw=0, ms=5, color=looks["color"], alpha=0.8,
                      marker=looks["marker"], label=f"seed {row['seed']}")  # fmt: skip
        axes.set_yscale("log")
        axes.set(xlabel="correlation with its partner in the twin", title=layer)
    panels[0][0].set_ylabel("metric cost of leaving it out")
    below(panels[0][0], 3)
    return close(plt, figure, path)


def parts(settings: Settings) -> Sequence[Part]:
    """The networks, the filters' worth, and every order and share.

    Raises SettingError for numbers that lead nowhere, UnknownNameError for an order that is none.
    """
    check_pair(settings)
    for order in settings.orders:
        check_name("order of filters", order, ORDERS)
    if "rare" not in settings.orders or len(settings.orders) < 2:
        raise SettingError(f"orders={','.join(settings.orders)}: rare, and one to hold it against")
    if not settings.shares or not all(0 < share < 1 for share in settings.shares):
        raise SettingError("shares of filters that go lie above 0 and below 1")
    return Part("networks", train), Part("scores", score), Part("prune", prune)


STUDY = Study(
    name="prune-rare",
    summary="may filters go that a twin network lacks? against magnitude, SIG and metric cost",
    settings=Settings(),
    parts=parts,
    draw=draw,
    tell=tell,
    notes=(
        "The same share of every convolution's filters goes, so networks of a share have one size. "
        "A verdict holds one order against another over all shares, each seed with itself: more "
        "than two standard errors from 0.",
    ),
)
