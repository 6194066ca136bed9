"""Matrix products: out (m, n) = start + a (m, k) b (k, n), each output one chain of fma over k.

Work is cut into units; a unit packs its part of b into panels, k in blocks, and multiplies them by
its rows of a, which are read where they lie. Any cut gives the same bits, so units follow the
number of threads. Where k runs along the rows of both factors (x w^T) the samples are the columns:
their transpose is packed, the weights are only read, and results are turned as they are written.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import typeof, types
from numba.np.numpy_support import carray

from .fused import fma
from .linked import Linked
from .microkernel import rows_of
from .panels import panel_count, panel_vectors, panel_width, whole
from .scratch import stack_of
from .simd import fill, lanes_in, load, load_part, memory, size_of, store, store_part
from .stream import multiply_vector
from .strided import multiply_rows_at
from .tiles import inlined, inner, pieces, serial
from .transpose import turn_block, turn_part

DEPTH = 512  # of k that is packed at a time
PACKED = 1 << 17  # bytes of b, packed: with what else is used meanwhile it fits a second cache
SUMS = 1 << 17  # bytes of results that are not written where they belong at once
NEAR = 1 << 20  # bytes of a that a core's second cache may hold
WORTH = 1 << 21  # multiplications that are worth another thread's while
_stack = stack_of((PACKED + SUMS + 64) // 8, np.float64)


class Product(NamedTuple):
    """What is multiplied: sizes, addresses, and strides in elements.

    One stride of b is 1, and one of out. With `pairs` = 2 the chain goes on with a second pair of
    factors of the same sizes, `a2` and `b2`. `add`: it starts at what is in out, not at 0; then
    the stride from column to column of out is the 1.
    """

    m: int
    n: int
    k: int
    a: int
    a_row: int
    a_k: int
    b: int
    b_k: int
    b_column: int
    out: int
    out_row: int
    out_column: int
    add: int
    pairs: int
    a2: int
    a2_row: int
    b2: int
    b2_column: int


@inner
def _pack_rows(one, source, line, depth, columns, target):
    """Panels (depth, width) at target = (depth, columns) at source, whose rows are contiguous."""
    size, lanes, width = size_of(one), lanes_in(one), panel_width(one)
    for c in range(0, columns, lanes):
        at = target + (c // width * depth * width + c % width) * size
        here = source + c * size
        count = columns - c
        if count >= lanes:
            for k in range(depth):
                store(at, k * width, load(one, here, k * line))
        else:
            for k in range(depth):
                store(at, k * width, load_part(one, here, k * line, count))


@inner
def _pack_columns(one, source, line, depth, columns, target):
    """The same from (columns, depth) at source: transposed."""
    size, lanes, width = size_of(one), lanes_in(one), panel_width(one)
    for c in range(0, columns, lanes):
        at = target + (c // width * depth * width + c % width) * size
        here = source + c * line * size
        rows = columns - c
        k = 0
        if rows >= lanes:
            while k + lanes <= depth:
                turn_block(one, here + k * size, line, lanes, lanes, at + k * width * size, width)
                k += lanes
        while k < depth:
            turn_part(
                one,
                here + k * size,
                line,
                min(rows, lanes),
                lanes if depth - k >= lanes else depth - k,
                at + k * width * size,
                width,
            )
            k += lanes


@inner
def _turn_out(one, sums, wide, rows, columns, target, line):
    """target (columns, rows), `line` from row to row, = sums (rows, columns) transposed."""
    size, lanes = size_of(one), lanes_in(one)
    for c in range(0, columns, lanes):
        for r in range(0, rows, lanes):
            source, to = sums + (r * wide + c) * size, target + (c * line + r) * size
            if r + lanes <= rows and c + lanes <= columns:
                turn_block(one, source, wide, lanes, lanes, to, line)
            else:
                turn_part(
                    one, source, wide, min(lanes, rows - r), min(lanes, columns - c), to, line
                )


@serial
def multiply_panels(
    one, p, goes_on, rows, depth, a, a_row, b, packed, begin, end, columns, out, line, ahead
):
    """Panels begin to end of a unit, for all its rows: out = or += a b.

    b: the address of whole panels that are not packed yet, or 0. ahead: the address of the rows of
    b that come next, or 0.
    """
    size, width, group = size_of(one), panel_width(one), rows_of(1)
    part, parts = 0, pieces(columns * size, 64) if ahead != 0 else 0
    for i in range(0, rows, group):
        for panel in range(begin, end):
            vectors = panel_vectors(one, columns, panel)
            each = rows_of(vectors)
            for r in range(i, min(i + group, rows), each):
                coming, hop = packed, 0
                if part < parts:
                    coming, hop = ahead + 64 * part, p.b_k
                    part += 1
                elif a_row == 1:
                    coming, hop = a + (i + group) * size, p.a_k
                multiply_rows_at(
                    one, vectors, goes_on, min(rows - r, each), depth,
                    a + r * a_row * size, a_row, p.a_k,
                    b + panel * width * size if b != 0 and r == 0 else 0, p.b_k,
                    packed + panel * depth * width * size,
                    out + (r * line + (panel - begin) * width) * size, line, coming, hop,
                )  # fmt: skip


_PRODUCT = typeof(Product(*[0] * len(Product._fields)))
_multiply = Linked(multiply_panels, lambda one: (one, _PRODUCT, *[types.intp] * 13)).call


@inner
def _copy(one, source, line, target, to_line, rows, count):
    """target = the first `count` numbers of each row of source; at most a panel's."""
    lanes = lanes_in(one)
    for c in range(0, count, lanes):
        n = count - c
        for r in range(rows):
            store_part(target, r * to_line + c, load_part(one, source, r * line + c, n), n)


