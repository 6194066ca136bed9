"""Elementwise activations: value, cotangent and tangent.

All derivatives are written in the output y, so a forward pass keeps one array, not two. They are
diagonal, so the cotangent and the tangent are the same product: dx = f'(x) dy, ty = f'(x) tx.
At a kink (x = 0) the derivative is the left one: 0 for relu, `slope` for leaky_relu.
"""

from __future__ import annotations

import numpy as np

from .. import codes


def activation_forward(act, slope, x, y):
    """y = f(x), for the activation whose code (`kernels.codes`) is `act`. x, y: any one shape."""
    match act:
        case codes.IDENTITY:
            y[...] = x
        case codes.RELU:  # NaN stays NaN
            np.maximum(x, 0, out=y)
        case codes.LEAKY_RELU:
            y[...] = np.where(x < 0, x.dtype.type(slope) * x, x)
        case codes.TANH:
            np.tanh(x, out=y)
        case codes.SIGMOID:  # by the half that cannot overflow
            e = np.exp(-np.abs(x))
            y[...] = np.where(x < 0, e, 1) / (1 + e)


def activation_backward(act, slope, y, dy, dx):
    """dx = f'(x) dy, with f' written in y (R, O).

    dy, dx: (V R, O), V cotangents stacked along the rows; the rows of y repeat for each.
    """
    stacked = (-1, *y.shape)
    match act:
        case codes.IDENTITY:
            slope_of_y = np.ones_like(y)
        case codes.RELU:
            slope_of_y = (y > 0).astype(y.dtype)
        case codes.LEAKY_RELU:
            slope_of_y = np.where(y > 0, y.dtype.type(1), y.dtype.type(slope))
        case codes.TANH:
            slope_of_y = 1 - y * y
        case codes.SIGMOID:
            slope_of_y = y * (1 - y)
    dx.reshape(stacked)[...] = dy.reshape(stacked) * slope_of_y
