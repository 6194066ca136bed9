"""The claims of van de Ven (2025), each with a criterion, put to the rows of a run."""

from __future__ import annotations

from collections.abc import Sequence

from .. import claims
from ..claims import Answer, verdict
from ..rows import select
from ..study import Row
from .numbers import best, by_strength, differences, good
from .variants import VARIANTS

ALIKE = 0.5  # percentage points; the published accuracies of the five lie within 0.2


def _search(rows: Sequence[Row], variant: str) -> list[Row]:
    return select(rows, which="search", variant=variant)


def _chosen(rows: Sequence[Row]) -> dict[str, tuple[float, float, int]]:
    """Mean, error and seeds of each way by its chosen strength; nothing unless all are there."""
    found = {name: select(rows, which="chosen", variant=name) for name in (*VARIANTS, "none")}
    return {k: differences(v) for k, v in found.items()} if all(found.values()) else {}


def alike(rows: Sequence[Row]) -> Answer | None:
    """The means of the five lie within ALIKE of the best."""
    found = _chosen(rows)
    if not found:
        return None
    means = {name: found[name][0] for name in VARIANTS}
    spread = max(means.values()) - min(means.values())
    told = ", ".join(f"{name} {mean:.2f}" for name, mean in means.items())
    return verdict(spread <= ALIKE, spread <= 2 * ALIKE), f"{told} (published: 98.93 to 99.12)"


def far_above_none(rows: Sequence[Row]) -> Answer | None:
    """Each of the five is 5 points or more above no method at all."""
    found = _chosen(rows)
    if not found:
        return None
    least, none = min(found[name][0] for name in VARIANTS), found["none"][0]
    told = f"{least:.2f} or more against {none:.2f} (published: 98.93 against 85.41)"
    return verdict(least - none >= 5, least > none), told


def larger_strength(rows: Sequence[Row]) -> Answer | None:
    """The best strength of the squared batches is 100 times the exact one's, or more."""
    exact, batched = _search(rows, "exact"), _search(rows, "batched")
    if not exact or not batched:
        return None
    ratio = best(batched) / best(exact)
    ends = any(best(of) in (min(by_strength(of)), max(by_strength(of))) for of in (exact, batched))
    told = f"{best(batched):g} against {best(exact):g}" + " (at an end of the grid)" * ends
    return verdict(ratio >= 100 and not ends, ratio > 1), told


def ranges(rows: Sequence[Row]) -> Answer | None:
    """Strengths that do well lie elsewhere, or reach a decade farther, for at least one way."""
    found = {name: _search(rows, name) for name in VARIANTS}
    if not all(found.values()):
        return None
    decades = {name: good(of) for name, of in found.items()}
    told = ", ".join(f"{n} {best(of):g} (good over {decades[n]:.0f} decades)"
                     for n, of in found.items())  # fmt: skip
    places = [best(of) for of in found.values()]
    apart = max(places) / min(places) >= 10 or max(decades.values()) - min(decades.values()) >= 1
    return verdict(apart), told


def few_suffice(rows: Sequence[Row]) -> Answer | None:
    """The exact Fisher of few samples is within ALIKE of that of all."""
    found = select(rows, which="chosen", variant="few")
    if not found:
        return None
    mean, error, count = differences(found, select(rows, which="chosen", variant="exact"))
    return verdict(abs(mean) <= ALIKE), f"{mean:+.2f} ± {error:.2f} over {count} seeds"


def batches_cheapest(rows: Sequence[Row]) -> Answer | None:
    """Exact takes 1.2 times the empirical one's seconds or more, and batches half or less."""
    found = {row["variant"]: row["seconds"] for row in select(rows, which="seconds")}
    if not found:
        return None
    exact, batched = (found[name] / found["empirical"] for name in ("exact", "batched"))
    told = (f"exact {exact:.2f} times the empirical, squared batches {batched:.2f} times "
            "(published, of what EWC adds to learning: 1.4 and 0.1)")  # fmt: skip
    return verdict(exact >= 1.2 and batched <= 0.5, exact >= 1.2 or batched <= 0.5), told


CLAIMS = (
    ("split MNIST: with each way's best strength there is no substantial difference", alike),
    ("all five are far above no method", far_above_none),
    ("squared batches need a strength orders of magnitude larger", larger_strength),
    ("which strengths do well differs between the ways", ranges),
    ("the exact Fisher of 500 samples does nearly as well", few_suffice),
    ("exact takes longer than one label a sample, squared batches far less", batches_cheapest),
)


def judge(rows: Sequence[Row]) -> list[claims.Claim]:
    """All claims, with the verdict that these rows allow."""
    return claims.judged(CLAIMS, rows, "not asked in this run")
