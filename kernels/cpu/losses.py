"""Losses and the softmax on the CPU; every row is one sample and belongs to one thread.

Meaning and arguments: `kernels.reference.losses`.
"""

from __future__ import annotations

import numpy as np
from numba import prange
from numba.np.numpy_support import carray

from .exponential import exp, log
from .fused import fma
from .scratch import stack_of
from .tiles import inner, parallel, pieces, rows_per_piece, serial

LANES = 64  # rows worked on side by side: a few vectors of them
NARROW = 64  # the most classes for which that is done
SUMS = 8  # of `sum_in_eights`, side by side: one would wait for each of its additions
stack = stack_of((NARROW + 2) * LANES)
sums = stack_of(SUMS, np.float64)


@serial
def _load(z, active, t):
    """t (K, LANES) = the transpose of z (at most LANES, K), -inf for inactive classes."""
    for r in range(z.shape[0]):
        for k in range(z.shape[1]):
            t[k, r] = z[r, k]
    for k in range(z.shape[1]):
        if not active[k]:
            t[k, : z.shape[0]] = -np.inf


@inner
def _logit(z, active, k):
    return z[k] if active[k] else z.dtype.type(-np.inf)


@inner
def _raise_to(row, peak):
    for r in range(row.size):
        peak[r] = peak[r] if peak[r] > row[r] else row[r]


@inner
def _subtract(row, peak):
    for r in range(row.size):
        row[r] -= peak[r]


@serial
def _add(row, total):
    for r in range(row.size):
        total[r] += row[r]


@serial
def _scale(row, total):
    for r in range(row.size):
        row[r] /= total[r]


@inner
def _exp_all(t):
    for i in range(t.size):
        t[i] = exp(t[i])


@inner
def _softmax_narrow(z, active, p, labels, loss):
    """`_softmax_rows` for up to NARROW classes: transposed, so that samples fill the vectors."""
    rows, classes = z.shape
    room = carray(stack(z), (NARROW + 2, LANES))
    peak, total = room[NARROW, :rows], room[NARROW + 1, :rows]
    _load(z, active, room)
    peak[:] = -np.inf
    total[:] = 0
    for k in range(classes):
        _raise_to(room[k, :rows], peak)
    for k in range(classes):
        _subtract(room[k, :rows], peak)
    _exp_all(room[:classes].reshape(-1))  # one long loop; what lies beside the rows is not used
    for k in range(classes):
        _add(room[k, :rows], total)
    for k in range(classes):
        _scale(room[k, :rows], total)
    for r in range(rows):
        if labels is not None:
            loss[r] = log(total[r]) - (_logit(z[r], active, labels[r]) - peak[r])
        for k in range(classes):
            p[r, k] = room[k, r]


@inner
def _exp_of(z, active, peak, p):
    nothing = z.dtype.type(-np.inf)
    for k in range(z.size):
        p[k] = exp((z[k] if active[k] else nothing) - peak)


@inner
def _softmax_wide(z, active, p):
    """p = softmax of one row z; returns its peak and the sum of exp(z - peak)."""
    peak = z.dtype.type(-np.inf)
    for k in range(z.size):
        if active[k]:
            peak = peak if peak > z[k] else z[k]
    _exp_of(z, active, peak, p)
    total = z.dtype.type(0)
    for k in range(z.size):
        total += p[k]
    for k in range(z.size):
        p[k] /= total
    return peak, total


@inner
def _softmax_rows(z, active, p, labels, loss):
    """p = softmax of up to LANES rows of z; with labels, loss = -ln p[label] of each row."""
    if z.shape[1] <= NARROW:
        _softmax_narrow(z, active, p, labels, loss)
    else:
        for r in range(z.shape[0]):
            peak, total = _softmax_wide(z[r], active, p[r])
            if labels is not None:
                loss[r] = log(total) - (_logit(z[r], active, labels[r]) - peak)


@parallel
def softmax(logits, active, p):
    for b in prange(pieces(logits.shape[0], LANES)):
        lo, hi = b * LANES, min((b + 1) * LANES, logits.shape[0])
        _softmax_rows(logits[lo:hi], active, p[lo:hi], None, None)


