"""Rows of a matrix on the CPU: a vector added to each, or their sum. Rows may lie apart."""

from __future__ import annotations

import numpy as np
from numba.np.numpy_support import carray

from .scratch import stack_of
from .simd import fill, lanes_in, load, load_part, memory, store_part
from .tiles import inner

NARROW = 64  # numbers up to which a row is short
LANES = 16  # of the widest registers, floats
short_rows = stack_of(LANES * LANES)


@inner
def row_stride(a):
    """Elements from one row of `a` (R, S) to the next."""
    return a.strides[0] // a.itemsize


@inner
def address_of(a):
    return np.intp(a.ctypes.data)


@inner
def flat(a):
    """All numbers of an array whose rows have no gaps."""
    return carray(memory(a.dtype.type(1), address_of(a)), a.size)


@inner
def add_row(tile, b):
    """tile += b, row by row; a register of columns at a time where rows are short, since a loop
    over a few numbers costs more than they do."""
    columns, line = tile.shape[1], row_stride(tile)
    one, base = tile.dtype.type(1), address_of(tile)
    if columns > NARROW:
        for r in range(tile.shape[0]):
            row = tile[r]
            for o in range(row.size):
                row[o] += b[o]
    elif columns < lanes_in(one) and line == columns:
        _add_short_rows(tile, b)
    else:
        for c in range(0, b.size, lanes_in(one)):
            n = b.size - c
            bias = load_part(one, address_of(b), c, n)
            for r in range(tile.shape[0]):
                store_part(base, r * line + c, load_part(one, base, r * line + c, n) + bias, n)


@inner
def _add_short_rows(tile, b):
    """tile += b where rows of less than a register follow one another: whole registers, several
    rows in each. (What reads a row after its neighbour was written waits for that.)"""
    one, base = tile.dtype.type(1), address_of(tile)
    rows, columns = tile.shape
    lanes = lanes_in(one)
    room = carray(short_rows(tile), LANES * LANES)
    for r in range(min(rows, lanes)):
        for o in range(columns):
            room[r * columns + o] = b[o]
    pattern = address_of(room)
    for r in range(0, tile.size, lanes * columns):
        for c in range(0, min(lanes * columns, tile.size - r), lanes):
            n = tile.size - r - c
            store_part(base, r + c, load_part(one, base, r + c, n) + load(one, pattern, c), n)


@inner
def add_column_sums(dz, beta, db):
    """db = beta db + the sum of dz's rows, always in the order of the rows; two registers of
    columns at a time, since each waits for its additions."""
    one, base, line = db.dtype.type(1), address_of(dz), row_stride(dz)
    lanes = lanes_in(one)
    for c in range(0, db.size, 2 * lanes):
        n = db.size - c
        first, second = _begin(one, beta, db, c), _begin(one, beta, db, c + lanes)
        if n > lanes:
            for r in range(dz.shape[0]):
                first = first + load(one, base, r * line + c)
                second = second + load_part(one, base, r * line + c + lanes, n - lanes)
            store_part(address_of(db), c + lanes, second, n - lanes)
        else:
            for r in range(dz.shape[0]):
                first = first + load_part(one, base, r * line + c, n)
        store_part(address_of(db), c, first, n)


@inner
def _begin(one, beta, db, c):
    """beta times the register of db at column c, which may be behind the last."""
    n = db.size - c
    if beta == 0:
        return fill(one - one)
    if beta == 1:
        return load_part(one, address_of(db), c, n)
    return fill(one * beta) * load_part(one, address_of(db), c, n)
