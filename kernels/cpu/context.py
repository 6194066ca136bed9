"""Contexts and complex numbers on the CPU. Meaning: `kernels.reference.context`."""

from __future__ import annotations

from numba import prange

from .fused import fma
from .tiles import parallel, pieces, serial

ROWS = 16  # samples a thread takes at a time
ALONE = 1 << 17  # elements that one thread has done before others would have been woken
COLUMNS = 512  # features of a sum over samples that a thread takes at a time


@serial
def _rows(x, c, y, begin, end):
    for n in range(begin, end):
        row, out = x[n], y[n]
        for i in range(c.size):
            out[i] = row[i] * c[i]


@parallel
def _all_rows(x, c, y):
    for p in prange(pieces(x.shape[0], ROWS)):
        _rows(x, c, y, p * ROWS, min((p + 1) * ROWS, x.shape[0]))


@serial
def context_multiply(x, c, y):
    if x.size <= ALONE:
        _rows(x, c, y, 0, x.shape[0])
    else:
        _all_rows(x, c, y)


@parallel
def context_gradient(x, dy, beta, dc):
    factor = dc.dtype.type(beta)
    for p in prange(pieces(dc.size, COLUMNS)):
        lo, hi = p * COLUMNS, min((p + 1) * COLUMNS, dc.size)
        out = dc[lo:hi]
        for i in range(out.size):
            out[i] = 0 if beta == 0 else factor * out[i]
        for n in range(x.shape[0]):  # always in the order of the samples
            a, b = x[n, lo:hi], dy[n, lo:hi]
            for i in range(out.size):
                out[i] = fma(a[i], b[i], out[i])


@parallel
def complex_expand(x, c, z):
    features, last = x.shape[2], x.shape[1] - 1
    for n in prange(x.shape[0]):
        re, im = z[n, 0, :features], z[n, 0, features:]
        for i in range(features):
            a = x[n, 0, i]
            b = x[n, last, i] if last else x.dtype.type(0)
            if c is not None:
                a, b = fma(a, c[0, i], -(b * c[1, i])), fma(a, c[1, i], b * c[0, i])
            re[i], im[i] = a, -b
        if z.shape[1] == 2:
            for i in range(features):
                z[n, 1, i], z[n, 1, features + i] = -im[i], re[i]


@parallel
def complex_contract(dz, c, dx):
    features = dx.shape[2]
    for n in prange(dx.shape[0]):
        for i in range(features):
            re, im = dz[n, 0, i], -dz[n, 0, features + i]
            if dz.shape[1] == 2:
                re += dz[n, 1, features + i]
                im += dz[n, 1, i]
            if c is not None:
                re, im = fma(re, c[0, i], im * c[1, i]), fma(im, c[0, i], -(re * c[1, i]))
            dx[n, 0, i] = re
            if dx.shape[1] == 2:
                dx[n, 1, i] = im
