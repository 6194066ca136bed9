"""The claims of Campbell et al. (2018), each with a criterion, put to the rows of a run.

A criterion is the docstring of the function that judges; `_of` names what it reads of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ....methods.correlation import spearman
from .. import claims
from ..claims import NOT_TESTABLE, Answer, Judge, verdict
from ..rows import select
from ..study import Row
from . import numbers

TURNED = ("inv", "fliplr", "flipud", "rot90")  # those that begin with the inverted image


def _of(read: Callable[..., Any], *more: Any) -> Callable[[Callable[[Any], Answer | None]], Judge]:
    """A judge of what `read(rows, *more)` finds; where that is nothing, there is no answer."""

    def wrap(judge: Callable[[Any], Answer | None]) -> Judge:
        return lambda rows: judge(found) if (found := read(rows, *more)) else None

    return wrap


@_of(numbers.similarity, "matrix", *TURNED)
def alike(r: numbers.Similarity) -> Answer | None:
    """All correlations among the four are above 0."""
    values = [r(a, b) for a, b in combinations(TURNED, 2)]
    return verdict(min(values) > 0), f"r from {min(values):.2f} to {max(values):.2f}"


@_of(numbers.similarity, "matrix", "orig", *TURNED)
def against(r: numbers.Similarity) -> Answer | None:
    """All correlations of the four with the original are below 0."""
    told = ", ".join(f"{name} {r('orig', name):.2f}" for name in TURNED)
    return verdict(all(r("orig", name) < 0 for name in TURNED)), told


@_of(numbers.similarity, "matrix", "orig", "rot90", "cutud")
def three(r: numbers.Similarity) -> Answer | None:
    """All three correlations are below 0."""
    values = {f"{a}-{b}": r(a, b) for a, b in combinations(("orig", "rot90", "cutud"), 2)}
    told = ", ".join(f"{name} {value:.2f}" for name, value in values.items())
    return verdict(max(values.values()) < 0, min(values.values()) < 0), told


@_of(numbers.beside_published)
def original_goes(found: tuple[np.ndarray, np.ndarray]) -> Answer | None:
    """It loses more than half of its accuracy."""
    before, after = found[0][0, 0], found[0][1, 0]
    told = f"{before:.2f} to {after:.2f} (published: 0.92 to 0.24)"
    return verdict(after < before / 2, after < before), told


@_of(numbers.beside_published)
def check_spares(found: tuple[np.ndarray, np.ndarray]) -> Answer | None:
    """It loses at most 0.05."""
    before, after = found[0][3, 3], found[0][4, 3]
    told = f"{before:.2f} to {after:.2f} (published: 0.98 to 0.97)"
    return verdict(before - after <= 0.05), told


@_of(numbers.beside_published)
def columns_stay(found: tuple[np.ndarray, np.ndarray]) -> Answer | None:
    """At the end all three are at 0.7 or more (published: 0.75, 0.71, 0.82)."""
    ends = found[0][-1, 4:7]
    told = ", ".join(
        f"{name} {value:.2f}" for name, value in zip(("check", "inv", "cutud"), ends, strict=True)
    )
    return verdict(ends.min() >= 0.7, ends.max() >= 0.7), told


@_of(numbers.beside_published)
def same_order(found: tuple[np.ndarray, np.ndarray]) -> Answer | None:
    """Spearman's correlation over the 28 values below the diagonal is 0.5 or more."""
    below = np.tri(len(found[0]), k=-1, dtype=bool)
    rho = spearman(found[0][below], found[1][below])
    means = f"means {found[0][below].mean():.2f} and {found[1][below].mean():.2f}"
    return verdict(rho >= 0.5, rho > 0.2), f"rank correlation {rho:.2f}; {means}"


@_of(numbers.pairs)
def forgetting(found: numbers.Pairs) -> Answer | None:
    """The slope is below 0 in the middle 95 % of the bootstrap for every choice of sets; in part:
    it is so given A (each A's mean taken off)."""
    choices = numbers.choices(found)
    if not choices:
        return None
    lines = [one.verdict.line for one in choices]
    text = ", ".join(
        f"{one.name}: r {line.pearson:.2f} [{line.low:.2f}, {line.high:.2f}]"
        for one, line in zip(choices, lines, strict=True)
    )
    given = [one.verdict for one in choices]
    inside = ", ".join("{:.2f} [{:.2f}, {:.2f}]".format(v.within, *v.within_range) for v in given)
    text += f"; within A: {inside}"
    below = all(one.within_range[1] < 0 for one in given)
    return verdict(all(line.high < 0 for line in lines), below), text


