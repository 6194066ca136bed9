"""Matrix-vector products: one sample through a dense layer, which is as fast as its weights stream.

A matrix product routine would copy the weights into panels first, to use each of them once.

    sum over i of x[i] a[i]: lane l of a LINE sums i = l, l + L, l + 2 L, ... in this order by fma
    (L = 16 in float32, 8 in float64); then the lanes are added up in halves (`simd.lane_sum`).

The order is written here, not chosen by LLVM: it is the same whatever the machine's registers.
"""

from __future__ import annotations

from .fused import fma
from .simd import LINE, lane_sum, load_line, load_line_part, size_of
from .tiles import serial


@serial
def _dot4(one, x, a, apart, count):
    """x . a for the row of `count` numbers at address a and for the three after it, `apart` bytes
    from one to the next: four at once keep memory busy."""
    b, c, d = a + apart, a + 2 * apart, a + 3 * apart
    p = q = r = s = load_line_part(one, x, 0, 0)
    step = LINE // size_of(one)
    i = 0
    while i + step <= count:
        v = load_line(one, x, i)
        p = fma(v, load_line(one, a, i), p)
        q = fma(v, load_line(one, b, i), q)
        r = fma(v, load_line(one, c, i), r)
        s = fma(v, load_line(one, d, i), s)
        i += step
    if i < count:
        v = load_line_part(one, x, i, count - i)
        p = fma(v, load_line_part(one, a, i, count - i), p)
        q = fma(v, load_line_part(one, b, i, count - i), q)
        r = fma(v, load_line_part(one, c, i, count - i), r)
        s = fma(v, load_line_part(one, d, i, count - i), s)
    return lane_sum(p), lane_sum(q), lane_sum(r), lane_sum(s)


@serial
def _dot(one, x, a, count):
    p = load_line_part(one, x, 0, 0)
    step = LINE // size_of(one)
    i = 0
    while i + step <= count:
        p = fma(load_line(one, x, i), load_line(one, a, i), p)
        i += step
    if i < count:
        p = fma(load_line_part(one, x, i, count - i), load_line_part(one, a, i, count - i), p)
    return lane_sum(p)


@serial
def dot_rows(x, w, y, add):
    """y (O,) = w (O, I) x (I,), added to y where `add`; the rows of w dense, x too."""
    one, vector, apart = y.dtype.type(1), x.ctypes.data, w.strides[0]
    o = 0
    while o + 4 <= y.size:
        p, q, r, s = _dot4(one, vector, w.ctypes.data + o * apart, apart, x.size)
        if add:
            p, q, r, s = p + y[o], q + y[o + 1], r + y[o + 2], s + y[o + 3]
        y[o], y[o + 1], y[o + 2], y[o + 3] = p, q, r, s
        o += 4
    while o < y.size:
        p = _dot(one, vector, w.ctypes.data + o * apart, x.size)
        y[o] = p + y[o] if add else p
        o += 1


@serial
def add4(p, a, q, b, r, c, s, d, y):
    """y += p a + q b + r c + s d, in this order, for vectors of one length."""
    for i in range(y.size):
        y[i] = fma(s, d[i], fma(r, c[i], fma(q, b[i], fma(p, a[i], y[i]))))


@serial
def add1(p, a, y):
    """y += p a."""
    for i in range(y.size):
        y[i] = fma(p, a[i], y[i])


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
