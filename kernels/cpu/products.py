"""One sample's weight gradient as register tiles, and what becomes of it: sums, sums of powers.

The rows of a tile are entries (r, s, c) of the kernel, its columns filters, and what is summed in
its registers are the positions of one sample. So a per-sample gradient exists for one tile at a
time and never in memory: its square, or absolute value, is what is added up. Samples are cut into
groups by size alone; each group's sums lie in scratch of their own and are added up in order.

`g` is the `Correlation` of the forward pass.
"""

from __future__ import annotations

from numba import prange
from numba.np.numpy_support import carray

from ..conv_order import group_begin
from ..conv_order import sample_groups as _sample_groups
from .correlate import TASKS, copy_window
from .fused import fma
from .microkernel import CONTINUE, SET, SQUARE, multiply_rows, rows_of
from .panels import UNIT, panel_count, panel_vectors, panel_width, row_room, thread_scratch, whole
from .simd import memory, size_of
from .tiles import inner, parallel, pieces, serial

_groups, _begin = serial(_sample_groups), serial(group_begin)


@serial
def _columns(one, g):
    return panel_count(one, g.filters) * panel_width(one)


@serial
def _rows(g):
    """Rows of a panel of sums: the kernel's entries."""
    return row_room(g.r * g.s * g.depth)


@inner
def sums_size(one, g):
    """Elements of one sample's gradient as panels (panels, rows, width), and of its bias's."""
    return (_rows(g) + 1) * _columns(one, g)


@serial
def sample_groups(one, g):
    """(groups of samples, groups of panels): how the work is cut."""
    samples = _groups(g.n, g.r * g.s * g.depth, g.filters)
    return samples, min(panel_count(one, g.filters), pieces(TASKS, samples))


@serial
def products_room(one, g, each):
    """(elements of the sums of all groups, elements of one thread's scratch).

    each: of `each_sample`, which has no groups but a sample's own sums for each thread.
    """
    seen = ((g.rows - 1) * g.down + g.r) * ((g.columns - 1) * g.across + g.s) * g.depth
    wider = g.rows * g.columns * _columns(one, g)
    slot = whole(4 * _rows(g), UNIT) + whole(seen, UNIT) + whole(wider, UNIT)
    if each:
        return 0, slot + sums_size(one, g)
    return sample_groups(one, g)[0] * sums_size(one, g), slot


@inner
def _list_entries(g, line, stride, inputs, outputs):
    """Where entry (r, s, c) lies in a window of rows of `line`, and where its sums go."""
    k, run = g.r * g.s * g.depth, g.s * g.depth
    for i in range(inputs.size):
        e = min(i, k - 1)
        inputs[i] = e // run * line + e % run
        outputs[i] = i * stride


@inner
def _widen(one, source, rows, columns, wide, target):
    """target (rows, wide) = source (rows, columns), then zeros."""
    values = carray(memory(one, source), rows * columns)
    wider = carray(memory(one, target), rows * wide)
    for i in range(rows):
        at = i * wide
        wider[at : at + columns] = values[i * columns : (i + 1) * columns]
        wider[at + columns : at + wide] = 0


@inner
def _bias(one, g, dz, way, total, sums):
    """sums (filters,) as `way` says, from the sum of dz over its positions."""
    values = carray(memory(one, dz), (g.rows * g.columns, g.filters))
    for o in range(g.filters):
        total[o] = sums[o] if way == CONTINUE else 0
    for t in range(values.shape[0]):
        line = values[t]
        for o in range(g.filters):
            total[o] += line[o]
    for o in range(g.filters):
        if way in (SET, CONTINUE):
            sums[o] = total[o]
        elif way == SQUARE:
            sums[o] = fma(total[o], total[o], sums[o])
        else:
            sums[o] += abs(total[o])


