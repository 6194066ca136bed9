"""Dense linear algebra in float64 whose bits do not depend on how many threads a BLAS has.

What enters a result is LAPACK's answer on one thread. It still depends on the BLAS's kernels, and
so on the kind of CPU, as the networks' own products do; factorisations in one fixed order of ours
would not, but take 7 (a rotation, 784 rows) to 200 times (all eigenvectors, 200 rows) as long.
"""

from __future__ import annotations

import numpy as np

from ..kernels.errors import NonFiniteError
from ..kernels.host_blas import one_blas_thread


@one_blas_thread
def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a b of matrices (..., M, K) and (..., K, N)."""
    return a @ b


@one_blas_thread
def orthogonal(z: np.ndarray) -> np.ndarray:
    """Q (n, n) of z = Q R with R's diagonal above 0, for a regular z."""
    q, r = np.linalg.qr(z)
    return q * np.sign(np.diag(r))


@one_blas_thread
def solve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """x with a x = b, (n,) or (n, m), for a (n, n); the least squares' where a is singular."""
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        return least_squares(a, b)


@one_blas_thread
def least_squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The shortest x that minimises |a x - b|."""
    return np.linalg.lstsq(a, b, rcond=None)[0]


@one_blas_thread
def eigenvalues(a: np.ndarray) -> np.ndarray:
    """The eigenvalues (n,) of a symmetric matrix (n, n), ascending. Raises NonFiniteError."""
    return np.linalg.eigvalsh(_finite(a))


@one_blas_thread
def eigenvectors(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (n,), ascending, and vectors (n, n) in columns of a symmetric matrix (n, n).

    Raises NonFiniteError.
    """
    values, vectors = np.linalg.eigh(_finite(a))
    return values, vectors


def _finite(a: np.ndarray) -> np.ndarray:
    if not np.isfinite(a).all():
        raise NonFiniteError(
            "a matrix that holds NaN or infinity has no eigenvalues; look at the weights and "
            "inputs that it comes from"
        )
    return a
