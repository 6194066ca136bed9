"""The convolution on the CPU. Meaning, axes and arguments: `kernels.reference.conv`."""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
from numba import prange

from ..conv_order import winograd_wins as _winograd_wins
from .activations import apply, pull
from .correlate import correlate, correlation_room
from .correlation import Correlation, lanewise, products_of
from .fused import fma
from .microkernel import ABSOLUTE, CONTINUE, SQUARE
from .panels import panel_count, panel_width
from .products import each_sample, products_room, sum_samples, unpack
from .simd import size_of
from .tiles import BLOCK, inner, parallel, pieces, serial
from .winograd import winograd, winograd_room
from .winograd_weight import winograd_weight, winograd_weight_room

LANES = 16  # columns of a sum over rows that one thread takes: a cache line of float32


winograd_wins = serial(_winograd_wins)


@inner
def _apart(taps, dilation):
    """From one tap to the next; a single one is apart from none."""
    return dilation if taps > 1 else 1


@serial
def forward_of(x, w, y, move):
    """The correlation of x (a shape) with filters w (a shape) that gives y (a shape).

    move: (stride, padding, dilation, groups), as the kernels take them.
    """
    stride, padding, dilation, groups = move
    return Correlation(
        n=x[0], height=x[1], width=x[2], depth=w[3], top=-padding[0], left=-padding[1],
        down=stride[0], across=stride[1], r=w[1], s=w[2], rows=y[1], columns=y[2],
        filters=w[0] // groups, out_height=y[1], out_width=y[2], out_top=0, out_left=0, out_down=1,
        out_across=1, tap_down=_apart(w[1], dilation[0]), tap_across=_apart(w[2], dilation[1]),
        groups=groups,
    )  # fmt: skip


