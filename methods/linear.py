"""Dense linear algebra in float64 whose bits do not depend on how many threads a BLAS has.

NumPy's and SciPy's factorisations hand large products to a BLAS that cuts them by its threads, so
the last bits, and with them a whole training run, differ from machine to machine. What enters a
result is therefore factorised here, by NumPy's elementwise arithmetic and `einsum`, in one order.
That costs a few times LAPACK's time, once a task or a figure. LAPACK itself is asked where a matrix
has at most SMALL rows: no BLAS shares those out.
"""

from __future__ import annotations

import math

import numpy as np

SMALL = 64
_ROWS = 32  # updated at a time, so that they stay in cache
_EPS = float(np.finfo(np.float64).eps)


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a b of matrices (..., M, K) and (..., K, N)."""
    return np.einsum("...ik,...kj->...ij", a, b)


def orthogonal(z: np.ndarray) -> np.ndarray:
    """Q (n, n) of z = Q R with R's diagonal above 0, by Householder's reflections; z regular."""
    a, n = z.astype(np.float64), len(z)
    mirrors, signs = [], np.ones(n)
    for k in range(n):
        v, along = _mirror(a[k:, k])
        signs[k] = math.copysign(1.0, along)
        _reflect(a[k:, k + 1 :], v)
        mirrors.append(v)
    q = np.eye(n)
    for k in reversed(range(n)):
        _reflect(q[k:, k:], mirrors[k])
    return q * signs


def _mirror(x: np.ndarray) -> tuple[np.ndarray, float]:
    """(v, s) with |v| = 1 and (I - 2 v v') x = s e_1; v is 0 where x needs no turning."""
    v, s = x.copy(), -math.copysign(math.sqrt((x * x).sum()), x[0])
    v[0] -= s
    size = math.sqrt((v * v).sum())
    return (v / size, s) if size else (v, 0.0)


def _reflect(a: np.ndarray, v: np.ndarray) -> None:
    """a <- (I - 2 v v') a."""
    w = 2 * np.einsum("i,ij->j", v, a)
    for lo in range(0, len(a), _ROWS):
        a[lo : lo + _ROWS] -= v[lo : lo + _ROWS, None] * w


def solve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """x with a x = b, (n,) or (n, m), a (n, n) symmetric, positive semi-definite, by Cholesky.

    Where a row is, to rounding, a sum of those before it, its unknown is 0: then one of the
    solutions comes out, if there is any.
    """
    l, n = a.astype(np.float64), len(a)  # noqa: E741 - its name in the field
    least = _EPS * n * np.diag(a)
    x = b.astype(np.float64).reshape(n, -1)
    for k in range(n):
        if l[k, k] <= least[k]:
            l[k:, k] = 0
            continue
        l[k:, k] /= math.sqrt(l[k, k])
        x[k] /= l[k, k]
        x[k + 1 :] -= l[k + 1 :, k, None] * x[k]
        for lo in range(k + 1, n, _ROWS):
            hi = lo + _ROWS
            l[lo:hi, k + 1 : hi] -= l[lo:hi, k, None] * l[k + 1 : hi, k]
    for k in reversed(range(n)):
        x[k] = x[k] / l[k, k] if l[k, k] else 0.0
        x[:k] -= l[k, :k, None] * x[k]
    return x.reshape(b.shape)


def least_squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """x (n,) with a x = b (n,) as `solve`; the shortest of several where n is at most SMALL."""
    return np.linalg.lstsq(a, b, rcond=None)[0] if len(a) <= SMALL else solve(a, b)


# ---- symmetric eigenproblems ---------------------------------------------------------------------


def eigenvalues(a: np.ndarray) -> np.ndarray:
    """The eigenvalues (n,) of a symmetric matrix (n, n), ascending."""
    if len(a) <= SMALL:
        return np.linalg.eigvalsh(a)
    return _of_tridiagonal(*_tridiagonal(a))


def _tridiagonal(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal (n,) and the numbers beside it (n - 1,), by Householder's reflections."""
    a, n = a.astype(np.float64), len(a)
    beside = np.empty(n - 1)
    for k in range(n - 1):
        v, beside[k] = _mirror(a[k + 1 :, k])
        rest = a[k + 1 :, k + 1 :]
        w = np.einsum("i,ij->j", v, rest)
        w = 2 * (w - v * (v * w).sum())
        for lo in range(0, len(v), _ROWS):
            rows = slice(lo, lo + _ROWS)
            rest[rows] -= v[rows, None] * w + w[rows, None] * v
    return np.diag(a).copy(), beside


def _of_tridiagonal(diagonal: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """Its eigenvalues (n,): all intervals halved together by Sturm counts (Givens)."""
    squares = np.append(0.0, beside * beside)
    reach = np.abs(np.append(0.0, beside)) + np.abs(np.append(beside, 0.0))
    low, high = (diagonal - reach).min(), (diagonal + reach).max()
    tiny = max(_EPS * max(abs(low), abs(high)), np.finfo(np.float64).tiny) * _EPS
    lo, hi = np.full(len(diagonal), low), np.full(len(diagonal), high)
    number = np.arange(len(diagonal))
    for _ in range(54):  # a float64's digits
        middle = (lo + hi) / 2
        below, d = np.zeros(len(diagonal), np.int64), np.ones(len(diagonal))
        for centre, square in zip(diagonal, squares, strict=True):
            d = centre - middle - square / d
            d[np.abs(d) < tiny] = -tiny
            below += d < 0
        right = below > number  # more than `number` lie below the middle: so does this one
        lo, hi = np.where(right, lo, middle), np.where(right, middle, hi)
    return np.sort((lo + hi) / 2)


def eigenvectors(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (n,), ascending, and vectors (n, n) in columns of a symmetric matrix (n, n).

    By Jacobi's rotations, n / 2 disjoint ones at a time: for matrices of some hundred rows.
    """
    if len(a) <= SMALL:
        values, vectors = np.linalg.eigh(a)
        return values, vectors
    a, n = a.astype(np.float64), len(a)
    vectors = np.eye(n)
    # below this it is rounding: turning by it would only mix the axes of equal eigenvalues
    least = _EPS * math.sqrt((a * a).sum())
    for _ in range(30):  # sweeps; each squares what is left, so ten will do
        turned = [_rotate(a, vectors, p, q, least) for p, q in _rounds(n)]
        if not any(turned):
            break
    order = np.argsort(np.diag(a), kind="stable")
    return np.diag(a)[order], vectors[:, order]


def _rounds(n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """All pairs below n in rounds of disjoint ones, as a tournament has them."""
    ring = np.arange(n + n % 2)
    rounds = []
    for _ in range(len(ring) - 1):
        p, q = ring[: len(ring) // 2], ring[::-1][: len(ring) // 2]
        both = (p < n) & (q < n)
        rounds.append((p[both], q[both]))
        ring = np.concatenate([ring[:1], ring[-1:], ring[1:-1]])
    return rounds


def _rotate(a: np.ndarray, vectors: np.ndarray, p: np.ndarray, q: np.ndarray, least: float) -> bool:
    """Turn each pair of axes (p, q) so that a[p, q] becomes 0; whether any was above `least`."""
    large = np.abs(a[p, q]) > least
    p, q = p[large], q[large]
    off, apart = 2 * a[p, q], a[q, q] - a[p, p]
    t = off / (apart + np.copysign(np.hypot(apart, off), apart))
    c = (1 / np.sqrt(1 + t * t))[:, None]
    s = c * t[:, None]
    for rows in (a, a.T, vectors.T):
        first, second = rows[p], rows[q]
        rows[p], rows[q] = c * first - s * second, s * first + c * second
    return bool(len(p))
