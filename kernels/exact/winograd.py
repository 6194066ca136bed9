"""3x3 convolutions with stride 1 by Winograd's F(4x4, 3x3), whose sums have an order of their own.

Transforms are those of `kernels.cpu.transforms`, along the rows first; each of the 36 frequencies
is one chain, over channels (forward, input gradient) or over tiles (weight gradient).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..conv_order import HOT, LARGE_PIXEL, LARGE_WEIGHT, group_begin, tile_groups
from .dense import add_rows
from .fused import chain, fma


def _of_input(d0, d1, d2, d3, d4, d5):
    """B' d: six to six."""
    p, q = fma(-4, d2, d4), fma(-4, d1, d3)
    r, s = d4 - d2, d3 - d1
    first, last = fma(4, d0, fma(-5, d2, d4)), fma(4, d1, fma(-5, d3, d5))
    return first, p + q, p - q, fma(2, s, r), fma(-2, s, r), last


def _of_filter(g0, g1, g2):
    """G g: three to six."""
    real = g0.dtype.type
    p, q = real(-1 / 6) * (g0 + g2), real(1 / 6) * g1
    r, s = fma(1 / 24, g0, real(1 / 6) * g2), real(1 / 12) * g1
    return real(1 / 4) * g0, p - q, p + q, r + s, r - s, g2


def _to_output(m0, m1, m2, m3, m4, m5):
    """A' m: six to four."""
    p, q, r, s = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return m0 + p + r, fma(2, s, q), fma(4, r, p), fma(8, s, q) + m5


def _of_output(y0, y1, y2, y3):
    """A y: four to six."""
    p, q = y0 + y2, y1 + y3
    r, s = fma(4, y2, y0), fma(4, y3, y1)
    return y0, p + q, p - q, fma(2, s, r), fma(-2, s, r), y3


def _to_filter(u0, u1, u2, u3, u4, u5):
    """G' u: six to three."""
    real = u0.dtype.type
    p, q, r, s = u1 + u2, u2 - u1, u3 + u4, u3 - u4
    return (
        fma(1 / 4, u0, fma(-1 / 6, p, real(1 / 24) * r)),
        fma(1 / 6, q, real(1 / 12) * s),
        fma(1 / 6, r - p, u5),
    )


def _both(transform, a):
    """`transform` along the first axis, then along the second: (k, k, ...) to (m, m, ...)."""
    a = np.stack(transform(*a))
    return np.stack(transform(*a.swapaxes(0, 1))).swapaxes(0, 1)


def _tiles(image, size):
    """Windows of size x size, 4 apart, of images (N, 4 h + size - 4, ...): (size, size, T, C)."""
    n, height, width, depth = image.shape
    down, across = (height - size) // 4 + 1, (width - size) // 4 + 1
    found = np.empty((size, size, n, down, across, depth), image.dtype)
    for i in range(size):
        for j in range(size):
            found[i, j] = image[:, i::4, j::4][:, :down, :across]
    return found.reshape(size, size, -1, depth)


def correlate_tiles(seen, taps, rows, columns):
    """The correlation (N, rows, columns, F) of images `seen` (N, 4 h + 2, 4 w + 2, D), padded."""
    n, height, width, _ = seen.shape
    v = _both(_of_input, _tiles(seen, 6))  # (6, 6, T, D)
    u = _both(_of_filter, taps)  # (6, 6, D, F)
    start = np.zeros((*v.shape[:3], taps.shape[3]), v.dtype)
    m = chain(np.moveaxis(v, 3, 0)[..., None], np.moveaxis(u, 2, 0)[:, :, :, None], start)
    y = _both(_to_output, m).reshape(4, 4, n, (height - 2) // 4, (width - 2) // 4, -1)
    whole = y.transpose(2, 3, 0, 4, 1, 5).reshape(n, height - 2, width - 2, -1)
    return whole[:, :rows, :columns]


def whole_tiles(length):
    """`length` rounded up to whole tiles of outputs."""
    return -(-length // 4) * 4


def odd_outputs(seen, taps, rows, columns):
    """Which outputs (N, rows, columns, 1) are summed directly instead: those that see nothing as
    large as HOT times the largest magnitude of their tile, and all of a tile with a pixel, or by
    weights, so large that the transforms might overflow, infinite or NaN."""
    n, height, width, _ = seen.shape
    large = int(seen.dtype == np.float64)
    size = abs(seen).max(axis=3, keepdims=True)  # NaN if one is
    most = _tiles(size, 6).max(axis=(0, 1)).reshape(n, (height - 2) // 4, (width - 2) // 4, 1)
    all_of_it = ~((most < LARGE_PIXEL[large]) & (abs(taps).max() < LARGE_WEIGHT[large]))
    floor = (most.astype(np.float64) * HOT).astype(seen.dtype)
    all_of_it, floor = (one.repeat(4, axis=1).repeat(4, axis=2) for one in (all_of_it, floor))
    here = sliding_window_view(size, (3, 3), axis=(1, 2)).max(axis=(-2, -1))
    return (all_of_it | (here < floor))[:, :rows, :columns]


def weight_tiles(seen, dz):
    """The weight gradient (O, 3, 3, D) of images `seen` (N, 4 h + 2, 4 w + 2, D) and cotangents dz
    (N, 4 h, 4 w, O), both padded: a group's dU is a chain over its tiles, groups are added up."""
    v, m = _both(_of_input, _tiles(seen, 6)), _both(_of_output, _tiles(dz, 4))
    tiles, depth, filters = v.shape[2], v.shape[3], m.shape[3]
    groups = tile_groups(tiles, depth, filters)
    edges = [group_begin(tiles, groups, group) for group in range(groups + 1)]
    sums = [
        chain(
            np.moveaxis(v[:, :, lo:hi], 2, 0)[..., None],
            np.moveaxis(m[:, :, lo:hi], 2, 0)[:, :, :, None],
            np.zeros((6, 6, depth, filters), v.dtype),
        )
        for lo, hi in pairwise(edges)
    ]
    return _both(_to_filter, add_rows(sums[1:], sums[0])).transpose(3, 0, 1, 2)
