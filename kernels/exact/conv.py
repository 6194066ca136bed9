"""The convolution: direct, or by Winograd's way, as its shape alone says. Meaning and arguments:
`kernels.reference.conv`.

Every kernel but the weight gradient's is a correlation of a source image with taps (R, S, D, F):
out[n, i, j, f] is one chain over r, s, d of what the window at (i, j) sees; zeros lie outside. With
groups there are D channels for each, and the F results are cut into as many groups, in order.
"""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from ..conv_order import group_begin, sample_groups, winograd_wins
from .activations import apply, pull
from .dense import add_rows, raised, scaled
from .fused import fma
from .winograd import correlate_tiles, odd_outputs, weight_tiles, whole_tiles


def view(image, top, left, rows, columns):
    """Rows and columns of images (N, H, W, C) from (top, left), which may lie outside: zeros."""
    n, height, width, depth = image.shape
    seen = np.zeros((n, rows, columns, depth), image.dtype)
    first, last = max(-top, 0), min(rows, height - top)
    begin, end = max(-left, 0), min(columns, width - left)
    if last > first and end > begin:
        part = image[:, top + first : top + last, left + begin : left + end]
        seen[:, first:last, begin:end] = part
    return seen


class Steps(NamedTuple):
    """How windows lie: steps from one to the next, taps apart within one, results in an image."""

    window: tuple[int, int] = (1, 1)
    tap: tuple[int, int] = (1, 1)
    result: tuple[int, int] = (1, 1)
    groups: int = 1


def _winograd(shape, steps, rows, columns):
    """Whether a correlation with taps of `shape` (R, S, D, F) goes by Winograd's way."""
    names = ("r", "s", "depth", "filters", "down", "across", "tap_down", "tap_across", "out_down",
             "out_across")  # fmt: skip
    given = dict(zip(names, (*shape, *steps.window, *steps.tap, *steps.result), strict=True))
    return winograd_wins(SimpleNamespace(**given, groups=steps.groups, rows=rows, columns=columns))


def _extent(taps, places, stride, apart):
    """Rows, or columns, that so many windows see in all."""
    return (places - 1) * stride + (taps - 1) * apart + 1


def _correlate(source, taps, top, left, steps, start, out):
    """start, or zeros, and the correlation (N, h, w, F), of the shape of `out`; its first window
    begins at (top, left)."""
    rows, columns = out.shape[1:3]
    if out.size == 0 or taps.size == 0:
        return np.zeros_like(out) if start is None else start
    if _winograd(taps.shape, steps, rows, columns):
        seen = view(source, top, left, whole_tiles(rows) + 2, whole_tiles(columns) + 2)
        found = correlate_tiles(seen, taps, rows, columns)
        odd = odd_outputs(seen, taps, rows, columns)
        if odd.any():
            found = np.where(odd, _direct(seen, taps, steps, np.zeros_like(found)), found)
        return found if start is None else found + start
    extents = map(_extent, taps.shape[:2], out.shape[1:3], steps.window, steps.tap)
    seen = view(source, top, left, *extents)
    return _direct(seen, taps, steps, np.zeros_like(out) if start is None else start)


def _direct(seen, taps, steps, z):
    """z (N, h, w, F) and the correlation, one chain each over the taps' rows, columns and depth."""
    (r, s, depth, _), shape, groups = taps.shape, z.shape, steps.groups
    z = z.reshape(*shape[:3], groups, -1)
    for i in range(r):
        for j in range(s):
            row, column = i * steps.tap[0], j * steps.tap[1]
            pixels = seen[:, row :: steps.window[0], column :: steps.window[1]]
            pixels = pixels[:, : shape[1], : shape[2]]
            for d in range(depth):
                z = fma(pixels[..., d::depth, None], taps[i, j, d].reshape(groups, -1), z)
    return z.reshape(shape)


