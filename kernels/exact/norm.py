"""Batch normalisation. Meaning, axes and arguments: `kernels.reference.norm`.

Sums over rows are made in 64 parts of the rows, cut by their number alone, and the parts are added
up in order: what the cpu backend's threads share, and what no number of them changes.
"""

from __future__ import annotations

import numpy as np

from ..codes import IDENTITY, LEAKY_RELU, RELU
from .activations import apply, pull
from .dense import raised
from .fused import fma

PARTS = 64


def _cut(rows):
    """Where each part begins and ends."""
    edges = np.arange(PARTS + 1) * rows // PARTS
    return edges[:-1], edges[1:]


def _in_parts(d, e):
    """(the sums of d's rows, chains of d e), a part each, (64, C); row after row from +0."""
    lo, hi = _cut(len(d))
    plain, product = np.zeros((2, PARTS, d.shape[1]), d.dtype)
    for r in range(int((hi - lo).max(initial=0))):
        there = lo + r < hi
        rows = (lo + r)[there]
        plain[there] += d[rows]
        product[there] = fma(d[rows], e[rows], product[there])
    return plain, product


def _added(parts):
    """The parts in order, beginning with the first."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def norm_statistics(x, sums, mean, var):
    """Each part sums the differences to its first row, and their squares; parts are merged in
    float64 (Chan et al.), mean and var rounded in the end."""
    x = x.reshape(-1, x.shape[2])
    lo, hi = _cut(len(x))
    first = np.repeat(x[lo[hi > lo]], (hi - lo)[hi > lo], axis=0)
    plain, squares = _in_parts(x - first, x - first)
    count, middle, square = 0, np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for part in range(PARTS):
        more = int(hi[part] - lo[part])
        if more:
            s, q = plain[part].astype(np.float64), squares[part].astype(np.float64)
            away = x[lo[part]].astype(np.float64) + s / more - middle
            square += q - s * s / more + away * away * count * more / (count + more)
            middle += away * more / (count + more)
            count += more
    mean[...], var[...] = middle, square / count


def norm_moments(var, mean, eps, momentum, count, running_mean, running_var, inverse):
    """inverse = 1 / sqrt(var + eps); running = running keep + share new, each step rounded."""
    real = var.dtype.type
    inverse[...] = real(1) / np.sqrt(var + real(eps))
    if running_mean is not None:
        keep, share = real(1 - momentum), real(momentum)
        running_mean[...] = running_mean * keep + share * mean
        running_var[...] = running_var * keep + real(momentum * count / (count - 1)) * var


def norm_forward(x, mean, inverse, gamma, shift, act, slope, y):
    """y = f(fma(x - mean, inverse gamma, shift))."""
    a, b = inverse, np.zeros_like(inverse)
    if gamma is not None:
        a, b = inverse * gamma, shift
    y[...] = apply(act, slope, fma(x - mean, a, b))


def _through(x, mean, inverse, gamma, t, sums, tgamma, tshift):
    """fma(a, t - k, fma(x - mean, f, h)) with a = inverse gamma, h = tshift, and

    k = share sum t, f = 0 - a inverse inverse (share sum t (x - mean)), share = 1 / rows, where the
    batch's own statistics move (sums given), else 0; f = fma(inverse, tgamma, f).
    """
    real = x.dtype.type
    a, k, f, h = inverse, *np.zeros((3, x.shape[-1]), x.dtype)
    if gamma is not None:
        a = inverse * gamma
    if sums is not None:
        share = real(1) / real(x.shape[0] * x.shape[1])
        k = share * sums[0]
        f = real(0) - a * inverse * inverse * (share * sums[1])
    if tgamma is not None:
        f, h = fma(inverse, tgamma, f), tshift
    value = fma(x - mean, f, h)
    return value if t is None else fma(a, t - k, value)


def _product_sums(x, mean, t):
    """Sums over rows of t, and of t (x - mean)."""
    rows = (-1, x.shape[2])
    plain, product = _in_parts(t.reshape(rows), (x - mean).reshape(rows))
    return _added(plain), _added(product)


def norm_backward(
    x, mean, inverse, gamma, y, dy, act, slope, batch, beta, sums, dgamma, dshift, dx
):
    """dz = f'(y) dy, dgamma = (sum dz (x - mean)) inverse, dshift = sum dz, then beta times what
    was there is added; dx as `_through` says."""
    slope = slope if act == LEAKY_RELU else 0.0
    if act == LEAKY_RELU and slope == 0:
        act = RELU
    stacked = (-1, *x.shape)
    dz = pull(act, slope, y, dy.reshape(stacked))
    found = _product_sums(x, mean, dz[0])
    if dgamma is not None:
        factor = x.dtype.type(beta)
        for total, new in ((dgamma, found[1] * inverse), (dshift, found[0])):
            total[...] = new + (factor * total if beta else x.dtype.type(0))
    kept = found if batch else None
    dx.reshape(stacked)[...] = _through(x, mean, inverse, gamma, dz, kept, None, None)


def norm_tangent(x, mean, inverse, gamma, y, tx, tgamma, tshift, act, slope, batch, sums, ty):
    """ty = f'(y) what `_through` says."""
    found = _product_sums(x, mean, tx) if batch and tx is not None else None
    moved = _through(x, mean, inverse, gamma, tx, found, tgamma, tshift)
    ty[...] = pull(act, slope, y, moved) if act != IDENTITY else moved


def _sample_sums(x, mean, inverse, dz):
    """(dgamma, dshift) of each sample, (N, C): a chain over its positions, then times inverse."""
    plain, product = np.zeros((2, len(x), x.shape[2]), x.dtype)
    for t in range(x.shape[1]):
        plain = plain + dz[:, t]
        product = fma(dz[:, t], x[:, t] - mean, product)
    return product * inverse, plain


def norm_sample_grads(x, mean, inverse, dz, dgamma, dshift):
    """Each sample's own sums over its positions in order."""
    dgamma[...], dshift[...] = _sample_sums(x, mean, inverse, dz)


def norm_accumulate(x, mean, inverse, dz, power, sums, dgamma, dshift):
    """Samples are cut into min(N, 32) groups; a group adds powers sample by sample, cotangent by
    cotangent, from +0; the groups are added to what was there in order."""
    found = [_sample_sums(x, mean, inverse, one) for one in dz]
    samples = len(x)
    groups = min(samples, PARTS // 2)
    for group in range(groups):
        mine = np.zeros((2, x.shape[2]), x.dtype)
        for n in range(group * samples // groups, (group + 1) * samples // groups):
            for gamma, shift in found:
                mine = raised(power, np.stack([gamma[n], shift[n]]), mine)
        dgamma += mine[0]
        dshift += mine[1]


def norm_signal(x, mean, inverse, gamma, y, sums, dgamma, dshift):
    """Magnitudes are added row by row in each part; the parts' in order, dgamma's by fma."""
    rows = (-1, x.shape[2])
    responses, _ = _in_parts(abs(y).reshape(rows), abs(y).reshape(rows))
    traffic, _ = _in_parts(abs(x - mean).reshape(rows), abs(y).reshape(rows))
    for part in range(PARTS):
        dshift += responses[part]
        dgamma[...] = fma(abs(gamma) * inverse, traffic[part], dgamma)
