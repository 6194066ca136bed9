"""3x3 convolutions with stride 1 by Winograd's F(4x4, 3x3): a quarter of the multiplications.

The image is cut into tiles of 4 x 4 outputs, which see 6 x 6 inputs. After the transforms every one
of the 36 frequencies is a matrix product of its own, over channels (forward, input gradient) or
over tiles (weight gradient); `kernels.cpu.transforms` has the formulas. Tiles that reach over the
image's edge read zeros and write nothing there. What it cannot carry, an infinite pixel or one far
above its neighbours, `kernels.cpu.winograd_direct` computes directly.

    V (36, tiles, channels)  U (36, panels, channels, width)  M (36, tiles, filters)
"""

from __future__ import annotations

from numba import prange
from numba.np.numpy_support import carray

from ..conv_order import HOT
from .magnitude import lane_largest, larger, largest, number, put
from .microkernel import SET, multiply_rows, rows_of
from .panels import UNIT, panel_count, panel_vectors, panel_width, row_room, thread_scratch, whole
from .simd import (
    lanes_in,
    load,
    load_part,
    memory,
    prefetch,
    prefetch_to_write,
    size_of,
    store,
    store_part,
)
from .tiles import inner, parallel, pieces, serial
from .transforms import of_filter, of_input, to_output
from .winograd_direct import (
    all_reach,
    direct_room,
    grid,
    largest_seen,
    ordinary_pixels,
    ordinary_weights,
    put_directly,
    sum_directly,
)

TILES = 32  # of a block: its V and M stay near the core
STEP = 8  # of these are looked at together, while what they see is in the first cache
F = 36
# Frequencies lie a cache line more apart than their tiles need: at a power of two all 36 numbers of
# a pixel would fall into one or two sets of the first cache, which hold 12 lines each.
GAP = 16


@serial
def winograd_room(one, g):
    """(elements of packed weights and U, elements of one thread's scratch) of `winograd`."""
    columns = panel_count(one, g.filters) * panel_width(one)
    depth = whole(g.depth, lanes_in(one))
    places = whole(4 * row_room(TILES), UNIT)
    blocks = F * (TILES * (depth + columns) + 2 * GAP)
    slot = whole(blocks, UNIT) + whole(depth, UNIT) + 2 * places + whole(2 * F, UNIT) + 2 * TILES
    weights = 9 * g.depth * columns + F * (g.depth * columns + GAP)
    weights += panel_count(one, g.filters) * g.depth
    return whole(weights, UNIT), slot + direct_room(one, g)


@inner
def _three_weights(one, packed, at, row, most):
    """(the larger of `most` and their magnitudes, G of a column of weights)."""
    p, q = load(one, packed, at), load(one, packed, at + 3 * row)
    r = load(one, packed, at + 6 * row)
    return larger(larger(most, p), larger(q, r)), of_filter(p, q, r)


@inner
def transform_filter(one, packed, depth, width, c, u, apart):
    """U of channel c: u[f * apart] (width,) from packed (3, 3, depth, width); addresses.

    Returns the largest of these weights' magnitudes.
    """
    lanes = lanes_in(one)
    row = depth * width
    most = load_part(one, packed, 0, 0)  # zeros
    for v in range(0, width, lanes):
        at = c * width + v
        most, a = _three_weights(one, packed, at, row, most)
        most, b = _three_weights(one, packed, at + row, row, most)
        most, d = _three_weights(one, packed, at + 2 * row, row, most)
        store_six(u, v, apart, of_filter(a[0], b[0], d[0]))
        store_six(u, v + 6 * apart, apart, of_filter(a[1], b[1], d[1]))
        store_six(u, v + 12 * apart, apart, of_filter(a[2], b[2], d[2]))
        store_six(u, v + 18 * apart, apart, of_filter(a[3], b[3], d[3]))
        store_six(u, v + 24 * apart, apart, of_filter(a[4], b[4], d[4]))
        store_six(u, v + 30 * apart, apart, of_filter(a[5], b[5], d[5]))
    return lane_largest(most)


@inner
def store_six(base, at, apart, values):
    store(base, at, values[0])
    store(base, at + apart, values[1])
    store(base, at + 2 * apart, values[2])
    store(base, at + 3 * apart, values[3])
    store(base, at + 4 * apart, values[4])
    store(base, at + 5 * apart, values[5])


@inner
def _six_parts(one, base, table, first, c, count):
    """B' of column `first` of the tile whose 36 pixels `table` lists, channels c on."""
    return of_input(
        load_part(one, base, table[first] + c, count),
        load_part(one, base, table[first + 6] + c, count),
        load_part(one, base, table[first + 12] + c, count),
        load_part(one, base, table[first + 18] + c, count),
        load_part(one, base, table[first + 24] + c, count),
        load_part(one, base, table[first + 30] + c, count),
    )


