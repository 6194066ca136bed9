"""The largest eigenvalues of a symmetric operator that is only known by its products.

Lanczos with thick restarts (Wu & Simon 2000), every vector made orthogonal to all others twice.
SciPy's ARPACK would need an extra, and refuses a zero operator and to find all eigenvalues.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..kernels.errors import SettingError
from ..kernels.host_blas import one_blas_thread
from ..nnlite.init import generator
from .linear import eigenvectors

_RESTARTS = 300
_KEY = 0x1A2C


@one_blas_thread
def lanczos(
    product: Callable[[np.ndarray], np.ndarray], size: int, count: int, tolerance: float = 1e-12
) -> np.ndarray:
    """The `count` largest eigenvalues, largest first, of v (size,) -> product(v), symmetric.

    tolerance: of a pair's residual, as a share of the largest; no less than the product's own
    rounding, or it is never met. An eigenvalue's error is about its square.

    Raises SettingError where they have not settled after 300 restarts.
    """
    most = min(size, max(2 * count + 1, 20))
    basis, small = np.zeros((most, size)), np.zeros((most, most))
    basis[0] = 1 / math.sqrt(size)
    kept, beta, rest = 0, 0.0, basis[0]
    for restart in range(_RESTARTS):
        for j in range(kept, most):
            along, rest = _apart(product(basis[j]), basis[: j + 1])
            small[: j + 1, j] = small[j, : j + 1] = along
            beta = math.sqrt((rest * rest).sum())
            if beta <= 1e-14 * np.abs(along).max():  # what was found so far goes nowhere else
                beta, rest = 0.0, _fresh(basis[: j + 1], restart, j)
            if j + 1 < most:
                basis[j + 1] = rest / math.sqrt((rest * rest).sum())
        values, vectors = (part[..., ::-1] for part in eigenvectors(small))
        doubt = beta * np.abs(vectors[-1, :count])
        if most == size or (doubt <= tolerance * np.abs(values).max()).all():
            return values[:count].copy()
        kept = count + (most - count) // 2
        basis[:kept] = vectors[:, :kept].T @ basis
        small[...] = 0
        small[np.arange(kept), np.arange(kept)] = values[:kept]
        basis[kept] = rest / math.sqrt((rest * rest).sum())
    raise SettingError(
        f"{count} eigenvalues have not settled after {_RESTARTS} restarts: ask fewer"
    )


def _apart(w: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """w's parts along the rows of `basis`, and what is left of it; taken twice."""
    total = np.zeros(len(basis))
    for _ in range(2):
        along = basis @ w
        w = w - along @ basis
        total += along
    return total, w


def _fresh(basis: np.ndarray, *key: int) -> np.ndarray:
    """A direction orthogonal to the rows of `basis`, while there is one."""
    drawn = np.asarray(generator(_KEY, *key).normal(size=basis.shape[1]))
    left = _apart(drawn, basis)[1]
    return left if len(basis) < basis.shape[1] else drawn
