"""How work is cut for the threads: by size alone where the cut decides the order of a sum.

Fixed pieces, each computed by one thread in one order, are what makes 1 thread and 16 threads give
the same bits. Where a sum is not cut, as in a product, pieces may follow the threads (`gemm`).
"""

from __future__ import annotations

from .jit import inlined, inner, parallel, serial

__all__ = ["BLOCK", "inlined", "inner", "parallel", "part", "pieces", "rows_per_piece", "serial"]

BLOCK = 8192  # elements of a flat vector one thread takes at a time: 32 KiB of float32


@serial
def pieces(length, size):
    """How many pieces of `size` cover `length`."""
    return (length + size - 1) // size


@serial
def rows_per_piece(columns):
    """Rows of so many numbers that make a piece of work: a few blocks, or one row."""
    return max(4 * BLOCK // max(columns, 1), 1)


@serial
def part(a, lo, hi):
    """a[lo:hi], a view; None of what is left out, so that Numba compiles its use away."""
    if a is None:
        return None
    else:  # Numba needs the else to see that only one of the two is ever typed
        return a[lo:hi]
