"""Elementwise activations on the CPU. `apply` and `pull` serve every kernel that fuses one.

The code of the activation is looked at once a row or block, never once an element.
"""

from __future__ import annotations

from numba import prange

from ..codes import IDENTITY, LEAKY_RELU, RELU, TANH
from .exponential import exp, tanh
from .fused import fma
from .tiles import BLOCK, inner, parallel, pieces, serial


@inner
def apply(act, slope, x, y):
    """y = f(x) for vectors of one length; x and y may be the same array."""
    if act == IDENTITY:
        for i in range(y.size):
            y[i] = x[i]
    elif act == RELU:
        for i in range(y.size):
            y[i] = 0 if x[i] < 0 else x[i]  # this way round, NaN stays NaN
    elif act == LEAKY_RELU:
        s = y.dtype.type(slope)
        for i in range(y.size):
            y[i] = s * x[i] if x[i] < 0 else x[i]
    elif act == TANH:
        for i in range(y.size):
            y[i] = tanh(x[i])
    else:
        one = y.dtype.type(1)
        for i in range(y.size):
            e = exp(-abs(x[i]))
            y[i] = (e if x[i] < 0 else one) / (one + e)


@serial
def pull(act, slope, y, dy, dx):
    """dx = f'(x) dy for vectors of one length, f' written in y; dy and dx may be the same array."""
    if act == IDENTITY:
        for i in range(y.size):
            dx[i] = dy[i]
    elif act == RELU:
        for i in range(y.size):
            dx[i] = dy[i] if y[i] > 0 else 0
    elif act == LEAKY_RELU:
        s = y.dtype.type(slope)
        for i in range(y.size):
            dx[i] = dy[i] if y[i] > 0 else s * dy[i]
    elif act == TANH:
        one = y.dtype.type(1)
        for i in range(y.size):
            dx[i] = dy[i] * fma(-y[i], y[i], one)
    else:
        one = y.dtype.type(1)
        for i in range(y.size):
            dx[i] = dy[i] * y[i] * (one - y[i])


@parallel
def _forward(act, slope, x, y):
    for b in prange(pieces(y.size, BLOCK)):
        lo, hi = b * BLOCK, min((b + 1) * BLOCK, y.size)
        apply(act, slope, x[lo:hi], y[lo:hi])


@parallel
def _backward(act, slope, y, dy, dx):
    size = y.size
    per_stack = pieces(size, BLOCK)
    for b in prange(pieces(dy.size, max(size, 1)) * per_stack):
        stack, block = b // per_stack, b % per_stack
        lo, hi = block * BLOCK, min((block + 1) * BLOCK, size)
        at = stack * size
        pull(act, slope, y[lo:hi], dy[at + lo : at + hi], dx[at + lo : at + hi])


def activation_forward(act, slope, x, y):
    _forward(act, slope, x.reshape(-1), y.reshape(-1))


def activation_backward(act, slope, y, dy, dx):
    _backward(act, slope, y.reshape(-1), dy.reshape(-1), dx.reshape(-1))
