"""Elementwise activations: value, cotangent and tangent.

All derivatives are written in the output y, so a forward pass keeps one array, not two. They are
diagonal, so the cotangent and the tangent are the same product: dx = f'(x) dy, ty = f'(x) tx.
At a kink (x = 0) the derivative is the left one: 0 for relu, `slope` for leaky_relu.
"""

from __future__ import annotations

import numpy as np

from .. import codes
from ..codes import IDENTITY, LEAKY_RELU, RELU, SIGMOID, TANH


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


def identity_forward(x, y):
    """y = x."""
    activation_forward(IDENTITY, 0.0, x, y)


def identity_backward(y, dy, dx):
    """dx = dy."""
    activation_backward(IDENTITY, 0.0, y, dy, dx)


def identity_tangent(y, tx, ty):
    """ty = tx."""
    activation_backward(IDENTITY, 0.0, y, tx, ty)


def relu_forward(x, y):
    """y = max(x, 0)."""
    activation_forward(RELU, 0.0, x, y)


def relu_backward(y, dy, dx):
    """dx = dy where y > 0, else 0."""
    activation_backward(RELU, 0.0, y, dy, dx)


def relu_tangent(y, tx, ty):
    """ty = tx where y > 0, else 0."""
    activation_backward(RELU, 0.0, y, tx, ty)


def leaky_relu_forward(x, slope, y):
    """y = x where x >= 0, else slope x; 0 < slope, so the sign of y is the sign of x."""
    activation_forward(LEAKY_RELU, slope, x, y)


def leaky_relu_backward(y, dy, slope, dx):
    """dx = dy where y > 0, else slope dy."""
    activation_backward(LEAKY_RELU, slope, y, dy, dx)


def leaky_relu_tangent(y, tx, slope, ty):
    """ty = tx where y > 0, else slope tx."""
    activation_backward(LEAKY_RELU, slope, y, tx, ty)


def tanh_forward(x, y):
    """y = tanh(x)."""
    activation_forward(TANH, 0.0, x, y)


def tanh_backward(y, dy, dx):
    """dx = (1 - y^2) dy."""
    activation_backward(TANH, 0.0, y, dy, dx)


def tanh_tangent(y, tx, ty):
    """ty = (1 - y^2) tx."""
    activation_backward(TANH, 0.0, y, tx, ty)


def sigmoid_forward(x, y):
    """y = 1 / (1 + exp(-x))."""
    activation_forward(SIGMOID, 0.0, x, y)


def sigmoid_backward(y, dy, dx):
    """dx = y (1 - y) dy."""
    activation_backward(SIGMOID, 0.0, y, dy, dx)


def sigmoid_tangent(y, tx, ty):
    """ty = y (1 - y) tx."""
    activation_backward(SIGMOID, 0.0, y, tx, ty)
