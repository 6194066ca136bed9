"""Means of windows. Meaning: `kernels.reference.pool`."""

from __future__ import annotations

import numpy as np

from .fused import fma


def _windows(rows, columns):
    for i, (top, bottom, down) in enumerate(rows):
        for j, (left, right, across) in enumerate(columns):
            pixels = [(r, s) for r in range(top, bottom) for s in range(left, right)]
            yield i, j, pixels, down * across


def average_pool_forward(x, rows, columns, y):
    """Pixels are added row by row from +0; the sum times 1 / area, a rounded number."""
    real = y.dtype.type
    for i, j, pixels, area in _windows(rows, columns):
        total = np.zeros_like(y[:, i, j])
        for r, s in pixels:
            total = total + x[:, r, s]
        y[:, i, j] = total * (real(1) / real(area))


def average_pool_backward(dy, rows, columns, dx):
    """dx: from +0, fma(1 / area, dy, dx) for one window after another, row by row."""
    real = dx.dtype.type
    dx[...] = 0
    for i, j, pixels, area in _windows(rows, columns):
        for r, s in pixels:
            dx[:, r, s] = fma(real(1) / real(area), dy[:, i, j], dx[:, r, s])
