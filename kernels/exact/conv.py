"""The convolution: direct, or by Winograd's way, as its shape alone says. Meaning and arguments:
`kernels.reference.conv`.

Every kernel but the weight gradient's is a correlation of a source image with taps (R, S, D, F):
out[n, i, j, f] is one chain over r, s, d of what the window at (i, j) sees; zeros lie outside.
"""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

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


def _winograd(shape, steps, apart, rows, columns):
    """Whether a correlation with taps of `shape` (R, S, D, F) goes by Winograd's way; steps from
    one window to the next, results `apart` in an image."""
    names = ("r", "s", "depth", "filters", "down", "across", "out_down", "out_across")
    given = dict(zip(names, (*shape, *steps, *apart), strict=True))
    return winograd_wins(SimpleNamespace(**given, rows=rows, columns=columns))


def _correlate(source, taps, top, left, stride, start, out, apart=(1, 1)):
    """start, or zeros, and the correlation (N, h, w, F), of the shape of `out`; its first window
    begins at (top, left), and its results lie `apart` in an image."""
    (r, s), (down, across), (rows, columns) = taps.shape[:2], stride, out.shape[1:3]
    if out.size == 0 or taps.size == 0:
        return np.zeros_like(out) if start is None else start
    if _winograd(taps.shape, stride, apart, rows, columns):
        seen = view(source, top, left, whole_tiles(rows) + 2, whole_tiles(columns) + 2)
        found = correlate_tiles(seen, taps, rows, columns)
        odd = odd_outputs(seen, taps, rows, columns)
        if odd.any():
            found = np.where(odd, _direct(seen, taps, stride, np.zeros_like(found)), found)
        return found if start is None else found + start
    seen = view(source, top, left, (rows - 1) * down + r, (columns - 1) * across + s)
    return _direct(seen, taps, stride, np.zeros_like(out) if start is None else start)


def _direct(seen, taps, stride, z):
    """z (N, h, w, F) and the correlation, one chain each over the taps' rows, columns and depth."""
    (r, s, depth, _), (down, across), (rows, columns) = taps.shape, stride, z.shape[1:3]
    for i in range(r):
        for j in range(s):
            pixels = seen[:, i::down, j::across][:, :rows, :columns]
            for d in range(depth):
                z = fma(pixels[..., d, None], taps[i, j, d], z)
    return z


def _forward(x, w, stride, padding, start, out):
    return _correlate(x, w.transpose(1, 2, 3, 0), -padding[0], -padding[1], stride, start, out)


def conv2d_forward(x, w, b, stride, padding, act, slope, work, y):
    """y = f(z + b), z the correlation from +0."""
    z = _forward(x, w, stride, padding, None, y)
    y[...] = apply(act, slope, z if b is None else z + b)


def conv2d_tangent(x, w, y, tx, tw, tb, stride, padding, act, slope, work, ty):
    """ty = f'(y) (z + tb), z the correlation of tx with w, which goes on with that of x with tw."""
    z = None if tx is None else _forward(tx, w, stride, padding, None, ty)
    if tw is not None:
        z = _forward(x, tw, stride, padding, z, ty)
    ty[...] = pull(act, slope, y, z if tb is None else z + tb)


def _phase(size, kernel, stride, padding, phase):
    """(the first, where in dz its window begins) of the inputs i of an axis with
    (i + padding) % stride == phase, which meet only the taps phase, phase + stride, ..."""
    taps = len(range(phase, kernel, stride))
    first = max(padding - phase + stride - 1, 0) // stride
    return phase - padding + first * stride, first - (taps - 1)


def conv2d_input_grad(dz, w, stride, padding, work, dx):
    """Phase by phase of the stride: the correlation of dz with the phase's taps turned round, over
    dz's rows, columns and filters."""
    (sh, sw), kernel = stride, w.shape[1:3]
    for a in range(sh):
        row, top = _phase(dx.shape[1], kernel[0], sh, padding[0], a)
        for b in range(sw):
            column, left = _phase(dx.shape[2], kernel[1], sw, padding[1], b)
            out = dx[:, row::sh, column::sw]
            taps = w[:, a::sh, b::sw][:, ::-1, ::-1].transpose(1, 2, 0, 3)
            out[...] = _correlate(dz, taps, top, left, (1, 1), None, out, stride)


