"""Cheung, Terekhov, Chen, Agrawal & Olshausen (NeurIPS 2019): superposition of many models."""

from __future__ import annotations

import math

import numpy as np

from ...studies.claims import Answer
from ..kept import Kept, percent
from ..published import Judge, Published, verdict

_INPUTS = (784, 256, 256)  # of the layers of 784-256-256-10, M of Table 1
_APART = 0.2  # accuracy by which contexts keep far more than plain training
_LAW = 0.1  # of an exponent
_ALIKE = 0.15  # relative, of two kinds whose noise is one
_PAPERS = {"naive": 0.618, "superposition": 0.976}  # averages over the last ten of fifty tasks
_NEAR = 0.02  # of the paper's accuracy
_SWING = 0.3  # of accuracy in one turn: a network that swings
_TURN, _EVERY = 1000, 100  # steps of a turn, and between tests


# ---- what is kept, noise -------------------------------------------------------------------------


def _memory(kept: Kept) -> Answer:
    """Ten tasks: M a task of each layer, M^2 for rotations, one for powers and M once."""
    plain, square = sum(_INPUTS), sum(size * size for size in _INPUTS)
    wanted = {"binary": 10 * plain, "complex": 10 * plain, "rotation": 10 * square,
              "onepower": 10 * len(_INPUTS) + plain}  # fmt: skip
    found = {kind: kept.mean("kept_bytes", label=_label(kind)).mean / 4 for kind in wanted}
    told = ", ".join(f"{kind} {count:,.0f}" for kind, count in found.items())
    return verdict(found == wanted), f"numbers for ten tasks: {told}"


def _label(kind: str) -> str:
    return f"superposition kind={kind}"


def _weights(kept: Kept) -> Answer:
    worst = max(
        abs(row["weights"] / math.sqrt(row["models"] - 1) - 1) for row in kept.select(ask="noise")
    )
    count = len(kept.select(ask="noise"))
    return verdict(worst < _LAW), f"within {100 * worst:.1f} % of sqrt(K - 1) in {count} rows"


def _by_inputs(kept: Kept) -> Answer:
    """The exponent of the noise of aligned outputs in M, eight models."""
    found = {}
    for kind in ("binary", "complex", "onepower", "rotation"):
        rows = kept.select(ask="noise", kind=kind, models=8)
        x, y = (np.log([row[key] for row in rows]) for key in ("width", "aligned"))
        found[kind] = float(np.polyfit(x, y, 1)[0])
    told = ", ".join(f"{kind} {slope:.2f}" for kind, slope in found.items())
    return verdict(all(abs(slope + 0.5) < _LAW for slope in found.values())), f"exponents: {told}"


def _powers_noise(kept: Kept) -> Answer:
    ours, theirs = (
        kept.mean("aligned", ask="noise", kind=kind, models=8, width=1024).mean
        for kind in ("onepower", "complex")
    )
    told = f"noise / signal of outputs, eight models, M = 1,024: {ours:.3f} and {theirs:.3f}"
    return verdict(abs(ours / theirs - 1) < _ALIKE), told


# ---- permuted MNIST ------------------------------------------------------------------------------


def _end(kept: Kept, label: str, tasks: slice) -> float:
    """Mean accuracy after the last task on some of them."""
    matrices = [np.array(row["accuracy_matrix"], float) for row in kept.select(label=label)]
    return float(np.mean([matrix[-1, tasks] for matrix in matrices]))


def _forgets(kept: Kept) -> Answer:
    """Binary contexts beside none."""
    lines = ("superposition", "naive")
    ours, plain = (kept.mean("acc", label=label) for label in lines)
    first = [_end(kept, label, slice(0, 1)) for label in lines]
    told = (
        f"{percent(ours)} % on average, standard {percent(plain)}; on the first task "
        f"{100 * first[0]:.1f} and {100 * first[1]:.1f}"
    )
    return verdict(ours.mean > plain.mean + _APART), told


def _last_ten(kept: Kept) -> Answer:
    """The last ten tasks after all of them, binary contexts beside none, and the paper's."""
    ours = {label: _end(kept, label, slice(-10, None)) for label in _PAPERS}
    near = all(abs(ours[label] - theirs) < _NEAR for label, theirs in _PAPERS.items())
    told = (
        f"128 units: standard {100 * ours['naive']:.1f}, binary {100 * ours['superposition']:.1f}"
    )
    return verdict(near, ours["superposition"] > ours["naive"] + _APART / 2), told


def _width(kept: Kept) -> Answer:
    """After the last task, by width."""
    rows = kept.select(ask="capacity", kind="binary", reset=True)
    last = max(row["tasks"] for row in rows)
    widths = sorted({row["width"] for row in rows})
    found = {}
    for kind in ("binary", "naive"):
        wanted = {"ask": "capacity", "kind": kind, "reset": True, "tasks": last}
        found[kind] = [kept.mean("accuracy", width=width, **wanted).mean for width in widths]
    told = ", ".join(
        f"{width} units {100 * ours:.1f} (standard {100 * plain:.1f})"
        for width, ours, plain in zip(widths, found["binary"], found["naive"], strict=True)
    )
    return verdict(bool((np.diff(found["binary"]) > 0).all())), f"{last} tasks: {told}"