@inner
def transform_input(one, base, table, depth, v, apart):
    """v[f * apart] (depth,) = B' d B of the tile whose pixels (6, 6) begin at `table` (36,)."""
    lanes = lanes_in(one)
    for c in range(0, depth, lanes):
        n = depth - c
        p, q = _six_parts(one, base, table, 0, c, n), _six_parts(one, base, table, 1, c, n)
        r, s = _six_parts(one, base, table, 2, c, n), _six_parts(one, base, table, 3, c, n)
        t, u = _six_parts(one, base, table, 4, c, n), _six_parts(one, base, table, 5, c, n)
        store_six(v, c, apart, of_input(p[0], q[0], r[0], s[0], t[0], u[0]))
        store_six(v, c + 6 * apart, apart, of_input(p[1], q[1], r[1], s[1], t[1], u[1]))
        store_six(v, c + 12 * apart, apart, of_input(p[2], q[2], r[2], s[2], t[2], u[2]))
        store_six(v, c + 18 * apart, apart, of_input(p[3], q[3], r[3], s[3], t[3], u[3]))
        store_six(v, c + 24 * apart, apart, of_input(p[4], q[4], r[4], s[4], t[4], u[4]))
        store_six(v, c + 30 * apart, apart, of_input(p[5], q[5], r[5], s[5], t[5], u[5]))


@inner
def list_pixels(height, width, depth, top, left, size, nowhere, table):
    """table: where the pixels of a size x size window begin, `nowhere` for those outside."""
    for i in range(size):
        inside = 0 <= top + i < height
        line = (top + i) * width + left
        for j in range(size):
            here = inside and 0 <= left + j < width
            table[i * size + j] = (line + j) * depth if here else nowhere


@inner
def _four(one, base, at, apart):
    """A' of a column of M: frequencies at, at + 6, ... of (36, ...)."""
    return to_output(
        load(one, base, at), load(one, base, at + 6 * apart), load(one, base, at + 12 * apart),
        load(one, base, at + 18 * apart), load(one, base, at + 24 * apart),
        load(one, base, at + 30 * apart),
    )  # fmt: skip


@inner
def _put_row(one, out, at, step, values, columns, count, add):
    """Up to four pixels of a row of outputs, `count` numbers of each."""
    for_one = add
    if columns > 0:
        a = values[0]
        if for_one:
            a = a + load_part(one, out, at, count)
        store_part(out, at, a, count)
    if columns > 1:
        b = values[1]
        if for_one:
            b = b + load_part(one, out, at + step, count)
        store_part(out, at + step, b, count)
    if columns > 2:
        c = values[2]
        if for_one:
            c = c + load_part(one, out, at + 2 * step, count)
        store_part(out, at + 2 * step, c, count)
    if columns > 3:
        d = values[3]
        if for_one:
            d = d + load_part(one, out, at + 3 * step, count)
        store_part(out, at + 3 * step, d, count)


@inner
def transform_output(one, m, apart, filters, out, at, line, rows, columns, add):
    """out (rows, columns, filters) = or += A' m A, rows and columns at most 4; `line` elements
    from one row of out to the next, element `at` being the first."""
    for o in range(0, filters, lanes_in(one)):
        n = filters - o
        p, q = _four(one, m, o, apart), _four(one, m, o + apart, apart)
        r, s = _four(one, m, o + 2 * apart, apart), _four(one, m, o + 3 * apart, apart)
        t, u = _four(one, m, o + 4 * apart, apart), _four(one, m, o + 5 * apart, apart)
        here = at + o
        y = to_output(p[0], q[0], r[0], s[0], t[0], u[0])
        _put_row(one, out, here, filters, y, columns, n, add)
        if rows > 1:
            y = to_output(p[1], q[1], r[1], s[1], t[1], u[1])
            _put_row(one, out, here + line, filters, y, columns, n, add)
        if rows > 2:
            y = to_output(p[2], q[2], r[2], s[2], t[2], u[2])
            _put_row(one, out, here + 2 * line, filters, y, columns, n, add)
        if rows > 3:
            y = to_output(p[3], q[3], r[3], s[3], t[3], u[3])
            _put_row(one, out, here + 3 * line, filters, y, columns, n, add)


