"""Raghavan & Thomson (arXiv 2205.00334), Fig. 2 and its text: tasks along invariant paths."""

from __future__ import annotations

import numpy as np

from ...studies.claims import Answer
from ...studies.rows import Row, percent_of, seed_by_seed, seeds_told, select
from ..kept import Kept
from ..published import Published, verdict

TWO, GEOMETRY = "fip-two-tasks", "fip-geometry"
_NEAR = 0.03  # of accuracy: as near as settings that no paper prints can be asked to come
STEPS = {"anchor": "the authors' step", "both": "the metric's"}


def of(kept: Kept, method: str, **settings: object) -> list[Row]:
    """The rows of a method with these settings, seed by seed; none raises nothing."""
    found = [row for row in select(kept.rows, method=method) if "status" not in row]
    wanted = settings.items()
    return [row for row in found if all(row["settings"].get(key) == value for key, value in wanted)]


def strongest_ewc(kept: Kept) -> tuple[float, list[Row]]:
    """EWC's best strength, by the mean accuracy over its seeds, and its rows."""
    by_strength = {row["settings"]["lam"]: of(kept, "ewc", lam=row["settings"]["lam"])
                   for row in of(kept, "ewc")}  # fmt: skip
    best = max(by_strength, key=lambda lam: _mean([row["acc"] for row in by_strength[lam]]))
    return best, by_strength[best]


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _ends(rows: list[Row]) -> np.ndarray:
    """(seeds, 3): the first task when it was learnt, the first at the end, the second."""
    matrices = [row["accuracy_matrix"] for row in rows]
    return np.array([(matrix[0][0], *matrix[-1][:2]) for matrix in matrices])


def _keeps(kept: Kept) -> Answer:
    """Works: both tasks end within three points of the paper's; in part: one does."""
    told, right = [], []
    for step, name in STEPS.items():
        rows = of(kept, "fip", step=step)
        if rows:
            was, first, second = _ends(rows).T
            right += [first.mean() >= 0.96 - _NEAR, second.mean() >= 0.89 - _NEAR]
            told.append(f"{name}: MNIST {percent_of(was)}, then {percent_of(first)}; Fashion "
                        f"{percent_of(second)} ({seeds_told(len(rows))})")  # fmt: skip
    return verdict(all(right), any(right)), ". ".join(told)


def _forgets(kept: Kept) -> Answer:
    """Works: more than half of MNIST is lost, Fashion-MNIST is learnt."""
    rows = of(kept, "naive")
    was, first, second = _ends(rows).T
    right = first.mean() < was.mean() / 2 and second.mean() > 0.88 - _NEAR
    text = f"MNIST {percent_of(was)}, then {percent_of(first)}; Fashion {percent_of(second)}"
    return verdict(right), f"{text} ({seeds_told(len(rows))})"


def _mean_of_both(kept: Kept) -> Answer:
    """Works: within three points of the paper's mean."""
    rows = of(kept, "fip", step="anchor")
    mean = np.array([row["acc"] for row in rows])
    text = f"{percent_of(mean)} ({seeds_told(len(rows))})"
    return verdict(abs(mean.mean() - 0.91) <= _NEAR), text


def _above_ewc(kept: Kept) -> Answer:
    """Works: FIP is ahead of EWC's best strength in every seed that both have."""
    lam, theirs = strongest_ewc(kept)
    ahead = [*seed_by_seed(of(kept, "fip", step="anchor"), theirs, "acc").values()]
    found = np.array([row["acc"] for row in theirs])
    text = (f"EWC at its best strength, {lam:g}: {percent_of(found)} "
            f"({seeds_told(len(theirs))}); FIP is ahead by {100 * _mean(ahead):.1f} "
            "points")  # fmt: skip
    return verdict(min(ahead) > 0, _mean(ahead) > 0), text


def _ewc(kept: Kept) -> Answer:
    """Works: within three points of the paper's EWC, at the best strength of ours."""
    lam, rows = strongest_ewc(kept)
    mean = np.array([row["acc"] for row in rows])
    strengths = sorted({row["settings"]["lam"] for row in of(kept, "ewc")})
    inside = strengths[0] < lam < strengths[-1]
    text = f"{percent_of(mean)} at strength {lam:g}, {'within' if inside else 'at an end of'} "
    text += f"the list {', '.join(f'{one:g}' for one in strengths)} ({seeds_told(len(rows))})"
    return verdict(abs(mean.mean() - 0.87) <= _NEAR), text


