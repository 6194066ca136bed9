"""What a correlation reads and writes, in whole numbers, and windows of an image copied aside.

Groups are products beside one another, each of the channels and filters of one group. Where every
filter, or every channel, is a group of its own (a depthwise convolution, its gradient), there is
one product instead whose factors go lane by lane: column l of its panels is filter l, and meets the
numbers of its own group (`lanewise`).
"""

from __future__ import annotations

from typing import NamedTuple

from numba.np.numpy_support import carray

from .panels import panel_count, panel_width
from .simd import lanes_in, memory
from .tiles import inner, pieces, serial


class Correlation(NamedTuple):
    """Whole numbers that say what is read and where results go.

    The window of output pixel (i, j) begins at (top + i down, left + j across) of a source image
    and is r x s taps, `tap_down` rows and `tap_across` columns apart, of `depth` numbers for each
    of the `groups`; its result is pixel (out_top + i out_down, ...) of an output image, `filters`
    numbers for each group. There are rows x columns pixels for each of n images.
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
    tap_down: int
    tap_across: int
    groups: int


@serial
def lanewise(g):
    """Whether the groups are one product, lane by lane."""
    return g.groups > 1 and (g.depth == 1 or g.filters == 1)


@serial
def products_of(g):
    """(products beside one another, columns of each)."""
    return (1, g.groups * g.filters) if lanewise(g) else (g.groups, g.filters)


@serial
def seen_rows(g, rows):
    """Rows of the source that windows in `rows` rows one below the other see."""
    return (rows - 1) * g.down + (g.r - 1) * g.tap_down + 1


@serial
def seen_columns(g):
    return (g.columns - 1) * g.across + (g.s - 1) * g.tap_across + 1


@serial
def inside(g):
    """Whether no window reaches outside of the source."""
    bottom, right = g.top + seen_rows(g, g.rows), g.left + seen_columns(g)
    return g.top >= 0 and g.left >= 0 and bottom <= g.height and right <= g.width


@serial
def plain_lanes(one, g):
    """Whether a pixel of the source is what lanes take: each its number, and whole vectors."""
    return g.depth == 1 and g.filters == 1 and g.groups % lanes_in(one) == 0


@serial
def pixel_numbers(one, g):
    """Numbers of a pixel that is copied aside for one product."""
    if lanewise(g) and not plain_lanes(one, g):
        return g.depth * panel_count(one, g.groups * g.filters) * panel_width(one)
    return g.groups if lanewise(g) else g.depth


@serial
def stripes(g):
    """How columns lie that are copied aside: every so many-th beside one another, so that the taps
    of a window's row are one run, however far apart."""
    return 1 if lanewise(g) and g.depth == 1 else g.tap_across


@serial
def copied_columns(g):
    """Columns, copied aside, that windows see: whole stripes of them."""
    apart = stripes(g)
    return pieces(seen_columns(g), apart) * apart


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


@inner
def _copy_lanes(g, pixel, target, first, last):
    """target (depth, lanes) from lane `first` to `last`: each the numbers of its group."""
    lanes = target.size // g.depth
    if g.depth == 1 and g.filters == 1:
        target[first:last] = pixel[first:last]
        return
    for d in range(g.depth):
        line = target[d * lanes : (d + 1) * lanes]
        for lane in range(first, last):
            line[lane] = pixel[lane // g.filters * g.depth + d]


@inner
def _copy_pixel(g, lanes, pixel, target, first, last):
    """What a product takes of a pixel: of all its groups, or of the one that `first` begins."""
    if lanes:
        _copy_lanes(g, pixel, target, first, last)
    else:
        target[:] = pixel[first : first + g.depth]


@inner
def copy_aside(one, g, source, top, rows, apart, first, last, target):
    """target = `rows` rows of the image at `source` from row `top` and column g.left, 0 outside.

    A pixel has `pixel_numbers`: lanes `first` to `last`, or the channels from `first` on of one
    group; columns lie in stripes of every `apart`-th.
    """
    lanes, numbers, all_numbers = lanewise(g), pixel_numbers(one, g), g.groups * g.depth
    columns = pieces(seen_columns(g), apart) * apart
    if apart == 1 and numbers == all_numbers and last - first == numbers:
        copy_window(one, source, g.height, g.width, numbers, top, g.left, rows, columns, target)
        return
    image = carray(memory(one, source), g.height * g.width * all_numbers)
    window = carray(memory(one, target), rows * columns * numbers)
    for i in range(rows):
        row = top + i
        for j in range(seen_columns(g)):
            column = g.left + j
            at = ((i * apart + j % apart) * (columns // apart) + j // apart) * numbers
            if 0 <= row < g.height and 0 <= column < g.width:
                begin = (row * g.width + column) * all_numbers
                _copy_pixel(g, lanes, image[begin : begin + all_numbers],
                            window[at : at + numbers], first, last)  # fmt: skip
            else:
                window[at : at + numbers] = 0
