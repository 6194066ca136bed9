"""How different the members of an ensemble are: inside their layers, and in their gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..kernels.errors import SettingError, ShapeError
from ..nnlite import Network
from .attack import ascent
from .ensemble import Ensemble


def activation_norms(net: Network, x: np.ndarray) -> np.ndarray:
    """The L2 norm of each layer's output for each of x (N, *input_shape): (layers, N) float64."""
    parts = []
    for part in Ensemble([net]).parts(len(x)):
        rows = [
            np.linalg.norm(np.float64(net.device.get(y)).reshape(len(y), -1), axis=1)
            for y in net.activations(x[part])
        ]
        parts.append(np.array(rows))
    return np.concatenate(parts, axis=1)


def diversity(nets: Sequence[Network], x: np.ndarray) -> np.ndarray:
    """The diversity score (layers, N): std over members of the norm of a layer's activation.

    As functionally invariant paths measure it (Raghavan & Thomson, arXiv 2205.00334): for every
    input, the standard deviation (over V, not V - 1) of ||a_layer(x)||_2. It sees no difference
    that leaves norms alone, and grows with the activations' own scale.

    Raises SettingError for networks of different depth.
    """
    if len({len(net.layers) for net in nets}) != 1:
        raise SettingError(
            f"diversity compares layer by layer: {len(nets)} networks of "
            f"{sorted({len(net.layers) for net in nets})} layers; give some of one depth"
        )
    return np.array([activation_norms(net, x) for net in nets]).std(axis=0)


def input_directions(nets: Sequence[Network], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Each member's gradient of its own loss by the input, at unit length: (V, N, D) float64."""
    found = []
    for net in nets:
        parts = [
            net.device.get(ascent([net], x[part], y[part])).copy()
            for part in Ensemble([net]).parts(len(x))
        ]
        rows = np.float64(np.concatenate(parts)).reshape(len(x), -1)
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        found.append(rows / np.where(length > 0, length, 1))
    return np.array(found)


def cosines(directions: np.ndarray) -> np.ndarray:
    """Cosines of all pairs of members (pairs, N), of unit directions (V, N, D).

    Raises ShapeError for fewer than two members.
    """
    if directions.ndim != 3 or len(directions) < 2:
        raise ShapeError(
            f"cosines need directions (V, N, D) of two members or more, got {directions.shape}"
        )
    first, second = np.triu_indices(len(directions), 1)
    return np.array(
        [(directions[a] * directions[b]).sum(axis=1) for a, b in zip(first, second, strict=True)]
    )


def coherence(directions: np.ndarray) -> np.ndarray:
    """The coherence (N,) of the members' input gradients: the largest cosine of any two.

    Kariyappa & Qureshi 2019 (arXiv 1901.09981): 1 where an attack on one member moves some other
    exactly as it would wish, 0 where no two agree at all. directions (V, N, D) of unit length.
    """
    return cosines(directions).max(axis=0)


def alignment(directions: np.ndarray, surrogate: np.ndarray) -> np.ndarray:
    """Cosine of each member's direction (V, N, D) and the surrogate's (N, D): (V, N)."""
    return (directions * surrogate).sum(axis=2)