@inner
def sample_product(one, g, image, dz, way, begin, end, sums, scratch):
    """The weight gradient of the sample at `image` with cotangent `dz` (h, w, filters), to `sums`.

    Panels `begin` to `end` of (panels, rows, width); with the first goes the bias's, (columns,)
    behind them all. `way` is the microkernel's. `image`, `dz`, `sums`, `scratch` are addresses.
    """
    size, wide = size_of(one), panel_width(one)
    rows, columns = _rows(g), _columns(one, g)
    inputs = carray(memory(1, scratch), rows)
    outputs = carray(memory(1, scratch + 8 * rows), rows)
    window = scratch + whole(4 * rows, UNIT) * size
    seen_rows, seen_columns = (g.rows - 1) * g.down + g.r, (g.columns - 1) * g.across + g.s
    wider = window + whole(seen_rows * seen_columns * g.depth, UNIT) * size
    line = g.width * g.depth
    if begin == 0:
        total = carray(memory(one, wider), g.filters)
        _bias(one, g, dz, way, total, carray(memory(one, sums + rows * columns * size), g.filters))
    if g.top < 0 or g.left < 0 or seen_rows > g.height or seen_columns > g.width:
        copy_window(one, image, g.height, g.width, g.depth, g.top, g.left, seen_rows,
                    seen_columns, window)  # fmt: skip
        image, line = window, seen_columns * g.depth
    pitch = g.filters
    if pitch % (wide // 2):  # the vector with the last filter must not reach past the array
        _widen(one, dz, g.rows * g.columns, pitch, columns, wider)
        dz, pitch = wider, columns
    _list_entries(g, line, wide, inputs, outputs)
    for panel in range(begin, end):
        vectors = panel_vectors(one, g.filters, panel)
        multiply_rows(
            one, vectors, way, whole(g.r * g.s * g.depth, rows_of(vectors)),
            image, inputs.ctypes.data, g.rows, g.down * line, g.columns, g.across * g.depth,
            dz + panel * wide * size, g.columns * pitch, pitch,
            sums + panel * rows * wide * size, outputs.ctypes.data,
        )  # fmt: skip


@serial
def unpack(one, g, sums, count, apart, beta, begin, end, dw, db):
    """dw (filters, k) = beta dw + the sum of `count` panels of sums, `apart` elements apart."""
    wide, rows, k = panel_width(one), _rows(g), g.r * g.s * g.depth
    factor = dw.dtype.type(beta)  # in float64 it would make float64 of the sums it begins
    for panel in range(begin, end):
        for o in range(panel * wide, min((panel + 1) * wide, g.filters)):
            line = dw[o]
            if beta == 0:
                line[:] = 0
            elif beta != 1:
                for e in range(k):
                    line[e] *= factor
            for group in range(count):
                at = group * apart + panel * rows * wide + o % wide
                for e in range(k):
                    line[e] += sums[at + e * wide]
            if db is not None:
                total = db[o] * factor if beta != 0 else db.dtype.type(0)
                for group in range(count):
                    total += sums[group * apart + rows * _columns(one, g) + o]
                db[o] = total


@parallel
def sum_samples(one, g, x, dz, stacked, way, beta, dw, db, work):
    """dw (filters, k) = beta dw + sum over samples and `stacked` cotangents of `way` of gradients.

    Where `way` is CONTINUE a group's sum is one chain over its samples and their positions.

    x, dz: addresses; dz (stacked, n, h, w, filters). work: an array of `products_room` elements.
    """
    size = size_of(one)
    samples, groups = sample_groups(one, g)
    panels, apart = panel_count(one, g.filters), sums_size(one, g)
    first, slot = products_room(one, g, False)
    image, maps = g.height * g.width * g.depth * size, g.rows * g.columns * g.filters * size
    for task in prange(samples * groups):
        part, group = task // groups, task % groups
        begin, end = group * panels // groups, (group + 1) * panels // groups
        scratch = thread_scratch(work.ctypes.data, first, slot, size)
        mine = work[part * apart : (part + 1) * apart]
        rows = _rows(g) * panel_width(one)
        mine[begin * rows : end * rows] = 0
        if begin == 0:
            mine[panels * rows :] = 0
        for n in range(_begin(g.n, samples, part), _begin(g.n, samples, part + 1)):
            for v in range(stacked):
                cotangent = dz + (v * g.n + n) * maps
                sample_product(one, g, x + n * image, cotangent, way, begin, end,
                               mine.ctypes.data, scratch)  # fmt: skip
    for panel in prange(panels):
        unpack(one, g, work, samples, apart, beta, panel, panel + 1, dw, db)


@parallel
def each_sample(one, g, x, dz, dw, db, work):
    """dw (n, filters, k) and db (n, filters): every sample's own gradient."""
    size = size_of(one)
    first, slot = products_room(one, g, True)
    panels, own = panel_count(one, g.filters), sums_size(one, g)
    image, maps = g.height * g.width * g.depth * size, g.rows * g.columns * g.filters * size
    for n in prange(g.n):
        scratch = thread_scratch(work.ctypes.data, first, slot, size)
        sums = scratch + (slot - own) * size
        sample_product(one, g, x + n * image, dz + n * maps, SET, 0, panels, sums, scratch)
        found = carray(memory(one, sums), own)
        unpack(one, g, found, 1, own, 0.0, 0, panels, dw[n], None if db is None else db[n])
