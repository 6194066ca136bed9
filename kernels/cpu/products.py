"""One sample's weight gradient as register tiles, and what becomes of it: sums, sums of powers.

The rows of a tile are entries (r, s, c) of the kernel, its columns filters, and what is summed in
its registers are the positions of one sample. So a per-sample gradient exists for one tile at a
time and never in memory: its square, or absolute value, is what is added up. Samples are cut into
groups by size alone; each group's sums lie in scratch of their own and are added up in order.

`g` is the `Correlation` of the forward pass; each of its products (`products_of`) has panels, sums
and a bias's sums of its own, one product after the other.
"""

from __future__ import annotations

from numba import prange
from numba.np.numpy_support import carray

from ..conv_order import group_begin
from ..conv_order import sample_groups as _sample_groups
from .correlate import TASKS
from .correlation import (
    copy_aside,
    inside,
    lanewise,
    pixel_numbers,
    plain_lanes,
    products_of,
    seen_columns,
    seen_rows,
)
from .fused import fma
from .microkernel import CONTINUE, SET, SQUARE, multiply_lanes, multiply_rows, rows_of
from .panels import UNIT, panel_count, panel_vectors, panel_width, row_room, thread_scratch, whole
from .simd import memory, size_of
from .tiles import inner, parallel, pieces, serial

_groups, _begin = serial(_sample_groups), serial(group_begin)


@serial
def _columns(one, g):
    """Columns of one product, in whole panels."""
    return panel_count(one, products_of(g)[1]) * panel_width(one)


@serial
def _rows(g):
    """Rows of a panel of sums: the kernel's entries."""
    return row_room(g.r * g.s * g.depth)


@inner
def product_sums(one, g):
    """Elements of one product's gradient as panels (panels, rows, width), and of its bias's."""
    return (_rows(g) + 1) * _columns(one, g)


@inner
def sums_size(one, g):
    """Elements of one sample's gradient, of all products."""
    return products_of(g)[0] * product_sums(one, g)


@serial
def sample_groups(one, g):
    """(groups of samples, groups of panels of a product): how the work is cut."""
    samples = _groups(g.n, g.r * g.s * g.depth, g.groups * g.filters)
    products, columns = products_of(g)
    return samples, min(panel_count(one, columns), pieces(TASKS, samples * products))


@serial
def products_room(one, g, each):
    """(elements of the sums of all groups, elements of one thread's scratch).

    each: of `each_sample`, which has no groups but a sample's own sums for each thread.
    """
    seen = seen_rows(g, g.rows) * seen_columns(g) * pixel_numbers(one, g)
    wider = g.rows * g.columns * _columns(one, g)
    slot = whole(4 * _rows(g), UNIT) + whole(seen, UNIT) + whole(wider, UNIT)
    if each:
        return 0, slot + sums_size(one, g)
    return sample_groups(one, g)[0] * sums_size(one, g), slot


@inner
def _list_entries(g, line, numbers, stride, inputs, outputs):
    """Where entry (r, s, c) lies in a window of rows of `line` and pixels of `numbers`, and where
    its sums go."""
    k, run = g.r * g.s * g.depth, g.s * g.depth
    apart = numbers // g.depth if lanewise(g) else 1
    for i in range(inputs.size):
        e = min(i, k - 1)
        row, column, c = e // run, e % run // g.depth, e % g.depth
        inputs[i] = row * g.tap_down * line + column * g.tap_across * numbers + c * apart
        outputs[i] = i * stride


@inner
def _widen(one, source, rows, pitch, columns, wide, target):
    """target (rows, wide) = `columns` columns of source (rows, pitch), then zeros."""
    values = carray(memory(one, source), rows * pitch)
    wider = carray(memory(one, target), rows * wide)
    for i in range(rows):
        at = i * wide
        wider[at : at + columns] = values[i * pitch : i * pitch + columns]
        wider[at + columns : at + wide] = 0