@inlined
def _depth(k):
    """Terms of a sum that are packed at a time: pieces of one length, of whole vectors."""
    count = max(pieces(k, DEPTH), 1)
    return k if count == 1 else whole(pieces(k, count), 16)


@inlined
def _add_pair(
    one, p, goes_on, a, a_row, b, b_column, straight, rows, columns, out, packed, sums, coming
):
    """The sums of a unit, in `out` and `sums`, go on with a pair of factors."""
    size, width = size_of(one), panel_width(one)
    panels = panel_count(one, columns)
    step = _depth(p.k)
    for k in range(0, max(p.k, 1), max(step, 1)):
        depth = min(step, p.k - k)
        ahead, given = 0, 0
        if b_column == 1:
            given = here = b + k * p.b_k * size  # whole panels are packed as they are first used
            _pack_rows(
                one, here + straight * width * size, p.b_k, depth, columns - straight * width,
                packed + straight * depth * width * size,
            )  # fmt: skip
            ahead = here + step * p.b_k * size if k + step < p.k else coming
        else:
            _pack_columns(one, b + k * size, b_column, depth, columns, packed)
        begin, end, to, line = 0, straight, out, p.out_row
        for _ in range(2):
            _multiply(one, (
                p, goes_on or k > 0, rows, depth, a + k * p.a_k * size, a_row, given, packed,
                begin, end, columns, to, line, ahead,
            ))  # fmt: skip
            begin, end, to, line = straight, panels, sums, (panels - straight) * width
            given = 0


@inner
def _rows(one, p, top, bottom, left, right):
    """Rows top to bottom, each by itself: b's rows go to its sums as they are, along, four in one
    pass over them. So one row reads all of b as fast as it streams."""
    size, lanes, count = size_of(one), lanes_in(one), right - left
    step = p.b_k
    for r in range(top, bottom):
        y = p.out + (r * p.out_row + left) * size
        d = carray(memory(one, p.a + r * p.a_row * size), max(p.k - 1, 0) * p.a_k + 1)
        k = 0
        while k < p.k:
            row = p.b + (k * step + left) * size
            goes_on, at, c = k > 0 or p.add != 0, k * p.a_k, 0
            several = 4 if k + 4 <= p.k else 1
            if several == 4:
                e, f, g, h = d[at], d[at + p.a_k], d[at + 2 * p.a_k], d[at + 3 * p.a_k]
                while c + lanes <= count:
                    total = load(one, y, c) if goes_on else fill(one - one)
                    total = fma(e, load(one, row, c), total)
                    total = fma(f, load(one, row, step + c), total)
                    total = fma(g, load(one, row, 2 * step + c), total)
                    store(y, c, fma(h, load(one, row, 3 * step + c), total))
                    c += lanes
            else:
                while c + lanes <= count:
                    total = load(one, y, c) if goes_on else fill(one - one)
                    store(y, c, fma(d[at], load(one, row, c), total))
                    c += lanes
            if c < count:
                n = count - c
                total = load_part(one, y, c, n if goes_on else 0)
                for i in range(several):
                    total = fma(d[at + i * p.a_k], load_part(one, row, i * step + c, n), total)
                store_part(y, c, total, n)
            k += several


