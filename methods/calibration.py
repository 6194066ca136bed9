"""Calibration: whether a network is right as often as it is sure (Guo et al. 2017)."""

from __future__ import annotations

import numpy as np

from ..kernels.errors import NonFiniteError, SettingError, ShapeError
from ..nnlite import Network
from .ensemble import log_softmax
from .evaluate import check_classifies, counts, labels, outputs
from .settings import whole

BINS = 15  # of confidence, as Guo et al. have them


def expected_calibration_error(p: np.ndarray, y: np.ndarray, bins: int = BINS) -> float:
    """ECE = sum over bins b of n_b / n |accuracy_b - confidence_b| (Guo et al. 2017).

    p (n, K): probabilities; y (n,): labels. A sample's confidence is its largest probability; the
    bins (lo, hi] cut 0..1 into equal parts. Raises ShapeError for arrays that do not fit,
    NonFiniteError for NaN, SettingError for no bins.
    """
    bins = whole("bins of a calibration error", bins)
    p, y = np.asarray(p, np.float64), np.asarray(y)
    if p.ndim != 2 or y.shape != p.shape[:1] or not len(y):
        raise ShapeError(f"probabilities {p.shape} and labels {y.shape}: give (n, K) and (n,)")
    if not np.isfinite(p).all():
        raise NonFiniteError("probabilities that are not finite are no confidence")
    sure = p.max(axis=1)
    if sure.max() > 1 + 1e-6:
        raise SettingError(f"a probability is {sure.max():.3g}: give a softmax's, not logits")
    right = p.argmax(axis=1) == y
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, right - sure, minlength=bins)
    return float(np.abs(gaps).sum() / len(y))


def calibration_error(
    net: Network, x: np.ndarray, y: np.ndarray, active: np.ndarray | None = None, bins: int = BINS
) -> float:
    """`expected_calibration_error` of a classifier's softmax over its `active` (K,) classes.

    x (N, *input_shape), y (N,); labels that the loss ignores are left out. Raises what
    `evaluate.accuracy` raises.
    """
    check_classifies(net, "a calibration error")
    y = labels(net, len(x), y, active, ignored=True)
    allowed = np.ones(net.num_outputs, bool) if active is None else np.asarray(active)
    found = [net.device.get(scores)[:, allowed].astype(np.float64) for _, scores in outputs(net, x)]
    scores = np.concatenate(found)
    if not np.isfinite(scores).all():
        raise NonFiniteError("the network's outputs are NaN or infinite: they tell no confidence")
    known = net.device.get(counts(net, net.device.put(y)))
    place = np.cumsum(allowed) - 1  # of a class among the active ones
    return expected_calibration_error(np.exp(log_softmax(scores[known])), place[y[known]], bins)
