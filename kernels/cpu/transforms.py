"""Winograd's transforms for F(4x4, 3x3), on registers (Lavin & Gray 2016, arXiv 1509.09308).

Along one axis, four outputs of a correlation with three taps need six products instead of twelve:

    y = A' [(G g) * (B' d)]        d (6) inputs, g (3) taps, y (4) outputs

Here are B', G, A', and the transposes A and G' that the weight gradient needs. In two dimensions
each is done along both axes. The points are 0, 1, -1, 2, -2 and infinity; rounding errors grow by a
factor of about ten over the direct sum (`tests/test_conv.py` measures and bounds it).
"""

from __future__ import annotations

from .fused import fma
from .tiles import inlined


@inlined
def of_input(d0, d1, d2, d3, d4, d5):
    """B' d: six to six."""
    p, q = fma(-4, d2, d4), fma(-4, d1, d3)
    r, s = d4 - d2, d3 - d1
    first, last = fma(4, d0, fma(-5, d2, d4)), fma(4, d1, fma(-5, d3, d5))
    return first, p + q, p - q, fma(2, s, r), fma(-2, s, r), last


@inlined
def of_filter(g0, g1, g2):
    """G g: three to six."""
    p, q = (-1 / 6) * (g0 + g2), (1 / 6) * g1
    r, s = fma(1 / 24, g0, (1 / 6) * g2), (1 / 12) * g1
    return (1 / 4) * g0, p - q, p + q, r + s, r - s, g2


@inlined
def to_output(m0, m1, m2, m3, m4, m5):
    """A' m: six to four."""
    p, q, r, s = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return m0 + p + r, fma(2, s, q), fma(4, r, p), fma(8, s, q) + m5


@inlined
def of_output(y0, y1, y2, y3):
    """A y: four to six, the transpose of `to_output`."""
    p, q = y0 + y2, y1 + y3
    r, s = fma(4, y2, y0), fma(4, y3, y1)
    return y0, p + q, p - q, fma(2, s, r), fma(-2, s, r), y3


@inlined
def to_filter(u0, u1, u2, u3, u4, u5):
    """G' u: six to three, the transpose of `of_filter`."""
    p, q, r, s = u1 + u2, u2 - u1, u3 + u4, u3 - u4
    return (
        fma(1 / 4, u0, fma(-1 / 6, p, (1 / 24) * r)),
        fma(1 / 6, q, (1 / 12) * s),
        fma(1 / 6, r - p, u5),
    )
