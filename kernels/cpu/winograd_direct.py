"""What Winograd's way cannot carry: outputs of its tiles that are computed directly instead.

The 4 x 4 outputs of a tile share the 6 x 6 pixels that it sees, and their rounding errors. One
infinite pixel would make NaN of them all, and one of 1e6 would shift all by 0.1. So

- an output that sees nothing as large as HOT times the tile's largest magnitude is summed directly,
- and so are all outputs of a tile with a number that is NaN, infinite, or so large that the
  transforms might overflow, and all outputs if one of the weights is such a number.

The sums are those of `kernels.cpu.correlate`, one chain each. A tile decides by the pixels it sees
and nothing else: a sample has the same bits in any batch. Most tiles are found to be ordinary at a
glance: among each output's pixels are some of the four in the middle, so it is enough if these
reach HOT times the largest magnitude anywhere near.
"""

from __future__ import annotations

import numpy as np
from numba.np.numpy_support import carray

from ..conv_order import HOT, LARGE_PIXEL, LARGE_WEIGHT
from .correlate import put_pixels
from .correlation import copy_window
from .magnitude import largest, number, reaches
from .microkernel import SET, multiply_rows, rows_of
from .panels import UNIT, panel_count, panel_vectors, panel_width, row_room, whole
from .simd import lanes_in, load_part, memory, size_of
from .tiles import inner, pieces, serial

PIXELS, OUTPUTS = 36, 16  # of a tile


@serial
def grid(g):
    """Tiles of an image, down and across."""
    return pieces(g.rows, 4), pieces(g.columns, 4)


@inner
def ordinary_pixels(one, most):
    """Whether no magnitude up to `most` overflows in the transforms; NaN is none."""
    return most < (LARGE_PIXEL[0] if size_of(one) == 4 else LARGE_PIXEL[1])


@inner
def ordinary_weights(one, most):
    return most < (LARGE_WEIGHT[0] if size_of(one) == 4 else LARGE_WEIGHT[1])


