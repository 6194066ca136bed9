"""The convolution y = f(x * w + b): its value and every derivative the project asks of it.

Images are NHWC. x (N, H, W, C), w (O, R, S, C / groups): O filters of R rows, S columns and the
channels of one group; y (N, h, w, O). `stride`, `padding` and `dilation` are pairs (rows, columns);
zeros are what lies outside. As everywhere in this field it is a correlation:

    y[i, j] = sum over r, s of w[r, s] . x[i stride + r dilation - padding, j stride + ...].

`padding` is what lies above and to the left; how much lies below and to the right follows from the
shape of y (or of dz), which may be any. Both channels and filters are cut into `groups` equal
groups, in order: the filters of group g see the channels of group g and no others. With as many
groups as channels a convolution is depthwise.

`act` is an activation's code, `slope` leaky_relu's. A layer without a bias passes None for b, db
and tb. `work` is scratch of the size that the backend's `conv2d_workspace` asks for.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .activations import activation_backward, activation_forward


def conv2d_workspace(kernel, x_shape, w_shape, y_shape, stride, padding, dilation, groups):
    """Elements of scratch that the kernel named `kernel` wants; plain NumPy makes its own."""
    return 0


def _extent(kernel, places, stride, dilation):
    """Rows, or columns, that so many windows of `kernel` taps see in all."""
    return (places - 1) * stride + (kernel - 1) * dilation + 1


def _windows(x, kernel, maps, stride, padding, dilation):
    """What each output position sees: a view (N, h, w, C, R, S) of x, padded; maps: h and w."""
    seen = tuple(map(_extent, kernel, maps, stride, dilation))
    sides = [
        (before, max(extent - before - size, 0))
        for size, extent, before in zip(x.shape[1:3], seen, padding, strict=True)
    ]
    padded = np.pad(x, ((0, 0), *sides, (0, 0)))[:, : seen[0], : seen[1]]
    spans = tuple((k - 1) * apart + 1 for k, apart in zip(kernel, dilation, strict=True))
    windows = sliding_window_view(padded, spans, axis=(1, 2))[:, :: stride[0], :: stride[1]]
    return windows[..., :: dilation[0], :: dilation[1]]


def _parts(count, groups):
    """The channels, or filters, of each group."""
    each = count // groups
    return [slice(g * each, (g + 1) * each) for g in range(groups)]


def _correlate(x, w, maps, stride, padding, dilation, groups):
    windows = _windows(x, w.shape[1:3], maps, stride, padding, dilation)
    parts = [
        np.tensordot(windows[:, :, :, c], w[o], axes=((4, 5, 3), (1, 2, 3)))
        for c, o in zip(_parts(x.shape[3], groups), _parts(len(w), groups), strict=True)
    ]
    return parts[0] if groups == 1 else np.concatenate(parts, axis=3)


def conv2d_forward(x, w, b, stride, padding, dilation, groups, act, slope, work, y):
    """y = f(x * w + b)."""
    z = _correlate(x, w, y.shape[1:3], stride, padding, dilation, groups)
    if b is not None:
        z += b
    activation_forward(act, slope, z, y)


def conv2d_input_grad(dz, w, stride, padding, dilation, groups, work, dx):
    """dx = the transposed convolution of dz (V N, h, w, O), overwritten; V stacked cotangents."""
    (ph, pw), (sh, sw), (down, across) = padding, stride, dilation
    n, height, width, channels = dx.shape
    h, columns = dz.shape[1:3]
    seen = map(_extent, w.shape[1:3], dz.shape[1:3], stride, dilation)
    least = (ph + height, pw + width)
    padded = np.zeros((n, *map(max, seen, least), channels), dx.dtype)
    every = list(zip(_parts(channels, groups), _parts(len(w), groups), strict=True))
    for r in range(w.shape[1]):
        for s in range(w.shape[2]):
            top, left = r * down, s * across
            touched = padded[:, top : top + sh * h : sh, left : left + sw * columns : sw]
            for c, o in every:
                touched[..., c] += dz[..., o] @ w[o, r, s]
    dx[...] = padded[:, ph : ph + height, pw : pw + width]


def conv2d_weight_grad(x, dz, stride, padding, dilation, groups, beta, work, dw, db):
    """dw = beta dw + sum over n and positions of dz x window; db = beta db + the sum of dz.

    beta 1 accumulates (the rule), 0 is a first write. dz (N, h, w, O).
    """
    windows = _windows(x, dw.shape[1:3], dz.shape[1:3], stride, padding, dilation)
    for c, o in zip(_parts(x.shape[3], groups), _parts(len(dw), groups), strict=True):
        sums = np.tensordot(dz[..., o], windows[:, :, :, c], axes=((0, 1, 2), (0, 1, 2)))
        # the factor 0 would keep a NaN of uninitialised memory alive, so 0 means "overwrite"
        dw[o] = sums.transpose(0, 2, 3, 1) + (beta * dw[o] if beta else 0)
    if db is not None:
        db[...] = dz.sum(axis=(0, 1, 2)) + (beta * db if beta else 0)


def conv2d_tangent(x, w, y, tx, tw, tb, stride, padding, dilation, groups, act, slope, work, ty):
    """The Jacobian: ty = f'(y) (tx * w + x * tw + tb), (N, h, w, O).

    tx is None when the input does not move; tw and tb are None when the parameters do not. At
    least one of tx and tw is given.
    """
    tz, move = np.zeros_like(y), (y.shape[1:3], stride, padding, dilation, groups)
    if tx is not None:
        tz += _correlate(tx, w, *move)
    if tw is not None:
        tz += _correlate(x, tw, *move)
    if tb is not None:
        tz += tb
    activation_backward(act, slope, y, tz, ty)


def conv2d_sample_grads(x, dz, stride, padding, dilation, groups, work, dw, db):
    """Each sample's own gradient: dw[n] (O, R, S, C / groups) and db[n] (O,), overwritten."""
    move = stride, padding, dilation, groups
    for n in range(len(x)):
        one = slice(n, n + 1)
        sums = None if db is None else db[n]
        conv2d_weight_grad(x[one], dz[one], *move, 0.0, work, dw[n], sums)


