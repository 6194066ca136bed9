"""The dense layer on the CPU: products of `gemm`, unit by unit, with everything else fused in.

Meaning, axes and arguments: `kernels.reference.dense`; the order of its sums: docs/order.md. Bias
and activation are applied to each unit's outputs while they are still in cache.
"""

from __future__ import annotations

from numba import prange, types

from ..codes import IDENTITY
from .activations import apply, pull
from .context import context_multiply
from .fused import fma
from .gemm import Product, multiply_unit, unit_shape
from .rows import add_column_sums, add_row, address_of, flat, row_stride
from .simd import lanes_in
from .tiles import BLOCK, inner, parallel, part, pieces, rows_per_piece, serial

# numba.get_num_threads would leave its address in compiled code, which is kept for other processes.
get_num_threads = types.ExternalFunction("get_num_threads", types.intp())
FEW = 8  # samples up to which the weights are what is packed, and not their transpose
LITTLE = 2048  # weights that are packed sooner than results are turned


@inner
def _require(a):
    if a.shape[1] > 1 and a.strides[1] != a.itemsize:
        raise ValueError("a matrix product needs the last axis of each array contiguous")


@inner
def _require_rows(a, b, c):
    """Raise ValueError unless the rows of each are contiguous; rows may be apart.

    Called once a kernel, before its parallel part: nothing may raise inside a `prange`.
    """
    _require(a)
    _require(b)
    _require(c)


@inner
def _finish(tile, b, act, slope):
    """tile = f(tile + b)."""
    if b is not None:
        add_row(tile, b)
    rows, columns = tile.shape
    if row_stride(tile) == columns:
        apply(act, slope, flat(tile))
    else:
        for r in range(rows):
            apply(act, slope, tile[r])


@inner
def _unit(t, shape, m, n):
    """(top, bottom, left, right) of unit t of an m x n product."""
    across = pieces(n, shape[1])
    top, left = t // across * shape[0], t % across * shape[1]
    return top, min(top + shape[0], m), left, min(left + shape[1], n)


@inner
def _units(shape, m, n):
    return pieces(m, shape[0]) * pieces(n, shape[1])


@inner
def _turned(p, samples):
    """Whether y = x w^T is formed as y^T = w x^T: weights are read in place, samples packed."""
    return p.out_column != 1 or p.m != samples


@inner
def _times_transpose(x, w, x2, w2, y):
    """y = x w^T, going on with x2 w2^T; without the first if x is None, or the second if w2 is."""
    (samples, outputs), line = y.shape, row_stride(y)
    x_at, x_row, w_at, w_row, depth, pairs = 0, 0, 0, 0, 0, 0
    other_x, other_x_row, other_w, other_w_row = 0, 0, 0, 0
    if w2 is not None:
        x_at, x_row, w_at, w_row = address_of(x2), row_stride(x2), address_of(w2), row_stride(w2)
        depth, pairs = x2.shape[1], 1
    if x is not None:
        other_x, other_x_row, other_w, other_w_row = x_at, x_row, w_at, w_row
        x_at, x_row, w_at, w_row = address_of(x), row_stride(x), address_of(w), row_stride(w)
        depth, pairs = x.shape[1], pairs + 1
    narrow = outputs <= lanes_in(y.dtype.type(1)) // 2
    if samples == 1 or (samples > FEW and (narrow or outputs * depth > LITTLE)):
        return Product(
            m=outputs, n=samples, k=depth, a=w_at, a_row=w_row, a_k=1, b=x_at, b_k=1,
            b_column=x_row, out=address_of(y), out_row=1, out_column=line, add=0, pairs=pairs,
            a2=other_w, a2_row=other_w_row, b2=other_x, b2_column=other_x_row,
        )  # fmt: skip
    return Product(
        m=samples, n=outputs, k=depth, a=x_at, a_row=x_row, a_k=1, b=w_at, b_k=1, b_column=w_row,
        out=address_of(y), out_row=line, out_column=1, add=0, pairs=pairs,
        a2=other_x, a2_row=other_x_row, b2=other_w, b2_column=other_w_row,
    )  # fmt: skip


