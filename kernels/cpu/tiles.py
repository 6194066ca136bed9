"""How work is cut for the threads: always by size alone, never by how many threads there are.

Fixed pieces, each computed by one thread in one order, are what makes 1 thread and 16 threads give
the same bits. The shapes were chosen by timing OpenBLAS on them (a Zen 5 core, float32).
"""

from __future__ import annotations

from .jit import inlined, parallel, serial

__all__ = [
    "BLOCK",
    "ROWS",
    "forward_tile",
    "inlined",
    "parallel",
    "pieces",
    "serial",
    "square_tile",
]

BLOCK = 8192  # elements of a flat vector one thread takes at a time: 32 KiB of float32
ROWS = 8  # samples per piece where the work is by row


@serial
def pieces(length, size):
    """How many pieces of `size` cover `length`."""
    return (length + size - 1) // size


@serial
def forward_tile(rows, columns, depth):
    """Tile of x w^T.

    Small products are cut so small (below a million multiply-adds) that OpenBLAS multiplies them in
    place, without packing: 64 x 300 x 100 took 19 us in larger tiles and takes 13. Large ones get
    about half of the columns of up to 256 rows, so both packed panels stay in L2. One row is a
    matrix-vector product, and wants half of the columns too.
    """
    if rows > 1 and rows * columns * depth < 12_000_000:
        return (16 if depth <= 900 else 8), 64
    half = (columns + 1) // 2
    width = (half + 15) // 16 * 16
    return min(max(rows, 1), 256), min(max(width, 16), 512)


@serial
def square_tile(rows, columns, depth):
    """Tile of dz^T x and dz w: small ones keep OpenBLAS on its copy-free small-matrix kernels.

    One row is a matrix-vector product, which is as fast as its reads from memory are long.
    """
    if rows == 1:
        return 1, min(max((columns // 2 + 15) // 16 * 16, 64), 4096)
    if rows * columns * depth < 64_000_000:
        return 64, 64
    return 256, 512
