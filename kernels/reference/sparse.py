"""Dense layers most of whose weights are zero: only the others are kept, row after row (CSR).

Samples lie side by side, a feature a row: x (I, N), y (O, N). A weight then multiplies a whole row
of numbers that lie together, which is what makes few weights fast. Row o of W has the entries
starts[o] to starts[o + 1] of columns and values, each at most once, in any order.
"""

from __future__ import annotations

import numpy as np

from .activations import activation_forward


def sparse_dense_forward(x, starts, columns, values, b, act, slope, y):
    """y (O, N) = f(W x (I, N) + b (O,)), W given by its entries that are not zero.

    starts (O + 1,) and columns (E,) int32, values (E,). Indices are not looked at: whoever makes
    them sees to it that starts rises from 0 to E and columns lie below I. b may be None.
    """
    rows = np.repeat(np.arange(len(y)), np.diff(starts))
    z = np.zeros_like(y)
    np.add.at(z, rows, values[:, None] * x[columns])
    if b is not None:
        z += b[:, None]
    activation_forward(act, slope, z, y)