def _sample_chain(seen, dz, stride, dw, db):
    """dw (O, R, S, C), db (O,) and one sample's products, over output rows and columns."""
    r, s = dw.shape[1:3]
    for i in range(dz.shape[0]):
        for j in range(dz.shape[1]):
            window = seen[i * stride[0] :, j * stride[1] :][:r, :s]
            dw = fma(dz[i, j][:, None, None, None], window, dw)
            db = db + dz[i, j]
    return dw, db


def _seen(x, dz, shape, stride, padding):
    """What the windows of all outputs see: x with its padding, no more."""
    rows, columns = dz.shape[-3:-1]
    height, width = (rows - 1) * stride[0] + shape[1], (columns - 1) * stride[1] + shape[2]
    return view(x, -padding[0], -padding[1], height, width)


def _groups(n, shape):
    """Where the groups of n samples begin and end; shape (O, R, S, C)."""
    groups = sample_groups(n, shape[1] * shape[2] * shape[3], shape[0])
    return pairwise([group_begin(n, groups, group) for group in range(groups + 1)])


def conv2d_weight_grad(x, dz, stride, padding, beta, work, dw, db):
    """Groups of samples, each one chain over n, rows and columns from +0, are added to beta dw one
    by one, and so is db. By Winograd's way, if all it gives is finite, dw is one sum; and db is one
    over all positions either way."""
    rows, columns = dz.shape[1:3]
    shape = (*dw.shape[1:], dw.shape[0])
    if _winograd(shape, stride, (1, 1), rows, columns):
        h, w = whole_tiles(rows), whole_tiles(columns)
        seen = view(x, -padding[0], -padding[1], h + 2, w + 2)
        if db is not None:
            db[...] = add_rows(dz.reshape(-1, len(dw)), scaled(beta, db))
        found = weight_tiles(seen, view(dz, 0, 0, h, w))
        if np.isfinite(found[:, ::2, ::2]).all():  # all 36 frequencies go to the four corners
            dw[...] = scaled(beta, dw) + found
            return
        db = None
    seen = _seen(x, dz, dw.shape, stride, padding)
    dw[...], total = scaled(beta, dw), scaled(beta, dw[:, 0, 0, 0] if db is None else db)
    for begin, end in _groups(len(x), dw.shape):
        sums = np.zeros_like(dw), np.zeros_like(total)
        for n in range(begin, end):
            sums = _sample_chain(seen[n], dz[n], stride, *sums)
        dw += sums[0]
        total = total + sums[1]
    if db is not None:
        db[...] = total


def conv2d_sample_grads(x, dz, stride, padding, work, dw, db):
    """Each sample's chain over output rows and columns from +0."""
    seen = _seen(x, dz, dw.shape[1:], stride, padding)
    for n in range(len(x)):
        zero = np.zeros_like(dw[n])
        found = _sample_chain(seen[n], dz[n], stride, zero, zero[:, 0, 0, 0])
        dw[n] = zero + found[0]
        if db is not None:
            db[n] = zero[:, 0, 0, 0] + found[1]


def conv2d_accumulate(x, dz, stride, padding, power, work, dw, db):
    """Groups are those of a weight gradient; each adds the powers of its samples' chains, cotangent
    by cotangent, from +0."""
    seen = _seen(x, dz, dw.shape, stride, padding)
    zero = np.zeros_like(dw)
    for begin, end in _groups(len(x), dw.shape):
        sums, total = zero, zero[:, 0, 0, 0]
        for n in range(begin, end):
            for one in dz:
                found = _sample_chain(seen[n], one[n], stride, zero, zero[:, 0, 0, 0])
                sums, total = raised(power, found[0], sums), raised(power, found[1], total)
        dw += sums
        if db is not None:
            db += total


def conv2d_signal(x, y, w, stride, padding, work, dw, db):
    """Of each sample the magnitudes that a tap sees are added row by row, then sample by sample;
    dw = fma(|w|, traffic, dw). |y| is added to db position by position."""
    (r, s), (h, across) = w.shape[1:3], y.shape[1:3]
    seen = abs(_seen(x, y, w.shape, stride, padding))
    for i in range(r):
        for j in range(s):
            pixels = seen[:, i :: stride[0], j :: stride[1]][:, :h, :across]
            flat = pixels.reshape(len(x), -1, x.shape[3])
            traffic = add_rows(flat.swapaxes(0, 1), np.zeros_like(flat[:, 0]))
            total = add_rows(traffic[1:], traffic[0])
            dw[:, i, j] = fma(abs(w[:, i, j]), total, dw[:, i, j])
    if db is not None:
        db[...] = add_rows(abs(y.reshape(-1, len(w))), db)
