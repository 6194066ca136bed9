"""Sums of a few vectors, in one pass over where they are added up."""

from __future__ import annotations

from .fused import fma
from .tiles import inner


@inner
def add4(p, a, q, b, r, c, s, d, y):
    """y += p a + q b + r c + s d, in this order, for vectors of one length."""
    for i in range(y.size):
        y[i] = fma(s, d[i], fma(r, c[i], fma(q, b[i], fma(p, a[i], y[i]))))


@inner
def add1(p, a, y):
    """y += p a."""
    for i in range(y.size):
        y[i] = fma(p, a[i], y[i])
