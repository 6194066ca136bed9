"""Inner products of long rows: in pieces, each a product of its own, that are added up in order.

A product is one chain an output, whose rounding errors grow with its length: over the 300,000
numbers of a gradient they would reach 1e-4 of what is summed, in float32. Pieces of a fixed length
keep them below 1e-6, and give the same bits everywhere, as the chain does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .backend import Backend

PIECE = 4096


def products_of_pieces(ops: Backend, a: Any, b: Any) -> Iterator[Any]:
    """a b' (U, V) of rows a (U, P) and b (V, P), a piece of P after another, in one array."""
    product = ops.device.empty((len(a), len(b)), a.dtype)
    for begin in range(0, max(a.shape[1], 1), PIECE):
        ops.matmul_nt(a[:, begin : begin + PIECE], b[:, begin : begin + PIECE], product)
        yield product
