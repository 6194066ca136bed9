"""Losses of samples that do not weigh alike: a weight a class, and a label that is ignored.

A sample's loss and cotangent are multiplied by its weight, w_y of its label y, and hold no more:
that the mean divides by the sum of the weights, where it is taken, is for `weighted_mean` and
`divide` to do. Both give 0 where nothing weighs anything.
"""

from __future__ import annotations

import numpy as np


def label_weights(labels, weights, ignored, known, weight, total):
    """weight (N,) = weights (K,) of each of labels (N,), 0 of those that are `ignored`; total (1,)
    float64 = their sum.

    known (N,) int64: the labels, 0 in place of ignored ones, so that every one of them can be
    looked up. A label that names no class otherwise weighs 1: that its loss is none is to be seen.
    """
    counts = labels != ignored
    known[...] = np.where(counts, labels, 0)
    named = (known >= 0) & (known < len(weights))
    given = np.where(named, weights[np.where(named, known, 0)], 1)
    weight[...] = np.where(counts, given, 0)
    total[0] = weight.sum(dtype=np.float64)


def weigh_losses(weight, loss, dlogits):
    """loss (N,) and dlogits (N, K) times weight (N,); 0 of a weight of 0, whatever they were."""
    with np.errstate(invalid="ignore"):
        loss[...] = np.where(weight == 0, 0, weight * loss)
        dlogits[...] = np.where(weight[:, None] == 0, 0, weight[:, None] * dlogits)


def weighted_mean(loss, total, mean):
    """mean (1,) float64 = the sum of loss (N,), added up in float64, over total (1,); 0 over 0."""
    mean[0] = loss.sum(dtype=np.float64) / total[0] if total[0] else 0.0
