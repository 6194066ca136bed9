"""The register tile of a dense product: rows of A at equal distances, a panel of B, rows of out.

    out[i, j] = start + sum over k < depth of A[i a_row + k a_k] B[k, j], one chain of fma

for up to `rows_of` rows i. As `microkernel.tile`, which finds rows in lists and needs two loops for
windows; but a tile asks memory meanwhile for what comes next: with each k for one cache line at
`ahead`, `hop` elements on from one to the next, and in the beginning for the lines that it will
write (256 x 2000 x 2000 on a Zen 4 core, weights' gradient: 93 GFLOP/s without, 103 with both).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from .microkernel import CONTINUE, ROWS, SET, Emitter, rows_of
from .panels import panel_width
from .simd import BYTES, WIDE, ask_for, intrinsic
from .tiles import inner

_WORD = ir.IntType(64)
# Steps of k in one turn of the loop: with 32-byte vectors a step is 6 cycles of arithmetic, and the
# loop's own instructions show (a Zen 4 core, AVX2: 99 GFLOP/s with 1, 115 with 4).
UNROLLED = 1 if WIDE else 4


def row_addresses(emit: Emitter, base: Any, row: Any, rows: Any, count: int) -> list[Any]:
    """Addresses of `count` rows from `base`; those from `rows` on are the last one again."""
    builder = emit.builder
    last = builder.sub(rows, ir.Constant(_WORD, 1))
    lines = []
    for i in range(count):
        number = ir.Constant(_WORD, i)
        inside = builder.icmp_signed("<", number, last)
        step = builder.mul(builder.select(inside, number, last), row)
        lines.append(builder.add(base, emit.bytes_of(step)))
    return lines


def times(body: Any, count: int) -> Any:
    """`body`, that many times in a row."""

    def several(values):
        for _ in range(count):
            values = body(values)
        return values

    return several


def _tile(rows: int, vectors: int, apart: bool, packing: bool = False) -> Any:
    """`apart`: B's rows lie `b_k` apart, not side by side as in a panel; `packing`: they are copied
    to the panel at `packed` on the way."""

    @intrinsic
    def tile(
        typing, one, way, count, depth, a, a_row, a_k, b, b_k, packed, out, out_row, ahead, hop
    ):
        scalar = one

        def generate(context, builder, signature, arguments):
            _, way, count, depth, a, a_row, a_k, b, b_k, packed, *rest = arguments
            out, out_row, ahead, hop = rest
            emit = Emitter(context, builder, scalar)
            lines = row_addresses(emit, a, a_row, count, rows)
            targets = row_addresses(emit, out, out_row, count, rows)
            places = [emit.at(line, v) for line in targets for v in range(vectors)]
            for line in targets:
                for v in range(0, vectors, 64 // BYTES):
                    ask_for(builder, builder.add(line, ir.Constant(_WORD, v * BYTES)), write=1)
            a_k, hop = emit.bytes_of(a_k), emit.bytes_of(hop)
            width = ir.Constant(_WORD, 2 * emit.lanes * emit.size)
            b_k = emit.bytes_of(b_k) if apart else width

            def body(values):
                ka, kb, fetch, copy, *sums = values
                ask_for(builder, fetch)
                panel = emit.panel(kb, vectors)
                for v in range(vectors if packing else 0):
                    builder.store(panel[v], emit.at(copy, v), align=emit.size)
                new = emit.multiply(lines, panel, ka, sums)
                steps = zip((ka, kb, fetch, copy), (a_k, b_k, hop, width), strict=True)
                return [*(builder.add(place, step) for place, step in steps), *new]

            start = [ir.Constant(_WORD, 0), b, ahead, packed, *emit.begin(way, lambda: places)]
            several = ir.Constant(_WORD, UNROLLED)
            middle = emit.loop(builder.udiv(depth, several), start, times(body, UNROLLED))
            rest = builder.urem(depth, several)
            sums = (emit.loop(rest, middle, body) if UNROLLED > 1 else middle)[4:]
            for value, place in zip(sums, places, strict=True):
                builder.store(value, place, align=emit.size)
            return context.get_dummy_value()

        return types.void(one, *[types.intp] * 13), generate

    return tile


_two_vectors, _one_vector = _tile(ROWS, 2, False), _tile(2 * ROWS, 1, False)
_two_and_pack = _tile(ROWS, 2, True, True)
_few_by_two, _few_by_one = _tile(ROWS // 2, 2, True), _tile(ROWS, 1, True)


@inner
def multiply_rows_at(
    one, vectors, goes_on, count, depth, a, a_row, a_k, b, b_k, packed, out, out_row, ahead, hop
):
    """One tile of `count` rows, at most `microkernel.rows_of(vectors)`; `goes_on`: out is where the
    sums begin, not 0. a, b, packed, out, ahead are addresses, strides count elements.

    The panel is at `packed`; or, where b is not 0, there, and is put to `packed` on the way.
    """
    way = CONTINUE if goes_on else SET
    if count <= rows_of(vectors) // 2:
        line = panel_width(one) if b == 0 else b_k
        panel = packed if b == 0 else b  # where it is given, no other rows need it packed
        few = (one, way, count, depth, a, a_row, a_k, panel, line, 0, out, out_row, ahead, hop)
        if vectors == 2:
            _few_by_two(*few)
        else:
            _few_by_one(*few)
    elif b != 0:
        _two_and_pack(
            one, way, count, depth, a, a_row, a_k, b, b_k, packed, out, out_row, ahead, hop
        )
    elif vectors == 2:
        _two_vectors(one, way, count, depth, a, a_row, a_k, packed, 0, 0, out, out_row, ahead, hop)
    else:
        _one_vector(one, way, count, depth, a, a_row, a_k, packed, 0, 0, out, out_row, ahead, hop)
