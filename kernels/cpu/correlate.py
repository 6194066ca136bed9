"""A correlation, one register tile after another, reading windows where they lie.

It serves the forward pass, the tangent and (phase by phase) the input gradient of a convolution.
Output pixels are a tile's rows, filters its columns; a window's row, being contiguous in an NHWC
image, is one run of its inner loop. Work is cut by size alone into pieces of output rows, and into
groups of panels where pieces are few. Each thread pads the part of the image it works on in scratch
of its own. Images and scratch are passed as addresses.
"""

from __future__ import annotations

from numba import prange
from numba.np.numpy_support import carray

from .correlation import (
    copied_columns,
    copy_aside,
    inside,
    lanewise,
    pixel_numbers,
    plain_lanes,
    products_of,
    seen_rows,
    stripes,
)
from .microkernel import CONTINUE, SET, multiply_lanes, multiply_rows, rows_of
from .panels import UNIT, panel_count, panel_vectors, panel_width, row_room, thread_scratch, whole
from .simd import memory, size_of
from .tiles import inner, parallel, pieces, serial

POSITIONS = 256  # output pixels of a piece: their windows and results stay in L2
TASKS = 16  # at least so many for the threads to share, if the sizes allow


@serial
def _block(g):
    """Output rows of a piece."""
    return min(max(POSITIONS // max(g.columns, 1), 1), max(g.n * g.rows, 1))


@serial
def correlation_room(one, g):
    """(elements of the packed weights, elements of one thread's scratch)."""
    products, columns = products_of(g)
    columns = panel_count(one, columns) * panel_width(one)
    block = _block(g)
    positions = row_room(block * g.columns)
    images = pieces(block - 1, max(g.rows, 1)) + 1
    line = copied_columns(g) * pixel_numbers(one, g)
    windows = whole((block * g.down + images * seen_rows(g, 1)) * line, UNIT)
    places = whole(4 * positions, UNIT)  # two lists of int64, of elements that have 4 bytes or more
    packed = products * g.r * g.s * g.depth * columns
    return whole(packed, UNIT), windows + places + positions * columns


@inner
def _in_place(one, g):
    """Whether windows can be read in the source itself: none reaches outside of it, and the numbers
    of a row of taps are one run."""
    if lanewise(g):
        return inside(g) and plain_lanes(one, g)
    return inside(g) and (g.s == 1 or (g.groups == 1 and g.tap_across == 1))


@serial
def _gather(one, g, source, first, last, lo, hi, windows, table):
    """List where the windows of output rows lo to hi begin; returns (base, a window row's stride).

    In the source itself if they can be read there, else in padded copies at `windows`, which have
    lanes `first` to `last`, or the channels of one group from `first` on.
    """
    size, here, apart = size_of(one), _in_place(one, g), stripes(g)
    numbers = g.groups * g.depth if here else pixel_numbers(one, g)
    line = (g.width if here else copied_columns(g)) * numbers
    stripe, start = copied_columns(g) // apart, first if here and not lanewise(g) else 0
    row, base, count = lo, 0, 0
    while row < hi:
        image, i = row // g.rows, row % g.rows
        end = min(hi, (image + 1) * g.rows)
        needed = seen_rows(g, end - row)
        top, before = g.top + i * g.down, image * g.height * g.width * g.groups * g.depth
        if here:
            base = before + top * line + g.left * numbers + start
        else:
            copy_aside(one, g, source + before * size, top, needed, apart, first, last,
                       windows + base * size)  # fmt: skip
        for k in range(end - row):
            for j in range(g.columns):
                column = j * g.across
                if not here and apart > 1:
                    column = column % apart * stripe + column // apart
                table[count] = base + k * g.down * line + column * numbers
                count += 1
        base += needed * line
        row = end
    table[count:] = table[count - 1]
    return (source if here else windows), line


@inner
def _list_outputs(g, lo, hi, table):
    """Where the pixels of output rows lo to hi go."""
    count = 0
    for row in range(lo, hi):
        line = row // g.rows * g.out_height + g.out_top + row % g.rows * g.out_down
        for j in range(g.columns):
            pixel = line * g.out_width + g.out_left + j * g.out_across
            table[count] = pixel * g.groups * g.filters
            count += 1


@inner
def put_pixels(one, results, stride, first, last, fetch, table, count, out):
    """Copy columns `first` to `last` of `count` results to their pixels of `out`; or `fetch` them
    from there."""
    found = carray(memory(one, results), count * stride)
    for i in range(count):
        pixel = carray(memory(one, out + table[i] * size_of(one)), last)
        line = found[i * stride : i * stride + last]
        for o in range(first, last):
            if fetch:
                line[o] = pixel[o]
            else:
                pixel[o] = line[o]


@inner
def _multiply(one, g, vectors, way, count, base, inputs, line, packed, out, outputs):
    """One panel's results for `count` windows, which lie `line` elements from row to row."""
    width = panel_width(one)
    if lanewise(g):
        apart = (g.tap_across if g.depth == 1 else 1) * (pixel_numbers(one, g) // g.depth)
        multiply_lanes(
            one, vectors, way, whole(count, rows_of(vectors)),
            base, inputs, g.r, g.tap_down * line, g.s * g.depth, apart,
            packed, g.s * g.depth * width, width, out, outputs,
        )  # fmt: skip
    else:
        multiply_rows(
            one, vectors, way, whole(count, rows_of(vectors)),
            base, inputs, g.r, g.tap_down * line, g.s * g.depth, 1,
            packed, g.s * g.depth * width, width, out, outputs,
        )  # fmt: skip


@inner
def _piece(one, g, source, packed, add, out, lo, hi, product, begin, end, scratch):
    """Output rows lo to hi, panels `begin` to `end` of a product.

    Pixels of whole vectors are written where they belong. Others go by way of scratch, and so do
    the rows that only fill up the last tile.
    """
    size, width, filters, lanes = size_of(one), panel_width(one), products_of(g)[1], lanewise(g)
    stride = panel_count(one, filters) * width
    count = (hi - lo) * g.columns
    room = row_room(count)
    results = scratch
    inputs = carray(memory(1, results + room * stride * size), room)
    outputs = carray(memory(1, results + room * stride * size + 8 * room), room)
    windows = results + room * stride * size + whole(4 * room, UNIT) * size
    last = min(end * width, filters)
    first, until = (begin * width, last) if lanes else (product * g.depth, (product + 1) * g.depth)
    base, line = _gather(one, g, source, first, until, lo, hi, windows, inputs)
    straight = filters % (width // 2) == 0
    target, spare, out = results, 0, out + product * filters * size
    if straight or add:
        _list_outputs(g, lo, hi, outputs)
    if straight:
        target, spare = out, (results - out) // size
    elif add:
        put_pixels(one, results, stride, begin * width, last, True, outputs, count, out)
    for i in range(count if straight else 0, room):
        outputs[i] = spare + i * stride
    k = g.r * g.s * g.depth
    packed += product * k * stride * size
    for panel in range(begin, end):
        at = base + panel * width * size if lanes else base
        _multiply(
            one, g, panel_vectors(one, filters, panel), CONTINUE if add else SET, count,
            at, inputs.ctypes.data, line, packed + panel * k * width * size,
            target + panel * width * size, outputs.ctypes.data,
        )  # fmt: skip
    if not straight:
        _list_outputs(g, lo, hi, outputs)
        put_pixels(one, results, stride, begin * width, last, False, outputs, count, out)


@parallel
def correlate(one, g, source, packed, add, out, first, slot, work):
    """out = the correlation `g` of `source` with the panels at `packed`: each number one chain,
    from 0 or, where `add`, from what lay in out.

    Scratch: `slot` elements a thread at `work`, after the `first` shared ones.
    """
    block = _block(g)
    products, columns = products_of(g)
    count = pieces(g.n * g.rows, block) if g.columns > 0 else 0
    panels = panel_count(one, columns)
    cuts = min(panels, pieces(TASKS, max(count * products, 1)))
    for task in prange(count * products * cuts):
        lo, product, cut = task // (products * cuts) * block, task // cuts % products, task % cuts
        hi = min(lo + block, g.n * g.rows)
        scratch = thread_scratch(work, first, slot, size_of(one))
        begin, end = cut * panels // cuts, (cut + 1) * panels // cuts
        _piece(one, g, source, packed, add, out, lo, hi, product, begin, end, scratch)
