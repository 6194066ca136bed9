"""What rows of the five Fishers come to: accuracies, the best strength, differences by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...runs.tables import known_mean
from ..rows import grouped, seed_by_seed
from ..study import Row

CLOSE = 0.5  # percentage points below the best that still count as good


def percents(rows: Sequence[Row]) -> list[float]:
    """Accuracies in percent."""
    return [100 * row["accuracy"] for row in rows]


def by_strength(rows: Sequence[Row]) -> dict[float, float]:
    """Mean accuracy in percent of each strength, from the least on."""
    found = {lam: float(np.mean(percents(of))) for lam, of in grouped(rows, "lam").items()}
    return dict(sorted(found.items()))


def best(rows: Sequence[Row]) -> float:
    """The strength of the highest mean accuracy; of equal ones the least."""
    found = by_strength(rows)
    return max(found, key=lambda lam: found[lam])


def good(rows: Sequence[Row]) -> float:
    """Over how many decades around the best strength all stay within CLOSE of it."""
    found = by_strength(rows)
    lams, top = list(found), best(rows)
    ends = [top, top]
    for side, order in enumerate((lams[lams.index(top) :: -1], lams[lams.index(top) :])):
        for lam in order:
            if found[lam] < found[top] - CLOSE:
                break
            ends[side] = lam
    return math.log10(ends[1] / ends[0])


def differences(rows: Sequence[Row], others: Sequence[Row] = ()) -> tuple[float, float, int]:
    """Mean and standard error of accuracies in percent, and how many; less `others'`, if given.

    Differences are taken seed by seed, over the seeds that both have.
    """
    if not others:
        return known_mean(percents(rows))
    apart = seed_by_seed(rows, others, "accuracy").values()
    return known_mean([100 * one for one in apart])
