"""Raghavan & Thomson (arXiv 2205.00334), Fig. 3 and its text: sparse networks along paths."""

from __future__ import annotations

import numpy as np

from ...studies.claims import Answer
from ...studies.fip_sparsify.lenet import PAPER as LENET_PAPER
from ...studies.fip_sparsify.tables import RANDOM, at_level
from ...studies.rows import Row, grouped, percent_of, seed_by_seed, seeds_told, select
from ..kept import Kept
from ..published import Judge, Published, verdict

LENET, RESNET = "fip-sparsify-lenet", "fip-sparsify-resnet20"
TICKETS = "fip-sparsify-lenet-tickets"
_NEAR = 0.01  # of accuracy


def _accuracies(rows: list[Row]) -> np.ndarray:
    return np.array([row["accuracy"] for row in rows])


def _of(kept: Kept, method: str, level: float) -> np.ndarray:
    """Accuracies (seeds,) of a method at a level; a ticket's is its last round no sparser."""
    return _accuracies(at_level(kept.rows, method, level))


def _reaches(level: float, least: float) -> Judge:
    """A judge: the path's mean accuracy at a level is the paper's lowest, or a point less."""

    def judge(kept: Kept) -> Answer:
        found = _of(kept, "FIP", level)
        dense = _accuracies(kept.select(method="dense"))
        text = f"{percent_of(found)} % ({seeds_told(len(found))}); dense {percent_of(dense)}"
        return verdict(found.mean() >= least - _NEAR), text

    return judge


def _random(kept: Kept) -> Answer:
    """Works: networks with as many zeros, placed at random or left of random weights, are within
    three points of chance."""
    told, near = [], []
    for method in RANDOM:
        found = _accuracies(kept.select(method=method, level=0.991))
        near.append(abs(found.mean() - 0.1) <= 0.03)
        told.append(f"{method} {100 * found.min():.1f} to {100 * found.max():.1f} %, mean "
                    f"{100 * found.mean():.1f} ({len(found)} networks)")  # fmt: skip
    return verdict(all(near), any(near)), "; ".join(told)


def _layers(kept: Kept) -> Answer:
    """Works: each layer's zeros are within two of the paper's errors; in part: the order of the
    layers is the paper's."""
    rows = at_level(kept.rows, "FIP", LENET_PAPER.layers_at)
    names = [name for name in rows[0]["layers"] if name.endswith("weight")]
    found = np.array([[row["layers"][name] for name in names] for row in rows])
    papers = np.array(LENET_PAPER.layers)
    right = (abs(found.mean(axis=0) - papers[:, 0]) <= 2 * papers[:, 1]).all()
    told = ", ".join(percent_of(column) for column in found.T)
    return verdict(right, (np.diff(found.mean(axis=0)) < 0).all()), f"{told} % zeros"


def _tickets(kept: Kept) -> Answer:
    """Works: the path is above the tickets in every seed that both have."""
    theirs = at_level(kept.rows, "lottery tickets", 0.994)
    ahead = [*seed_by_seed(at_level(kept.rows, "FIP", 0.994), theirs, "accuracy").values()]
    found = _accuracies(theirs)
    text = (f"tickets of short rounds {percent_of(found)} % ({seeds_told(len(found))}); the path "
            f"is ahead by {100 * float(np.mean(ahead)):.1f} points, without a label")  # fmt: skip
    return verdict(min(ahead) > 0, max(ahead) > 0), text


def _ways(kept: Kept) -> Answer:
    """Works: all are longer than the line between their ends, and a second component has a
    twentieth of their variance; in part: one of both."""
    rows = select(kept.rows, method="path in weights")
    straight = [row["distance"] / row["length"] for row in rows]
    shares = np.mean([row["shares"] for row in rows], axis=0)
    held = ", ".join(f"{100 * share:.0f}" for share in shares)
    text = (f"distance over length {min(straight):.2f} to {max(straight):.2f}; components 1 to 3 "
            f"hold {held} % of the variance")  # fmt: skip
    bent = (max(straight) < 0.95, shares[1] >= 0.05)
    return verdict(all(bent), any(bent)), text


def _authors(kept: Kept) -> Answer:
    """Works: their own step ends at the accuracy that the paper prints, or a point less."""
    by_steps = grouped(select(kept.rows, method="FIP, authors' step", level=0.994), "steps")
    told, means = [], []
    for steps, rows in sorted(by_steps.items()):
        found = _accuracies(rows)
        means.append(found.mean())
        left = np.mean([row["record"][-1][2] for row in rows])
        told.append(f"{steps:,} steps {percent_of(found)} % ({seeds_told(len(found))}; still "
                    f"{left:.2f} from its projection)")  # fmt: skip
    return verdict(max(means) >= 0.954 - _NEAR, max(means) >= 0.9), "; ".join(told)