# ---- inputs that turn ----------------------------------------------------------------------------


def _last_turn(kept: Kept, label: str) -> list[float]:
    """Accuracies on upright images at the tests of the last turn."""
    (row,) = kept.select(label=label)
    return [accuracy for _, accuracy in row["tests"]][-_TURN // _EVERY :]


def _turning(kept: Kept, labels: tuple[str, ...]) -> tuple[dict[str, float], dict[str, float], str]:
    """The mean and the swing of some lines in the last turn, and both in words."""
    turns = {label: _last_turn(kept, label) for label in labels}
    mean = {label: float(np.mean(turn)) for label, turn in turns.items()}
    swing = {label: max(turn) - min(turn) for label, turn in turns.items()}
    count = kept.select(label=labels[0])[0]["steps"] // _TURN
    told = ", ".join(
        f"{label} {100 * mean[label]:.1f} ({100 * min(turn):.1f} to {100 * max(turn):.1f})"
        for label, turn in turns.items()
    )
    return mean, swing, f"upright % in turn {count}, mean (lowest to highest): {told}"


def steady(kept: Kept) -> Answer:
    """Upright accuracy swings in a turn without contexts, and not with them."""
    mean, swing, told = _turning(kept, ("standard", "psp binary", "psp complex"))
    holds = [swing["standard"] > _SWING > swing[label] and mean[label] > mean["standard"]
             for label in ("psp binary", "psp complex")]  # fmt: skip
    return verdict(all(holds), any(holds)), told


def mixed(kept: Kept) -> Answer:
    """Local Mix above Fast, in the mean of the last turn."""
    mean, _, told = _turning(kept, ("psp Local Mix", "psp Fast"))
    return verdict(mean["psp Local Mix"] > mean["psp Fast"]), told


def fast_mixed(kept: Kept) -> Answer:
    """Fast Local Mix above Fast and above no contexts, without their swing."""
    labels = ("psp Fast Local Mix", "psp Fast", "standard")
    mean, swing, told = _turning(kept, labels)
    fast, plain, standard = labels
    return verdict(mean[fast] > max(mean[plain], mean[standard]) and swing[fast] < _SWING), told


# ---- the claims ----------------------------------------------------------------------------------

_PUBLISHED = (
    "`weightspace run psp-permuted-mnist --set data=mnist --set stream.num_tasks=50 --set "
    "stream.normalise=mnist --set optimizer=rmsprop --set lr=1e-4 --set eval_every=0 "
    "--set hidden=2048,2048`"
)


def _turns(claim: str, judge: Judge) -> Published:
    """A claim about inputs that turn."""
    claim = claim[0].upper() + claim[1:]
    return Published(
        "Figs. 4b, 5", claim, results="psp-turning", judge=judge,
        never="`weightspace run psp-rotating-fashion --set steps=5000`, 0.1 hours on one core; 50 "
        "turns as published `--set steps=50000 --set optimizer=rmsprop --set lr=1e-4`, 0.5",
    )  # fmt: skip


CLAIMS = (
    Published(
        "Table 1", "A task more keeps M numbers of a layer with M inputs under binary and complex "
        "contexts, M² under rotations, one under powers", results="psp-memory", judge=_memory,
    ),
    Published(
        "analysis", "A model retrieved from K has noise of sqrt(K - 1) in its weights, whatever "
        "the contexts", results="psp-noise", judge=_weights,
    ),
    Published(
        "analysis", "The noise of a unit's output falls as 1 / sqrt(M)", "exponent -0.5",
        results="psp-noise", judge=_by_inputs,
    ),
    Published(
        "analysis", "Powers of one context disturb no more than contexts drawn apart",
        results="psp-noise", judge=_powers_noise,
    ),
    Published(
        "Fig. 2", "At 128 units the superposed network keeps fifty permuted tasks far better than "
        "the standard one", results="psp-fifty-128", judge=_forgets,
    ),
    Published(
        "Fig. 2", "The wider the network, the less is forgotten", results="psp-width",
        judge=_width,
    ),
    _turns("a standard network's accuracy on upright images swings as inputs turn, a superposed "
           "one's does not", steady),
    _turns("Local Mix is better than a context at every step", mixed),
    _turns("Fast Local Mix works", fast_mixed),
    Published(
        "permuting MNIST", "Averages over the last ten of fifty tasks",
        "standard 61.8, binary 97.6, complex 97.4, one power 97.2 % (of which width is not said)",
        results="psp-fifty-128", judge=_last_ten,
    ),
    Published(
        "Fig. 2", "At 2,048 units the first task is virtually unchanged after forty-nine more",
        never=f"{_PUBLISHED}, all kinds about 15 hours on one core, binary 1",
    ),
    Published(
        "Fig. 6b", "iCIFAR, ResNet-18: CIFAR-10 is virtually unaffected by four groups of "
        "CIFAR-100's classes",
        never="`weightspace run psp-icifar` with all of CIFAR-100: 200,000 steps of 3.0 seconds on "
        "one core, 167 hours; a GPU's work",
    ),
)  # fmt: skip
