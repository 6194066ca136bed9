"""The weight gradient of a 3x3 convolution with stride 1: Winograd's F(4x4, 3x3), transposed.

y = A' [(G g) * (B' d)] A is linear in g, so dg = G' [sum over tiles (A dy) * (B' d)] G: at each of
the 36 frequencies one matrix product, channels x tiles x filters, a quarter of the direct sum's
multiplications.

    V (36, tiles, depth)  M (36, tiles, columns)  dU (36, depth, columns)

Where dU is small, groups of tiles have a dU of their own each, and blocks of V and M that stay in
their core's cache; the groups are added up in order. Where it is large, there is one dU: blocks of
tiles are transformed and multiplied in turn, and all threads share each step.
"""

from __future__ import annotations

import numpy as np
from numba import prange
from numba.np.numpy_support import carray

from ..conv_order import group_begin
from ..conv_order import tile_groups as _tile_groups
from .magnitude import lane_largest, larger, largest, put
from .microkernel import CONTINUE, SET, multiply_rows, rows_of
from .panels import UNIT, panel_count, panel_vectors, panel_width, row_room, thread_scratch, whole
from .simd import lanes_in, load, load_part, memory, size_of, store
from .tiles import inner, parallel, pieces, serial
from .transforms import of_output, to_filter
from .winograd import GAP, F, list_pixels, store_six, transform_input
from .winograd_direct import grid

ROOM = 1 << 21  # elements of V and M together: what a shared cache holds
STEP = 8  # tiles that one thread transforms at a time
BLOCK = 32  # tiles that are transformed and then multiplied, in a group

_groups, _begin = serial(_tile_groups), serial(group_begin)


