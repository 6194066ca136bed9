"""Matrix products, and the dense layer y = f(x W^T + b) with its derivatives.

W is (O, I), one row an output unit. `act` is an activation's code, `slope` leaky_relu's.
A layer without a bias passes None for b, db and tb.
"""

from __future__ import annotations

import numpy as np

from .activations import activation_backward, activation_forward


def matmul_nn(a, b, y):
    """y (M, N) = a (M, K) b (K, N)."""
    np.matmul(a, b, out=y)


def matmul_nt(a, b, y):
    """y (M, N) = a (M, K) b (N, K)^T."""
    y[...] = a @ b.T


def matmul_tn(a, b, y):
    """y (M, N) = a (K, M)^T b (K, N)."""
    y[...] = a.T @ b


def dense_forward(x, w, b, act, slope, y):
    """y (N, O) = f(x (N, I) w (O, I)^T + b (O,))."""
    z = x @ w.T
    if b is not None:
        z += b
    activation_forward(act, slope, z, y)


def dense_backward(x, w, y, dy, act, slope, beta, dz, dw, db, dx):
    """The transposed Jacobian, for the parameters and for the input, either of them optional.

    dz = f'(y) dy              (V N, O)   scratch the caller keeps: other kernels take it
    dw = beta dw + dz^T x      (O, I)     beta 1 accumulates (the rule), 0 is a first write
    db = beta db + sum_n dz_n  (O,)
    dx = dz w                  (V N, I)   overwritten

    dw and db, or dx, may be None: that product is then not formed. With V > 1 stacked cotangents
    (dy (V N, O) over y (N, O)) there is no one parameter gradient: dw and db must be None.
    """
    activation_backward(act, slope, y, dy, dz)
    if dw is not None:
        # the factor 0 would keep a NaN of uninitialised memory alive, so 0 means "overwrite"
        dw[...] = dz.T @ x + (beta * dw if beta else 0)
    if db is not None:
        db[...] = dz.sum(axis=0) + (beta * db if beta else 0)
    if dx is not None:
        np.matmul(dz, w, out=dx)


def superposed_forward(x, c, w, b, act, slope, z, y):
    """y (N, O) = f(z w^T + b) of z (N, I) = c x, which is written for the other verbs.

    c (I,) is the context of one of the models that w holds: a factor for each feature (Cheung et
    al. 2019). With factors of 1 every bit of y is that of `dense_forward`.
    """
    np.multiply(x, c, out=z)
    dense_forward(z, w, b, act, slope, y)


def superposed_backward(z, c, w, y, dy, act, slope, beta, dz, dw, db, dx):
    """`dense_backward` of the input z (N, I) = c x, with dx = c (dz w): the cotangent of x."""
    dense_backward(z, w, y, dy, act, slope, beta, dz, dw, db, dx)
    if dx is not None:
        dx *= c


def dense_tangent(x, w, y, tx, tw, tb, act, slope, ty):
    """The Jacobian: ty (N, O) = f'(y) (tx w^T + x tw^T + tb).

    tx (N, I) is None when the input does not move; tw (O, I) and tb (O,) are None when the
    parameters do not. At least one of tx and tw is given.
    """
    tz = np.zeros_like(y)
    if tx is not None:
        tz += tx @ w.T
    if tw is not None:
        tz += x @ tw.T
    if tb is not None:
        tz += tb
    activation_backward(act, slope, y, tz, ty)


def dense_sample_grads(x, dz, dw, db):
    """Each sample's own gradient: dw[n] (O, I) = dz_n x_n^T and db[n] (O,) = dz_n, overwritten."""
    dw[...] = dz[:, :, None] * x[:, None, :]
    if db is not None:
        db[...] = dz


def dense_accumulate(x, dz, power, xp, dp, dw, db):
    """dw += sum over v, n of |dz[v, n] x_n^T|**power and db likewise, forming no (N, O, I).

    The gradient of one sample is an outer product, so its power factors:
    sum_n |dz_no x_ni|^p = (|dz|^p)^T |x|^p: one matrix product (pathint's `compute_fishers` uses
    it for p = 2). Stacked cotangents dz (V, N, O) share x, so they are summed before the product.

    power: 1 or 2. Scratch: xp (N, I), dp (N, O).
    """
    xp[...] = np.abs(x) ** power
    dp[...] = (np.abs(dz) ** power).sum(axis=0)
    dw += dp.T @ xp
    if db is not None:
        db += dp.sum(axis=0)


def dense_signal(x, y, w, traffic, response, dw, db):
    """Total absolute signal (SIG): dw += |w| sum_n |x_n| and db += sum_n |y_n|.

    Kutalev 2020 (arXiv 2005.07107): what flows through connection (o, i) is x_i w_oi; what a bias
    answers for is its unit's output y (N, O). Scratch: traffic (I,), response (O,).
    """
    traffic[...] = np.abs(x).sum(axis=0)
    dw += np.abs(w) * traffic
    if db is not None:
        response[...] = np.abs(y).sum(axis=0)
        db += response
