"""Pooling on the CPU; every sample belongs to one thread. Meaning: `kernels.reference.pool`."""

from __future__ import annotations

from numba import prange

from .fused import fma
from .simd import fill, lanes_in, load_part, store_part, store_places, where_larger
from .tiles import inner, parallel


@inner
def _largest_row(image, i, window, stride, padding, index, y):
    """Row i of the outputs of one image; NaN beats all, and of equal values the first one wins."""
    one, channels = y.dtype.type(1), y.shape[1]
    base, line = image.ctypes.data, image.shape[1] * channels
    top = i * stride[0] - padding[0]
    for j in range(y.shape[0]):
        left = j * stride[1] - padding[1]
        first, last = max(-top, 0), min(window[0], image.shape[0] - top)
        begin, end = max(-left, 0), min(window[1], image.shape[1] - left)
        for c in range(0, channels, lanes_in(one)):
            n = channels - c
            at = (top + first) * line + (left + begin) * channels + c
            best = load_part(one, base, at, n)
            where = fill(y.dtype.type(first * window[1] + begin))
            for r in range(first, last):
                for s in range(begin, end):
                    at = (top + r) * line + (left + s) * channels + c
                    pixel, place = (
                        load_part(one, base, at, n),
                        fill(y.dtype.type(r * window[1] + s)),
                    )
                    where = where_larger(pixel, best, place, where)
                    best = where_larger(pixel, best, pixel, best)
            store_part(y.ctypes.data, j * channels + c, best, n)
            store_places(index.ctypes.data, j * channels + c, where, n)


@parallel
def max_pool_forward(x, window, stride, padding, index, y):
    rows = y.shape[1]
    for t in prange(y.shape[0] * rows):
        n, i = t // rows, t % rows
        _largest_row(x[n], i, window, stride, padding, index[n, i], y[n, i])


@inner
def _give_back(index, dy, i, window, stride, padding, dx):
    """Add row i of dy to where its values came from."""
    top = i * stride[0] - padding[0]
    for j in range(dy.shape[0]):
        left = j * stride[1] - padding[1]
        for c in range(dy.shape[1]):
            place = index[j, c]
            dx[top + place // window[1], left + place % window[1], c] += dy[j, c]


@inner
def _give_back_apart(index, dy, window, stride, dx):
    """All of dx (H, W, C) for windows that lie side by side: each pixel is its window's or none's.

    Written tap by tap, so that channels are what is looped over. A pixel is its sum from 0, as
    where windows overlap: of -0 that is 0.
    """
    zero = dx.dtype.type(0)
    for i in range(dy.shape[0]):
        for j in range(dy.shape[1]):
            where, given = index[i, j], dy[i, j]
            for r in range(window[0]):
                for s in range(window[1]):
                    pixel = dx[i * stride[0] + r, j * stride[1] + s]
                    place = r * window[1] + s
                    for c in range(pixel.size):
                        pixel[c] = zero + given[c] if where[c] == place else zero


@parallel
def max_pool_backward(index, dy, window, stride, padding, dx):
    samples = index.shape[0]
    apart = window[0] == stride[0] and window[1] == stride[1]
    apart = apart and padding[0] == 0 and padding[1] == 0
    height, width = dy.shape[1] * stride[0], dy.shape[2] * stride[1]
    apart = apart and height <= dx.shape[1] and width <= dx.shape[2]  # none hangs over the end
    whole = height == dx.shape[1] and width == dx.shape[2]
    for n in prange(dy.shape[0]):
        if not (apart and whole):
            dx[n] = 0
        if apart:
            _give_back_apart(index[n % samples], dy[n], window, stride, dx[n])
        else:
            for i in range(dy.shape[1]):
                _give_back(index[n % samples, i], dy[n, i], i, window, stride, padding, dx[n])


@parallel
def max_pool_tangent(index, tx, window, stride, padding, ty):
    rows = ty.shape[1]
    for t in prange(ty.shape[0] * rows):
        n, i = t // rows, t % rows
        top = i * stride[0] - padding[0]
        for j in range(ty.shape[2]):
            left = j * stride[1] - padding[1]
            for c in range(ty.shape[3]):
                place = index[n, i, j, c]
                ty[n, i, j, c] = tx[n, top + place // window[1], left + place % window[1], c]


@inner
def _mean_of(image, rows, columns, y):
    y[:] = 0
    for row in range(rows[0], rows[1]):
        for column in range(columns[0], columns[1]):
            pixel = image[row, column]
            for c in range(y.size):
                y[c] += pixel[c]
    share = y.dtype.type(1) / y.dtype.type(rows[2] * columns[2])
    for c in range(y.size):
        y[c] *= share


@parallel
def average_pool_forward(x, rows, columns, y):
    for n in prange(x.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                _mean_of(x[n], rows[i], columns[j], y[n, i, j])


@inner
def _share_out(dy, share, pixel):
    for c in range(pixel.size):
        pixel[c] = fma(share, dy[c], pixel[c])


@parallel
def average_pool_backward(dy, rows, columns, dx):
    one = dx.dtype.type(1)
    for n in prange(dy.shape[0]):
        image = dx[n]
        image[:] = 0
        for i in range(dy.shape[1]):
            top, bottom = rows[i, 0], rows[i, 1]
            for j in range(dy.shape[2]):
                left, right = columns[j, 0], columns[j, 1]
                share = one / dx.dtype.type(rows[i, 2] * columns[j, 2])
                for row in range(top, bottom):
                    for column in range(left, right):
                        _share_out(dy[n, i, j], share, image[row, column])
