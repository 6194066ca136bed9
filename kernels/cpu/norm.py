"""Batch normalisation on the CPU. Meaning, axes and arguments: `kernels.reference.norm`.

Every pass walks over blocks of rows, a register full of channels at a time. Sums over rows are made
in 64 parts, whatever the number of threads, and added up in their order.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from ..codes import IDENTITY, LEAKY_RELU, RELU
from .activations import activation_backward, apply, pull
from .fused import fma
from .simd import fill, lanes_in, load_part, store_part, where_positive
from .tiles import BLOCK, inner, parallel, pieces, serial

PARTS = 64  # of the rows, each with its own sums (2, C)


@inner
def _rows_of_block(channels):
    """Rows that make a block of work: BLOCK elements, or one row."""
    return max(BLOCK // channels, 1)


@inner
def _add_moments(x, middle, sums):
    """sums[0] += sum over rows of x - middle, sums[1] += the sum of its squares; x (R, C)."""
    one, channels = x.dtype.type(1), x.shape[1]
    base, first, second = x.ctypes.data, sums[0].ctypes.data, sums[1].ctypes.data
    for c in range(0, channels, lanes_in(one)):
        n = channels - c
        m = load_part(one, middle.ctypes.data, c, n)
        s, q = load_part(one, first, c, n), load_part(one, second, c, n)
        for r in range(x.shape[0]):
            d = load_part(one, base, r * channels + c, n) - m
            s = s + d
            q = fma(d, d, q)
        store_part(first, c, s, n)
        store_part(second, c, q, n)


@inner
def _rectifier(one, slope):
    """Vectors of the slope, of zeros, and of what is positive where there is a slope."""
    return fill(type(one)(slope)), fill(one - one), fill(type(one)(slope != 0))


@inner
def _add_products(x, middle, y, t, slope, plain, product):
    """plain += sum over rows of d, product += the sum of d (x - middle); x, y, t (R, C).

    d is t, and where y is given and not positive, slope t: the way back through a rectifier.
    A slope of 0 gives 0 whatever t is: a unit that is off passes no infinity on.
    """
    one, channels = x.dtype.type(1), x.shape[1]
    base, first, second = x.ctypes.data, plain.ctypes.data, product.ctypes.data
    low, nothing, leaks = _rectifier(one, slope)
    for c in range(0, channels, lanes_in(one)):
        n = channels - c
        m = load_part(one, middle.ctypes.data, c, n)
        s, q = load_part(one, first, c, n), load_part(one, second, c, n)
        for r in range(x.shape[0]):
            d = load_part(one, t.ctypes.data, r * channels + c, n)
            if y is not None:
                sign = load_part(one, y.ctypes.data, r * channels + c, n)
                d = where_positive(sign, d, where_positive(leaks, low * d, nothing))
            s = s + d
            q = fma(d, load_part(one, base, r * channels + c, n) - m, q)
        store_part(first, c, s, n)
        store_part(second, c, q, n)


@inner
def _normalise(x, mean, inverse, gamma, shift, y):
    """y = gamma (x - mean) inverse + shift, channel by channel; x, y (R, C)."""
    one, channels = x.dtype.type(1), x.shape[1]
    for c in range(0, channels, lanes_in(one)):
        n = channels - c
        m, b = load_part(one, mean.ctypes.data, c, n), fill(one - one)
        a = load_part(one, inverse.ctypes.data, c, n)
        if gamma is not None:
            a = a * load_part(one, gamma.ctypes.data, c, n)
            b = load_part(one, shift.ctypes.data, c, n)
        for r in range(x.shape[0]):
            at = r * channels + c
            value = fma(load_part(one, x.ctypes.data, at, n) - m, a, b)
            store_part(y.ctypes.data, at, value, n)


@parallel
def _statistics(x, sums, mean, var):
    rows, channels = x.shape
    block = _rows_of_block(channels)
    for part in prange(PARTS):
        lo, hi = part * rows // PARTS, (part + 1) * rows // PARTS
        mine = sums[part]
        mine[:] = 0
        if hi > lo:
            for start in range(lo, hi, block):
                _add_moments(x[start : min(start + block, hi)], x[lo], mine)
    for c in prange(channels):
        count, middle, square = 0, 0.0, 0.0  # of the parts so far: rows, mean, sum of squares
        for part in range(PARTS):
            lo, more = part * rows // PARTS, (part + 1) * rows // PARTS - part * rows // PARTS
            if more > 0:
                s = np.float64(sums[part, 0, c])
                away = x[lo, c] + s / more - middle
                square += (
                    sums[part, 1, c] - s * s / more + away * away * count * more / (count + more)
                )
                middle += away * more / (count + more)
                count += more
        mean[c], var[c] = middle, square / count


def norm_statistics(x, sums, mean, var):
    _statistics(x.reshape(-1, x.shape[2]), sums, mean, var)


@serial
def _moments(var, mean, eps, keep, share, share_of_var, running_mean, running_var, inverse):
    one = var.dtype.type(1)
    for c in range(var.size):
        inverse[c] = one / np.sqrt(var[c] + eps)
    if running_mean is not None:
        for c in range(var.size):
            running_mean[c] = running_mean[c] * keep + share * mean[c]
            running_var[c] = running_var[c] * keep + share_of_var * var[c]


def norm_moments(var, mean, eps, momentum, count, running_mean, running_var, inverse):
    real = var.dtype.type
    moves = running_mean is not None
    share_of_var = real(momentum * count / (count - 1)) if moves else real(0)
    shares = real(1 - momentum), real(momentum), share_of_var
    _moments(var, mean, real(eps), *shares, running_mean, running_var, inverse)


@parallel
def _forward(x, mean, inverse, gamma, shift, act, slope, y):
    rows, channels = x.shape
    block = _rows_of_block(channels)
    for p in prange(pieces(rows, block)):
        lo, hi = p * block, min((p + 1) * block, rows)
        part = y[lo:hi]
        _normalise(x[lo:hi], mean, inverse, gamma, shift, part)
        if act != IDENTITY:
            flat = part.reshape(-1)
            apply(act, slope, flat)


def norm_forward(x, mean, inverse, gamma, shift, act, slope, y):
    c = x.shape[2]
    _forward(x.reshape(-1, c), mean, inverse, gamma, shift, act, slope, y.reshape(-1, c))


@inner
def _add_block(x, mean, y, t, slope, lo, hi, sums):
    part = None if y is None else y[lo:hi]
    _add_products(x[lo:hi], mean, part, t[lo:hi], slope, sums[0], sums[1])


@parallel
def _product_sums(x, mean, y, t, slope, sums):
    """sums[0] (2, C) = sum over rows of d and of d (x - mean), d as in `_add_products`."""
    rows, channels = x.shape
    block = _rows_of_block(channels)
    for part in prange(PARTS):
        lo, hi = part * rows // PARTS, (part + 1) * rows // PARTS
        mine = sums[part]
        mine[:] = 0
        for start in range(lo, hi, block):
            _add_block(x, mean, y, t, slope, start, min(start + block, hi), mine)
    total = sums[0]
    for part in range(1, PARTS):
        more = sums[part]
        for c in range(channels):
            total[0, c] += more[0, c]
            total[1, c] += more[1, c]


@inner
def _through(x, mean, inverse, gamma, y, t, slope, sums, tgamma, tshift, lo, hi, stack, out):
    """out = gamma inverse (d - k - (x - mean) l) + tgamma (x - mean) inverse + tshift.

    For rows lo to hi of x (R, C), and of the rows of t and out that begin at row `stack`; d from t
    as in `_add_products`. With the batch's own statistics (sums given) k is the mean of d and l
    that of d (x - mean), times inverse^2; else both are 0. t, and what belongs to the parameters,
    may be None.
    """
    one, channels = x.dtype.type(1), x.shape[1]
    share = one / x.dtype.type(x.shape[0])
    low, nothing, leaks = _rectifier(one, slope)
    for c in range(0, channels, lanes_in(one)):
        n = channels - c
        m, v = load_part(one, mean.ctypes.data, c, n), load_part(one, inverse.ctypes.data, c, n)
        a, k, f, h = v, nothing, nothing, nothing
        if gamma is not None:
            a = v * load_part(one, gamma.ctypes.data, c, n)
        if sums is not None:
            k = share * load_part(one, sums[0].ctypes.data, c, n)
            f = nothing - a * v * v * (share * load_part(one, sums[1].ctypes.data, c, n))
        if tgamma is not None:
            f = fma(v, load_part(one, tgamma.ctypes.data, c, n), f)
            h = load_part(one, tshift.ctypes.data, c, n)
        for r in range(lo, hi):
            at = (stack + r) * channels + c
            value = fma(load_part(one, x.ctypes.data, r * channels + c, n) - m, f, h)
            if t is not None:
                d = load_part(one, t.ctypes.data, at, n)
                if y is not None:
                    sign = load_part(one, y.ctypes.data, r * channels + c, n)
                    d = where_positive(sign, d, where_positive(leaks, low * d, nothing))
                value = fma(a, d - k, value)
            store_part(out.ctypes.data, at, value, n)


@inner
def _finish(act, slope, y, lo, hi, stack, out):
    """out = f'(y) out for rows lo to hi of y (R, C)."""
    part = out[stack + lo : stack + hi].reshape(-1)
    pull(act, slope, y[lo:hi].reshape(-1), part, part)