@serial
def _sizes(one, g):
    """(depth and columns as whole tiles and vectors, tiles of a block, groups)."""
    depth = row_room(whole(g.depth, lanes_in(one)))
    columns = panel_count(one, g.filters) * panel_width(one)
    down, across = grid(g)
    total = g.n * down * across
    groups = _groups(total, g.depth, g.filters)
    if groups > 1:
        return depth, columns, BLOCK, groups
    tiles = max(ROOM // (F * (depth + columns)), BLOCK)
    return depth, columns, whole(min(tiles, total), BLOCK), 1


@inner
def _spans(depth, columns, tiles):
    """From one frequency to the next in V, M and dU: see winograd.GAP."""
    return tiles * depth + GAP, tiles * columns + GAP, depth * columns + GAP


@serial
def winograd_weight_room(one, g):
    """(elements of all dU and of the packed gradient and its magnitudes, and of V and M if shared;
    of one thread's)."""
    depth, columns, tiles, groups = _sizes(one, g)
    v, m, u = _spans(depth, columns, tiles)
    lists = max(whole(max(depth, columns), UNIT) + whole(2 * F, UNIT), whole(4 * depth, UNIT))
    shared = whole(groups * F * u, UNIT) + row_room(9 * g.depth) * columns
    shared += whole(panel_count(one, g.filters) * g.depth, UNIT)
    blocks = whole(F * (v + m), UNIT)
    if groups > 1:
        return shared, lists + blocks
    return shared + blocks, lists


@inner
def _six(one, base, table, first, o, count):
    """A times column `first` of a tile of 4 x 4 outputs, filters o on."""
    return of_output(
        load_part(one, base, table[first] + o, count),
        load_part(one, base, table[first + 4] + o, count),
        load_part(one, base, table[first + 8] + o, count),
        load_part(one, base, table[first + 12] + o, count),
    )


@inner
def _transform_cotangent(one, base, table, filters, m, apart):
    """m[f * apart] (filters,) = A dy A' of the tile whose pixels (4, 4) `table` lists."""
    for o in range(0, filters, lanes_in(one)):
        n = filters - o
        p, q = _six(one, base, table, 0, o, n), _six(one, base, table, 1, o, n)
        r, s = _six(one, base, table, 2, o, n), _six(one, base, table, 3, o, n)
        store_six(m, o, apart, of_output(p[0], q[0], r[0], s[0]))
        store_six(m, o + 6 * apart, apart, of_output(p[1], q[1], r[1], s[1]))
        store_six(m, o + 12 * apart, apart, of_output(p[2], q[2], r[2], s[2]))
        store_six(m, o + 18 * apart, apart, of_output(p[3], q[3], r[3], s[3]))
        store_six(m, o + 24 * apart, apart, of_output(p[4], q[4], r[4], s[4]))
        store_six(m, o + 30 * apart, apart, of_output(p[5], q[5], r[5], s[5]))


@inner
def _transform_tiles(one, g, x, dz, lo, hi, start, v, m, spans, depth, columns, scratch):
    """V and M of tiles lo to hi, of the block that begins at tile `start`."""
    size = size_of(one)
    down, across = grid(g)
    wide = whole(max(depth, columns), UNIT)
    carray(memory(one, scratch), wide)[:] = 0
    table = carray(memory(1, scratch + wide * size), F)
    for t in range(lo, hi):
        n, i, j = t // (down * across), t // across % down, t % across
        row = t - start
        base = x + n * g.height * g.width * g.depth * size
        nowhere = (scratch - base) // size
        list_pixels(g.height, g.width, g.depth, g.top + 4 * i, g.left + 4 * j, 6, nowhere, table)
        transform_input(one, base, table, g.depth, v + row * depth * size, spans[0])
        base = dz + n * g.rows * g.columns * g.filters * size
        nowhere = (scratch - base) // size
        list_pixels(g.rows, g.columns, g.filters, 4 * i, 4 * j, 4, nowhere, table)
        _transform_cotangent(one, base, table, g.filters, m + row * columns * size, spans[1])


@inner
def _multiply(one, g, f, count, go_on, v, m, du, spans, depth, columns, scratch):
    """dU at frequency f = V' M over `count` tiles: chains from 0, or that go on."""
    size, width = size_of(one), panel_width(one)
    inputs = carray(memory(1, scratch), row_room(depth))
    outputs = carray(memory(1, scratch + 8 * row_room(depth)), row_room(depth))
    for c in range(inputs.size):
        inputs[c] = min(c, depth - 1)
        outputs[c] = min(c, depth - 1) * columns
    for panel in range(panel_count(one, g.filters)):
        vectors = panel_vectors(one, g.filters, panel)
        multiply_rows(
            one, vectors, CONTINUE if go_on else SET, whole(depth, rows_of(vectors)),
            v + f * spans[0] * size, inputs.ctypes.data, 1, 0, count, depth,
            m + (f * spans[1] + panel * width) * size, 0, columns,
            du + (f * spans[2] + panel * width) * size, outputs.ctypes.data,
        )  # fmt: skip


@inner
def _back_column(one, du, at, apart):
    """G' of a column of dU."""
    return to_filter(
        load(one, du, at), load(one, du, at + 6 * apart), load(one, du, at + 12 * apart),
        load(one, du, at + 18 * apart), load(one, du, at + 24 * apart),
        load(one, du, at + 30 * apart),
    )  # fmt: skip


@inner
def _transform_back(one, du, at, apart, packed, row, width):
    """packed[(r, s) * row] (width,) = G' dU G from element `at` of each frequency.

    Returns the largest magnitude of the four corners, to which all frequencies go.
    """
    most = load_part(one, du, at, 0)  # zeros
    for o in range(0, width, lanes_in(one)):
        here = at + o
        p = _back_column(one, du, here, apart)
        q = _back_column(one, du, here + apart, apart)
        r = _back_column(one, du, here + 2 * apart, apart)
        s = _back_column(one, du, here + 3 * apart, apart)
        t = _back_column(one, du, here + 4 * apart, apart)
        u = _back_column(one, du, here + 5 * apart, apart)
        a = to_filter(p[0], q[0], r[0], s[0], t[0], u[0])
        b = to_filter(p[1], q[1], r[1], s[1], t[1], u[1])
        c = to_filter(p[2], q[2], r[2], s[2], t[2], u[2])
        store(packed, o, a[0])
        store(packed, o + row, a[1])
        store(packed, o + 2 * row, a[2])
        store(packed, o + 3 * row, b[0])
        store(packed, o + 4 * row, b[1])
        store(packed, o + 5 * row, b[2])
        store(packed, o + 6 * row, c[0])
        store(packed, o + 7 * row, c[1])
        store(packed, o + 8 * row, c[2])
        most = larger(most, larger(larger(a[0], a[2]), larger(c[0], c[2])))
    return lane_largest(most)


@parallel
def _in_groups(one, g, x, dz, first, slot, work):
    """dU of every group of tiles, one after another at `work`; then the first is their sum."""
    size = size_of(one)
    depth, columns, tiles, groups = _sizes(one, g)
    spans = _spans(depth, columns, tiles)
    down, across = grid(g)
    total = g.n * down * across
    for group in prange(groups):
        lists = thread_scratch(work, first, slot, size)
        v = lists + (slot - whole(F * (spans[0] + spans[1]), UNIT)) * size
        m = v + F * spans[0] * size
        du = work + group * F * spans[2] * size
        begin, end = _begin(total, groups, group), _begin(total, groups, group + 1)
        for lo in range(begin, end, tiles):
            hi = min(lo + tiles, end)
            _transform_tiles(one, g, x, dz, lo, hi, lo, v, m, spans, depth, columns, lists)
            for f in range(F):
                _multiply(one, g, f, hi - lo, lo > begin, v, m, du, spans, depth, columns, lists)
    for f in prange(F):
        sums = carray(memory(one, work), groups * F * spans[2])
        _add_groups(sums, groups, F * spans[2], f * spans[2], depth * columns)


@inner
def _add_groups(sums, groups, apart, at, count):
    total = sums[at : at + count]
    for group in range(1, groups):
        more = sums[group * apart + at : group * apart + at + count]
        for i in range(count):
            total[i] += more[i]


@parallel
def _in_turn(one, g, x, dz, first, slot, work):
    """dU at `work`, from blocks of tiles whose V and M all threads share."""
    size = size_of(one)
    depth, columns, tiles, _ = _sizes(one, g)
    spans = _spans(depth, columns, tiles)
    down, across = grid(g)
    total = g.n * down * across
    v = work + (first - whole(F * (spans[0] + spans[1]), UNIT)) * size
    m = v + F * spans[0] * size
    for start in range(0, total, tiles):
        count = min(tiles, total - start)
        for step in prange(pieces(count, STEP)):
            lists = thread_scratch(work, first, slot, size)
            lo, hi = start + step * STEP, start + min((step + 1) * STEP, count)
            _transform_tiles(one, g, x, dz, lo, hi, start, v, m, spans, depth, columns, lists)
        for f in prange(F):
            lists = thread_scratch(work, first, slot, size)
            _multiply(one, g, f, count, start > 0, v, m, work, spans, depth, columns, lists)


@parallel
def _pack_back(one, g, du, packed):
    """The gradient as panels (panels, rows of 9 depth, width) at `packed`, from dU.

    Returns whether all of it is finite: what is not was NaN or infinite in x or dz, or overflowed.
    """
    size, width = size_of(one), panel_width(one)
    depth, columns, tiles, _ = _sizes(one, g)
    apart = _spans(depth, columns, tiles)[2]
    rows = row_room(9 * g.depth)
    panels = panel_count(one, g.filters)
    seen = packed + panels * rows * width * size
    for task in prange(panels * g.depth):
        panel, c = task // g.depth, task % g.depth
        target = packed + (panel * rows + c) * width * size
        used = panel_vectors(one, g.filters, panel) * lanes_in(one)
        most = _transform_back(
            one, du, c * columns + panel * width, apart, target, g.depth * width, used
        )
        put(one, seen, task, most)
    return largest(one, seen, panels * g.depth) < np.inf


@inner
def winograd_weight(one, g, x, dz, first, slot, work):
    """(where the gradient lies as panels (panels, rows of 9 depth, width), whether it is finite).

    g: the forward correlation; x, dz, work: addresses.
    """
    depth, columns, tiles, groups = _sizes(one, g)
    if groups > 1:
        _in_groups(one, g, x, dz, first, slot, work)
    else:
        _in_turn(one, g, x, dz, first, slot, work)
    spans = _spans(depth, columns, tiles)
    packed = work + whole(groups * F * spans[2], UNIT) * size_of(one)
    return packed, _pack_back(one, g, work, packed)
