"""Sparse linear maps from one network's units to another's, from second moments alone.

For each target y of q, all variables standardised, LASSO (Tibshirani 1996) finds

    w = argmin 1/(2 N) sum_n (y_n - w' x_n)^2 + alpha |w|_1
      = argmin 1/2 (1 - 2 c' w + w' C w) + alpha |w|_1

which depends on the data through correlations only: C (p, p) of the sources, c (p,) with the
target. So millions of positions cost what p + q rows cost: those of F in F' F = [C c; c' 1], data
with the same second moments, which scikit-learn's coordinate descent is given, Gram matrix and
all. The loss is half the normalised squared error: 0.5 is what predicting the mean has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..kernels.errors import MissingExtraError, SettingError, ShapeError
from ..kernels.host_blas import one_blas_thread
from .moments import Moments


class SparseMaps(NamedTuple):
    """alphas (A,), and for each the weights (A, q, p) between standardised units.

    sources (p,), targets (q,): the columns of the moments. A dead unit's weights are 0.
    """

    alphas: np.ndarray
    weights: np.ndarray
    sources: np.ndarray
    targets: np.ndarray

    @property
    def nonzero(self) -> np.ndarray:
        """How many weights each target has that are not 0, (A, q)."""
        return (self.weights != 0).sum(axis=2)


@one_blas_thread
def lasso(
    moments: Moments,
    sources: Sequence[int] | np.ndarray,
    targets: Sequence[int] | np.ndarray,
    alphas: Sequence[float],
    tolerance: float = 1e-8,
) -> SparseMaps:
    """The maps from columns `sources` to each of `targets`, a target by itself, for all `alphas`.

    alpha 0 is least squares (the smallest solution where several are as good). tolerance: of the
    duality gap at which coordinate descent stops.

    Raises SettingError for an alpha below 0 or not finite, ShapeError for columns that are not
    there, MissingExtraError without scikit-learn.
    """
    sources, targets = _columns(moments, sources), _columns(moments, targets)
    if not len(alphas) or not all(0 <= alpha < np.inf for alpha in alphas):
        raise SettingError(
            f"lasso got alphas={list(alphas)}; give at least one, all finite and none below 0"
        )
    found = np.zeros((len(alphas), len(targets), len(sources)))
    live = np.flatnonzero(moments.alive[sources])
    used = np.concatenate([sources[live], targets])
    joint = moments.correlation()[np.ix_(used, used)]
    gram, cross = joint[: len(live), : len(live)], joint[: len(live), len(live) :]
    least = [number for number, alpha in enumerate(alphas) if alpha == 0]
    # largest first: each solution starts from the one before
    rest = sorted((n for n in range(len(alphas)) if n not in least), key=lambda n: -alphas[n])
    solved = [(np.linalg.pinv(gram, hermitian=True) @ cross).T] * len(least)
    if rest and len(live):
        solved += [*_paths(joint, len(live), [float(alphas[n]) for n in rest], tolerance)]
    for number, weights in zip(least + rest, solved, strict=False):
        found[number][:, live] = weights
    return SparseMaps(np.array(alphas, np.float64), found, sources, targets)


def _paths(joint: np.ndarray, p: int, alphas: list[float], tolerance: float) -> np.ndarray:
    """Weights (A, q, p) for alphas in falling order; joint (p + q, p + q) correlations."""
    try:
        from sklearn.linear_model import lasso_path  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("scikit-learn", "analysis", "LASSO") from None
    values, vectors = np.linalg.eigh(joint)
    # rows of F sqrt(R), since scikit-learn divides by their number R
    rows = (vectors * np.sqrt(np.maximum(values, 0) * len(joint))).T
    x = np.asfortranarray(rows[:, :p])
    gram, cross = x.T @ x, x.T @ rows[:, p:]
    solve: Any = lasso_path  # its stub knows strings alone
    return np.stack(
        [
            solve(
                x, np.ascontiguousarray(rows[:, p + t]), alphas=alphas, precompute=gram,
                Xy=np.ascontiguousarray(cross[:, t]), tol=tolerance, max_iter=100_000,
            )[1].T
            for t in range(rows.shape[1] - p)
        ],
        axis=1,
    )  # fmt: skip


@one_blas_thread
def losses(maps: SparseMaps, fitted: Moments, held: Moments | None = None) -> np.ndarray:
    """Half the normalised mean squared error (A, q) of each map on the data behind `held`.

    fitted: the moments that standardised the units; held None: the same data. Exact, since the
    error is linear in them: with z = (v - mean) / std and r = y_z - w' x_z,
    E r^2 = var r + (E r)^2. A dead target counts as NaN. Raises ShapeError for moments of other
    columns, or of no rows.
    """
    held = fitted if held is None else held
    if held.mean.shape != fitted.mean.shape or not held.count:
        raise ShapeError(
            f"losses on moments of {held.count} rows of {len(held.mean)} columns; the maps were "
            f"fitted on {len(fitted.mean)} columns"
        )
    used = np.concatenate([maps.sources, maps.targets])
    scale = fitted.std[used]
    scale = np.where(scale > 0, scale, np.inf)
    shift = (held.mean - fitted.mean)[used] / scale
    second = held.comoment[np.ix_(used, used)] / held.count / scale / scale[:, None]
    second += np.outer(shift, shift)
    p = len(maps.sources)
    found = np.empty(maps.weights.shape[:2])
    for number, w in enumerate(maps.weights):
        explained = (w @ second[:p, p:]).diagonal()
        found[number] = np.diag(second)[p:] - 2 * explained + ((w @ second[:p, :p]) * w).sum(axis=1)
    return np.where(fitted.alive[maps.targets], found / 2, np.nan)


def _columns(moments: Moments, given: Sequence[int] | np.ndarray) -> np.ndarray:
    columns, known = np.asarray(given), np.arange(len(moments.mean))
    whole = columns.dtype.kind in "iu"  # a mask would read as columns 0 and 1
    if columns.ndim != 1 or not len(columns) or not whole or not np.isin(columns, known).all():
        raise ShapeError(
            f"columns of shape {columns.shape} out of moments of {len(known)}; "
            "give the numbers of some"
        )
    return columns.astype(np.int64)
