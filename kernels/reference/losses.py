"""Losses with their cotangents in one pass, and the softmax with its derivatives.

`active` (K,) bool names the classes in play: an inactive one has probability 0 and cotangent 0, as
if its logit were minus infinity (Zenke et al. mask the head of split tasks so). Every row is one
sample; no 1/N anywhere.
"""

from __future__ import annotations

import numpy as np


def softmax(logits, active, p):
    """p (N, K) = exp(z) / sum exp(z) over the active classes of logits (N, K)."""
    z = np.where(active, logits, -np.inf)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p[...] = e / e.sum(axis=1, keepdims=True)


def softmax_backward(p, u, dz):
    """dz = (diag p - p p^T) u: the cotangent u of probabilities p, pulled to logits (N, K)."""
    dz[...] = p * (u - (p * u).sum(axis=1, keepdims=True))


def softmax_tangent(p, tz, tp):
    """tp = (diag p - p p^T) tz: the softmax Jacobian is symmetric."""
    softmax_backward(p, tz, tp)


def softmax_fisher_factor(p, factor):
    """factor[c, n] (K, N, K) = sqrt(p_nc) (e_c - p_n).

    Its rows are a square root of the Fisher metric: sum_c factor[c]^T factor[c] = diag p - p p^T,
    so pulling all K rows back gives the true Fisher exactly.
    """
    classes = p.shape[1]
    rows = np.eye(classes, dtype=p.dtype)[:, None, :] - p[None]
    factor[...] = np.sqrt(p.T)[:, :, None] * rows


def softmax_cross_entropy(logits, labels, active, loss, dlogits):
    """loss (N,) = -log softmax(logits)[n, labels_n] and its cotangent dlogits (N, K) = p - e_y."""
    z = np.where(active, logits, -np.inf)
    z = z - z.max(axis=1, keepdims=True)
    total = np.exp(z).sum(axis=1)
    rows = np.arange(len(labels))
    loss[...] = np.log(total) - z[rows, labels]
    dlogits[...] = np.exp(z) / total[:, None]
    dlogits[rows, labels] -= 1


def squared_error(outputs, targets, loss, doutputs):
    """loss (N,) = 1/2 ||f - t||^2 per sample, and its cotangent f - t (N, K)."""
    doutputs[...] = outputs - targets
    loss[...] = (doutputs**2).sum(axis=1) / 2


def mean_loss(loss, mean):
    """mean (1,) = the mean of loss (N,), N >= 1, added up in float64 and in one order."""
    mean[0] = loss.mean(dtype=np.float64)
