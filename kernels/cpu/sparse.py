"""Sparse dense layers on the CPU: for each weight that is there, one row of samples added.

Meaning and arguments: `kernels.reference.sparse`. Four weights are added in one pass over the row
of sums, which then goes to the first cache a quarter as often. Small work stays on one thread: to
wake the others takes longer than 1,600 weights do.
"""

from __future__ import annotations

from numba import prange

from .activations import apply
from .fused import fma
from .tiles import inner, parallel, pieces, serial
from .vector import add1, add4

WIDTH = 256  # samples of a piece: sums and rows of x for them stay in the first cache
HEIGHT = 16  # rows of a piece
SMALL = 1 << 16  # multiplications that one thread does sooner than several


@inner
def _add_entries(x, columns, values, lo, hi, first, last, sums):
    """sums = the entries lo..hi of one row of W, times the samples first..last."""
    sums[:] = 0
    e = lo
    while e + 4 <= hi:
        p, q, r, s = x[columns[e]], x[columns[e + 1]], x[columns[e + 2]], x[columns[e + 3]]
        add4(
            values[e], p[first:last], values[e + 1], q[first:last],
            values[e + 2], r[first:last], values[e + 3], s[first:last], sums,
        )  # fmt: skip
        e += 4
    while e < hi:
        add1(values[e], x[columns[e]][first:last], sums)
        e += 1


@inner
def _go_on(x, columns, values, lo, hi, total):
    """total + the entries lo..hi of a row, times one sample x (I,)."""
    for e in range(lo, hi):
        total = fma(values[e], x[columns[e]], total)
    return total


@inner
def _four_rows(x, starts, columns, values, o, y):
    """y[o] to y[o + 3] for one sample: side by side, so that no sum waits for itself."""
    a, b, c, d, end = starts[o], starts[o + 1], starts[o + 2], starts[o + 3], starts[o + 4]
    p = q = r = s = values.dtype.type(0)
    common = min(b - a, c - b, d - c, end - d)
    for i in range(common):
        p = fma(values[a + i], x[columns[a + i]], p)
        q = fma(values[b + i], x[columns[b + i]], q)
        r = fma(values[c + i], x[columns[c + i]], r)
        s = fma(values[d + i], x[columns[d + i]], s)
    y[o] = _go_on(x, columns, values, a + common, b, p)
    y[o + 1] = _go_on(x, columns, values, b + common, c, q)
    y[o + 2] = _go_on(x, columns, values, c + common, d, r)
    y[o + 3] = _go_on(x, columns, values, d + common, end, s)


@serial
def _rows(x, starts, columns, values, b, act, slope, y, top, bottom, first, last):
    """Rows top..bottom of y, for the samples first..last."""
    for o in range(top, bottom):
        sums = y[o, first:last]
        _add_entries(x, columns, values, starts[o], starts[o + 1], first, last, sums)
        if b is not None:
            for n in range(sums.size):
                sums[n] += b[o]
        apply(act, slope, sums)


@serial
def _one_sample(x, starts, columns, values, b, act, slope, y):
    """x (I,), y (O,): the activation once for all of them, since a row is a single number."""
    four = y.size // 4 * 4
    for o in range(0, four, 4):
        _four_rows(x, starts, columns, values, o, y)
    for o in range(four, y.size):
        y[o] = _go_on(x, columns, values, starts[o], starts[o + 1], y.dtype.type(0))
    if b is not None:
        for o in range(y.size):
            y[o] += b[o]
    apply(act, slope, y)


@serial
def _one_thread(x, starts, columns, values, b, act, slope, y):
    for first in range(0, y.shape[1], WIDTH):
        last = min(first + WIDTH, y.shape[1])
        _rows(x, starts, columns, values, b, act, slope, y, 0, y.shape[0], first, last)


@parallel
def _threads(x, starts, columns, values, b, act, slope, y):
    rows, samples = y.shape
    across = pieces(samples, WIDTH)
    for t in prange(pieces(rows, HEIGHT) * across):
        top, first = t // across * HEIGHT, t % across * WIDTH
        bottom, last = min(top + HEIGHT, rows), min(first + WIDTH, samples)
        _rows(x, starts, columns, values, b, act, slope, y, top, bottom, first, last)


def sparse_dense_forward(x, starts, columns, values, b, act, slope, y):
    if y.shape[1] == 1:
        _one_sample(x.reshape(-1), starts, columns, values, b, act, slope, y.reshape(-1))
    elif values.size * y.shape[1] <= SMALL:
        _one_thread(x, starts, columns, values, b, act, slope, y)
    else:
        _threads(x, starts, columns, values, b, act, slope, y)
