"""What the rows of the study `task-space` come to: means over seeds, matrices, regressions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ....methods import dyads
from ....methods.correlation import pearson
from ....methods.interference import MEASURES
from ..rows import average, grouped, select
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


def known(values: Sequence[float | None]) -> np.ndarray:
    """(n,) float64, NaN for None."""
    return np.array([np.nan if value is None else value for value in values], np.float64)


# ---- pixels --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Similarity:
    """Sets by name, and a matrix (T, T) about each two of them."""

    sets: tuple[str, ...]
    matrix: np.ndarray

    def __call__(self, a: str, b: str) -> float:
        return float(self.matrix[self.sets.index(a), self.sets.index(b)])


def similarity(rows: Sequence[Row], key: str = "matrix", *names: str) -> Similarity | None:
    """Mean correlations over digits ("matrix"), their z-scores ("z") or SSIM ("ssim").

    None where there are none, or not of all of `names`.
    """
    found = select(rows, kind="means")
    if not found or not set(names) <= set(found[0]["sets"]):
        return None
    return Similarity(tuple(found[0]["sets"]), average(found, key))


# ---- one by one, and in sequence -----------------------------------------------------------------


def alone(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each set that was learnt alone."""
    return grouped(select(rows, kind="isolated"), "set")


def sequence(rows: Sequence[Row]) -> tuple[tuple[str, ...], np.ndarray] | None:
    """The order of the naive sequence and its R, the mean over seeds."""
    found = select(rows, kind="sequence")
    return (tuple(found[0]["sets"]), average(found, "R")) if found else None


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

    def among(self, sets: Collection[str]) -> Pairs:
        """The pairs of two sets that are among `sets`."""
        mine = np.array([a in sets and b in sets for a, b in self.names()], bool)
        left = [place for place, name in enumerate(self.sets) if name in sets]
        columns = {key: values[mine] for key, values in self.columns.items()}
        return Pairs(
            tuple(self.sets[place] for place in left), np.searchsorted(left, self.index[mine]),
            columns,
        )  # fmt: skip


def pairs(rows: Sequence[Row]) -> Pairs | None:
    """All pairs of the rows; None where there are none."""
    found = select(rows, kind="pair")
    if not found:
        return None
    groups = grouped(found, "first", "second")
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
    return {
        name: float(known([row["steps_to"] for row in mine]).mean())
        for name, mine in grouped(select(rows, kind="scratch"), "second").items()
    }


@dataclass(frozen=True)
class Verdict:
    """How well a predictor tells forgetting, and |r| more (or less) than pixels' with its range.

    within: r when each A's mean is taken off both, so that only the choice of B counts; its middle
    95 % of the bootstrap's draws.
    """

    line: dyads.Line
    within: float
    within_range: tuple[float, float]
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
            _range(dyads.within_pearson(found[key][fine], lost, weights, first)),
            dyads.stronger(found[key][fine], pixel, lost, weights),
        )
        for key in PREDICTORS
    }


def _range(drawn: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of draws; NaN for none."""
    known = drawn[np.isfinite(drawn)]
    low, high = np.percentile(known, (2.5, 97.5)).tolist() if known.size else (np.nan, np.nan)
    return low, high


def foretold(rows: Sequence[Row]) -> tuple[Pairs, dict[str, Verdict]] | None:
    """All pairs and what tells their forgetting; None for too few."""
    found = pairs(rows)
    told = predictions(found) if found else {}
    return (found, told) if found and told else None


class Choice(NamedTuple):
    """Sets that are compared, in words, how many pairs they make, and what pixels tell of them."""

    name: str
    pairs: int
    verdict: Verdict


def choices(found: Pairs) -> list[Choice]:
    """What pixels tell of forgetting, by which sets there are: does it depend on the choice?

    All sets; the authors' eight; without the noise sets, which are nearly one another; with one of
    them; and with any one set left out, the weakest and the strongest of these.
    """
    noise = [name for name in found.sets if name.startswith("noise")]
    asked = {"all": found.sets, "the authors' eight": PUBLISHED_ORDER}
    if noise:
        asked |= {
            "without noise": tuple(name for name in found.sets if name not in noise),
            f"of the noise, {noise[0]} alone":
                tuple(name for name in found.sets if name not in noise[1:]),
        }  # fmt: skip
    told = [_choice(found, name, sets) for name, sets in asked.items()]
    left_out = [
        _choice(found, f"without {name}", [one for one in found.sets if one != name])
        for name in found.sets
    ]
    known = sorted(filter(None, left_out), key=lambda one: abs(one.verdict.line.pearson))
    return [*filter(None, told), *dict.fromkeys((*known[:1], *known[-1:]))]


def _choice(found: Pairs, name: str, sets: Sequence[str]) -> Choice | None:
    """None where these sets are not among those found, or too few."""
    if not set(sets) <= set(found.sets) or len(sets) < 3:
        return None
    mine = found.among(sets)
    told = predictions(mine)
    return Choice(name, len(mine), told[PIXELS]) if told else None


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
    return list(grouped(select(rows, kind="visit"), "scheme"))


def visits(rows: Sequence[Row], scheme: str, lam: float, of: str = "accuracies") -> np.ndarray:
    """Accuracies (visits, tasks) on all tasks after each visit, the mean over seeds."""
    mine = sorted(grouped(select(rows, kind="visit", scheme=scheme, lam=lam), "visit").items())
    return np.stack([average(seeds, of) for _, seeds in mine])


def chosen_lam(rows: Sequence[Row], scheme: str) -> float | None:
    """The lam above 0 with the best mean over rounds on held-out images; None without any."""
    found = by_lam(rows, scheme, throughout, "held_out")
    held = {lam: np.mean(values) for lam, values in found.items() if lam > 0}
    return max(held, key=lambda lam: held[lam]) if held else None


def by_lam(
    rows: Sequence[Row], scheme: str, measure: Callable[[np.ndarray], float],
    of: str = "accuracies",
) -> dict[float, list[float]]:  # fmt: skip
    """A measure of each seed's visits, by lam; of: on test images, or on those "held_out"."""
    mine = select(rows, kind="visit", scheme=scheme)
    seeds = [seed for _, seed in sorted(grouped(mine, "seed").items())]
    return {
        lam: [measure(visits(seed, scheme, lam, of)) for seed in seeds]
        for lam in sorted(grouped(mine, "lam"))
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