def conv2d_accumulate(x, dz, stride, padding, dilation, groups, power, work, dw, db):
    """dw += sum over v, n of |g|**power, g the gradient of one sample n for one cotangent v.

    dz (V, N, h, w, O). The positions of a sample are summed before the power is taken, so there is
    no shortcut through squared inputs as a dense layer has. power: 1 or 2.
    """
    g, s = np.empty_like(dw), np.empty(len(dw), dw.dtype)
    move = stride, padding, dilation, groups
    for cotangent in dz:
        for n in range(len(x)):
            one = slice(n, n + 1)
            conv2d_weight_grad(x[one], cotangent[one], *move, 0.0, work, g, s)
            dw += np.abs(g) ** power
            if db is not None:
                db += np.abs(s) ** power


def conv2d_signal(x, y, w, stride, padding, dilation, groups, work, dw, db):
    """Total absolute signal (SIG): dw += |w| sum |what its tap sees|, db += sum |y|.

    Sums are over samples and positions: each position of each image is one use of the connection.
    (Kutalev 2020 defines it for dense layers only; this is the same definition, unrolled.)
    """
    windows = _windows(x, w.shape[1:3], y.shape[1:3], stride, padding, dilation)
    traffic = np.abs(windows).sum(axis=(0, 1, 2)).transpose(1, 2, 0)  # (R, S, C)
    for c, o in zip(_parts(x.shape[3], groups), _parts(len(w), groups), strict=True):
        dw[o] += np.abs(w[o]) * traffic[..., c]
    if db is not None:
        db += np.abs(y).sum(axis=(0, 1, 2))
