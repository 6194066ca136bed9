"""What the rows of the study `task-space` come to: means over seeds, matrices, regressions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ....methods import dyads
from ....methods.correlation import pearson
from ....methods.interference import MEASURES
from ..study import Row

PIXELS = "pixel correlation"
AFTER = "answers moved"  # known only when B has been learnt: no prediction, but what forgetting is
PREDICTORS = (PIXELS, *MEASURES, AFTER)
ALIKE = 0.3  # correlation above which two sets are called correlated; below -ALIKE, anti-correlated

# classifier_keras_soln.ipynb of the authors' repository: test accuracies after each task
PUBLISHED_ORDER = ("orig", "rot90", "fliplr", "flipud", "check", "inv", "cutud", "invbot")
PUBLISHED = (
    (0.9221,),
    (0.2351, 0.9800),
    (0.1178, 0.3358, 0.9782),
    (0.1631, 0.1919, 0.4445, 0.9816),
    (0.1090, 0.1684, 0.4884, 0.9745, 0.9143),
    (0.0946, 0.1595, 0.5223, 0.4856, 0.9080, 0.9760),
    (0.0641, 0.1241, 0.5182, 0.4298, 0.8903, 0.9086, 0.9826),
    (0.1685, 0.1415, 0.4592, 0.3700, 0.7466, 0.7098, 0.8192, 0.9732),
)


def of(rows: Sequence[Row], kind: str, **match: object) -> list[Row]:
    """The rows of a kind whose columns are as said."""
    return [
        row for row in rows
        if row["kind"] == kind and all(row[key] == value for key, value in match.items())
    ]  # fmt: skip


def known(values: Sequence[float | None]) -> np.ndarray:
    """(n,) float64, NaN for None."""
    return np.array([np.nan if value is None else value for value in values], np.float64)


def averaged(rows: Sequence[Row], key: str) -> np.ndarray:
    """The mean over rows of a number or an array; None counts as NaN."""
    return np.mean([np.array(row[key], np.float64) for row in rows], axis=0)


# ---- pixels --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Similarity:
    """Sets by name, and a matrix (T, T) about each two of them."""

    sets: tuple[str, ...]
    matrix: np.ndarray

    def __call__(self, a: str, b: str) -> float:
        return float(self.matrix[self.sets.index(a), self.sets.index(b)])

    def has(self, *names: str) -> bool:
        """Whether all of these are among the sets."""
        return set(names) <= set(self.sets)


def similarity(rows: Sequence[Row], key: str = "matrix") -> Similarity | None:
    """Mean correlations over digits ("matrix"), their z-scores ("z") or SSIM ("ssim")."""
    found = of(rows, "means")
    return Similarity(tuple(found[0]["sets"]), averaged(found, key)) if found else None


# ---- the sequence --------------------------------------------------------------------------------


def sequence(rows: Sequence[Row]) -> tuple[tuple[str, ...], np.ndarray] | None:
    """The order of the naive sequence and its R, the mean over seeds."""
    found = of(rows, "sequence")
    return (tuple(found[0]["sets"]), averaged(found, "R")) if found else None


def beside_published(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray] | None:
    """(ours, theirs) of R, (8, 8) with NaN where the authors print nothing; None: another order."""
    found = sequence(rows)
    if found is None or found[0] != PUBLISHED_ORDER:
        return None
    theirs = np.full((len(PUBLISHED),) * 2, np.nan)
    for task, values in enumerate(PUBLISHED):
        theirs[task, : len(values)] = values
    return found[1], theirs


# ---- pairs ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pairs:
    """Ordered pairs of sets, each number a mean over seeds.

    steps_to, seconds_to: of B to its threshold, NaN for a pair that never got there in some seed;
    given: the steps it had.
    """

    sets: tuple[str, ...]
    index: np.ndarray  # (n, 2) into `sets`
    columns: dict[str, np.ndarray]  # (n,) each

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: str) -> np.ndarray:
        return self.columns[key]

    def names(self) -> Iterator[tuple[str, str]]:
        """First and second of each pair."""
        for a, b in self.index:
            yield self.sets[a], self.sets[b]


def pairs(rows: Sequence[Row]) -> Pairs | None:
    """All pairs of the rows; None where there are none."""
    found = of(rows, "pair")
    if not found:
        return None
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in found:
        groups.setdefault((row["first"], row["second"]), []).append(row)
    sets = tuple(dict.fromkeys(name for pair in groups for name in pair))
    keys = (*PREDICTORS, "forgetting", "steps_to", "seconds_to", "given")
    columns = {
        key: np.array([known([row[key] for row in group]).mean() for group in groups.values()])
        for key in keys
    }
    index = np.array([[sets.index(a), sets.index(b)] for a, b in groups])
    return Pairs(sets, index, columns)


def scratch(rows: Sequence[Row]) -> dict[str, float]:
    """Steps that a new network takes to each set's threshold, the mean over seeds."""
    names = dict.fromkeys(row["second"] for row in of(rows, "scratch"))
    return {
        name: float(known([r["steps_to"] for r in of(rows, "scratch", second=name)]).mean())
        for name in names
    }


