"""Raghavan & Thomson (arXiv 2205.00334), Fig. 4 and its text: ensembles against adversaries.

The paper does not say where a path goes that has no second objective; here are three, and its
claims are put to the two that bend (`BENT`). A number is a mean over seeds, a comparison holds
where it holds in every seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...studies.claims import Answer
from ...studies.fip_ensemble.tables import LABELS, ends, paths, stated, straightness
from ...studies.rows import Row, average, grouped, percent_of, select
from ..kept import Kept
from ..published import Judge, Published, verdict

RESULTS = "fip-ensemble"
_NEVER = (
    "`weightspace run fip-ensemble` with the settings of bench/results/README.md, a quarter of a "
    "core-hour a seed"
)
BENT = ("fip-afresh", "fip-ball")
_KEPT = 0.05  # accuracy that a path of the same function may lose by its end
_HIT = 0.2  # and that an attack takes at least
_LEFT = 0.05  # of a mean cosine, to be less coherent
_TRANSFER = {"separate": "a separate surrogate's images", "start": "images made for the start"}


def _by_seed(rows: Sequence[Row], number: str) -> np.ndarray:
    """A number's mean over each seed's rows, (seeds,)."""
    return np.array([average(mine, number) for _, mine in sorted(grouped(rows, "seed").items())])


def _accuracy(kept: Kept, kind: str, alone: bool, **asked: object) -> np.ndarray:
    """Of members' mean (alone) or the ensemble, seed by seed, at the stated radius."""
    rows = select(kept.rows, kind=kind, **asked)
    return _by_seed([row for row in rows if (row["member"] is not None) == alone], "accuracy")


def _shown(kept: Kept, kind: str, alone: bool, surrogate: str) -> np.ndarray:
    epsilon = stated(kept.rows)
    return _accuracy(kept, kind, alone, ask="transfer", surrogate=surrogate, epsilon=epsilon)


def _above(other: str, alone: bool) -> Judge:
    """Paths above another kind under a transferred attack, from both surrogates."""

    def judge(kept: Kept) -> Answer:
        ahead, told = {}, []
        for surrogate, name in _TRANSFER.items():
            theirs = _shown(kept, other, alone, surrogate)
            mine = {kind: _shown(kept, kind, alone, surrogate) for kind in paths(kept.rows)}
            ahead[surrogate] = [bool((mine[kind] > theirs).all()) for kind in BENT]
            listed = ", ".join(f"{LABELS[kind]} {percent_of(one)}" for kind, one in mine.items())
            told.append(f"{name}: {listed}; {LABELS[other]} {percent_of(theirs)}")
        every = [one for row in ahead.values() for one in row]
        return verdict(all(every), any(every)), ". ".join(told) + " %"

    return judge


def _same_function(kept: Kept) -> Answer:
    """Unattacked, the last member of a path against the start."""
    start = _by_seed(kept.select(ask="clean", kind="start"), "accuracy")
    last = {kind: _by_seed(ends(kept.rows, kind), "accuracy") for kind in paths(kept.rows)}
    lost = [float((start - last[kind]).mean()) for kind in BENT]
    told = ", ".join(f"{LABELS[kind]} {percent_of(found)}" for kind, found in last.items())
    return verdict(max(lost) < _KEPT), f"start {percent_of(start)}, last members: {told} %"


def _bend(kept: Kept) -> Answer:
    """Fig. 4C draws a curve: distance over length."""
    found = {kind: float(average(ends(kept.rows, kind), straightness)) for kind in paths(kept.rows)}
    turned = {kind: float(average(ends(kept.rows, kind), "turned")) for kind in found}
    told = ", ".join(
        f"{LABELS[kind]} {value:.2f} (length in outputs {turned[kind]:.2f})"
        for kind, value in found.items()
    )
    return verdict(all(found[kind] < 0.9 for kind in BENT)), f"distance over length: {told}"


def _fooled(kept: Kept) -> Answer:
    """Fig. 4B: what the attacked network has left of its own images."""
    told, fell = [], []
    for name in _TRANSFER:
        clean = _accuracy(kept, name, True, ask="clean")
        hit = _shown(kept, name, True, name)
        fell.append(bool((clean - hit > _HIT).all()))
        told.append(f"{LABELS[name]} {percent_of(clean)} to {percent_of(hit)}")
    return verdict(all(fell)), f"{'; '.join(told)} %, at {stated(kept.rows):g}/255"


