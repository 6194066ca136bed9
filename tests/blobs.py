"""Separable clusters: data that a small network learns at once."""

from __future__ import annotations

import numpy as np


def make_blobs(seed: int, n: int = 120, inputs: int = 12, classes: int = 4):
    """Separable clusters: a task that a small network learns in a few dozen steps."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 2, (classes, inputs))
    y = np.arange(n) % classes
    x = (centres[y] + rng.normal(0, 0.5, (n, inputs))).astype(np.float32)
    return x, y.astype(np.int64)
