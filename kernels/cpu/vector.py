"""Matrix-vector products: one sample through a dense layer, which is as fast as its weights stream.

A matrix product routine would copy the weights into panels first, to use each of them once.
Sums are vectorised, so they may be reordered (`reassoc`); the order is still the same at each run.
"""

from __future__ import annotations

from .jit import kernel
from .tiles import serial

reordered = kernel(fastmath={"contract", "reassoc", "nsz"})


@reordered
def _dot4(x, a, b, c, d):
    """x . a, x . b, x . c, x . d: four rows at once keep memory busy."""
    p = q = r = s = x.dtype.type(0)
    for i in range(x.size):
        p += x[i] * a[i]
        q += x[i] * b[i]
        r += x[i] * c[i]
        s += x[i] * d[i]
    return p, q, r, s


@reordered
def _dot(x, a):
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i] * a[i]
    return total


@serial
def dot_rows(x, w, y, add):
    """y (O,) = w (O, I) x (I,), added to y where `add`."""
    o = 0
    while o + 4 <= y.size:
        p, q, r, s = _dot4(x, w[o], w[o + 1], w[o + 2], w[o + 3])
        if add:
            p, q, r, s = p + y[o], q + y[o + 1], r + y[o + 2], s + y[o + 3]
        y[o], y[o + 1], y[o + 2], y[o + 3] = p, q, r, s
        o += 4
    while o < y.size:
        p = _dot(x, w[o])
        y[o] = p + y[o] if add else p
        o += 1


@serial
def add4(p, a, q, b, r, c, s, d, y):
    """y += p a + q b + r c + s d, for vectors of one length."""
    for i in range(y.size):
        y[i] += p * a[i] + q * b[i] + r * c[i] + s * d[i]


@serial
def add1(p, a, y):
    """y += p a."""
    for i in range(y.size):
        y[i] += p * a[i]


@serial
def combine_rows(d, w, lo, hi, y):
    """y = columns lo to hi of d (O,) w (O, I); slicing w would lose that its rows are dense."""
    y[:] = 0
    o = 0
    while o + 4 <= d.size:
        a, b, e, f = w[o, lo:hi], w[o + 1, lo:hi], w[o + 2, lo:hi], w[o + 3, lo:hi]
        add4(d[o], a, d[o + 1], b, d[o + 2], e, d[o + 3], f, y)
        o += 4
    while o < d.size:
        add1(d[o], w[o, lo:hi], y)
        o += 1
