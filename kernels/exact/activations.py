"""Elementwise activations: value, cotangent and tangent. Meaning: `kernels.reference`."""

from __future__ import annotations

import numpy as np

from .. import codes
from .exponential import exp, tanh
from .fused import fma


def apply(act, slope, x):
    """f(x)."""
    real = x.dtype.type
    match act:
        case codes.RELU:  # NaN stays NaN, and -0 stays -0
            return np.where(x < 0, real(0), x)
        case codes.LEAKY_RELU:
            return np.where(x < 0, real(slope) * x, x)
        case codes.TANH:
            return tanh(x)
        case codes.SIGMOID:
            e = exp(-abs(x))
            return np.where(x < 0, e, real(1)) / (real(1) + e)
    return x


def pull(act, slope, y, dy):
    """f'(x) dy, f' written in y; shapes broadcast."""
    real = y.dtype.type
    match act:
        case codes.RELU:
            return np.where(y > 0, dy, real(0))
        case codes.LEAKY_RELU:
            return np.where(y > 0, dy, real(slope) * dy)
        case codes.TANH:
            return dy * fma(-y, y, np.ones_like(y))
        case codes.SIGMOID:
            return dy * y * (real(1) - y)
    return dy


def activation_forward(act, slope, x, y):
    """y = f(x)."""
    y[...] = apply(act, slope, x)


def activation_backward(act, slope, y, dy, dx):
    """dx = f'(x) dy; V cotangents stacked along the rows."""
    stacked = (-1, *y.shape)
    dx.reshape(stacked)[...] = pull(act, slope, y, dy.reshape(stacked))
