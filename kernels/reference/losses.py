"""Losses with their cotangents in one pass, and the softmax with its derivatives.

`active` (K,) bool names the classes in play: an inactive one has probability 0 and cotangent 0, as
if its logit were minus infinity (Zenke et al. mask the head of split tasks so). Every row is one
sample; no 1/N anywhere.

1 - p is never formed of a p above 1/2, which rounding may have made 1: it is the sum of the other
probabilities, and as accurate as they are. At most one class is so likely.
"""

from __future__ import annotations

import numpy as np


def softmax(logits, active, p):
    """p (N, K) = exp(z) / sum exp(z) over the active classes of logits (N, K)."""
    z = np.where(active, logits, -np.inf)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p[...] = e / e.sum(axis=1, keepdims=True)


def softmax_backward(p, u, dz):
    """dz = (diag p - p p^T) u: the cotangent u of probabilities p, pulled to logits (N, K).

    As p (w - p.w) with w = u - u_c, c the class above 1/2 (w = u without one): p sums to 1, so any
    number may be taken off u, and w_c - p.w = -p.w has no term of c left that could cancel.
    The Jacobian is symmetric, so this is the tangent, too.
    """
    w = u - np.where(p > 0.5, u, 0).sum(axis=1, keepdims=True)
    dz[...] = p * (w - (p * w).sum(axis=1, keepdims=True))


def softmax_fisher_factor(p, factor):
    """factor[c, n] (K, N, K) = sqrt(p_nc) (e_c - p_n).

    Its rows are a square root of the Fisher metric: sum_c factor[c]^T factor[c] = diag p - p p^T,
    so pulling all K rows back gives the true Fisher exactly.
    """
    samples, classes = p.shape
    rows = np.eye(classes, dtype=p.dtype)[:, None, :] - p[None]
    n, top = np.arange(samples), p.argmax(axis=1)
    rest = _sum_without(p, top)
    rows[top, n, top] = np.where(p[n, top] > 0.5, rest, rows[top, n, top])
    factor[...] = np.sqrt(p.T)[:, :, None] * rows


def _sum_without(p, c):
    """The sum (N,) of each row of p (N, K) but for the entry c (N,)."""
    others = p.copy()
    others[np.arange(len(p)), c] = 0
    return others.sum(axis=1)


def softmax_cross_entropy(logits, labels, active, loss, dlogits):
    """loss (N,) = -log softmax(logits)[n, labels_n] and its cotangent dlogits (N, K) = p - e_y.

    Where p_y is above 1/2, q = 1 - p_y is the sum of the others: the loss is -log1p(-q).
    """
    z = np.where(active, logits, -np.inf)
    z = z - z.max(axis=1, keepdims=True)
    total = np.exp(z).sum(axis=1)
    rows = np.arange(len(labels))
    dlogits[...] = np.exp(z) / total[:, None]
    p, q = dlogits[rows, labels], _sum_without(dlogits, labels)
    sure = p > 0.5
    loss[...] = np.where(sure, -np.log1p(-np.where(sure, q, 0)), np.log(total) - z[rows, labels])
    dlogits[rows, labels] = np.where(sure, -q, p - 1)


def squared_error(outputs, targets, loss, doutputs):
    """loss (N,) = 1/2 ||f - t||^2 per sample, and its cotangent f - t (N, K)."""
    doutputs[...] = outputs - targets
    loss[...] = (doutputs**2).sum(axis=1) / 2


def mean_loss(loss, mean):
    """mean (1,) float64 = the mean of loss (N,), N >= 1, added up in float64 and in one order."""
    mean[0] = loss.mean(dtype=np.float64)
