"""Elementwise activations on the CPU. `apply` and `pull` serve every kernel that fuses one.

The code of the activation is looked at once a row or block, never once an element.
"""

from __future__ import annotations

from numba import prange

from ..codes import IDENTITY, LEAKY_RELU, RELU, TANH
from .exponential import exp, tanh
from .fused import fma
from .tiles import BLOCK, inlined, inner, parallel, pieces, serial


@inner
def apply(act, slope, y):
    """y = f(y) for a vector. (Of two arrays that may be one, LLVM makes no vector instructions.)"""
    if act == RELU:
        for i in range(y.size):
            y[i] = 0 if y[i] < 0 else y[i]  # this way round, NaN stays NaN
    elif act == LEAKY_RELU:
        s = y.dtype.type(slope)
        for i in range(y.size):
            y[i] = s * y[i] if y[i] < 0 else y[i]
    elif act == TANH:
        for i in range(y.size):
            y[i] = tanh(y[i])
    elif act != IDENTITY:
        one = y.dtype.type(1)
        for i in range(y.size):
            e = exp(-abs(y[i]))
            y[i] = (e if y[i] < 0 else one) / (one + e)


@inlined
def _pull(act, slope, y, dy, dx):
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


@serial
def pull(act, slope, y, dy, dx):
    """dx = f'(x) dy for vectors of one length, f' written in y; dy and dx may be the same array."""
    if dx.ctypes.data == dy.ctypes.data:  # LLVM makes vector instructions where it knows which
        _pull(act, slope, y, dx, dx)
    else:
        _pull(act, slope, y, dy, dx)


@inner
def _move(x, y):
    for i in range(y.size):
        y[i] = x[i]


@parallel
def _forward(act, slope, x, y):
    for b in prange(pieces(y.size, BLOCK)):
        lo, hi = b * BLOCK, min((b + 1) * BLOCK, y.size)
        if x.ctypes.data != y.ctypes.data:
            _move(x[lo:hi], y[lo:hi])
        apply(act, slope, y[lo:hi])


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
