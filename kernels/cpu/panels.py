"""Weights laid out for the register tile: panels of one or two vectors of columns, row after row.

A matrix of K rows and `columns` columns becomes panels of `width` columns each, (K, width) and
dense, the last one filled up with zeros; if a single vector is enough for the last panel, only its
first vector is used. All scratch is handed out in multiples of UNIT elements, so that every piece
of it is aligned for whole numbers too.
"""

from __future__ import annotations

from numba.np.ufunc.parallel import get_thread_id

from .microkernel import rows_of
from .simd import lanes_in
from .tiles import inner, pieces, serial

UNIT = 32  # elements


@serial
def whole(count, unit):
    """`count` rounded up to a multiple of `unit`."""
    return (count + unit - 1) // unit * unit


@serial
def panel_width(one):
    """Columns of a full panel, for the dtype of `one`."""
    return 2 * lanes_in(one)


@serial
def panel_count(one, columns):
    """How many panels hold so many columns."""
    return pieces(columns, panel_width(one))


@inner
def panel_vectors(one, columns, panel):
    """1 or 2: how many vectors of `panel` hold columns."""
    return 1 if columns - panel * panel_width(one) <= lanes_in(one) else 2


@inner
def row_room(rows):
    """Rows that a list of `rows` rows may be padded to, for tiles of either shape."""
    return whole(rows, rows_of(1))


@inner
def thread_scratch(base, first, size, itemsize):
    """Where this thread's own scratch begins: `size` elements each, `first` of them shared."""
    return base + (first + get_thread_id() * size) * itemsize
