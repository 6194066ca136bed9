"""fma(a, b, c) = a b + c of NumPy's arrays, rounded once: what the processor's instruction gives.

float32: the product of two is exact in float64. Their sum with c is rounded to odd (cut off, and
where anything was cut off, the last bit set), and then to float32. Cutting off to p + 2 bits or
more this way and rounding to p afterwards is rounding the exact sum to p bits once: the odd bit
lies below the half way point, so it says "not exactly half" of every sum that is not. 53 >= 24 + 2,
and subnormal float32 numbers have fewer than 24 bits, so it holds for them, too.

float64: Boldo & Melquiond (2008), "Emulation of FMA and correctly rounded sums": a b = u + v and
the sum of u, v and c as s + z by error-free transformations; z, what is left, is rounded to odd,
and s + z rounds once. They are free of errors where nothing overflows and no product underflows;
elsewhere Python's fractions compute the number.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

LARGE, SMALL = 2.0**900, 2.0**-900  # between them no part of a product or sum over- or underflows
_SPLIT = 2.0**27 + 1


def fma(a: Any, b: Any, c: Any) -> np.ndarray:
    """a b + c, element by element with one rounding, in the dtype of c; shapes broadcast.

    a and b are arrays of that dtype, or numbers, which are rounded to it first.
    """
    c = np.asarray(c)
    a, b = np.asarray(a, c.dtype), np.asarray(b, c.dtype)
    with np.errstate(all="ignore"):
        return (_fma32 if c.dtype == np.float32 else _fma64)(a, b, c)


def chain(a: Any, b: Any, start: np.ndarray) -> np.ndarray:
    """acc = fma(a[k], b[k], acc) for k = 0, 1, 2, ..., acc beginning as `start`."""
    acc = start
    for factor, other in zip(a, b, strict=True):
        acc = fma(factor, other, acc)
    return acc


def _fma32(a, b, c):
    wide = np.float64
    return odd_sum(a.astype(wide) * b.astype(wide), c.astype(wide)).astype(np.float32)


def _two_sum(a, b):
    """s, e: s = a + b rounded, and s + e = a + b exactly (Knuth)."""
    s = a + b
    back = s - a
    return s, (a - (s - back)) + (b - back)


def _halves(a):
    """high + low = a, of 26 bits each (Veltkamp)."""
    large = _SPLIT * a
    high = large - (large - a)
    return high, a - high


def _two_product(a, b):
    """p, e: p = a b rounded, and p + e = a b exactly (Dekker)."""
    p = a * b
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


def odd_sum(a, b):
    """a + b of float64 rounded to odd: of the two numbers beside an inexact sum, the odd one."""
    s, e = _two_sum(a, b)
    bits = s.view(np.int64)
    wrong = (e != 0) & np.isfinite(e) & (bits & 1 == 0)
    step = np.where((e > 0) == (s > 0), 1, -1)  # away from zero, or towards it
    return (bits + np.where(wrong, step, 0)).view(np.float64)


def _fma64(a, b, c):
    a, b, c = np.broadcast_arrays(a, b, c)
    p = a * b
    plain = np.asarray(p + c)  # as it is where a factor is 0, infinite or NaN: then p is exact
    finite = np.isfinite(a) & np.isfinite(b)
    plain = np.where(finite & np.isinf(c), c, plain)  # even if p overflows to the other infinity
    proper = finite & np.isfinite(c) & (a != 0) & (b != 0)
    easy = proper & (abs(p) > SMALL) & (abs(p) < LARGE) & (abs(c) < LARGE)
    easy &= (abs(a) < LARGE) & (abs(b) < LARGE)
    found = np.where(easy, _boldo_melquiond(a, b, c), plain)
    hard = proper & ~easy
    if hard.any():
        found[hard] = [_rational(*terms) for terms in zip(a[hard], b[hard], c[hard], strict=True)]
    return found


def _boldo_melquiond(a, b, c):
    u, v = _two_product(a, b)
    t, rest = _two_sum(c, v)
    s, more = _two_sum(u, t)
    return s + odd_sum(rest, more)


def _rational(a: float, b: float, c: float) -> float:
    """a b + c of finite numbers, a b not 0, by exact arithmetic."""
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    try:
        return float(exact)  # correctly rounded; a sum that is 0 gives +0, as it should
    except OverflowError:
        return math.inf if exact > 0 else -math.inf
