"""Losses and the softmax: classes are added in order. Meaning: `kernels.reference.losses`."""

from __future__ import annotations

import numpy as np

from .exponential import exp, log
from .fused import chain

SUMS = 8  # of `sum_in_eights`, side by side


def _softmax(logits, active):
    """(p, peak, total): exp(z - peak) divided by total, their sum over classes in order."""
    z = np.where(active, logits, logits.dtype.type(-np.inf))
    peak = np.full(len(z), -np.inf, z.dtype)
    for column in z.T:  # this way round: of a NaN and a number the one that comes later
        peak = np.where(peak > column, peak, column)
    e = exp(z - peak[:, None])
    total = np.zeros_like(peak)
    for column in e.T:
        total = total + column
    return e / total[:, None], peak, total


def softmax(logits, active, p):
    """p = exp(z - peak) / total."""
    with np.errstate(all="ignore"):
        p[...] = _softmax(logits, active)[0]


def softmax_backward(p, u, dz):
    """dz = p ((u - origin) - mean), mean a chain over k of p_k (u_k - origin) from +0."""
    origin = np.zeros(len(p), p.dtype)
    for k in range(p.shape[1]):
        origin = np.where(p[:, k] > 0.5, u[:, k], origin)
    w = u - origin[:, None]
    mean = chain(p.T, w.T, np.zeros_like(origin))
    dz[...] = p * (w - mean[:, None])


def _sum_without(p, c):
    """The sum (N,) of each row of p (N, K) but for the entry c (N,), classes in order."""
    total = np.zeros(len(p), p.dtype)
    for k in range(p.shape[1]):
        total = np.where(c == k, total, total + p[:, k])
    return total


def softmax_fisher_factor(p, factor):
    """-sqrt(p_c) p_k, and of class c itself sqrt(p_c) - sqrt(p_c) p_c, or where p_c is above 1/2
    sqrt(p_c) times the sum of the others."""
    for c in range(p.shape[1]):
        root = np.sqrt(p[:, c])
        factor[c] = -root[:, None] * p
        rest = root * _sum_without(p, np.full(len(p), c))
        factor[c, :, c] = np.where(p[:, c] > 0.5, rest, factor[c, :, c] + root)


def _minus_log1p(q):
    """-log(1 - q) for q in 0..1/2, exact near 0 too (Kahan)."""
    one = q.dtype.type(1)
    rest = one - q
    return np.where(rest == one, q, log(rest) * (q / (rest - one)))


def softmax_cross_entropy(logits, labels, active, loss, dlogits):
    """loss = log(total) - (z_y - peak), or of p_y above 1/2 -log1p(-q), q the sum of the others."""
    rows = np.arange(len(labels))
    with np.errstate(all="ignore"):
        p, peak, total = _softmax(logits, active)
        z = np.where(active, logits, logits.dtype.type(-np.inf))[rows, labels]
        own, q = p[rows, labels], _sum_without(p, labels)
        sure = own > 0.5
        loss[...] = np.where(sure, _minus_log1p(q), log(total) - (z - peak))
        dlogits[...] = p
        dlogits[rows, labels] = np.where(sure, -q, own - p.dtype.type(1))


def squared_error(outputs, targets, loss, doutputs):
    """loss = half a chain over k of d_k d_k, d = f - t, from +0."""
    doutputs[...] = outputs - targets
    loss[...] = outputs.dtype.type(0.5) * chain(doutputs.T, doutputs.T, np.zeros_like(loss))


def sum_in_eights(numbers):
    """Eight sums side by side in float64, sum j of the samples j, j + 8, ...; they in order, then
    the samples that are left over."""
    wide = numbers.astype(np.float64)
    whole = numbers.size // SUMS * SUMS
    part = np.zeros(SUMS)
    for eight in wide[:whole].reshape(-1, SUMS):
        part = part + eight
    total = 0.0
    for number in (*part, *wide[whole:]):
        total += number
    return total


def mean_loss(loss, mean):
    """`sum_in_eights` over N."""
    mean[0] = sum_in_eights(loss) / loss.size