def _joint(kind: str) -> Judge:
    """Whether the ensemble is above the mean of its members."""

    def judge(kept: Kept) -> Answer:
        kinds = BENT if kind == "fip" else (kind,)
        gains, told = [], []
        for one in kinds:
            mine = [_shown(kept, one, alone, "separate") for alone in (True, False)]
            gains.append(bool((mine[1] > mine[0]).all()))
            members, joint = map(percent_of, mine)
            told.append(f"{LABELS[one]}: members {members}, joint {joint}")
        wanted = [gain == (kind == "fip") for gain in gains]
        return verdict(all(wanted), any(wanted)), "; ".join(told) + " %"

    return judge


def _less_coherent(kept: Kept) -> Answer:
    """Fig. 4E: cosines with the surrogate, left of the deep ensemble's."""
    told, left = [], []
    for name in _TRANSFER:
        found = {
            kind: _by_seed(kept.select(ask="coherence", kind=kind, against=name), "mean")
            for kind in (*paths(kept.rows), "deep")
        }
        if name == "separate":
            left = [bool((found[kind] < found["deep"] - _LEFT).all()) for kind in BENT]
        listed = ", ".join(f"{LABELS[kind]} {one.mean():.3f}" for kind, one in found.items())
        told.append(f"with {LABELS[name]}: {listed}")
    return verdict(all(left), any(left)), "; ".join(told)


def _diverse(kept: Kept) -> Answer:
    """Fig. 4F: the median input's diversity, layer by layer, over the deep ensemble's."""
    told, shares = [], []
    for kind in BENT:
        ours, deep = (_medians(kept, one) for one in (kind, "deep"))
        above = sum(ours[layer] > deep[layer] for layer in ours)
        shares.append(above / len(ours))
        most = max(ours[layer] / deep[layer] for layer in ours)
        told.append(f"{LABELS[kind]}: above in {above} of {len(ours)} layers, up to {most:.1f} x")
    return verdict(min(shares) == 1, min(shares) > 0.5), "; ".join(told)


def _medians(kept: Kept, kind: str) -> dict[int, float]:
    """Layer to the median diversity over inputs, of layers that are no mere passage."""
    rows = [
        row for row in kept.select(ask="diversity", kind=kind)
        if row["name"] not in ("Dropout", "Flatten")
    ]  # fmt: skip
    return {layer: float(average(mine, _median)) for layer, mine in grouped(rows, "layer").items()}


def _median(row: Row) -> float:
    return row["quantiles"][2]


def _one(where: str, claim: str, paper: str, judge: Judge) -> Published:
    return Published(where, claim, paper, results=RESULTS, judge=judge, never=_NEVER)


CLAIMS = (
    _one("Fig. 4A", "networks along the path answer as the first one does, unattacked", "",
         _same_function),
    _one("Fig. 4B", "PGD makes the trained network fail", "92 % to 37 %", _fooled),
    _one("Fig. 4C", "members of the path are above networks trained apart, on images made against "
         "a surrogate", "55.6 ± 1.1 against 38.1 ± 0.4 %", _above("deep", True)),
    _one("Fig. 4C", "so is the path's ensemble as a whole", "57.8 against 37.2 %",
         _above("deep", False)),
    _one("Fig. 4C", "answering together gains over the path's members", "57.8 against 55.6 %",
         _joint("fip")),
    _one("Fig. 4C", "and gains nothing over those trained apart", "37.2 against 38.1 %",
         _joint("deep")),
    _one("Fig. 4C", "the path is a curve in weight space", "a picture", _bend),
    _one("Fig. 4D", "the path's ensemble is above ADP's", "57.8 against 43.8 ± 7.8 %",
         _above("adp", False)),
    _one("Fig. 4D", "and above FGE's", "57.8 against 41.7 ± 0.3 %", _above("fge", False)),
    _one("Fig. 4E", "members are less coherent with the surrogate than networks trained apart",
         "a histogram, further left", _less_coherent),
    _one("Fig. 4F", "activations differ more among members, in all layers", "box plots", _diverse),
    Published(
        "Fig. 4", "all of it with VGG16 (134 M weights) on CIFAR-10 and 10,000 images",
        never="`weightspace run fip-ensemble-vgg16`, about 2,300 core-hours: an image costs 433 "
        "million multiplications forward, the CNN's 4.3 and 0.35 ms a training step on one core",
    ),
)  # fmt: skip