@inner
def largest_seen(one, g, source, lo, hi):
    """The largest magnitude of all that tiles lo to hi see, or more: whole rows of the images."""
    down, across = grid(g)
    size = size_of(one)
    first, last = lo // across, (hi - 1) // across  # rows of tiles, over all images
    top = min(max(g.top + 4 * (first % down), 0), g.height)
    bottom = min(max(g.top + 4 * (last % down) + 6, 0), g.height)
    if first < last:
        begin = (first // down * g.height + top) * g.width * g.depth
        end = (last // down * g.height + bottom) * g.width * g.depth
        return largest(one, source + begin * size, end - begin)
    left = min(max(g.left + 4 * (lo % across), 0), g.width)
    right = min(max(g.left + 4 * ((hi - 1) % across) + 6, 0), g.width)
    most = number(one, 0.0)
    for row in range(top, bottom):
        begin = ((first // down * g.height + row) * g.width + left) * g.depth
        here = largest(one, source + begin * size, (right - left) * g.depth)
        if here > most or np.isnan(here):
            most = here
    return most


@inner
def all_reach(one, base, table, depth, rows, columns, floor):
    """Whether every output surely sees a magnitude of `floor`: the middle pixels all have one.

    `table` lists the pixels of a tile that has `rows` x `columns` outputs, or more.
    """
    # windows of three rows that begin at 0 to rows - 1 all have row i or i2 in them; columns too
    i, j = min(rows - 1, 2), min(columns - 1, 2)
    i2, j2 = 3 if rows > 3 else i, 3 if columns > 3 else j
    a = b = c = d = False
    for k in range(0, depth, lanes_in(one)):
        n = depth - k
        a |= reaches(load_part(one, base, table[6 * i + j] + k, n), floor)
        b |= reaches(load_part(one, base, table[6 * i + j2] + k, n), floor)
        c |= reaches(load_part(one, base, table[6 * i2 + j] + k, n), floor)
        d |= reaches(load_part(one, base, table[6 * i2 + j2] + k, n), floor)
        if a and b and c and d:
            return True
    return False


@inner
def direct_room(one, g):
    """Elements of scratch for `sum_directly`."""
    columns = panel_count(one, g.filters) * panel_width(one)
    return whole(PIXELS * g.depth, UNIT) + 2 * UNIT + row_room(OUTPUTS) * (columns + 6)


@inner
def direct_lists(one, g, scratch):
    """(results (OUTPUTS, columns), places (OUTPUTS,) in `out`) of `sum_directly`; addresses.

    Both have room for whole tiles of rows: 16 outputs are 18 of the tile that AVX2 has.
    """
    columns = panel_count(one, g.filters) * panel_width(one)
    results = scratch + (whole(PIXELS * g.depth, UNIT) + 2 * UNIT) * size_of(one)
    return results, results + row_room(OUTPUTS) * columns * size_of(one)


@inner
def _largest_of(seen, top, left, size):
    """The largest of a square of the tile's pixels; NaN if one is."""
    most = seen[top * 6 + left]
    for i in range(top, top + size):
        for j in range(left, left + size):
            value = seen[i * 6 + j]
            if value > most or np.isnan(value):
                most = value
    return most


@inner
def _list_direct(one, seen, everything, rows, columns, inputs):
    """inputs: numbers 6 i + j of the outputs to be summed directly. Returns (how many see anything
    but zeros, or all if `everything`; how many in all): these come first."""
    most = _largest_of(seen, 0, 0, 6)
    everything = everything or not ordinary_pixels(one, most)
    floor = number(one, most * HOT)
    count = sums = 0
    for zeros in range(2):
        for i in range(min(rows, 4)):
            for j in range(min(columns, 4)):
                here = _largest_of(seen, i, j, 3)
                if (here == 0 and not everything) == (zeros == 1) and (everything or here < floor):
                    inputs[count] = 6 * i + j
                    count += 1
        if not zeros:
            sums = count
    return sums, count


@inner
def sum_directly(one, g, packed, everything, base, i, j, at, add, out, scratch):
    """Sums of those outputs of tile (i, j) of the image at `base` that need it; returns how many.

    They and their places lie where `direct_lists` says; `at` is the place in `out` of the tile's
    first output. Where `add`, what lies in `out` is added to them.
    """
    size, width = size_of(one), panel_width(one)
    panels, depth = panel_count(one, g.filters), g.depth
    results, lists = direct_lists(one, g, scratch)
    room = row_room(OUTPUTS)
    places, inputs = carray(memory(1, lists), room), carray(memory(1, lists + 8 * room), room)
    outputs = carray(memory(1, lists + 16 * room), room)
    copy_window(one, base, g.height, g.width, depth, g.top + 4 * i, g.left + 4 * j, 6, 6, scratch)
    seen = carray(memory(one, scratch + whole(PIXELS * depth, UNIT) * size), PIXELS)
    for p in range(PIXELS):
        seen[p] = largest(one, scratch + p * depth * size, depth)
    sums, count = _list_direct(one, seen, everything, g.rows - 4 * i, g.columns - 4 * j, inputs)
    for t in range(room):
        pixel = inputs[t] if t < count else 0
        places[t] = at + (pixel // 6 * g.columns + pixel % 6) * g.filters
        inputs[t] = pixel * depth
        outputs[t] = t * panels * width
    for panel in range(panels):
        vectors = panel_vectors(one, g.filters, panel)
        multiply_rows(
            one, vectors, SET, whole(sums, rows_of(vectors)),
            scratch, inputs.ctypes.data, 3, 6 * depth, 3 * depth, 1,
            packed + panel * 9 * depth * width * size, 3 * depth * width, width,
            results + panel * width * size, outputs.ctypes.data,
        )  # fmt: skip
    found = carray(memory(one, results), OUTPUTS * panels * width)
    for t in range(count):
        line = found[t * panels * width : t * panels * width + g.filters]
        if t >= sums:
            line[:] = 0
        if add:
            old = carray(memory(one, out + places[t] * size), g.filters)
            for o in range(g.filters):
                line[o] = old[o] + line[o]
    return count


@inner
def put_directly(one, g, count, out, scratch):
    """The `count` sums that `sum_directly` found, to their places in `out`."""
    columns = panel_count(one, g.filters) * panel_width(one)
    results, lists = direct_lists(one, g, scratch)
    places = carray(memory(1, lists), row_room(OUTPUTS))
    put_pixels(one, results, columns, 0, g.filters, False, places, count, out)