def _short_in_outputs(kept: Kept) -> Answer:
    """Works: the path is as long in weights as plain training's, and at most half in outputs."""
    walks = {label: rows[-1] for label, rows in _by_label(kept).items()}
    plain = walks["naive"]
    paths = {label: walk for label, walk in walks.items() if label.startswith("fip")}
    long = all(one["weight_length"] > 0.8 * plain["weight_length"] for one in paths.values())
    short = all(one["output_length"] < plain["output_length"] / 2 for one in paths.values())
    told = "; ".join(f"{label} {one['weight_length']:.1f} in weights, {one['output_length']:.1f} in"
                     " outputs" for label, one in walks.items())  # fmt: skip
    return verdict(long and short, short), told


def _by_label(kept: Kept) -> dict[str, list[Row]]:
    """The walks of the lowest seed."""
    seed = min(row["seed"] for row in kept.rows)
    found: dict[str, list[Row]] = {}
    for row in kept.select(kind="walk", seed=seed):
        found.setdefault(row["label"], []).append(row)
    return found


def _few_directions(kept: Kept) -> Answer:
    """Works: under a thousandth of all directions carry the metric (its effective rank)."""
    row = kept.select(kind="spectrum")[0]
    text = (f"effective rank {row['effective_rank']:.1f} of {row['parameters']:,} directions "
            f"({row['samples']} samples: {len(row['values'])} eigenvalues)")  # fmt: skip
    return verdict(row["effective_rank"] < row["parameters"] / 1000), text


_TWO = (
    "`weightspace run fip-two-tasks --trials 5 --data-dir DATA` on 60,000 images of each: some 2 "
    "hours of one core (a seed: FIP 2 minutes, by the metric 5, GEM 5, replay 2, a strength of EWC "
    "1.5)"
)
_GEOMETRY = (
    "`weightspace run fip-geometry --set steps=300 --set every=30 --data-dir DATA` on 60,000 "
    "images: 0.1 hours of one core"
)
_TWENTY = (
    "`weightspace run fip-cifar100 --trials 5 --data-dir DATA` and all 50,000 images of CIFAR-100, "
    "of which 486 are at hand; a seed takes one core about 0.5 hours (naive), 1 (FIP, replay), 25 "
    "(GEM, 500 images of each earlier task a step)"
)

CLAIMS = (
    Published(
        "Fig. 2", "MNIST stays while Fashion-MNIST is learnt along an invariant path",
        "MNIST 98, then 96 %; Fashion-MNIST 89 %", results=TWO, judge=_keeps, never=_TWO,
    ),
    Published(
        "Fig. 2", "plain training on Fashion-MNIST loses MNIST",
        "MNIST 98, then 21 %; Fashion-MNIST 88 %", results=TWO, judge=_forgets, never=_TWO,
    ),
    Published(
        "text, Fig. 2", "mean of both tasks by FIP", "91 ± 1.1 %, 5 trials",
        results=TWO, judge=_mean_of_both, never=_TWO,
    ),
    Published(
        "text, Fig. 2", "FIP is above EWC", "91 ± 1.1 against 87 ± 1.6 %",
        results=TWO, judge=_above_ewc, never=_TWO,
    ),
    Published(
        "text, Fig. 2", "mean of both tasks by EWC", "87 ± 1.6 %", results=TWO, judge=_ewc,
        never=_TWO,
    ),
    Published(
        "Fig. 2", "a path that is long in weights moves the old answers little",
        results=GEOMETRY, judge=_short_in_outputs, never=_GEOMETRY,
    ),
    Published(
        "Eqs. 2, 3", "few directions in weights matter to the answers, most leave them",
        results=GEOMETRY, judge=_few_directions, never=_GEOMETRY,
    ),
    Published(
        "text, Fig. 2", "twenty tasks of CIFAR-100: FIP above GEM, EWC and plain training",
        "FIP 82.5 ± 0.2, GEM 70.1 ± 0.1, EWC 44.9 ± 0.01, naive 26.9 ± 1.1 %", never=_TWENTY,
    ),
    Published(
        "text", "the first of the twenty tasks, when it has just been learnt", "78 %",
        never="`weightspace run fip-cifar100 -m naive --data-dir DATA` on all images of CIFAR-100, "
        "of which 486 are at hand: 0.5 hours of one core",
    ),
)  # fmt: skip
