"""Pooling over windows of NHWC images: the largest value, or the mean.

x (N, H, W, C) and y (N, h, w, C). Cotangents may be V stacked ones, (V N, ...).
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def max_pool_forward(x, window, stride, padding, index, y):
    """y = the largest value of each window; index (like y, uint16) = where in the window it stood.

    Positions in a window count row by row. The first of equal values wins, and NaN beats all.
    padding: that above and on the left; below and on the right there is as much as the windows of y
    reach over. It never wins: every window must hold a pixel (padding below the window's size).
    """
    (ph, pw), (sh, sw) = padding, stride
    ends = ((y.shape[1 + a] - 1) * stride[a] - padding[a] + window[a] for a in (0, 1))
    below, right = (max(end - x.shape[1 + a], 0) for a, end in enumerate(ends))
    padded = np.pad(x, ((0, 0), (ph, below), (pw, right), (0, 0)), constant_values=-np.inf)
    windows = sliding_window_view(padded, window, axis=(1, 2))[:, ::sh, ::sw]
    windows = windows[:, : y.shape[1], : y.shape[2]]
    flat = windows.reshape(*windows.shape[:4], -1)
    # a window that is -inf throughout must still answer with one of its pixels, not with padding
    rows = np.arange(y.shape[1]) * sh - ph
    columns = np.arange(y.shape[2]) * sw - pw
    inside_rows = (rows[:, None] + np.arange(window[0]) >= 0) & (
        rows[:, None] + np.arange(window[0]) < x.shape[1]
    )
    inside_columns = (columns[:, None] + np.arange(window[1]) >= 0) & (
        columns[:, None] + np.arange(window[1]) < x.shape[2]
    )
    inside = inside_rows[:, None, :, None] & inside_columns[None, :, None, :]
    inside = inside.reshape(y.shape[1], y.shape[2], 1, -1)
    first = np.argmax(inside, axis=-1)
    best = np.argmax(flat, axis=-1)
    lost = ~np.take_along_axis(np.broadcast_to(inside, flat.shape), best[..., None], -1)[..., 0]
    best = np.where(lost, first, best)
    index[...] = best
    y[...] = np.take_along_axis(flat, best[..., None], axis=-1)[..., 0]


def _sources(index, window, stride, padding):
    """The row and column of x that each output took: two arrays (N, h, w, C)."""
    taken = index.astype(np.int64)
    h, w = index.shape[1:3]
    rows = taken // window[1] + (np.arange(h) * stride[0] - padding[0])[:, None, None]
    columns = taken % window[1] + (np.arange(w) * stride[1] - padding[1])[:, None]
    return rows, columns


def max_pool_backward(index, dy, window, stride, padding, dx):
    """dx = dy put where its value came from, summed where windows overlap; 0 elsewhere."""
    rows, columns = _sources(index, window, stride, padding)
    n, channels = index.shape[0], index.shape[3]
    samples = np.arange(n)[:, None, None, None]
    depth = np.arange(channels)
    dx[...] = 0
    for stacked, target in zip(
        dy.reshape(-1, *index.shape), dx.reshape(-1, n, *dx.shape[1:]), strict=True
    ):
        np.add.at(target, (samples, rows, columns, depth), stacked)


def max_pool_tangent(index, tx, window, stride, padding, ty):
    """ty = tx where the value came from."""
    rows, columns = _sources(index, window, stride, padding)
    samples = np.arange(index.shape[0])[:, None, None, None]
    ty[...] = tx[samples, rows, columns, np.arange(index.shape[3])]


def average_pool_forward(x, rows, columns, y):
    """y[:, i, j] = the sum of x over rows[i, 0] to rows[i, 1] and columns[j, 0] to columns[j, 1],
    divided by the area rows[i, 2] columns[j, 2].

    rows (h, 3), columns (w, 3): int64, the end not included, so that regular, adaptive and global
    pooling are one kernel. The area is that of the pixels, or larger: padding counts as zeros.
    Linear: the tangent is the same kernel.
    """
    for i, (top, bottom, down) in enumerate(rows):
        for j, (left, right, across) in enumerate(columns):
            y[:, i, j] = x[:, top:bottom, left:right].sum(axis=(1, 2)) / int(down * across)


def average_pool_backward(dy, rows, columns, dx):
    """dx = of each dy its part, 1 / area, for every pixel of its window; overwritten."""
    dx[...] = 0
    for i, (top, bottom, down) in enumerate(rows):
        for j, (left, right, across) in enumerate(columns):
            dx[:, top:bottom, left:right] += (dy[:, i, j] / (down * across))[:, None, None]
