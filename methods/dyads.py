"""Dyads: how well one number about ordered pairs of things tells another, with honest intervals.

Pairs that share a member are not independent: n things make n (n - 1) pairs but only n draws of
chance. So the bootstrap draws things, not pairs: thing i is drawn c_i times, and the pair (i, j)
weighs c_i c_j. All intervals and comparisons come from the same draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..kernels.errors import ShapeError
from ..nnlite.init import generator
from .correlation import pearson, spearman


@dataclass(frozen=True)
class Line:
    """y = intercept + slope x by least squares, with what says how well it fits.

    low, high: the middle 95 % of `pearson` over the bootstrap's draws; NaN without one.
    """

    slope: float
    intercept: float
    pearson: float
    spearman: float
    low: float = float("nan")
    high: float = float("nan")

    @property
    def r2(self) -> float:
        """The share of y's variance that the line explains."""
        return self.pearson**2


def line(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> Line:
    """The line through x (n,) and y (n,); weights (draws, n) of a bootstrap give its interval."""
    r = pearson(x, y)
    slope = r * y.std() / x.std() if np.isfinite(r) else float("nan")
    low = high = float("nan")
    if weights is not None:
        drawn = weighted_pearson(x, y, weights)
        drawn = drawn[np.isfinite(drawn)]
        low, high = np.percentile(drawn, (2.5, 97.5)).tolist() if drawn.size else (low, high)
    return Line(float(slope), float(y.mean() - slope * x.mean()), r, spearman(x, y), low, high)


def weighted_pearson(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson's correlation (draws,) of x (n,) and y (n,), each pair as often as weights (draws, n)
    say; NaN where a draw leaves either constant."""
    if not x.shape == y.shape == weights.shape[1:]:
        raise ShapeError(f"correlation of {x.shape} and {y.shape} under weights {weights.shape}")
    x, y = x - x.mean(), y - y.mean()  # so that little is lost below
    total = weights.sum(axis=1)
    share = np.divide(weights, total[:, None], where=total[:, None] > 0,
                      out=np.full(weights.shape, np.nan))  # fmt: skip

    def mean(values: np.ndarray) -> np.ndarray:
        return np.einsum("dn,n->d", share, values)  # no BLAS, whose threads change bits

    mx, my = mean(x), mean(y)
    xy, xx, yy = mean(x * y) - mx * my, mean(x * x) - mx**2, mean(y * y) - my**2
    scale = xx * yy
    known = (xx > 1e-12 * x.var()) & (yy > 1e-12 * y.var())
    root = np.sqrt(scale, where=known, out=np.ones_like(scale))
    return np.where(known, xy / root, np.nan)


def bootstrap(pairs: np.ndarray, draws: int = 2000, seed: int = 0) -> np.ndarray:
    """Weights (draws, n) of ordered pairs (n, 2) of things 0.., by draws of the things.

    Raises ShapeError for what are no pairs.
    """
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise ShapeError(f"a bootstrap over pairs got an array of shape {pairs.shape}; give (n, 2)")
    things = int(pairs.max()) + 1
    drawn = generator(seed, 0xD7AD).integers(0, things, (draws, things))
    counts = np.stack([np.bincount(row, minlength=things) for row in drawn]).astype(np.float64)
    return counts[:, pairs[:, 0]] * counts[:, pairs[:, 1]]


def within(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """values (n,) less the mean of their group, groups (n,) whole numbers: what is left of them
    when groups may differ as they like."""
    counts = np.bincount(groups)
    sums = np.bincount(groups, values)
    return values - (sums / np.maximum(counts, 1))[groups]


def within_pearson(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    """`weighted_pearson` (draws,) of x and y (n,) less the means of their groups (n,), which each
    draw has of its own."""
    member = np.eye(int(groups.max()) + 1)[groups]  # (n, groups)
    total = np.einsum("dn,ng->dg", weights, member)  # no BLAS, whose threads change bits
    left = []
    for values in (x, y):
        sums = np.einsum("dn,n,ng->dg", weights, values, member)
        means = np.divide(sums, total, where=total > 0, out=np.zeros_like(sums))
        left.append(values - means[:, groups])
    u, v = left
    xy, xx, yy = ((weights * product).sum(axis=1) for product in (u * v, u * u, v * v))
    known = (xx > 0) & (yy > 0)
    return np.where(known, xy / np.sqrt(np.where(known, xx * yy, 1)), np.nan)


def stronger(
    x: np.ndarray, other: np.ndarray, y: np.ndarray, weights: np.ndarray
) -> tuple[float, float, float]:
    """|corr(x, y)| - |corr(other, y)|: over all pairs, and the middle 95 % of the draws."""
    drawn = np.abs(weighted_pearson(x, y, weights)) - np.abs(weighted_pearson(other, y, weights))
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.percentile(drawn, (2.5, 97.5)).tolist() if drawn.size else (np.nan, np.nan)
    return abs(pearson(x, y)) - abs(pearson(other, y)), low, high