def _forward(x, w, move, start, out):
    stride, padding, dilation, groups = move
    steps, taps = Steps(stride, dilation, groups=groups), w.transpose(1, 2, 3, 0)
    return _correlate(x, taps, -padding[0], -padding[1], steps, start, out)


def conv2d_forward(x, w, b, stride, padding, dilation, groups, act, slope, work, y):
    """y = f(z + b), z the correlation from +0."""
    z = _forward(x, w, (stride, padding, dilation, groups), None, y)
    y[...] = apply(act, slope, z if b is None else z + b)


def conv2d_tangent(x, w, y, tx, tw, tb, stride, padding, dilation, groups, act, slope, work, ty):
    """ty = f'(y) (z + tb), z the correlation of tx with w, which goes on with that of x with tw."""
    move = stride, padding, dilation, groups
    z = None if tx is None else _forward(tx, w, move, None, ty)
    if tw is not None:
        z = _forward(x, tw, move, z, ty)
    ty[...] = pull(act, slope, y, z if tb is None else z + tb)


def _phase(kernel, stride, padding, dilation, phase):
    """Of the inputs i of an axis with (i + padding) % stride == phase: (the first, the taps that
    they meet, last first, where in dz the first one's window begins, how far apart taps are there).
    """
    taps = [tap for tap in range(kernel) if (phase - tap * dilation) % stride == 0][::-1]
    begin = max(padding - phase + stride - 1, 0) // stride
    first = phase - padding + begin * stride
    if not taps:
        return first, taps, 0, 1
    places = [begin + (phase - tap * dilation) // stride for tap in taps]
    return first, taps, places[0], places[1] - places[0] if len(places) > 1 else 1


def conv2d_input_grad(dz, w, stride, padding, dilation, groups, work, dx):
    """Phase by phase of the stride: the correlation of dz with the phase's taps turned round, over
    dz's rows, columns and filters."""
    (sh, sw), (_, r, s, each) = stride, w.shape
    apart = w.reshape(groups, -1, r, s, each).transpose(2, 3, 1, 0, 4)
    turned = apart.reshape(r, s, -1, dx.shape[3])
    for a in range(sh):
        row, rows, top, down = _phase(r, sh, padding[0], dilation[0], a)
        for b in range(sw):
            column, columns, left, across = _phase(s, sw, padding[1], dilation[1], b)
            out = dx[:, row::sh, column::sw]
            steps = Steps((1, 1), (down, across), stride, groups)
            out[...] = _correlate(dz, turned[rows][:, columns], top, left, steps, None, out)


def _sample_chain(seen, dz, stride, dilation, dw, db):
    """dw (O, R, S, C / groups), db (O,) and one sample's products, over output rows and columns."""
    filters, r, s, each = dw.shape
    groups = seen.shape[2] // each
    sums = dw.reshape(groups, -1, r, s, each)
    for i in range(dz.shape[0]):
        for j in range(dz.shape[1]):
            window = seen[i * stride[0] :: dilation[0], j * stride[1] :: dilation[1]][:r, :s]
            window = window.reshape(r, s, groups, 1, each).transpose(2, 3, 0, 1, 4)
            sums = fma(dz[i, j].reshape(groups, -1, 1, 1, 1), window, sums)
            db = db + dz[i, j]
    return sums.reshape(filters, r, s, each), db


def _seen(x, dz, shape, stride, padding, dilation):
    """What the windows of all outputs see: x with its padding, no more."""
    extents = map(_extent, shape[1:3], dz.shape[-3:-1], stride, dilation)
    return view(x, -padding[0], -padding[1], *extents)


def _groups(n, shape):
    """Where the groups of n samples begin and end; shape (O, R, S, C / groups)."""
    groups = sample_groups(n, shape[1] * shape[2] * shape[3], shape[0])
    return pairwise([group_begin(n, groups, group) for group in range(groups + 1)])


def conv2d_weight_grad(x, dz, stride, padding, dilation, groups, beta, work, dw, db):
    """Groups of samples, each one chain over n, rows and columns from +0, are added to beta dw one
    by one, and so is db. By Winograd's way, if all it gives is finite, dw is one sum; and db is one
    over all positions either way."""
    rows, columns = dz.shape[1:3]
    shape = (*dw.shape[1:], dw.shape[0])
    if _winograd(shape, Steps(stride, dilation, groups=groups), rows, columns):
        h, w = whole_tiles(rows), whole_tiles(columns)
        seen = view(x, -padding[0], -padding[1], h + 2, w + 2)
        if db is not None:
            db[...] = add_rows(dz.reshape(-1, len(dw)), scaled(beta, db))
        found = weight_tiles(seen, view(dz, 0, 0, h, w))
        if np.isfinite(found[:, ::2, ::2]).all():  # all 36 frequencies go to the four corners
            dw[...] = scaled(beta, dw) + found
            return
        db = None
    seen = _seen(x, dz, dw.shape, stride, padding, dilation)
    dw[...], total = scaled(beta, dw), scaled(beta, dw[:, 0, 0, 0] if db is None else db)
    for begin, end in _groups(len(x), dw.shape):
        sums = np.zeros_like(dw), np.zeros_like(total)
        for n in range(begin, end):
            sums = _sample_chain(seen[n], dz[n], stride, dilation, *sums)
        dw += sums[0]
        total = total + sums[1]
    if db is not None:
        db[...] = total


def conv2d_sample_grads(x, dz, stride, padding, dilation, groups, work, dw, db):
    """Each sample's chain over output rows and columns from +0."""
    seen = _seen(x, dz, dw.shape[1:], stride, padding, dilation)
    for n in range(len(x)):
        zero = np.zeros_like(dw[n])
        found = _sample_chain(seen[n], dz[n], stride, dilation, zero, zero[:, 0, 0, 0])
        dw[n] = zero + found[0]
        if db is not None:
            db[n] = zero[:, 0, 0, 0] + found[1]


def conv2d_accumulate(x, dz, stride, padding, dilation, groups, power, work, dw, db):
    """Groups are those of a weight gradient; each adds the powers of its samples' chains, cotangent
    by cotangent, from +0."""
    seen = _seen(x, dz, dw.shape, stride, padding, dilation)
    zero = np.zeros_like(dw)
    for begin, end in _groups(len(x), dw.shape):
        sums, total = zero, zero[:, 0, 0, 0]
        for n in range(begin, end):
            for one in dz:
                found = _sample_chain(seen[n], one[n], stride, dilation, zero, zero[:, 0, 0, 0])
                sums, total = raised(power, found[0], sums), raised(power, found[1], total)
        dw += sums
        if db is not None:
            db += total


def conv2d_signal(x, y, w, stride, padding, dilation, groups, work, dw, db):
    """Of each sample the magnitudes that a tap sees are added row by row, then sample by sample;
    dw = fma(|w|, traffic, dw). |y| is added to db position by position."""
    (filters, r, s, each), (h, across) = w.shape, y.shape[1:3]
    seen = abs(_seen(x, y, w.shape, stride, padding, dilation))
    for i in range(r):
        for j in range(s):
            row, column = i * dilation[0], j * dilation[1]
            pixels = seen[:, row :: stride[0], column :: stride[1]][:, :h, :across]
            flat = pixels.reshape(len(x), -1, x.shape[3])
            traffic = add_rows(flat.swapaxes(0, 1), np.zeros_like(flat[:, 0]))
            total = add_rows(traffic[1:], traffic[0]).reshape(groups, each)
            mine = np.repeat(total, filters // groups, axis=0)
            dw[:, i, j] = fma(abs(w[:, i, j]), mine, dw[:, i, j])
    if db is not None:
        db[...] = add_rows(abs(y.reshape(-1, len(w))), db)
