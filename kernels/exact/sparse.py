"""Sparse dense layers: a row's entries one after another. Meaning: `kernels.reference.sparse`."""

from __future__ import annotations

import numpy as np

from .activations import apply
from .fused import fma


def sparse_dense_forward(x, starts, columns, values, b, act, slope, y):
    """y_o = f(z + b_o), z a chain over the entries of row o as they lie, from +0."""
    z = np.zeros_like(y)
    for o in range(len(y)):
        for e in range(starts[o], starts[o + 1]):
            z[o] = fma(values[e], x[columns[e]], z[o])
    y[...] = apply(act, slope, z if b is None else z + b[:, None])