# A product of one unit does without its `prange`, which costs as much as 16 x 16 x 32 of arithmetic
# (0.2 us on a Zen 4 core): so each unit is a function of its own, called from two places.


@inner
def _forward_unit(one, p, shape, t, b, act, slope, y):
    top, bottom, left, right = _unit(t, shape, p.m, p.n)
    multiply_unit(one, (p, top, bottom, left, right))
    if _turned(p, y.shape[0]):
        top, bottom, left, right = left, right, top, bottom
    _finish(y[top:bottom, left:right], part(b, left, right), act, slope)


@parallel
def _forward_units(one, p, shape, b, act, slope, y):
    for t in prange(_units(shape, p.m, p.n)):
        _forward_unit(one, p, shape, t, b, act, slope, y)


@serial
def dense_forward(x, w, b, act, slope, y):
    _require_rows(x, w, y)
    one, p = y.dtype.type(1), _times_transpose(x, w, x, None, y)
    shape = unit_shape(one, p, get_num_threads())
    if _units(shape, p.m, p.n) == 1:
        _forward_unit(one, p, shape, 0, b, act, slope, y)
    else:
        _forward_units(one, p, shape, b, act, slope, y)


@serial
def superposed_forward(x, c, w, b, act, slope, z, y):
    context_multiply(x, c, z)
    dense_forward(z, w, b, act, slope, y)


@inner
def _are_whole(a, b, c):
    """Whether the rows of each follow one another without a gap."""
    columns = a.shape[1]
    return row_stride(a) == columns and row_stride(b) == columns and row_stride(c) == columns


@inner
def _pull_some(act, slope, y, dy, dz, top, bottom):
    """Rows top to bottom of dz = f' dy; y's rows repeat."""
    rows, columns = y.shape
    if dz.shape[0] == rows and _are_whole(y, dy, dz):
        lo, hi = top * columns, bottom * columns
        pull(act, slope, flat(y)[lo:hi], flat(dy)[lo:hi], flat(dz)[lo:hi])
    else:
        for r in range(top, bottom):
            pull(act, slope, y[r % rows], dy[r], dz[r])


@parallel
def _pull_pieces(act, slope, y, dy, dz, height):
    for p in prange(pieces(dz.shape[0], height)):
        _pull_some(act, slope, y, dy, dz, p * height, min((p + 1) * height, dz.shape[0]))


@inner
def _pull_rows(act, slope, y, dy, dz):
    height = rows_per_piece(y.shape[1])
    if dz.shape[0] <= height:
        _pull_some(act, slope, y, dy, dz, 0, dz.shape[0])
    else:
        _pull_pieces(act, slope, y, dy, dz, height)


@inner
def _scale(part, beta):
    for r in range(part.shape[0]):
        row = part[r]
        for i in range(row.size):
            row[i] *= beta


@inner
def _parameter_unit(one, p, shape, t, dz, beta, dw, db):
    top, bottom, left, right = _unit(t, shape, p.m, p.n)
    if beta not in (0, 1):
        _scale(dw[top:bottom, left:right], beta)
    multiply_unit(one, (p, top, bottom, left, right))
    if p.m != dw.shape[0]:
        top, bottom, left, right = left, right, top, bottom
    if db is not None and left == 0:
        add_column_sums(dz[:, top:bottom], beta, db[top:bottom])


@parallel
def _parameter_units(one, p, shape, dz, beta, dw, db):
    for t in prange(_units(shape, p.m, p.n)):
        _parameter_unit(one, p, shape, t, dz, beta, dw, db)


@inner
def _transpose_times(a, b, add, out):
    """out = a^T b, or out += where `add`; out may be the transpose of an array."""
    return Product(
        m=a.shape[1], n=b.shape[1], k=a.shape[0], a=address_of(a), a_row=1, a_k=row_stride(a),
        b=address_of(b), b_k=row_stride(b), b_column=1,
        out=address_of(out), out_row=row_stride(out), out_column=out.strides[1] // out.itemsize,
        add=add, pairs=1, a2=0, a2_row=0, b2=0, b2_column=0,
    )  # fmt: skip


