"""One network of two: aligned, put side by side, one of each pair dropped, tuned.

A wish at the end of the slides of Li, Yosinski, Clune, Lipson & Hopcroft (2015). Units of two
networks are paired one to one by correlation; side by side they are a network whose outputs are
the mean of both. Of each pair above r the second's unit goes, and the first's stands for it by the
best line through their values (`surgery.fold`). Against it, at as many parameters: an ensemble of
two smaller networks, two networks of the merged one's size averaged after alignment, one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ....kernels.errors import SettingError
from ....methods import Ensemble
from ....methods.matching import permute
from ....methods.surgery import cut, fold, hidden_rows, join, resized, width_for
from ....nnlite import Network
from ...runs.axes import look, percent_axis, put_names
from ...runs.tables import known_mean, titled
from ...show.style import close, pyplot
from ..lab import left_by
from ..rows import grouped, means, select
from ..study import Part, Row, Study, Work
from .pair import (
    NUMBERS,
    Paired,
    PairLab,
    PairSettings,
    apart,
    check_pair,
    in_millions,
    of_kind,
    said,
    train,
)  # fmt: skip

PEERS = ("ensemble", "averaged", "one of its size")


@dataclass(frozen=True)
class Settings(PairSettings):
    """r: correlations above which one of a pair goes; peers: that of them whose size others get."""

    r: tuple[float, ...] = (0.5, 0.7, 0.9)
    peers: float = 0.7


def merged(pair: Sequence[Network], paired: Sequence[Paired], r: float) -> Network:
    """Both networks as one, without the second's unit of each pair that is correlated above r."""
    both = join(*pair)
    rows = {row.made: row for row in hidden_rows(both)}
    kept = {}
    for one in paired:
        units = one.row.units
        strong = np.flatnonzero(one.matching.score > r)
        partner = one.matching.partner[strong]
        std, mean = one.of.std, one.of.mean
        slope = one.matching.score[strong] * std[units + partner] / std[strong]
        offset = mean[units + partner] - slope * mean[strong]
        fold(both, rows[one.row.made], units + partner, strong, slope, offset)
        kept[one.row.made] = np.setdiff1d(np.arange(2 * units), units + partner)
    return cut(both, kept)


def averaged(pair: Sequence[Network], paired: Sequence[Paired]) -> Network:
    """The mean of the first network and the second in its order: weights and statistics."""
    first, second = pair
    aligned = permute(second, {one.row.made: one.matching.partner for one in paired})
    middle = first.like()
    middle.theta[...] = (first.theta + aligned.theta) / 2
    for name in middle.state:
        middle.state[name] = (first.state[name] + aligned.state[name]) / 2
    return middle


def _row(lab: PairLab, kind: str, net: Network, r: float | None = None) -> Row:
    """Accuracies of a network as it is and tuned (in place)."""
    about = {"ask": "merge", "kind": kind, "r": r, "parameters": net.num_parameters,
             "units": [row.units for row in hidden_rows(net)]}  # fmt: skip
    return {**about, "accuracy": lab.accuracy(net), "tuned": lab.accuracy(lab.tune(net))}


def merge(work: Work) -> Iterator[Row]:
    """The two networks one by one, joined, averaged, and merged at each r."""
    lab, made = PairLab(work), work.settings
    pair = lab.pair()
    paired = lab.paired(pair)
    for one in paired:
        yield {"ask": "pairs", "layer": one.name, "units": one.row.units,
               "score": np.sort(one.matching.score)[::-1].tolist()}  # fmt: skip
    work.advance(1, 3 + len(made.r), "as they are")
    yield _row(lab, "one of the two", pair[0].like())
    yield _row(lab, "joined", join(*pair))
    yield _row(lab, "averaged, small", averaged(pair, paired))
    for done, r in enumerate(made.r):
        work.advance(3 + done, 3 + len(made.r), f"merged at {r:g}")
        net = merged(pair, paired, r)
        if r == made.peers:
            net.save(lab.file("merged"))
        yield _row(lab, "merged", net, r)


