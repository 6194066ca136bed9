"""Losses and the softmax on the CPU; every row is one sample and belongs to one thread.

Meaning and arguments: `kernels.reference.losses`.
"""

from __future__ import annotations

import numpy as np
from numba import prange
from numba.extending import overload

from .exponential import exp, log
from .tiles import ROWS, parallel, pieces, serial


@serial
def _exp_all(row):
    for k in range(row.size):
        row[k] = exp(row[k])


def _exp_rows(p):
    """p = exp(p)."""
    raise NotImplementedError("only inside compiled code")


@overload(_exp_rows)
def _exp_rows_of_layout(p):
    """Rows that follow each other are one long one: ten classes alone would fill no vector."""
    if p.layout == "C":
        return lambda p: _exp_all(p.reshape(-1))

    def by_row(p):
        for r in range(p.shape[0]):
            _exp_all(p[r])

    return by_row


@serial
def _peak(z, active):
    peak = z.dtype.type(-np.inf)
    for k in range(z.size):
        # written so that a NaN logit becomes the peak, and so reaches the loss
        if active[k] and not z[k] <= peak:
            peak = z[k]
    return peak


@serial
def _softmax_rows(z, active, p, labels, loss):
    """p = softmax of z's rows over the active classes; with labels, loss = -ln p[label] of each."""
    for r in range(z.shape[0]):
        row, peak = z[r], _peak(z[r], active)
        for k in range(row.size):
            p[r, k] = row[k] - peak if active[k] else -np.inf
        if labels is not None:
            loss[r] = row[labels[r]] - peak
    _exp_rows(p)
    for r in range(z.shape[0]):
        row = p[r]
        total = row.dtype.type(0)
        for k in range(row.size):
            total += row[k]
        scale = 1 / total
        for k in range(row.size):
            row[k] *= scale
        if labels is not None:
            loss[r] = log(total) - loss[r]


@parallel
def softmax(logits, active, p):
    for b in prange(pieces(logits.shape[0], ROWS)):
        lo, hi = b * ROWS, min((b + 1) * ROWS, logits.shape[0])
        _softmax_rows(logits[lo:hi], active, p[lo:hi], None, None)


@parallel
def softmax_backward(p, u, dz):
    for b in prange(pieces(p.shape[0], ROWS)):
        for n in range(b * ROWS, min((b + 1) * ROWS, p.shape[0])):
            mean = p.dtype.type(0)
            for k in range(p.shape[1]):
                mean += p[n, k] * u[n, k]
            for k in range(p.shape[1]):
                dz[n, k] = p[n, k] * (u[n, k] - mean)


def softmax_tangent(p, tz, tp):
    softmax_backward(p, tz, tp)


@parallel
def softmax_fisher_factor(p, factor):
    samples, classes = p.shape
    for t in prange(classes * samples):
        c, n = t // samples, t % samples
        root = np.sqrt(p[n, c])
        for k in range(classes):
            factor[c, n, k] = -root * p[n, k]
        factor[c, n, c] = root * (1 - p[n, c])


@parallel
def softmax_cross_entropy(logits, labels, active, loss, dlogits):
    for b in prange(pieces(logits.shape[0], ROWS)):
        lo, hi = b * ROWS, min((b + 1) * ROWS, logits.shape[0])
        _softmax_rows(logits[lo:hi], active, dlogits[lo:hi], labels[lo:hi], loss[lo:hi])
        for n in range(lo, hi):
            dlogits[n, labels[n]] -= 1


@parallel
def squared_error(outputs, targets, loss, doutputs):
    half = outputs.dtype.type(0.5)
    for b in prange(pieces(outputs.shape[0], ROWS)):
        for n in range(b * ROWS, min((b + 1) * ROWS, outputs.shape[0])):
            total = outputs.dtype.type(0)
            for k in range(outputs.shape[1]):
                d = outputs[n, k] - targets[n, k]
                doutputs[n, k] = d
                total += d * d
            loss[n] = half * total
