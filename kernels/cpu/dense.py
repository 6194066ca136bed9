"""The dense layer on the CPU: tiles of a single-threaded BLAS, with everything else fused in.

Meaning, axes and arguments: `kernels.reference.dense`. Bias and activation are applied to each
output tile while it is still in cache. (One pool of work for the tiles of dw and dx was tried: they
differ in size, so threads waited for each other, 301 against 430 GFLOP/s at 256 x 2000 x 2000.)
"""

from __future__ import annotations

from numba import prange

from ..codes import IDENTITY
from .activations import apply, pull
from .blas import product_nn, product_nt, product_tn, require_rows
from .context import context_multiply
from .fused import fma
from .tiles import BLOCK, ROWS, forward_tile, parallel, pieces, serial, square_tile
from .vector import combine_rows, dot_rows


@serial
def _require_rows(a, b, c):
    require_rows(a)
    require_rows(b)
    require_rows(c)


@serial
def _add_row(tile, b):
    for r in range(tile.shape[0]):
        row = tile[r]
        for o in range(row.size):
            row[o] += b[o]


@serial
def _add_column_sums(dz, beta, db):
    """db = beta db + the sum of dz's rows, always in the order of the rows."""
    if beta == 0:
        db[:] = 0
    elif beta != 1:
        for o in range(db.size):
            db[o] *= beta
    for r in range(dz.shape[0]):
        row = dz[r]
        for o in range(db.size):
            db[o] += row[o]


@serial
def _times_transpose(x, w, tile, beta):
    """tile = x w^T + beta tile, beta 0 or 1."""
    if x.shape[0] == 1:
        dot_rows(x[0], w, tile[0], beta != 0)
    else:
        product_nt(x, w, tile, beta)


@parallel
def dense_forward(x, w, b, act, slope, y):
    _require_rows(x, w, y)
    rows, columns = y.shape
    height, width = forward_tile(rows, columns, x.shape[1])
    across = pieces(columns, width)
    for t in prange(pieces(rows, height) * across):
        r, c = t // across * height, t % across * width
        tile = y[r : r + height, c : c + width]
        _times_transpose(x[r : r + height], w[c : c + width], tile, 0)
        if b is not None:
            _add_row(tile, b[c : c + width])
        for i in range(tile.shape[0]):
            apply(act, slope, tile[i], tile[i])


@serial
def superposed_forward(x, c, w, b, act, slope, z, y):
    context_multiply(x, c, z)
    dense_forward(z, w, b, act, slope, y)


@parallel
def _pull_rows(act, slope, y, dy, dz):
    rows = y.shape[0]
    for p in prange(pieces(dz.shape[0], ROWS)):
        for r in range(p * ROWS, min((p + 1) * ROWS, dz.shape[0])):
            pull(act, slope, y[r % rows], dy[r], dz[r])


@serial
def _parameter_tile(t, x, dz, beta, dw, db):
    """Tile t of dw = beta dw + dz^T x; the tiles of the first column own db."""
    height, width = square_tile(dw.shape[0], dw.shape[1], dz.shape[0])
    across = pieces(dw.shape[1], width)
    o, i = t // across * height, t % across * width
    part = dz[:, o : o + height]
    product_tn(part, x[:, i : i + width], dw[o : o + height, i : i + width], beta)
    if db is not None and i == 0:
        _add_column_sums(part, beta, db[o : o + height])


@serial
def _multiply(row, c):
    """row *= c, one array in place: of two that overlap LLVM would not vectorise the loop."""
    for i in range(row.size):
        row[i] *= c[i]


@serial
def _input_tile(t, dz, w, c, dx):
    """Tile t of dx = dz w, or c (dz w)."""
    height, width = square_tile(dx.shape[0], dx.shape[1], dz.shape[1])
    across = pieces(dx.shape[1], width)
    r, i = t // across * height, t % across * width
    if dz.shape[0] == 1:
        end = min(i + width, dx.shape[1])
        combine_rows(dz[0], w, i, end, dx[0, i:end])
    else:
        product_nn(dz[r : r + height], w[:, i : i + width], dx[r : r + height, i : i + width], 0)
    if c is not None:
        for n in range(r, min(r + height, dx.shape[0])):
            _multiply(dx[n, i : i + width], c[i : i + width])


@serial
def _tile_count(out, depth):
    height, width = square_tile(out.shape[0], out.shape[1], depth)
    return pieces(out.shape[0], height) * pieces(out.shape[1], width)


@parallel
def _parameters(x, dz, beta, dw, db):
    for t in prange(_tile_count(dw, dz.shape[0])):
        _parameter_tile(t, x, dz, beta, dw, db)


