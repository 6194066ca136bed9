"""The convolution y = f(x * w + b): its value and every derivative the project asks of it.

Images are NHWC. x (N, H, W, C), w (O, R, S, C): O filters of R rows, S columns and C channels;
y (N, h, w, O) with h = (H + 2 padding[0] - R) // stride[0] + 1 and w likewise. `stride` and
`padding` are pairs (rows, columns); zeros are what lies outside. As everywhere in this field it is
a correlation: y[i, j] = sum over r, s of w[r, s] . x[i stride + r - padding, j stride + ...].

`act` is an activation's code, `slope` leaky_relu's. A layer without a bias passes None for b, db
and tb. `work` is scratch of the size that the backend's `conv2d_workspace` asks for.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .activations import activation_backward, activation_forward


def conv2d_workspace(kernel, x_shape, w_shape, stride, padding):
    """Elements of scratch that the kernel named `kernel` wants; plain NumPy makes its own."""
    return 0


def _windows(x, kernel, stride, padding):
    """What each output position sees: a view (N, h, w, C, R, S) of x, padded."""
    (ph, pw), (sh, sw) = padding, stride
    padded = np.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
    return sliding_window_view(padded, kernel, axis=(1, 2))[:, ::sh, ::sw]


def _correlate(x, w, stride, padding):
    windows = _windows(x, w.shape[1:3], stride, padding)
    return np.tensordot(windows, w, axes=((4, 5, 3), (1, 2, 3)))


def conv2d_forward(x, w, b, stride, padding, act, slope, work, y):
    """y = f(x * w + b)."""
    z = _correlate(x, w, stride, padding)
    if b is not None:
        z += b
    activation_forward(act, slope, z, y)


def conv2d_input_grad(dz, w, stride, padding, work, dx):
    """dx = the transposed convolution of dz (V N, h, w, O), overwritten; V stacked cotangents."""
    (ph, pw), (sh, sw) = padding, stride
    n, height, width, channels = dx.shape
    h, across = dz.shape[1:3]
    padded = np.zeros((n, height + 2 * ph, width + 2 * pw, channels), dx.dtype)
    for r in range(w.shape[1]):
        for s in range(w.shape[2]):
            touched = padded[:, r : r + sh * h : sh, s : s + sw * across : sw]
            touched += dz @ w[:, r, s]
    dx[...] = padded[:, ph : ph + height, pw : pw + width]


def conv2d_weight_grad(x, dz, stride, padding, beta, work, dw, db):
    """dw = beta dw + sum over n and positions of dz x window; db = beta db + the sum of dz.

    beta 1 accumulates (the rule), 0 is a first write. dz (N, h, w, O).
    """
    windows = _windows(x, dw.shape[1:3], stride, padding)
    new = np.tensordot(dz, windows, axes=((0, 1, 2), (0, 1, 2))).transpose(0, 2, 3, 1)
    # the factor 0 would keep a NaN of uninitialised memory alive, so 0 means "overwrite"
    dw[...] = new + (beta * dw if beta else 0)
    if db is not None:
        db[...] = dz.sum(axis=(0, 1, 2)) + (beta * db if beta else 0)


def conv2d_tangent(x, w, y, tx, tw, tb, stride, padding, act, slope, work, ty):
    """The Jacobian: ty = f'(y) (tx * w + x * tw + tb), (N, h, w, O).

    tx is None when the input does not move; tw and tb are None when the parameters do not. At
    least one of tx and tw is given.
    """
    tz = np.zeros_like(y)
    if tx is not None:
        tz += _correlate(tx, w, stride, padding)
    if tw is not None:
        tz += _correlate(x, tw, stride, padding)
    if tb is not None:
        tz += tb
    activation_backward(act, slope, y, tz, ty)


def conv2d_sample_grads(x, dz, stride, padding, work, dw, db):
    """Each sample's own gradient: dw[n] (O, R, S, C) and db[n] (O,), overwritten."""
    for n in range(len(x)):
        one = slice(n, n + 1)
        sums = None if db is None else db[n]
        conv2d_weight_grad(x[one], dz[one], stride, padding, 0.0, work, dw[n], sums)


def conv2d_accumulate(x, dz, stride, padding, power, work, dw, db):
    """dw += sum over v, n of |g|**power, g the gradient of one sample n for one cotangent v.

    dz (V, N, h, w, O). The positions of a sample are summed before the power is taken, so there is
    no shortcut through squared inputs as a dense layer has. power: 1 or 2.
    """
    g, s = np.empty_like(dw), np.empty(len(dw), dw.dtype)
    for cotangent in dz:
        for n in range(len(x)):
            one = slice(n, n + 1)
            conv2d_weight_grad(x[one], cotangent[one], stride, padding, 0.0, work, g, s)
            dw += np.abs(g) ** power
            if db is not None:
                db += np.abs(s) ** power


def conv2d_signal(x, y, w, stride, padding, work, dw, db):
    """Total absolute signal (SIG): dw += |w| sum |what its tap sees|, db += sum |y|.

    Sums are over samples and positions: each position of each image is one use of the connection.
    (Kutalev 2020 defines it for dense layers only; this is the same definition, unrolled.)
    """
    traffic = np.abs(_windows(x, w.shape[1:3], stride, padding)).sum(axis=(0, 1, 2))  # (C, R, S)
    dw += np.abs(w) * traffic.transpose(1, 2, 0)
    if db is not None:
        db += np.abs(y).sum(axis=(0, 1, 2))