@inner
def _parameters(x, dz, beta, dw, db):
    """dw = beta dw + dz^T x, chains that start at beta dw; db = beta db + dz's column sums."""
    one, beta = dw.dtype.type(1), dw.dtype.type(beta)
    p = _transpose_times(dz, x, int(beta != 0), dw)
    lanes = lanes_in(one)
    if beta == 0 and dw.shape[1] <= lanes // 2 and dw.shape[0] > lanes:
        p = _transpose_times(x, dz, 0, dw.T)  # few columns would leave most lanes empty
    shape = unit_shape(one, p, get_num_threads())
    if _units(shape, p.m, p.n) == 1:
        _parameter_unit(one, p, shape, 0, dz, beta, dw, db)
    else:
        _parameter_units(one, p, shape, dz, beta, dw, db)


@inner
def _multiply(row, c):
    """row *= c, one array in place: of two that overlap LLVM would not vectorise the loop."""
    for i in range(row.size):
        row[i] *= c[i]


@inner
def _input_unit(one, p, shape, t, c, dx):
    top, bottom, left, right = _unit(t, shape, p.m, p.n)
    multiply_unit(one, (p, top, bottom, left, right))
    if c is not None:
        for n in range(top, bottom):
            _multiply(dx[n, left:right], c[left:right])


@parallel
def _input_units(one, p, shape, c, dx):
    for t in prange(_units(shape, p.m, p.n)):
        _input_unit(one, p, shape, t, c, dx)


@inner
def _inputs(dz, w, c, dx):
    """dx = dz w, or c (dz w)."""
    one = dx.dtype.type(1)
    p = Product(
        m=dx.shape[0], n=dx.shape[1], k=dz.shape[1], a=address_of(dz), a_row=row_stride(dz), a_k=1,
        b=address_of(w), b_k=row_stride(w), b_column=1,
        out=address_of(dx), out_row=row_stride(dx), out_column=1, add=0,
        pairs=1, a2=0, a2_row=0, b2=0, b2_column=0,
    )  # fmt: skip
    shape = unit_shape(one, p, get_num_threads())
    if _units(shape, p.m, p.n) == 1:
        _input_unit(one, p, shape, 0, c, dx)
    else:
        _input_units(one, p, shape, c, dx)


@serial
def _backward(x, c, w, y, dy, act, slope, beta, dz, dw, db, dx):
    _require_rows(x, w, dz)
    _pull_rows(act, slope, y, dy, dz)
    if dw is not None:
        _parameters(x, dz, beta, dw, db)
    if dx is not None:
        _inputs(dz, w, c, dx)


def dense_backward(x, w, y, dy, act, slope, beta, dz, dw, db, dx):
    _backward(x, None, w, y, dy, act, slope, beta, dz, dw, db, dx)


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
def _tangent_units(one, p, shape, y, tb, act, slope, ty):
    turned = _turned(p, y.shape[0])
    for t in prange(_units(shape, p.m, p.n)):
        top, bottom, left, right = _unit(t, shape, p.m, p.n)
        multiply_unit(one, (p, top, bottom, left, right))
        if turned:
            top, bottom, left, right = left, right, top, bottom
        if tb is not None:
            add_row(ty[top:bottom, left:right], tb[left:right])
        for i in range(top, bottom):
            pull(act, slope, y[i, left:right], ty[i, left:right], ty[i, left:right])


@serial
def dense_tangent(x, w, y, tx, tw, tb, act, slope, ty):
    _require_rows(x, w, ty)
    one, p = y.dtype.type(1), _times_transpose(tx, w, x, tw, ty)
    _tangent_units(one, p, unit_shape(one, p, get_num_threads()), y, tb, act, slope, ty)


@inner
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


@inner
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
    height = rows_per_piece(out.shape[1])
    for p in prange(pieces(out.shape[0], height)):
        for n in range(p * height, min((p + 1) * height, out.shape[0])):
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


@inner
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