@inner
def _bias(one, g, dz, way, total, sums):
    """sums (filters of a product,) as `way` says, from the sum of dz over its positions."""
    filters = products_of(g)[1]
    values = carray(memory(one, dz), (g.rows * g.columns, g.groups * g.filters))
    for o in range(filters):
        total[o] = sums[o] if way == CONTINUE else 0
    for t in range(values.shape[0]):
        line = values[t]
        for o in range(filters):
            total[o] += line[o]
    for o in range(filters):
        if way in (SET, CONTINUE):
            sums[o] = total[o]
        elif way == SQUARE:
            sums[o] = fma(total[o], total[o], sums[o])
        else:
            sums[o] += abs(total[o])


@inner
def _windows(one, g, image, product, begin, end, window):
    """(where a product's panels `begin` to `end` find the windows of the sample at `image`, a row's
    length, a pixel's): there, or copied to `window`."""
    lanes, numbers = lanewise(g), g.groups * g.depth
    start = 0 if lanes else product * g.depth
    if inside(g) and (not lanes or plain_lanes(one, g)):
        place = g.top * g.width + g.left
        return image + (place * numbers + start) * size_of(one), g.width * numbers, numbers
    wide = panel_width(one)
    first = begin * wide if lanes else start
    last = min(end * wide, g.groups * g.filters) if lanes else start + g.depth
    copy_aside(one, g, image, g.top, seen_rows(g, g.rows), 1, first, last, window)
    numbers = pixel_numbers(one, g)
    return window, seen_columns(g) * numbers, numbers


