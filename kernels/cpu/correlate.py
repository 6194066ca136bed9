"""A correlation, one register tile after another, reading windows where they lie.

It serves the forward pass, the tangent and (phase by phase) the input gradient of a convolution.
Output pixels are a tile's rows, filters its columns; a window's row, being contiguous in an NHWC
image, is one run of its inner loop. Work is cut by size alone into pieces of output rows, and into
groups of panels where pieces are few. Each thread pads the part of the image it works on in scratch
of its own. Images and scratch are passed as addresses.
"""

from __future__ import annotations

from typing import NamedTuple

from numba import prange
from numba.np.numpy_support import carray

from .microkernel import CONTINUE, SET, multiply_rows, rows_of
from .panels import UNIT, panel_count, panel_vectors, panel_width, row_room, thread_scratch, whole
from .simd import memory, size_of
from .tiles import inner, parallel, pieces, serial

POSITIONS = 256  # output pixels of a piece: their windows and results stay in L2
TASKS = 16  # at least so many for the threads to share, if the sizes allow


class Correlation(NamedTuple):
    """Whole numbers that say what is read and where results go.

    The window of output pixel (i, j) begins at (top + i down, left + j across) of a source image
    and is r x s pixels of `depth` numbers; its result is pixel (out_top + i out_down, ...) of an
    output image of `filters` numbers a pixel. There are rows x columns pixels for each of n images.
    """

    n: int
    height: int
    width: int
    depth: int
    top: int
    left: int
    down: int
    across: int
    r: int
    s: int
    rows: int
    columns: int
    filters: int
    out_height: int
    out_width: int
    out_top: int
    out_left: int
    out_down: int
    out_across: int


@inner
def copy_window(one, source, height, width, depth, top, left, rows, columns, target):
    """target (rows, columns, depth) = the image at `source` seen from (top, left), 0 outside."""
    line = columns * depth
    image = carray(memory(one, source), height * width * depth)
    window = carray(memory(one, target), rows * line)
    before = min(max(-left, 0), columns) * depth
    count = max(min(columns, width - left) * depth - before, 0)
    for i in range(rows):
        at, row = i * line, top + i
        if row < 0 or row >= height:
            window[at : at + line] = 0
        else:
            begin = (row * width + left) * depth + before
            window[at : at + before] = 0
            window[at + before : at + before + count] = image[begin : begin + count]
            window[at + before + count : at + line] = 0


@serial
def _block(g):
    """Output rows of a piece."""
    return min(max(POSITIONS // max(g.columns, 1), 1), max(g.n * g.rows, 1))


@serial
def correlation_room(one, g):
    """(elements of the packed weights, elements of one thread's scratch)."""
    columns = panel_count(one, g.filters) * panel_width(one)
    block = _block(g)
    positions = row_room(block * g.columns)
    images = pieces(block - 1, max(g.rows, 1)) + 1
    line = ((g.columns - 1) * g.across + g.s) * g.depth
    windows = whole((block * g.down + images * g.r) * line, UNIT)
    places = whole(4 * positions, UNIT)  # two lists of int64, of elements that have 4 bytes or more
    return whole(g.r * g.s * g.depth * columns, UNIT), windows + places + positions * columns


@serial
def _gather(one, g, source, lo, hi, windows, table):
    """List where the windows of output rows lo to hi begin; returns (base, a window row's stride).

    In the source itself if no window reaches outside it, else in padded copies at `windows`.
    """
    needed_columns = (g.columns - 1) * g.across + g.s
    bottom, right = g.top + (g.rows - 1) * g.down + g.r, g.left + needed_columns
    inside = g.top >= 0 and g.left >= 0 and bottom <= g.height and right <= g.width
    line = (g.width if inside else needed_columns) * g.depth
    row, base, count = lo, 0, 0
    while row < hi:
        image, i = row // g.rows, row % g.rows
        last = min(hi, (image + 1) * g.rows)
        needed = (last - row - 1) * g.down + g.r
        top, before = g.top + i * g.down, image * g.height * g.width * g.depth
        if inside:
            base = before + top * line + g.left * g.depth
        else:
            copy_window(one, source + before * size_of(one), g.height, g.width, g.depth, top,
                        g.left, needed, needed_columns, windows + base * size_of(one))  # fmt: skip
        for k in range(last - row):
            for j in range(g.columns):
                table[count] = base + k * g.down * line + j * g.across * g.depth
                count += 1
        base += needed * line
        row = last
    table[count:] = table[count - 1]
    return (source if inside else windows), line


@inner
def _list_outputs(g, lo, hi, table):
    """Where the pixels of output rows lo to hi go."""
    count = 0
    for row in range(lo, hi):
        line = row // g.rows * g.out_height + g.out_top + row % g.rows * g.out_down
        for j in range(g.columns):
            table[count] = (line * g.out_width + g.out_left + j * g.out_across) * g.filters
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
def _piece(one, g, source, packed, add, out, lo, hi, begin, end, scratch):
    """Output rows lo to hi, panels `begin` to `end`.

    Pixels of whole vectors are written where they belong. Others go by way of scratch, and so do
    the rows that only fill up the last tile.
    """
    size, width = size_of(one), panel_width(one)
    stride = panel_count(one, g.filters) * width
    count = (hi - lo) * g.columns
    room = row_room(count)
    results = scratch
    inputs = carray(memory(1, results + room * stride * size), room)
    outputs = carray(memory(1, results + room * stride * size + 8 * room), room)
    windows = results + room * stride * size + whole(4 * room, UNIT) * size
    base, line = _gather(one, g, source, lo, hi, windows, inputs)
    straight = g.filters % (width // 2) == 0
    target, spare, last = results, 0, min(end * width, g.filters)
    if straight or add:
        _list_outputs(g, lo, hi, outputs)
    if straight:
        target, spare = out, (results - out) // size
    elif add:
        put_pixels(one, results, stride, begin * width, last, True, outputs, count, out)
    for i in range(count if straight else 0, room):
        outputs[i] = spare + i * stride
    run = g.s * g.depth
    for panel in range(begin, end):
        vectors = panel_vectors(one, g.filters, panel)
        multiply_rows(
            one, vectors, CONTINUE if add else SET, whole(count, rows_of(vectors)),
            base, inputs.ctypes.data, g.r, line, run, 1,
            packed + panel * g.r * run * width * size, run * width, width,
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
    count = pieces(g.n * g.rows, block) if g.columns > 0 else 0
    panels = panel_count(one, g.filters)
    groups = min(panels, pieces(TASKS, max(count, 1)))
    for task in prange(count * groups):
        lo, group = task // groups * block, task % groups
        hi = min(lo + block, g.n * g.rows)
        scratch = thread_scratch(work, first, slot, size_of(one))
        begin, end = group * panels // groups, (group + 1) * panels // groups
        _piece(one, g, source, packed, add, out, lo, hi, begin, end, scratch)
