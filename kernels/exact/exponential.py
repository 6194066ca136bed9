"""exp, tanh and log as the cpu backend has them, step by step; `kernels.series` has the numbers."""

from __future__ import annotations

import numpy as np

from ..series import FLOAT32, FLOAT64, LN2, LOG2E, MIDDLE
from .fused import fma


def _kinds(x):
    """The series, float type and integer type that go with x's dtype."""
    if x.dtype == np.float32:
        return FLOAT32, np.float32, np.int32
    return FLOAT64, np.float64, np.int64


def _power_of_two(n, x):
    series, real, whole = _kinds(x)
    return ((n + whole(series.bias)) << whole(series.digits)).view(real)


def _reduce(x):
    """(exp(r) - 1, n) of x = n ln 2 + r."""
    series, real, whole = _kinds(x)
    magic = real(series.magic)
    x = np.where(x < real(series.least), real(series.least), x)  # this way round, NaN stays NaN
    x = np.where(x > real(series.most), real(series.most), x)
    t = fma(x, LOG2E, np.full_like(x, magic))
    n = t - magic
    r = fma(-n, series.low, fma(-n, series.high, x))
    p = np.full_like(x, series.polynomial[0])
    for c in series.polynomial[1:]:
        p = fma(p, r, np.full_like(x, c))
    return fma(p * r, r, r), t.view(whole) - magic.view(whole)


def exp(x):
    """e^x in the dtype of x, an array of at least one axis."""
    with np.errstate(all="ignore"):
        p, n = _reduce(x)
        half = n >> 1
        return (p + x.dtype.type(1)) * _power_of_two(half, x) * _power_of_two(n - half, x)


def _expm1_negative(x):
    """e^x - 1 for x <= 0."""
    p, n = _reduce(x)
    half = n >> 1
    scale = _power_of_two(half, x) * _power_of_two(n - half, x)
    return fma(scale, p, scale - x.dtype.type(1))


def tanh(x):
    """tanh x = -m / (m + 2) with m = exp(-2 x) - 1 for x >= 0, and odd."""
    two = x.dtype.type(2)
    with np.errstate(all="ignore"):
        m = _expm1_negative(-two * abs(x))
        return np.copysign(m / (m + two), x)


def log(x):
    """ln x for positive, normal x: e ln 2 + 2 atanh(s), s = (m - 1) / (m + 1). NaN gives NaN."""
    series, real, whole = _kinds(x)
    one, digits = real(1), whole(series.digits)
    with np.errstate(all="ignore"):
        bits = x.view(whole)
        e = (bits - real(MIDDLE).view(whole)) >> digits
        m = (bits - (e << digits)).view(real)
        s = (m - one) / (m + one)
        square = s * s
        p = np.zeros_like(x)
        for c in series.logarithm:
            p = fma(p, square, np.full_like(x, c))
        value = fma(e.astype(real), LN2, fma((s + s) * square, p, s + s))
        return np.where(np.isnan(x), x, value)
