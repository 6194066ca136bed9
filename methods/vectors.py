"""Inner products, norms and cosines of vectors of length P, taken where they lie.

Squares leave a dtype's range long before the numbers do: in float32 below 1e-19 and above 1e19.
So a vector whose largest magnitude is far from 1 is multiplied by a power of two first, which
rounds nothing, and the result is scaled back in float64. Ordinary vectors are taken as they are.
"""

from __future__ import annotations

import math

import numpy as np

from ..kernels.long_rows import products_of_pieces
from ..nnlite import Network


def exponents(net: Network, rows: np.ndarray) -> np.ndarray:
    """e (V,) int: rows (V, P) times 2^-e can be squared; 0 where a row already can, or is 0 or NaN.

    Within a row only what is 1e-15 of the largest and less may then still be lost.
    """
    most = net.device.get(np.maximum(rows.max(axis=1), -rows.min(axis=1)))
    return np.array([_exponent(float(one), rows.dtype) for one in most])


def _exponent(largest: float, dtype: np.dtype) -> int:
    if not 0 < largest < math.inf:
        return 0
    limit = -int(np.finfo(dtype).minexp)
    e = min(max(math.frexp(largest)[1], -limit), limit)
    return e if abs(e) > limit // 4 else 0


def times_power(rows: np.ndarray, e: np.ndarray | int) -> np.ndarray:
    """rows (..., P) times 2^e, e () or one a row; the same array where e is 0."""
    if not np.any(e):
        return rows
    found = rows.copy()
    flat = found.reshape(-1, rows.shape[-1])
    for row, power in enumerate(np.atleast_1d(e)):
        flat[row] *= rows.dtype.type(2.0 ** int(power))
    return found


def near_one(array: np.ndarray) -> np.ndarray:
    """array, on the host, times a power of two that lets it be squared: for what has no scale."""
    largest = float(np.abs(array).max(initial=0))
    e = _exponent(largest, array.dtype)
    return array * array.dtype.type(2.0**-e) if e else array


def scaled(net: Network, v: np.ndarray) -> tuple[np.ndarray, int]:
    """(v 2^-e, e) of a vector (P,): one whose square is no trouble. See `exponents`."""
    e = int(exponents(net, v[None])[0])
    return times_power(v, -e), e


def inner_products(net: Network, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a b' (U, V) of rows a (U, P) and b (V, P), in float64 on the host.

    In the network's dtype, by a kernel, in pieces (`kernels.long_rows`) that are added up in
    float64: in an order that does not depend on the number of threads.
    """
    left = exponents(net, a)
    right = left if b is a else exponents(net, b)
    a, b = times_power(a, -left), times_power(b, -right)
    total = np.zeros((len(a), len(b)))
    for products in products_of_pieces(net.ops, a, b):
        total += net.device.get(products)
    return np.ldexp(total, left[:, None] + right)


def inner(net: Network, a: np.ndarray, b: np.ndarray) -> float:
    """a . b of two vectors (P,)."""
    row = a[None]
    return float(inner_products(net, row, row if b is a else b[None])[0, 0])


def norm(net: Network, v: np.ndarray) -> float:
    """|v|, the L2 norm of a vector (P,)."""
    v, e = scaled(net, v)
    return float(np.ldexp(np.sqrt(inner(net, v, v)), e))


def cosine(net: Network, a: np.ndarray, b: np.ndarray) -> float:
    """a . b / |a| |b| of two vectors (P,), in -1..1; NaN where one is 0."""
    rows = np.stack([a, b])
    rows = times_power(rows, -exponents(net, rows))
    products = inner_products(net, rows, rows)
    size = math.sqrt(products[0, 0] * products[1, 1])
    return float(np.clip(products[0, 1] / size, -1, 1)) if size > 0 else math.nan