def _resnet_reaches(kept: Kept) -> Answer:
    """Works: the path's mean accuracy at 93 % zeros is the paper's lowest, or a point less."""
    found, dense = _of(kept, "FIP", 0.93), _accuracies(kept.select(method="dense"))
    tuned = _of(kept, "one-shot + fine-tuning", 0.93)
    text = (f"{percent_of(found)} % ({seeds_told(len(found))}, CIFAR-10 from JPEG copies); dense "
            f"{percent_of(dense)}, one shot and fine-tuning {percent_of(tuned)}")  # fmt: skip
    return verdict(found.mean() >= 0.82 - _NEAR), text


def _resnet_random(kept: Kept) -> Answer:
    """Works: the mean of random networks is in the paper's range; in part: far below the path."""
    rows = [row for method in RANDOM for row in select(kept.rows, method=method, level=0.93)]
    found = _accuracies(rows)
    text = f"{100 * found.min():.1f} to {100 * found.max():.1f} % ({len(found)} networks)"
    return verdict(0.18 <= found.mean() <= 0.30, found.max() < 0.4), text


def _connects(name: str) -> bool:
    """Whether a parameter of ResNet-20 is the weight of one of its 20 layers: not of a norm, whose
    place in a block is odd, or is 1, nor of a shortcut."""
    place, *inner = name.removesuffix(".weight").split(".")
    if not name.endswith(".weight") or "shortcut" in inner:
        return False
    return int(inner[-1]) % 2 == 0 if inner else place != "1"


def _resnet_layers(kept: Kept) -> Answer:
    """Works: first, last and the mean of the layers between within five points of the paper's."""
    row = at_level(kept.rows, "FIP", 0.93)[0]
    first, *between, last = (row["layers"][name] for name in row["layers"] if _connects(name))
    mean = float(np.mean(between))
    right = [abs(a - b) <= 0.05 for a, b in ((first, 0.41), (mean, 0.85), (last, 0.24))]
    text = f"first {100 * first:.0f}, 2 to 19 {100 * mean:.0f}, last {100 * last:.0f} % zeros"
    return verdict(all(right), any(right)), text


_LENET = (
    "`weightspace run fip-sparsify-lenet --set data=mnist --trials 3 --data-dir DATA` on 60,000 "
    "images: 0.6 hours of one core"
)
_RESNET = (
    "`weightspace run fip-sparsify-resnet20 --set levels=0.93 --data-dir DATA` on CIFAR-10 from "
    "JPEG copies, resumable; one core takes 0.3 hours for the dense network (15 epochs), 0.1 for "
    "the path, 0.1 for fine-tuning, 0.6 for lottery tickets"
)
CLAIMS = (
    Published(
        "Fig. 3, text", "LeNet-300-100 with 99.1 % zeros stays accurate", "96.3 to 96.8 %",
        results=LENET, judge=_reaches(0.991, 0.963), never=_LENET,
    ),
    Published(
        "Fig. 3, text", "random sparse networks with 99.1 % zeros do not", "6 to 10 %",
        results=LENET, judge=_random, never=_LENET,
    ),
    Published(
        "text", "LeNet-300-100 with 99.4 % zeros", "96 ± 0.6 %",
        results=LENET, judge=_reaches(0.994, 0.954), never=_LENET,
    ),
    Published(
        "text", "FIP is above lottery tickets at 99.4 %", "96 ± 0.6 against 91 ± 3 %",
        results=TICKETS, judge=_tickets, never=_LENET,
    ),
    Published(
        "text", "zeros of each layer of the 99.1 % networks", "99.2 ± 0.2, 98.4 ± 0.3, 52 ± 4 %",
        results=LENET, judge=_layers, never=_LENET,
    ),
    Published(
        "Figs. 3D, E", "paths to sparse networks bend in weight space",
        results=LENET, judge=_ways, never=_LENET,
    ),
    Published(
        "the authors' code", "their own step leads there", "96 ± 0.6 % at 99.4 % zeros",
        results=LENET, judge=_authors, never=_LENET,
    ),
    Published(
        "Fig. 3, text", "ResNet-20 with 93 % zeros stays accurate", "82 to 84.7 %",
        results=RESNET, judge=_resnet_reaches, never=_RESNET,
    ),
    Published(
        "Fig. 3, text", "random sparse ResNet-20 with 93 % zeros do not", "18 to 30 %",
        results=RESNET, judge=_resnet_random, never=_RESNET,
    ),
    Published(
        "text", "zeros of ResNet-20's layers at 93 %",
        "first 41, mean of 2 to 19 85 (at most 99.2), last 24 %",
        results=RESNET, judge=_resnet_layers, never=_RESNET,
    ),
    Published(
        "text", "FIP equals lottery tickets from 20 to 93 % zeros, 3 points below at 95 %",
        never=f"{_RESNET}; with the six levels of the preset 2 hours a seed",
    ),
)  # fmt: skip