@parallel
def softmax_backward(p, u, dz):
    half = p.dtype.type(0.5)
    height = rows_per_piece(p.shape[1])
    for b in prange(pieces(p.shape[0], height)):
        for n in range(b * height, min((b + 1) * height, p.shape[0])):
            mean, origin = p.dtype.type(0), p.dtype.type(0)
            for k in range(p.shape[1]):
                if p[n, k] > half:
                    origin = u[n, k]
            for k in range(p.shape[1]):
                mean = fma(p[n, k], u[n, k] - origin, mean)
            for k in range(p.shape[1]):
                dz[n, k] = p[n, k] * (u[n, k] - origin - mean)


@inner
def _sum_without(p, c):
    """The sum of a row p (K,) but for entry c."""
    total = p.dtype.type(0)
    for k in range(p.size):
        if k != c:
            total += p[k]
    return total


@inner
def _factor_rows(p, c, factor):
    """factor (R, K) = sqrt(p_c) (e_c - p) for each row of p."""
    for r in range(p.shape[0]):
        root = np.sqrt(p[r, c])
        for k in range(p.shape[1]):
            factor[r, k] = -root * p[r, k]
        if p[r, c] > p.dtype.type(0.5):
            factor[r, c] = root * _sum_without(p[r], c)
        else:
            factor[r, c] += root


@parallel
def softmax_fisher_factor(p, factor):
    samples, classes = p.shape
    across = pieces(samples, LANES)
    for t in prange(classes * across):
        c, lo = t // across, t % across * LANES
        hi = min(lo + LANES, samples)
        _factor_rows(p[lo:hi], c, factor[c, lo:hi])


@inner
def _minus_log1p(q):
    """-log(1 - q) for q in 0..1/2, exact near 0 too (Kahan)."""
    one = type(q)(1)
    rest = one - q
    return q if rest == one else log(rest) * (q / (rest - one))


@inner
def _cross_entropy_rows(logits, labels, active, loss, dlogits):
    """Up to LANES rows."""
    half = logits.dtype.type(0.5)
    _softmax_rows(logits, active, dlogits, labels, loss)
    for n in range(logits.shape[0]):
        if dlogits[n, labels[n]] > half:
            q = _sum_without(dlogits[n], labels[n])
            dlogits[n, labels[n]], loss[n] = -q, _minus_log1p(q)
        else:
            dlogits[n, labels[n]] -= 1


@parallel
def _cross_entropy_pieces(logits, labels, active, loss, dlogits):
    for b in prange(pieces(logits.shape[0], LANES)):
        lo, hi = b * LANES, min((b + 1) * LANES, logits.shape[0])
        _cross_entropy_rows(logits[lo:hi], labels[lo:hi], active, loss[lo:hi], dlogits[lo:hi])


@serial
def softmax_cross_entropy(logits, labels, active, loss, dlogits):
    if logits.shape[0] <= LANES:
        _cross_entropy_rows(logits, labels, active, loss, dlogits)
    else:
        _cross_entropy_pieces(logits, labels, active, loss, dlogits)


@parallel
def squared_error(outputs, targets, loss, doutputs):
    half = outputs.dtype.type(0.5)
    height = rows_per_piece(outputs.shape[1])
    for b in prange(pieces(outputs.shape[0], height)):
        for n in range(b * height, min((b + 1) * height, outputs.shape[0])):
            total = outputs.dtype.type(0)
            for k in range(outputs.shape[1]):
                d = outputs[n, k] - targets[n, k]
                doutputs[n, k] = d
                total = fma(d, d, total)
            loss[n] = half * total


@inner
def sum_in_eights(numbers):
    """The sum in float64: eight sums side by side, they in order, then what is left of eight."""
    part = carray(sums(numbers), SUMS)
    part[:] = 0
    whole = numbers.size // SUMS * SUMS
    for i in range(0, whole, SUMS):
        for j in range(SUMS):
            part[j] += numbers[i + j]
    total = 0.0
    for j in range(SUMS):
        total += part[j]
    for i in range(whole, numbers.size):
        total += numbers[i]
    return total


@serial
def mean_loss(loss, mean):
    mean[0] = sum_in_eights(loss) / loss.size