@parallel
def _inputs(dz, w, c, dx):
    for t in prange(_tile_count(dx, dz.shape[1])):
        _input_tile(t, dz, w, c, dx)


@serial
def _backward(x, c, w, y, dy, act, slope, beta, dz, dw, db, dx):
    _require_rows(x, w, dz)
    _pull_rows(act, slope, y, dy, dz)
    if dw is not None:
        _parameters(x, dz, beta, dw, db)
    if dx is not None:
        _inputs(dz, w, c, dx)


@serial
def dense_backward(x, w, y, dy, act, slope, beta, dz, dw, db, dx):
    _backward(x, None, w, y, dy, act, slope, beta, dz, dw, db, dx)


@serial
def superposed_backward(z, c, w, y, dy, act, slope, beta, dz, dw, db, dx):
    _backward(z, c, w, y, dy, act, slope, beta, dz, dw, db, dx)


@serial
def matmul_nn(a, b, y):
    _require_rows(a, b, y)
    _inputs(a, b, None, y)


def matmul_nt(a, b, y):
    dense_forward(a, b, None, IDENTITY, 0.0, y)


@serial
def matmul_tn(a, b, y):
    _require_rows(a, b, y)
    _parameters(b, a, 0.0, y, None)


@parallel
def dense_tangent(x, w, y, tx, tw, tb, act, slope, ty):
    _require_rows(x, w, ty)
    rows, columns = y.shape
    height, width = forward_tile(rows, columns, x.shape[1])
    across = pieces(columns, width)
    for t in prange(pieces(rows, height) * across):
        r, c = t // across * height, t % across * width
        tile = ty[r : r + height, c : c + width]
        beta = 0
        if tx is not None:
            _times_transpose(tx[r : r + height], w[c : c + width], tile, beta)
            beta = 1
        if tw is not None:
            _times_transpose(x[r : r + height], tw[c : c + width], tile, beta)
        if tb is not None:
            _add_row(tile, tb[c : c + width])
        for i in range(tile.shape[0]):
            pull(act, slope, y[r + i, c : c + width], tile[i], tile[i])


@serial
def _outer(d, x, dw):
    for o in range(d.size):
        row = dw[o]
        for i in range(x.size):
            row[i] = d[o] * x[i]


@parallel
def dense_sample_grads(x, dz, dw, db):
    for n in prange(x.shape[0]):
        _outer(dz[n], x[n], dw[n])
        if db is not None:
            db[n, :] = dz[n]


@serial
def _add_powers(row, power, first, out):
    """out = |row|**power on the first of a sum, out += |row|**power after."""
    if first:
        out[:] = 0
    if power == 2:
        for i in range(out.size):
            out[i] = fma(row[i], row[i], out[i])
    else:
        for i in range(out.size):
            out[i] += abs(row[i])


@parallel
def _powers(a, power, out):
    """out (N, F) = sum over v of |a[v]|**power."""
    for p in prange(pieces(out.shape[0], ROWS)):
        for n in range(p * ROWS, min((p + 1) * ROWS, out.shape[0])):
            for v in range(a.shape[0]):
                _add_powers(a[v, n], power, v == 0, out[n])


@serial
def dense_accumulate(x, dz, power, xp, dp, dw, db):
    _powers(x.reshape((1, x.shape[0], x.shape[1])), power, xp)
    _powers(dz, power, dp)
    _parameters(xp, dp, 1.0, dw, db)


@parallel
def _column_magnitudes(a, out):
    """out (F,) = sum over rows of |a|, each column by one thread, in the order of the rows."""
    width = 64
    for p in prange(pieces(out.size, width)):
        lo, hi = p * width, (p + 1) * width
        for n in range(a.shape[0]):
            _add_powers(a[n, lo:hi], 1, n == 0, out[lo:hi])


@serial
def _add_weighted(w, traffic, dw):
    for i in range(dw.size):
        dw[i] = fma(abs(w[i]), traffic[i], dw[i])


@parallel
def _add_signal(w, traffic, dw):
    height = max(BLOCK // max(w.shape[1], 1), 1)
    for p in prange(pieces(w.shape[0], height)):
        for o in range(p * height, min((p + 1) * height, w.shape[0])):
            _add_weighted(w[o], traffic, dw[o])


def dense_signal(x, y, w, traffic, response, dw, db):
    _column_magnitudes(x, traffic)
    _add_signal(w, traffic, dw)
    if db is not None:
        _column_magnitudes(y, response)
        db += response