@parallel
def _push_through(x, mean, inverse, gamma, y, t, slope, sums, tgamma, tshift, act, z, out):
    """`_through` for all rows; t may be stacked, (V R, C), if nothing else moves.

    y: the rectifier's output that t comes back through; z: the output of activation `act` that
    `out` goes forward through. Both may be None.
    """
    rows, channels = x.shape
    block = _rows_of_block(channels)
    each = pieces(rows, block)
    for p in prange(pieces(out.shape[0], max(rows, 1)) * each):
        lo, stack = p % each * block, p // each * rows
        hi = min(lo + block, rows)
        _through(x, mean, inverse, gamma, y, t, slope, sums, tgamma, tshift, lo, hi, stack, out)
        if z is not None:
            _finish(act, slope, z, lo, hi, stack, out)


@serial
def _put_sums(inverse, beta, sums, dgamma, dshift):
    zero = inverse.dtype.type(0)
    for c in range(inverse.size):
        g, s = sums[1, c] * inverse[c], sums[0, c]
        dgamma[c] = g + (beta * dgamma[c] if beta != zero else zero)
        dshift[c] = s + (beta * dshift[c] if beta != zero else zero)


def norm_backward(
    x, mean, inverse, gamma, y, dy, act, slope, batch, beta, sums, dgamma, dshift, dx
):
    c = x.shape[2]
    flat, dz, out = x.reshape(-1, c), dy.reshape(-1, c), dx.reshape(-1, c)
    sign = None
    if act in (RELU, LEAKY_RELU):  # on the way, twice: cheaper than to write and read it
        sign, slope = y.reshape(-1, c), slope if act == LEAKY_RELU else 0.0
    elif act != IDENTITY:
        activation_backward(act, slope, y, dy, dx)
        dz = out
    if batch or dgamma is not None:
        _product_sums(flat, mean, sign, dz, slope, sums)
    if dgamma is not None:
        _put_sums(inverse, x.dtype.type(beta), sums[0], dgamma, dshift)
    kept = sums[0] if batch else None
    _push_through(
        flat, mean, inverse, gamma, sign, dz, slope, kept, None, None, IDENTITY, None, out
    )