@dataclass(frozen=True)
class Verdict:
    """How well a predictor tells forgetting, and |r| more (or less) than pixels' with its range.

    within: r when each A's mean is taken off both, so that only the choice of B counts.
    """

    line: dyads.Line
    within: float
    more: tuple[float, float, float]


def predictions(found: Pairs, draws: int = 2000) -> dict[str, Verdict]:
    """Forgetting regressed on each of PREDICTORS, pairs with a number for all of them only."""
    fine = np.all([np.isfinite(found[key]) for key in (*PREDICTORS, "forgetting")], axis=0)
    if fine.sum() < 3:
        return {}
    weights = dyads.bootstrap(found.index[fine], draws)
    lost, pixel, first = found["forgetting"][fine], found[PIXELS][fine], found.index[fine, 0]
    return {
        key: Verdict(
            dyads.line(found[key][fine], lost, weights),
            pearson(dyads.within(found[key][fine], first), dyads.within(lost, first)),
            dyads.stronger(found[key][fine], pixel, lost, weights),
        )
        for key in PREDICTORS
    }


def by_likeness(found: Pairs) -> dict[str, np.ndarray]:
    """Which pairs are correlated, anti-correlated, and neither: masks (n,)."""
    r = found[PIXELS]
    return {
        f"correlated, r > {ALIKE}": r > ALIKE,
        "neither": np.abs(r) <= ALIKE,
        f"anti-correlated, r < -{ALIKE}": r < -ALIKE,
    }


# ---- schemes -------------------------------------------------------------------------------------


def schemes(rows: Sequence[Row]) -> list[str]:
    """The schemes that were run, in order."""
    return list(dict.fromkeys(row["scheme"] for row in of(rows, "visit")))


def visits(rows: Sequence[Row], scheme: str, lam: float) -> np.ndarray:
    """Accuracies (visits, tasks) on all tasks after each visit, the mean over seeds."""
    mine = of(rows, "visit", scheme=scheme, lam=lam)
    count = max(row["visit"] for row in mine) + 1
    return np.stack([averaged(of(mine, "visit", visit=v), "accuracies") for v in range(count)])


def by_lam(
    rows: Sequence[Row], scheme: str, measure: Callable[[np.ndarray], float]
) -> dict[float, list[float]]:
    """A measure of each seed's visits, by lam."""
    mine = of(rows, "visit", scheme=scheme)
    seeds = sorted({row["seed"] for row in mine})
    return {
        lam: [measure(visits([r for r in mine if r["seed"] == s], scheme, lam)) for s in seeds]
        for lam in sorted({row["lam"] for row in mine})
    }


def at_the_end(accuracies: np.ndarray) -> float:
    """The mean over tasks after the last visit."""
    return float(accuracies[-1].mean())


def throughout(accuracies: np.ndarray) -> float:
    """The mean over tasks at the end of each round, over all rounds."""
    return float(accuracies[accuracies.shape[1] - 1 :: accuracies.shape[1]].mean())


def drop(accuracies: np.ndarray, names: Sequence[str], lost: str, visited: str) -> float:
    """How much a visit to `visited` takes from `lost`, the mean over visits that follow another."""
    at, task = names.index(visited), names.index(lost)
    after = np.arange(at, len(accuracies), len(names))
    after = after[after > task]  # `lost` must have been visited before
    return float((accuracies[after - 1, task] - accuracies[after, task]).mean())
