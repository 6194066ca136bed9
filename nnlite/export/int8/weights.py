"""Weights in int8, one scale an output, and what goes with them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....kernels.errors import SettingError
from .rounding import HIGH, LOW, Grid, fixed, half_up

# a bias is at most 2^24 steps of a sum: where weights are tiny beside it, their scale grows
_BIAS = 2.0**24


class Weights(NamedTuple):
    """weight (O, ...) int8, symmetric; bias (O,) int32, the input's zero point in it; of each
    output multiplier (O,) int32 and shift (O,) uint8, which take sums to the output's grid."""

    weight: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray


def weights_of(
    name: str, w: np.ndarray, b: np.ndarray, before: Grid, after: Grid, steep: float = 1.0
) -> Weights:
    """w (O, ...) and b (O,) in float64 between two grids; steep: the slope that sums may get, too.

    An output's scale is the largest of its weights by 127. Raises SettingError where sums of
    products could leave int32.
    """
    rows = w.reshape(len(w), -1)
    scale = np.maximum(np.abs(rows).max(axis=1) / HIGH, np.abs(b) / (before.scale * _BIAS))
    scale[scale == 0] = 1.0
    q = np.clip(half_up(rows / scale[:, None]), -HIGH, HIGH)
    total = half_up(b / (before.scale * scale)) - before.zero * q.sum(axis=1)
    most = total + np.maximum(q * LOW, q * HIGH).sum(axis=1)
    least = total + np.minimum(q * LOW, q * HIGH).sum(axis=1)
    worst = max(np.abs(most).max(), np.abs(least).max())
    if worst * max(steep, 1.0) >= 2.0**31 or np.abs(total).max() >= 2.0**31:
        raise SettingError(
            f"{name} sums {rows.shape[1]:,} products for an output, which can reach {worst:,.0f}: "
            "int32 holds less than 2,147,483,648. Make the layer narrower"
        )
    scales = [fixed(before.scale * each / after.scale) for each in scale]
    return Weights(
        q.astype(np.int8).reshape(w.shape),
        total.astype(np.int32),
        np.array([m for m, _ in scales], np.int32),
        np.array([n for _, n in scales], np.uint8),
    )
