"""Sums of weights and of weighted losses. Meaning: `kernels.reference.weighted`."""

from __future__ import annotations

from ..reference import label_weights as weights_of
from .losses import sum_in_eights


def label_weights(labels, weights, ignored, known, weight, total):
    """total: as `mean_loss` adds up."""
    weights_of(labels, weights, ignored, known, weight, total)
    total[0] = sum_in_eights(weight)


def weighted_mean(loss, total, mean):
    """The sum as `mean_loss` adds it up, over total."""
    mean[0] = sum_in_eights(loss) / total[0] if total[0] else 0.0
