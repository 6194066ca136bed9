"""How far two networks' answers lie apart: the Bhattacharyya distance of their softmaxes.

    BD(p, q) = -log BC,  BC = sum_k sqrt(p_k q_k),  d BD / dz = -1/2 (sqrt(p q) / BC - p)

for p = softmax(z). To second order in a step dw of the weights it is 1/8 dw^T F dw, F the true
Fisher information: the metric whose paths keep a network's function. It needs no labels, only what
a frozen network answered.
"""

from __future__ import annotations

import numpy as np

from ...kernels.errors import DtypeError, ShapeError
from ...nnlite import Network
from ..importance import probabilities


def bhattacharyya(
    net: Network,
    outputs: np.ndarray,
    reference_probabilities: np.ndarray,
    active: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Each sample's distance (N,) >= 0 and its cotangent at the outputs (N, K), without 1/N.

    outputs (N, K): logits of `net`. reference_probabilities (N, K): the frozen network's softmax.
    active (K,) bool: the classes in play, None for all; the reference is restricted to them and
    made to sum to 1 again, and the others have cotangent 0. Both results are new arrays on the
    network's device; what is given stays as it is.

    Where no class has probability in both (BC 0 in this dtype), the distance is the largest that
    the dtype can tell, -log of its smallest normal number. Raises ShapeError, DtypeError or, for
    `active`, what `Network.mask` raises.
    """
    q = net.device.put(_checked(reference_probabilities, outputs))
    p = probabilities(net, outputs, active)
    if active is not None:
        q = q * net.mask(active)
        q = q / np.maximum(q.sum(axis=1, keepdims=True), np.finfo(net.dtype).tiny)
    return _distance(np.sqrt(p), np.sqrt(q))


def fisher_rao(net: Network, outputs: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The angle (N,) between answers, 2 arccos BC, of two networks' logits (N, K); 0 to pi.

    The length of the shortest path from one softmax to the other in the Fisher metric, which for
    a small step dw of the weights is sqrt(dw^T F_n dw), F_n the sample's Fisher: a path's length
    in the outputs is the sum of these. From 1 - BC = 2 sin^2(angle / 4), where nothing cancels.
    """
    a, b = (np.sqrt(probabilities(net, scores, None)) for scores in (outputs, others))
    apart = np.square(a - b).sum(axis=1)  # 2 (1 - BC)
    return 4 * np.arcsin(np.minimum(np.sqrt(apart) / 2, np.sqrt(a.dtype.type(0.5))))


def _distance(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """BD and its cotangent from the roots a = sqrt(p) and b = sqrt(q), (N, K).

    With h = 1/2 sum_k (a_k - b_k)^2 = 1 - BC, nothing cancels where the two nearly agree, which is
    where a path spends its time: BD = -log1p(-h), and sqrt(p q) / BC - p = a (b - a + a h) / BC.
    Far apart it is h that cancels, and the plain form is the accurate one.
    """
    real = a.dtype.type
    apart, both = b - a, a * b
    overlap = np.maximum(both.sum(axis=1), np.finfo(a.dtype).tiny)
    h = np.minimum(real(0.5) * (apart * apart).sum(axis=1), real(0.5))
    near = overlap > real(0.5)
    values = np.where(near, -np.log1p(-h), -np.log(overlap))
    overlap, near = overlap[:, None], near[:, None]
    pull = np.where(near, a * (apart + a * h[:, None]) / overlap, both / overlap - a * a)
    return values, real(-0.5) * pull


def _checked(reference: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    if getattr(reference, "shape", None) != outputs.shape:
        raise ShapeError(
            f"reference probabilities have shape {getattr(reference, 'shape', None)}; the outputs "
            f"have {outputs.shape}: give the frozen network's softmax of the same samples"
        )
    if reference.dtype != outputs.dtype:
        raise DtypeError(
            f"reference probabilities are {reference.dtype}; the outputs are {outputs.dtype}"
        )
    return reference