@inner
def _fetch(one, g, source, out, lo, hi):
    """Ask for what comes next, while products are computed: where the results of tiles lo to hi go,
    and the rows of the image that as many tiles after them see. Tiles are too short for the
    machine to see the pattern itself."""
    down, across = grid(g)
    per_image, size = down * across, size_of(one)
    row = g.columns * g.filters
    begin = lo // per_image * g.rows + 4 * (lo // across % down)
    end = (hi - 1) // per_image * g.rows + min(4 * ((hi - 1) // across % down) + 4, g.rows)
    for line in range(out + begin * row * size, out + end * row * size, 64):
        prefetch_to_write(line)
    first, last = hi, min(2 * hi - lo, g.n * per_image) - 1
    if first <= last:
        row = g.width * g.depth
        top = max(g.top + 4 * (first // across % down), 0)
        bottom = min(max(g.top + 4 * (last // across % down) + 6, 0), g.height)
        begin = (first // per_image * g.height + top) * row
        end = (last // per_image * g.height + bottom) * row
        for line in range(source + begin * size, source + end * size, 64):
            prefetch(line)


@serial
def _block(one, g, source, packed, u, ordinary, add, out, lo, hi, scratch):
    """Tiles lo to hi of `winograd`; `ordinary`: whether the weights are."""
    size, width = size_of(one), panel_width(one)
    panels = panel_count(one, g.filters)
    columns, depth = panels * width, whole(g.depth, lanes_in(one))
    down, across = grid(g)
    v_apart, m_apart = TILES * depth + GAP, TILES * columns + GAP
    v, m = scratch, scratch + F * v_apart * size
    zeros = m + whole(F * m_apart, UNIT) * size
    places = zeros + whole(depth, UNIT) * size
    inputs = carray(memory(1, places), row_room(TILES))
    outputs = carray(memory(1, places + whole(4 * row_room(TILES), UNIT) * size), row_room(TILES))
    places += 2 * whole(4 * row_room(TILES), UNIT) * size
    table, odd = carray(memory(1, places), F), carray(memory(1, places + 8 * F), TILES)
    aside = places + (whole(2 * F, UNIT) + 2 * TILES) * size
    carray(memory(one, zeros), depth)[:] = 0
    image = g.height * g.width * g.depth
    plain, floor = False, number(one, 0.0)
    for t in range(lo, hi):
        if (t - lo) % STEP == 0:
            most = largest_seen(one, g, source, t, min(t + STEP, hi))
            plain, floor = ordinary and ordinary_pixels(one, most), number(one, most * HOT)
        n, i, j = t // (down * across), t // across % down, t % across
        base = source + n * image * size
        nowhere = (zeros - base) // size
        list_pixels(g.height, g.width, g.depth, g.top + 4 * i, g.left + 4 * j, 6, nowhere, table)
        transform_input(one, base, table, g.depth, v + (t - lo) * depth * size, v_apart)
        rows, across_it = g.rows - 4 * i, g.columns - 4 * j
        odd[t - lo] = not (plain and all_reach(one, base, table, g.depth, rows, across_it, floor))
    _fetch(one, g, source, out, lo, hi)
    for t in range(inputs.size):
        inputs[t] = min(t, TILES - 1) * depth
        outputs[t] = min(t, TILES - 1) * columns
    for f in range(F):
        for panel in range(panels):
            vectors = panel_vectors(one, g.filters, panel)
            multiply_rows(
                one, vectors, SET, whole(hi - lo, rows_of(vectors)),
                v + f * v_apart * size, inputs.ctypes.data, 1, 0, g.depth, 1,
                u + (f * (columns * g.depth + GAP) + panel * g.depth * width) * size, 0, width,
                m + (f * m_apart + panel * width) * size, outputs.ctypes.data,
            )  # fmt: skip
    for t in range(lo, hi):
        n, i, j = t // (down * across), t // across % down, t % across
        at = ((n * g.rows + 4 * i) * g.columns + 4 * j) * g.filters
        base, direct = source + n * image * size, 0
        if odd[t - lo]:
            direct = sum_directly(one, g, packed, not ordinary, base, i, j, at, add, out, aside)
        transform_output(
            one, m + (t - lo) * columns * size, m_apart, g.filters, out, at,
            g.columns * g.filters, g.rows - 4 * i, g.columns - 4 * j, add,
        )  # fmt: skip
        if direct > 0:
            put_directly(one, g, direct, out, aside)


@parallel
def winograd(one, g, source, packed, u, add, out, first, slot, work):
    """As `correlate`, for r = s = 3 and steps of 1; u: room for the transformed weights."""
    size, width = size_of(one), panel_width(one)
    panels, depth = panel_count(one, g.filters), g.depth
    seen = u + F * (panels * depth * width + GAP) * size
    for task in prange(panels * depth):
        panel, c = task // depth, task % depth
        begin = packed + panel * 9 * depth * width * size
        target = u + (panel * depth + c) * width * size
        most = transform_filter(one, begin, depth, width, c, target, panels * depth * width + GAP)
        put(one, seen, task, most)
    ordinary = ordinary_weights(one, largest(one, seen, panels * depth))
    down, across = grid(g)
    tiles = g.n * down * across
    for block in prange(pieces(tiles, TILES)):
        scratch = thread_scratch(work, first, slot, size)
        lo, hi = block * TILES, min((block + 1) * TILES, tiles)
        _block(one, g, source, packed, u, ordinary, add, out, lo, hi, scratch)
