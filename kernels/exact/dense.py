"""Matrix products and the dense layer, one chain an output. Meaning: `kernels.reference.dense`.

The index that is summed over rises from 0, whichever it is; what is looped over here is that index.
"""

from __future__ import annotations

import numpy as np

from ..codes import IDENTITY
from ..reference import context_multiply
from .activations import activation_backward, apply, pull
from .fused import chain, fma


def times_transpose(x, w, start):
    """start + x w^T, a chain over the features."""
    return chain(x.T[:, :, None], w.T[:, None, :], start)


def scaled(beta, a):
    """What a sum that is added to `a` starts at: beta a, and where beta is 0, zeros."""
    return a * a.dtype.type(beta) if beta else np.zeros_like(a)


def add_rows(rows, start):
    """start + the rows, one after another."""
    for row in rows:
        start = start + row
    return start


def matmul_nn(a, b, y):
    """y = a b: a chain over a's columns."""
    y[...] = chain(a.T[:, :, None], b[:, None, :], np.zeros_like(y))


def matmul_nt(a, b, y):
    """y = a b^T: a chain over the columns of both."""
    dense_forward(a, b, None, IDENTITY, 0.0, y)


def matmul_tn(a, b, y):
    """y = a^T b: a chain over the rows of both."""
    y[...] = chain(a[:, :, None], b[:, None, :], np.zeros_like(y))


def dense_forward(x, w, b, act, slope, y):
    """y = f(z + b), z a chain over i of x_i w_oi from +0."""
    z = times_transpose(x, w, np.zeros_like(y))
    y[...] = apply(act, slope, z if b is None else z + b)


def dense_backward(x, w, y, dy, act, slope, beta, dz, dw, db, dx):
    """dw: from beta dw, a chain over n of dz_no x_ni; db: from beta db, dz_n added in the order of
    n; dx: a chain over o of dz_no w_oi from +0."""
    activation_backward(act, slope, y, dy, dz)
    if dw is not None:
        dw[...] = chain(dz[:, :, None], x[:, None, :], scaled(beta, dw))
    if db is not None:
        db[...] = add_rows(dz, scaled(beta, db))
    if dx is not None:
        dx[...] = chain(dz.T[:, :, None], w[:, None, :], np.zeros_like(dx))


def superposed_forward(x, c, w, b, act, slope, z, y):
    """`dense_forward` of z = c x."""
    context_multiply(x, c, z)
    dense_forward(z, w, b, act, slope, y)


def superposed_backward(z, c, w, y, dy, act, slope, beta, dz, dw, db, dx):
    """`dense_backward` of z, then dx times c."""
    dense_backward(z, w, y, dy, act, slope, beta, dz, dw, db, dx)
    if dx is not None:
        dx *= c


def dense_tangent(x, w, y, tx, tw, tb, act, slope, ty):
    """ty = f'(y) (z + tb), z one chain from +0: over i of tx_i w_oi, and on over i of x_i tw_oi."""
    z = np.zeros_like(ty)
    if tx is not None:
        z = times_transpose(tx, w, z)
    if tw is not None:
        z = times_transpose(x, tw, z)
    ty[...] = pull(act, slope, y, z if tb is None else z + tb)


def raised(power, a, start):
    """start + |a|**power, the square and the sum rounded once."""
    return fma(a, a, start) if power == 2 else start + abs(a)


def dense_accumulate(x, dz, power, xp, dp, dw, db):
    """xp = |x|^p; dp = the sum over v in order; dw: a chain over n of dp_no xp_ni."""
    xp[...] = raised(power, x, np.zeros_like(xp))
    dp[...] = 0
    for one in dz:
        dp[...] = raised(power, one, dp)
    dw[...] = chain(dp[:, :, None], xp[:, None, :], dw)
    if db is not None:
        db[...] = add_rows(dp, db)


def dense_signal(x, y, w, traffic, response, dw, db):
    """Magnitudes are added in the order of the samples, then dw = fma(|w|, traffic, dw)."""
    traffic[...] = add_rows(abs(x), np.zeros_like(traffic))
    dw[...] = fma(abs(w), traffic, dw)
    if db is not None:
        response[...] = add_rows(abs(y), np.zeros_like(response))
        db += response