def six_times(rows: Sequence[Row]) -> Answer | None:
    """For some B, anti-correlated tasks before it cost 6 times the steps of correlated ones; in
    part: they cost more for the median B. Means over A; a time counts as one interval at least, and
    as all steps given where B was never learnt."""
    found = numbers.pairs(rows)
    if found is None:
        return None
    alike, _, against = numbers.by_likeness(found).values()
    every = _interval(rows)
    ratios = {}
    for b, name in enumerate(found.sets):
        steps = np.where(np.isfinite(found["steps_to"]), found["steps_to"], found["given"])
        steps = np.maximum(steps, every)
        mine = found.index[:, 1] == b
        if (mine & alike).any() and (mine & against).any():
            ratios[name] = steps[mine & against].mean() / steps[mine & alike].mean()
    if not ratios:
        return None
    most, middle = max(ratios, key=lambda name: ratios[name]), np.median([*ratios.values()])
    told = f"{ratios[most]:.1f} times for {most}, {middle:.1f} for the median of {len(ratios)} sets"
    return verdict(ratios[most] >= 6, middle > 1), told


def _interval(rows: Sequence[Row]) -> int:
    """Steps between tests: the first of any curve."""
    found = select(rows, kind="isolated")
    return int(found[0]["curve"][0][0]) if found else 1


def correlated_in_scheme(rows: Sequence[Row]) -> Answer | None:
    """What rot90 loses to inv, right after it, is less than what inv loses to orig and orig to
    rot90 in the same way, on average; in part: less than one of them."""
    scheme = "rot90+inv+orig"
    if scheme not in numbers.schemes(rows):
        return None
    names = scheme.split("+")
    found = numbers.visits(rows, scheme, min(numbers.by_lam(rows, scheme, numbers.at_the_end)))
    if len(found) <= len(names):
        return None
    pairs = (("rot90", "inv"), ("inv", "orig"), ("orig", "rot90"))
    near, *far = (100 * numbers.drop(found, names, lost, to) for lost, to in pairs)
    told = ", ".join(
        f"{lost} to {to} {points:.1f}"
        for (lost, to), points in zip(pairs, (near, *far), strict=True)
    )
    return verdict(near < sum(far) / len(far), near < max(far)), f"points lost a visit: {told}"


def rounds_help(rows: Sequence[Row]) -> Answer | None:
    """The mean over a scheme's tasks is higher after the last round than after the first, naively,
    in all schemes; in part: in most."""
    gains = {}
    for scheme in numbers.schemes(rows):
        lam = min(numbers.by_lam(rows, scheme, numbers.at_the_end))
        found = numbers.visits(rows, scheme, lam)
        gains[scheme] = 100 * (found[-1].mean() - found[found.shape[1] - 1].mean()), ""
    return _gained(gains)


def si_helps(rows: Sequence[Row]) -> Answer | None:
    """The lam above 0 that held-out images choose beats 0 on test images at the ends of rounds, in
    all schemes; in part: in most."""
    gains = {}
    for scheme in numbers.schemes(rows):
        found = numbers.by_lam(rows, scheme, numbers.throughout)
        best = numbers.chosen_lam(rows, scheme)
        if best is not None and 0.0 in found:
            gain = 100 * (np.mean(found[best]) - np.mean(found[0.0]))
            gains[scheme] = gain, f" (lam {best:g})"
    return _gained(gains)


def _gained(gains: dict[str, tuple[Any, str]]) -> Answer | None:
    """Points by scheme, with what is said beside them: above 0 in all, in part in most."""
    if not gains:
        return None
    told = ", ".join(f"{name} {gain:+.1f}{more}" for name, (gain, more) in gains.items())
    up = [gain > 0 for gain, _ in gains.values()]
    return verdict(all(up), sum(up) > len(up) / 2), told + " points"


def _never(why: str) -> Judge:
    return lambda rows: (NOT_TESTABLE, why)


CLAIMS: tuple[tuple[str, Judge], ...] = (
    ("inv, fliplr, flipud and rot90 correlate with one another", alike),
    ("they correlate against the original", against),
    ("orig, rot90 and cutud are anti-correlated, all three", three),
    ("figure 12: the values for Larochelle's sets", _never("the files are gone: regenerated here")),
    ("sequence: rot90 wipes out the original", original_goes),
    ("sequence: check leaves flipud as it was", check_spares),
    ("sequence: check, inv and cutud stay high to the end", columns_stay),
    ("sequence: R in the published order", same_order),
    ("a CNN that learns inv after rot90 has 75 % of orig again",
     _never("one log of a convolutional network; this one is an MLP")),
    ("the more alike two tasks, the less the first is forgotten", forgetting),
    ("anti-correlated tasks take up to 6 times longer", six_times),
    ("240 ms against 30 to 60 ms", _never("no protocol, network or machine is stated")),
    ("schemes: correlated tasks preserve each other", correlated_in_scheme),
    ("schemes: accuracy rises from round to round", rounds_help),
    ("schemes: Synaptic Intelligence helps", si_helps),
)  # fmt: skip


def judged(rows: Sequence[Row]) -> list[claims.Claim]:
    """All claims; those whose parts did not run are not testable."""
    return claims.judged(CLAIMS, rows, "this run has no rows about it")