@inlined
def _one_column(one, p, top, bottom):
    """Rows top to bottom where b has one column, and a's rows are contiguous, as b's column is."""
    size = size_of(one)
    a, a_row, b = p.a, p.a_row, p.b
    for pair in range(p.pairs):
        multiply_vector(one, p.add or pair > 0, a + top * a_row * size, a_row, bottom - top, b,
                        p.k, p.out + top * size)  # fmt: skip
        a, a_row, b = p.a2, p.a2_row, p.b2


@inner
def _tiles(one, p, top, bottom, left, right):
    """Any product: rows top to bottom, columns left to right, at most a `unit_shape`."""
    size, width = size_of(one), panel_width(one)
    packed = (np.intp(carray(_stack(one), 1).ctypes.data) + 63) // 64 * 64
    sums = packed + PACKED
    rows, columns = bottom - top, right - left
    panels = panel_count(one, columns)
    straight = columns // width if p.out_column == 1 else 0  # panels that lie in `out` as they are
    edge, wide = straight * width, (panels - straight) * width
    out = p.out + (top * p.out_row + left * p.out_column) * size
    if p.add and straight < panels:
        _copy(one, out + edge * size, p.out_row, sums, wide, rows, columns - edge)
    a, a_row, b, b_column = p.a, p.a_row, p.b, p.b_column
    coming = p.b + right * size if right < p.n else 0
    for pair in range(p.pairs):
        _add_pair(one, p, p.add or pair > 0, a + top * a_row * size, a_row,
                  b + left * b_column * size, b_column, straight, rows, columns, out, packed, sums,
                  coming)  # fmt: skip
        a, a_row, b, b_column = p.a2, p.a2_row, p.b2, p.b2_column
    if p.out_column != 1:
        _turn_out(one, sums, wide, rows, columns, out, p.out_column)
    elif straight < panels:
        _copy(one, sums, wide, out + edge * size, p.out_row, rows, columns - edge)


@inlined
def _is_column(p):
    """Whether it is a matrix times a vector, both contiguous along k."""
    return p.k > 0 and p.n == 1 and p.a_k == 1 and p.b_k == 1 and p.out_row == 1


@inlined
def _by_rows(p):
    """Whether it is a vector times a matrix with contiguous rows, or an outer product."""
    straight = p.b_column == 1 and p.out_column == 1 and p.pairs == 1
    return straight and p.k > 0 and (p.m == 1 or p.k == 1)


@serial
def product_unit(one, p, top, bottom, left, right):
    """Rows top to bottom, columns left to right: at most a `unit_shape`."""
    if _is_column(p):
        _one_column(one, p, top, bottom)
    elif _by_rows(p):
        _rows(one, p, top, bottom, left, right)
    else:
        _tiles(one, p, top, bottom, left, right)


@inner
def _wanted(p, threads, worth):
    """Into how many units to cut: some for each thread, that are worth its while."""
    if threads == 1:
        return 1
    units = min(p.m * p.n * p.k // worth, 4 * threads)
    return whole(units, threads) if units > threads // 2 else max(units, 1)


@serial
def unit_shape(one, p, threads):
    """(rows, columns) of a unit.

    Columns are cut first, for each is packed once for every cut of rows; but a large `a` is read no
    oftener than it must be.
    """
    size, width, group = size_of(one), panel_width(one), rows_of(1)
    if _is_column(p) or _by_rows(p):  # what counts is the bytes of the largest of the three
        wanted = _wanted(p, threads, WORTH // 16)
        if p.m > 1:
            return whole(pieces(p.m, wanted), group), p.n
        return 1, whole(pieces(p.n, wanted), 4 * width)
    wanted = _wanted(p, threads, WORTH)
    columns = max(PACKED // (max(_depth(p.k), 1) * size) // width, 1) * width
    if p.m * p.k * size <= NEAR or p.n * p.k <= p.m * 64:
        columns = min(columns, whole(pieces(p.n, wanted), width))
    columns = min(columns, whole(p.n, width), SUMS // size // group // width * width)
    columns = whole(pieces(p.n, pieces(p.n, columns)), width)
    most = SUMS // size // (columns if p.out_column != 1 else width) // group * group
    cuts = max(pieces(wanted, pieces(p.n, columns)), pieces(p.m, most))
    return max(whole(pieces(p.m, cuts), group), group), columns


multiply_unit = Linked(product_unit, lambda one: (one, _PRODUCT, *[types.intp] * 4)).call
