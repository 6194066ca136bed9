"""Losses of samples that do not weigh alike, on the CPU. Meaning: `kernels.reference.weighted`."""

from __future__ import annotations

from numba import prange

from .losses import sum_in_eights
from .tiles import inner, parallel, pieces, rows_per_piece, serial


@serial
def label_weights(labels, weights, ignored, known, weight, total):
    for n in range(labels.size):
        label = labels[n]
        if label == ignored:
            known[n], weight[n] = 0, 0
        else:
            known[n] = label
            weight[n] = weights[label] if 0 <= label < weights.size else 1
    total[0] = sum_in_eights(weight)


@inner
def _weigh_rows(weight, loss, dlogits):
    for n in range(loss.size):
        factor = weight[n]
        if factor == 0:
            loss[n] = 0
            dlogits[n] = 0
        else:
            loss[n] *= factor
            for k in range(dlogits.shape[1]):
                dlogits[n, k] *= factor


@parallel
def weigh_losses(weight, loss, dlogits):
    height = rows_per_piece(dlogits.shape[1])
    for b in prange(pieces(dlogits.shape[0], height)):
        lo, hi = b * height, min((b + 1) * height, dlogits.shape[0])
        _weigh_rows(weight[lo:hi], loss[lo:hi], dlogits[lo:hi])


@serial
def weighted_mean(loss, total, mean):
    mean[0] = sum_in_eights(loss) / total[0] if total[0] != 0 else 0.0