def norm_tangent(x, mean, inverse, gamma, y, tx, tgamma, tshift, act, slope, batch, sums, ty):
    c = x.shape[2]
    flat, out = x.reshape(-1, c), ty.reshape(-1, c)
    moved = None if tx is None else tx.reshape(-1, c)
    kept = None
    if batch and moved is not None:
        _product_sums(flat, mean, None, moved, 0.0, sums)
        kept = sums[0]
    z = None if act == IDENTITY else y.reshape(-1, c)
    _push_through(flat, mean, inverse, gamma, None, moved, slope, kept, tgamma, tshift, act, z, out)


@inner
def _sample_sums(x, mean, inverse, dz, sums):
    """sums (2, C): a sample's gradients of shift and of gamma; x, dz (T, C)."""
    sums[:] = 0
    _add_products(x, mean, None, dz, 0.0, sums[0], sums[1])
    second = sums[1]
    for c in range(inverse.size):
        second[c] *= inverse[c]


@parallel
def norm_sample_grads(x, mean, inverse, dz, dgamma, dshift):
    for n in prange(x.shape[0]):
        g, s = dgamma[n], dshift[n]
        g[:] = 0
        s[:] = 0
        _add_products(x[n], mean, None, dz[n], 0.0, s, g)
        for c in range(inverse.size):
            g[c] *= inverse[c]


@inner
def _add_power(power, values, total):
    for c in range(total.size):
        if power == 2:
            total[c] = fma(values[c], values[c], total[c])
        else:
            total[c] += abs(values[c])


@parallel
def norm_accumulate(x, mean, inverse, dz, power, sums, dgamma, dshift):
    samples = x.shape[0]
    groups = min(samples, PARTS // 2)  # each has sums of its own, and room for one sample's
    for group in prange(groups):
        mine, one = sums[2 * group], sums[2 * group + 1]
        mine[:] = 0
        for n in range(group * samples // groups, (group + 1) * samples // groups):
            for v in range(dz.shape[0]):
                _sample_sums(x[n], mean, inverse, dz[v, n], one)
                _add_power(power, one[0], mine[0])
                _add_power(power, one[1], mine[1])
    for group in range(groups):
        for c in range(inverse.size):
            dshift[c] += sums[2 * group, 0, c]
            dgamma[c] += sums[2 * group, 1, c]


@inner
def _add_magnitudes(x, mean, y, sums):
    """sums[0] += sum over rows of |y|, sums[1] += the sum of |x - mean|."""
    for r in range(x.shape[0]):
        row, out = x[r], y[r]
        for c in range(mean.size):
            sums[0, c] += abs(out[c])
            sums[1, c] += abs(row[c] - mean[c])


@parallel
def _signal(x, mean, inverse, gamma, y, sums, dgamma, dshift):
    rows = x.shape[0]
    for part in prange(PARTS):
        lo, hi = part * rows // PARTS, (part + 1) * rows // PARTS
        sums[part][:] = 0
        _add_magnitudes(x[lo:hi], mean, y[lo:hi], sums[part])
    for part in range(PARTS):
        for c in range(mean.size):
            dshift[c] += sums[part, 0, c]
            dgamma[c] = fma(abs(gamma[c]) * inverse[c], sums[part, 1, c], dgamma[c])


def norm_signal(x, mean, inverse, gamma, y, sums, dgamma, dshift):
    c = x.shape[2]
    _signal(x.reshape(-1, c), mean, inverse, gamma, y.reshape(-1, c), sums, dgamma, dshift)