@inner
def sample_product(one, g, image, dz, way, product, begin, end, sums, scratch):
    """The weight gradient of the sample at `image` with cotangent `dz` (h, w, filters), to `sums`.

    Panels `begin` to `end` of a product's (panels, rows, width); with the first goes the bias's,
    (columns,) behind them all. `way` is the microkernel's. `image`, `dz`, `sums`, `scratch` are
    addresses.
    """
    size, wide, filters = size_of(one), panel_width(one), products_of(g)[1]
    rows, columns = _rows(g), _columns(one, g)
    sums, dz = sums + product * product_sums(one, g) * size, dz + product * filters * size
    inputs = carray(memory(1, scratch), rows)
    outputs = carray(memory(1, scratch + 8 * rows), rows)
    window = scratch + whole(4 * rows, UNIT) * size
    copied = seen_rows(g, g.rows) * seen_columns(g) * pixel_numbers(one, g)
    wider = window + whole(copied, UNIT) * size
    if begin == 0:
        total = carray(memory(one, wider), filters)
        _bias(one, g, dz, way, total, carray(memory(one, sums + rows * columns * size), filters))
    base, line, numbers = _windows(one, g, image, product, begin, end, window)
    pitch = g.groups * g.filters
    if filters % (wide // 2):  # the vector with the last filter must not reach past the array
        _widen(one, dz, g.rows * g.columns, pitch, filters, columns, wider)
        dz, pitch = wider, columns
    _list_entries(g, line, numbers, wide, inputs, outputs)
    for panel in range(begin, end):
        vectors = panel_vectors(one, filters, panel)
        at = panel * wide * size
        if lanewise(g):
            multiply_lanes(
                one, vectors, way, whole(g.r * g.s * g.depth, rows_of(vectors)),
                base + at, inputs.ctypes.data, g.rows, g.down * line, g.columns, g.across * numbers,
                dz + at, g.columns * pitch, pitch, sums + rows * at, outputs.ctypes.data,
            )  # fmt: skip
        else:
            multiply_rows(
                one, vectors, way, whole(g.r * g.s * g.depth, rows_of(vectors)),
                base, inputs.ctypes.data, g.rows, g.down * line, g.columns, g.across * numbers,
                dz + at, g.columns * pitch, pitch, sums + rows * at, outputs.ctypes.data,
            )  # fmt: skip


@serial
def unpack(one, g, sums, count, apart, beta, product, begin, end, dw, db):
    """dw (filters, k) = beta dw + the sum of `count` panels of sums, `apart` elements apart: panels
    `begin` to `end` of a product, to its own filters."""
    wide, rows, k, filters = panel_width(one), _rows(g), g.r * g.s * g.depth, products_of(g)[1]
    factor = dw.dtype.type(beta)  # in float64 it would make float64 of the sums it begins
    first, base = product * filters, product * product_sums(one, g)
    for panel in range(begin, end):
        for o in range(panel * wide, min((panel + 1) * wide, filters)):
            line = dw[first + o]
            if beta == 0:
                line[:] = 0
            elif beta != 1:
                for e in range(k):
                    line[e] *= factor
            for group in range(count):
                at = base + group * apart + panel * rows * wide + o % wide
                for e in range(k):
                    line[e] += sums[at + e * wide]
            if db is not None:
                total = db[first + o] * factor if beta != 0 else db.dtype.type(0)
                for group in range(count):
                    total += sums[base + group * apart + rows * _columns(one, g) + o]
                db[first + o] = total


@parallel
def sum_samples(one, g, x, dz, stacked, way, beta, dw, db, work):
    """dw (filters, k) = beta dw + sum over samples and `stacked` cotangents of `way` of gradients.

    Where `way` is CONTINUE a group's sum is one chain over its samples and their positions.

    x, dz: addresses; dz (stacked, n, h, w, filters). work: an array of `products_room` elements.
    """
    size, each = size_of(one), product_sums(one, g)
    samples, cuts = sample_groups(one, g)
    products, columns = products_of(g)
    panels, apart = panel_count(one, columns), sums_size(one, g)
    first, slot = products_room(one, g, False)
    image = g.height * g.width * g.groups * g.depth * size
    maps = g.rows * g.columns * g.groups * g.filters * size
    for task in prange(samples * products * cuts):
        part, product, cut = task // (products * cuts), task // cuts % products, task % cuts
        begin, end = cut * panels // cuts, (cut + 1) * panels // cuts
        scratch = thread_scratch(work.ctypes.data, first, slot, size)
        all_sums = work[part * apart : (part + 1) * apart]
        mine = all_sums[product * each : (product + 1) * each]
        rows = _rows(g) * panel_width(one)
        mine[begin * rows : end * rows] = 0
        if begin == 0:
            mine[panels * rows :] = 0
        for n in range(_begin(g.n, samples, part), _begin(g.n, samples, part + 1)):
            for v in range(stacked):
                cotangent = dz + (v * g.n + n) * maps
                sample_product(one, g, x + n * image, cotangent, way, product, begin, end,
                               all_sums.ctypes.data, scratch)  # fmt: skip
    for panel in prange(products * panels):
        unpack(one, g, work, samples, apart, beta, panel // panels, panel % panels,
               panel % panels + 1, dw, db)  # fmt: skip


@parallel
def each_sample(one, g, x, dz, dw, db, work):
    """dw (n, filters, k) and db (n, filters): every sample's own gradient."""
    size = size_of(one)
    first, slot = products_room(one, g, True)
    products, columns = products_of(g)
    panels, own = panel_count(one, columns), sums_size(one, g)
    image = g.height * g.width * g.groups * g.depth * size
    maps = g.rows * g.columns * g.groups * g.filters * size
    for n in prange(g.n):
        scratch = thread_scratch(work.ctypes.data, first, slot, size)
        sums = scratch + (slot - own) * size
        found = carray(memory(one, sums), own)
        mine = None if db is None else db[n]
        for product in range(products):
            sample_product(one, g, x + n * image, dz + n * maps, SET, product, 0, panels, sums,
                           scratch)  # fmt: skip
            unpack(one, g, found, 1, own, 0.0, product, 0, panels, dw[n], mine)