@inner
def _phase(size, kernel, stride, padding, dilation, phase):
    """One phase of a transposed convolution along one axis: the inputs i with
    (i + padding) % stride == phase, which meet only the taps whose place agrees.

    Returns (taps, inputs, the first input, where in dz the first one's window begins, how far apart
    the taps are there, the first tap, from one of these taps to the next).
    """
    common = stride
    while dilation % common or stride % common:
        common -= 1
    step, tap = stride // common, 0
    while tap < step and (phase - tap * dilation) % stride:
        tap += 1
    taps = pieces(max(kernel - tap, 0), step) if tap < step else 0
    first = max(padding - phase + stride - 1, 0) // stride  # the smallest j with an input >= 0
    begin, apart = phase - padding + first * stride, _apart(taps, dilation // common)
    window = first + (phase - tap * dilation) // stride - (taps - 1) * apart
    return taps, pieces(max(size - begin, 0), stride), begin, window, apart, tap, step


@serial
def _input_grad_of(x, w, y, move, a, b):
    """The correlation that gives phase (a, b) of dx (a shape), dz of shape y being the source."""
    stride, padding, dilation, groups = move
    r, rows, out_top, top, down, _, _ = _phase(
        x[1], w[1], stride[0], padding[0], dilation[0], a
    )  # fmt: skip
    s, columns, out_left, left, across, _, _ = _phase(
        x[2], w[2], stride[1], padding[1], dilation[1], b
    )  # fmt: skip
    return Correlation(
        n=x[0], height=y[1], width=y[2], depth=w[0] // groups, top=top, left=left, down=1, across=1,
        r=r, s=s, rows=rows, columns=columns, filters=w[3], out_height=x[1], out_width=x[2],
        out_top=out_top, out_left=out_left, out_down=stride[0], out_across=stride[1],
        tap_down=down, tap_across=across, groups=groups,
    )  # fmt: skip


@serial
def _room(one, g):
    return winograd_room(one, g) if winograd_wins(g) else correlation_room(one, g)


@lru_cache(maxsize=4096)
def conv2d_workspace(kernel, x_shape, w_shape, y_shape, stride, padding, dilation, groups):
    """Elements of scratch that `kernel` wants for any dtype; per-thread parts are in it."""
    threads = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    shapes, move, most = (x_shape, w_shape, y_shape), (stride, padding, dilation, groups), 0
    for one in (np.float32(1), np.float64(1)):
        forward = forward_of(*shapes, move)
        if kernel in ("conv2d_forward", "conv2d_tangent"):
            rooms = [_room(one, forward)]
        elif kernel == "conv2d_input_grad":
            rooms = [
                _room(one, _input_grad_of(*shapes, move, a, b))
                for a in range(stride[0])
                for b in range(stride[1])
            ]
        elif kernel == "conv2d_weight_grad" and winograd_wins(forward):
            rooms = [winograd_weight_room(one, forward), products_room(one, forward, False)]
        elif kernel == "conv2d_signal":
            rooms = [(x_shape[0] * w_shape[1] * w_shape[2] * x_shape[3], 0)]
        else:
            rooms = [products_room(one, forward, kernel == "conv2d_sample_grads")]
        most = max(most, *(shared + threads * each for shared, each in rooms))
    return most


def _check(kernel, work, shapes, move, *arrays):
    """Raise ValueError for what would be read or written out of bounds: all goes by address."""
    x, w, y = shapes
    if x[3] != w[3] * move[3] or w[0] % move[3] or y[3] != w[0]:
        raise ValueError(
            f"{kernel} got images {x}, filters {w} and maps {y}; {move[3]} groups of channels and "
            "of filters do not make these"
        )
    needed = conv2d_workspace(kernel, *shapes, *move)
    if work.size < needed:
        raise ValueError(
            f"{kernel} got scratch of {work.size} elements; it needs {needed}: ask conv2d_workspace"
        )
    for array in arrays:
        if array is not None and not array.flags.c_contiguous:
            raise ValueError(
                f"{kernel} got an array with strides {array.strides}; it needs C-contiguous ones: "
                "np.ascontiguousarray makes one"
            )


@inner
def _pack_filters(w, first, filters, panel, packed):
    """packed (k, width) = columns of panel `panel`: the transpose of `filters` filters of w (O, R,
    S, C), from the `first` on."""
    k, wide = w.shape[1] * w.shape[2] * w.shape[3], packed.shape[1]
    flat = w.reshape(w.shape[0], k)
    for j in range(wide):
        o = panel * wide + j
        if o < filters:
            line = flat[first + o]
            for e in range(k):
                packed[e, j] = line[e]
        else:
            for e in range(k):
                packed[e, j] = 0


@inner
def _pack_turned(w, taps, g, product, panel, packed):
    """packed (r s O, width): a phase's taps in reverse order, the product's channels as columns.

    taps: (the first row, rows apart, the first column, columns apart); O: filters of a group.
    """
    wide = packed.shape[1]
    first, row = panel * wide, 0
    count = min(wide, products_of(g)[1] - first)
    for i in range(g.r):
        for j in range(g.s):
            tap, other = taps[0] + (g.r - 1 - i) * taps[1], taps[2] + (g.s - 1 - j) * taps[3]
            for o in range(g.depth):
                if lanewise(g):
                    for c in range(first, first + count):
                        filters = c // g.filters * g.depth
                        packed[row, c - first] = w[filters + o, tap, other, c % g.filters]
                else:
                    line = w[product * g.depth + o, tap, other]
                    packed[row, :count] = line[first : first + count]
                packed[row, count:] = 0
                row += 1


@parallel
def pack(one, g, w, work):
    """The panels of filters w, of one product of `g` after the other."""
    k, wide = g.r * g.s * g.depth, panel_width(one)
    products, filters = products_of(g)
    panels = panel_count(one, filters)
    for panel in prange(products * panels):
        at = panel * k * wide
        _pack_filters(w, panel // panels * filters, filters, panel % panels,
                      work[at : at + k * wide].reshape(k, wide))  # fmt: skip


@parallel
def _pack_phase(one, w, taps, g, work):
    k, wide = g.r * g.s * g.depth, panel_width(one)
    products, channels = products_of(g)
    panels = panel_count(one, channels)
    for panel in prange(products * panels):
        at = panel * k * wide
        _pack_turned(w, taps, g, panel // panels, panel % panels,
                     work[at : at + k * wide].reshape(k, wide))  # fmt: skip


@serial
def _run(one, g, source, add, out, work):
    """out = or += correlation `g` of `source` with the panels that lie first in `work`."""
    first, slot = _room(one, g)
    base = work.ctypes.data
    if winograd_wins(g):
        u = 9 * g.depth * panel_count(one, g.filters) * panel_width(one)
        winograd(one, g, source.ctypes.data, base, base + u * size_of(one), add, out.ctypes.data,
                 first, slot, base)  # fmt: skip
    else:
        correlate(one, g, source.ctypes.data, base, add, out.ctypes.data, first, slot, base)


@serial
def _correlate(x, w, move, add, work, y):
    one = y.dtype.type(1)
    g = forward_of(x.shape, w.shape, y.shape, move)
    pack(one, g, w, work)
    _run(one, g, x, add, y, work)


@parallel
def _finish_rows(y, b, act, slope):
    """y (M, O) = f(y + b)."""
    block = max(BLOCK // max(y.shape[1], 1), 1)
    for p in prange(pieces(y.shape[0], block)):
        part = y[p * block : (p + 1) * block]
        if b is not None:
            for i in range(part.shape[0]):
                line = part[i]
                for o in range(b.size):
                    line[o] += b[o]
        flat = part.reshape(-1)
        apply(act, slope, flat)


def conv2d_forward(x, w, b, stride, padding, dilation, groups, act, slope, work, y):
    move = stride, padding, dilation, groups
    _check("conv2d_forward", work, (x.shape, w.shape, y.shape), move, x, w, y)
    _correlate(x, w, move, False, work, y)
    if b is not None or act:
        _finish_rows(y.reshape(-1, y.shape[3]), b, act, slope)


def conv2d_input_grad(dz, w, stride, padding, dilation, groups, work, dx):
    move = stride, padding, dilation, groups
    _check("conv2d_input_grad", work, (dx.shape, w.shape, dz.shape), move, dz, w, dx)
    _input_grad(dz, w, move, work, dx)


@serial
def _input_grad(dz, w, move, work, dx):
    one = dx.dtype.type(1)
    stride, padding, dilation, _ = move
    for a in range(stride[0]):
        _, _, _, _, _, row, down = _phase(
            dx.shape[1], w.shape[1], stride[0], padding[0], dilation[0], a
        )  # fmt: skip
        for b in range(stride[1]):
            _, _, _, _, _, column, across = _phase(
                dx.shape[2], w.shape[2], stride[1], padding[1], dilation[1], b
            )  # fmt: skip
            g = _input_grad_of(dx.shape, w.shape, dz.shape, move, a, b)
            _pack_phase(one, w, (row, down, column, across), g, work)
            _run(one, g, dz, False, dx, work)


def conv2d_weight_grad(x, dz, stride, padding, dilation, groups, beta, work, dw, db):
    move = stride, padding, dilation, groups
    _check("conv2d_weight_grad", work, (x.shape, dw.shape, dz.shape), move, x, dz, dw)
    _weight_grad(x, dz, move, beta, work, dw, db)


@serial
def _weight_grad(x, dz, move, beta, work, dw, db):
    """Where Winograd's way gives anything but finite numbers, all is summed directly: infinities
    stay infinities, and entries that see none stay finite."""
    one = dw.dtype.type(1)
    g = forward_of(x.shape, dw.shape, dz.shape, move)
    if winograd_wins(g):
        first, slot = winograd_weight_room(one, g)
        packed, finite = winograd_weight(one, g, x.ctypes.data, dz.ctypes.data, first, slot,
                                         work.ctypes.data)  # fmt: skip
        if finite:
            flat = dw.reshape(g.filters, 9 * g.depth)
            _unpack(one, g, work[(packed - work.ctypes.data) // size_of(one) :], beta, flat)
        else:
            _weight_sums(g, x, dz, 1, CONTINUE, beta, work, dw, None)
        if db is not None:
            _add_columns(dz.reshape(-1, g.filters), beta, db)
    else:
        _weight_sums(g, x, dz, 1, CONTINUE, beta, work, dw, db)


@parallel
def _unpack(one, g, packed, beta, flat):
    for panel in prange(panel_count(one, g.filters)):
        unpack(one, g, packed, 1, 0, beta, 0, panel, panel + 1, flat, None)


@inner
def _add_lanes(dz, lo, hi, db):
    for t in range(dz.shape[0]):
        line = dz[t, lo:hi]
        for o in range(hi - lo):
            db[o] += line[o]


@parallel
def _add_columns(dz, beta, db):
    """db = beta db + the sum of dz's rows, each column's in the order of the rows."""
    factor = db.dtype.type(beta)
    for p in prange(pieces(db.size, LANES)):
        lo, hi = p * LANES, min((p + 1) * LANES, db.size)
        part = db[lo:hi]
        for o in range(part.size):
            part[o] = part[o] * factor if beta != 0 else 0
        _add_lanes(dz, lo, hi, part)


@serial
def _weight_sums(g, x, dz, stacked, way, beta, work, dw, db):
    flat = dw.reshape(dw.shape[0], g.r * g.s * g.depth)
    sum_samples(dw.dtype.type(1), g, x.ctypes.data, dz.ctypes.data, stacked, way, beta, flat, db,
                work)  # fmt: skip


def conv2d_tangent(x, w, y, tx, tw, tb, stride, padding, dilation, groups, act, slope, work, ty):
    move = stride, padding, dilation, groups
    _check("conv2d_tangent", work, (x.shape, w.shape, y.shape), move, x, w, y, tx, tw, ty)
    if tx is not None:
        _correlate(tx, w, move, False, work, ty)
    if tw is not None:
        _correlate(x, tw, move, tx is not None, work, ty)
    if tb is not None or act:
        _pull_rows(y.reshape(-1, y.shape[3]), tb, act, slope, ty.reshape(-1, y.shape[3]))


@parallel
def _pull_rows(y, tb, act, slope, ty):
    """ty (M, O) = f'(y) (ty + tb)."""
    block = max(BLOCK // max(y.shape[1], 1), 1)
    for p in prange(pieces(y.shape[0], block)):
        part = ty[p * block : (p + 1) * block]
        if tb is not None:
            for i in range(part.shape[0]):
                line = part[i]
                for o in range(tb.size):
                    line[o] += tb[o]
        flat = part.reshape(-1)
        pull(act, slope, y[p * block : (p + 1) * block].reshape(-1), flat, flat)


def conv2d_sample_grads(x, dz, stride, padding, dilation, groups, work, dw, db):
    shapes, move = (x.shape, dw.shape[1:], dz.shape), (stride, padding, dilation, groups)
    _check("conv2d_sample_grads", work, shapes, move, x, dz)
    flat = dw.reshape(len(dw), dw.shape[1], -1)  # a view: samples may lie apart, as in (N, P)
    _sample_grads(x, dz, dw.shape[1:], move, work, flat, db)


@serial
def _sample_grads(x, dz, w, move, work, dw, db):
    """w: the filters' shape."""
    g = forward_of(x.shape, w, dz.shape, move)
    each_sample(dw.dtype.type(1), g, x.ctypes.data, dz.ctypes.data, dw, db, work)


def conv2d_accumulate(x, dz, stride, padding, dilation, groups, power, work, dw, db):
    shapes, move = (x.shape, dw.shape, dz.shape[1:]), (stride, padding, dilation, groups)
    _check("conv2d_accumulate", work, shapes, move, x, dz, dw)
    way = SQUARE if power == 2 else ABSOLUTE
    _accumulate(x, dz, move, way, work, dw, db)


@serial
def _accumulate(x, dz, move, way, work, dw, db):
    g = forward_of(x.shape, dw.shape, dz.shape[1:], move)
    _weight_sums(g, x, dz, dz.shape[0], way, 1.0, work, dw, db)


@inner
def _tap_traffic(image, tap_row, tap_column, h, w, stride, traffic):
    """traffic (C,) = the sum of |image| over what a tap sees from all output positions."""
    traffic[:] = 0
    for i in range(h):
        row = i * stride[0] + tap_row
        if 0 <= row < image.shape[0]:
            for j in range(w):
                column = j * stride[1] + tap_column
                if 0 <= column < image.shape[1]:
                    pixel = image[row, column]
                    for c in range(traffic.size):
                        traffic[c] += abs(pixel[c])


@parallel
def _signal(x, y, w, move, work, dw, db):
    stride, padding, dilation, groups = move
    samples, channels, filters, each = x.shape[0], x.shape[3], w.shape[0], w.shape[3]
    r, s, h, across = w.shape[1], w.shape[2], y.shape[1], y.shape[2]
    traffic = work[: samples * r * s * channels].reshape(samples, r * s, channels)
    for n in prange(samples):
        for tap in range(r * s):
            row = tap // s * dilation[0] - padding[0]
            column = tap % s * dilation[1] - padding[1]
            _tap_traffic(x[n], row, column, h, across, stride, traffic[n, tap])
    for tap in prange(r * s):
        total = traffic[0, tap]
        for n in range(1, samples):
            more = traffic[n, tap]
            for c in range(channels):
                total[c] += more[c]
        for o in range(filters):
            weights, out = w[o, tap // s, tap % s], dw[o, tap // s, tap % s]
            seen = total[o // (filters // groups) * each :]
            for c in range(each):
                out[c] = fma(abs(weights[c]), seen[c], out[c])
    if db is not None:
        flat = y.reshape(-1, filters)
        for p in prange(pieces(filters, LANES)):
            lo, hi = p * LANES, min((p + 1) * LANES, filters)
            for t in range(flat.shape[0]):
                for o in range(lo, hi):
                    db[o] += abs(flat[t, o])


def conv2d_signal(x, y, w, stride, padding, dilation, groups, work, dw, db):
    move = stride, padding, dilation, groups
    _check("conv2d_signal", work, (x.shape, w.shape, y.shape), move, x, y, w, dw)
    _signal(x, y, w, move, work, dw, db)