def peers(work: Work) -> Iterator[Row]:
    """As many parameters by other means, each network trained as long as those that were merged."""
    lab, made = PairLab(work), work.settings
    size = Network.load(left_by("merge", lab.file("merged")), work.backend)
    units = {row.made: row.units for row in hidden_rows(size)}
    half = width_for(size, size.num_parameters // 2)
    wide: list[Network] = []
    narrow: list[Network] = []
    for number in range(2):
        for done, (nets, sizes) in enumerate(((wide, units), (narrow, half))):
            work.advance(2 * number + done, 5)
            seed = 1000 * work.seed + 10 + number
            net = resized(lab.fresh(10 + number), sizes)
            nets.append(lab.learn(net, made.steps, seed))
    ensemble = [net.like() for net in narrow]
    before = Ensemble(ensemble).accuracy(*lab.test)
    tuned = Ensemble([lab.tune(net) for net in ensemble]).accuracy(*lab.test)
    yield {"ask": "merge", "kind": "ensemble", "r": None, "units": [*half.values()],
           "parameters": sum(net.num_parameters for net in ensemble), "accuracy": before,
           "tuned": tuned}  # fmt: skip
    yield _row(lab, "averaged", averaged(wide, lab.paired(wide)))
    yield _row(lab, "one of its size", wide[0])


# ---- what came out -------------------------------------------------------------------------------


def questions(rows: Sequence[Row], r: float) -> list[tuple[str, str, str]]:
    """(question, verdict, numbers) of the networks merged at r."""
    made = select(rows, ask="merge")
    ours = of_kind(made, kind="merged", r=r)
    held = [(f"merged at {r:g} is better than {name}, as many parameters", name) for name in PEERS]
    held += [(f"merged at {r:g} is better than one of the two", "one of the two"),
             (f"merged at {r:g} is better than both joined", "joined")]  # fmt: skip
    return [
        (f"{told}, {when}", *said(apart(ours, of_kind(made, kind=kind), value)))
        for told, kind in held
        for value, when in (("accuracy", "as it is"), ("tuned", "after tuning"))
    ]


def _size(rows: Sequence[Row]) -> float:
    """The r that the peers have the size of: the merged networks nearest to one of them."""
    made = select(rows, ask="merge")
    wide = of_kind(made, kind="one of its size")[0]
    mine = select(made, kind="merged", seed=wide["seed"])
    return float(min(mine, key=lambda one: abs(one["parameters"] - wide["parameters"]))["r"])


def tell(rows: Sequence[Row]) -> list[Table]:
    """Accuracies and sizes, and the questions with their verdicts."""
    table = titled("questions", ("question", "verdict", "here"), left=3)
    for line in questions(rows, _size(rows)):
        table.add_row(*line)
    made = [{**row, "network": _named(row)} for row in in_millions(select(rows, ask="merge"))]
    return [means("one network of two", made, ("network",), NUMBERS), table]


def _named(row: Row) -> str:
    return f"merged r>{row['r']:g}" if row["kind"] == "merged" else str(row["kind"])


def draw(rows: Sequence[Row], folder: Path) -> Sequence[Path]:
    """Accuracy by size, and how many pairs there are above each r."""
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6))
    _by_size(left, [{**row, "network": _named(row)} for row in select(rows, ask="merge")])
    for rank, (layer, found) in enumerate(grouped(select(rows, ask="pairs"), "layer").items()):
        scores = np.mean([row["score"] for row in found], axis=0)
        share = 100 * (np.arange(len(scores)) + 0.5) / len(scores)
        looks = look(rank)
        right.plot(share, scores, **looks, ms=4.5, markevery=max(1, len(scores) // 8),
                   label=f"{layer}, {found[0]['units']} units")  # fmt: skip
    right.set(xlabel="units, best paired first, %", ylabel="correlation with the partner")
    right.set_title("Who has a partner")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
    return [close(plt, figure, folder / "merged.png")]


def _by_size(axes: Any, made: Sequence[Row]) -> None:
    """A point a network, tuned, with its standard error over seeds; hollow: before tuning."""
    names: list[str] = []
    xs: list[float] = []
    ys: list[float] = []
    for rank, (name, mine) in enumerate(grouped(made, "network").items()):
        looks = look(rank)
        size = float(np.mean([row["parameters"] for row in mine])) / 1e6
        mean, error, _ = known_mean([row["tuned"] for row in mine])
        shown = {"color": looks["color"], "marker": looks["marker"], "ms": 7}
        axes.errorbar(size, mean, None if np.isnan(error) else error, capsize=2, **shown)
        names, xs, ys = [*names, name], [*xs, size], [*ys, mean]
    percent_axis(axes.yaxis)
    axes.set(xlabel="million parameters", ylabel="test accuracy, tuned")
    axes.set_title("What the parameters are worth")
    put_names(axes, names, xs, ys)


def parts(settings: Settings) -> Sequence[Part]:
    """The networks, what is made of them, and the peers.

    Raises SettingError for numbers that lead nowhere.
    """
    check_pair(settings)
    if settings.peers not in settings.r or not all(0 <= r <= 1 for r in settings.r):
        raise SettingError(
            f"r={','.join(map(str, settings.r))}, peers={settings.peers}: correlations in 0..1, "
            "the peers' among them"
        )
    return Part("networks", train), Part("merge", merge), Part("peers", peers)


STUDY = Study(
    name="merge-two",
    summary="one network of two, against an ensemble and averaged weights of as many parameters",
    settings=Settings(),
    parts=parts,
    draw=draw,
    tell=tell,
    notes=(
        "tuned: after `tune` more steps on the training images, the same batches for all. Networks "
        "of the ensemble and of the average are trained for as many steps as the two that are "
        "merged. A verdict: more than two standard errors from 0, each seed with itself.",
    ),
)
