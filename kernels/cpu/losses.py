"""Losses and the softmax on the CPU; every row is one sample and belongs to one thread.

Meaning and arguments: `kernels.reference.losses`.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from .tiles import ROWS, parallel, pieces, serial


@serial
def _softmax_row(z, active, p):
    """p = softmax of z over the active classes; returns the peak and the sum of exp(z - peak)."""
    peak = z.dtype.type(-np.inf)
    for k in range(z.size):
        # written so that a NaN logit becomes the peak, and so reaches the loss
        if active[k] and not z[k] <= peak:
            peak = z[k]
    total = z.dtype.type(0)
    for k in range(z.size):
        p[k] = np.exp(z[k] - peak) if active[k] else 0
        total += p[k]
    scale = 1 / total
    for k in range(z.size):
        p[k] *= scale
    return peak, total


@parallel
def softmax(logits, active, p):
    for b in prange(pieces(logits.shape[0], ROWS)):
        for n in range(b * ROWS, min((b + 1) * ROWS, logits.shape[0])):
            _softmax_row(logits[n], active, p[n])


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
        for n in range(b * ROWS, min((b + 1) * ROWS, logits.shape[0])):
            peak, total = _softmax_row(logits[n], active, dlogits[n])
            label = labels[n]
            loss[n] = np.log(total) - (logits[n, label] - peak)
            dlogits[n, label] -= 1


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
