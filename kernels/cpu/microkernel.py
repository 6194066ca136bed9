"""The register tile under every convolution: a small block of a sum of products, held in registers.

    acc[i, j] = sum over k1 < n1, k2 < n2 of A[rows[i] + k1 a1 + k2 a2] B[k1 b1 + k2 b2 + j]

for a few rows i and one or two vectors of columns j. Rows may lie anywhere in A and both loops may
step by anything, so a window of an image is read where it lies: there is no im2col. It serves

| product                       | row i           | k1, k2                    | column j |
|-------------------------------|-----------------|---------------------------|----------|
| convolution                   | output position | row r, (column s, c)      | filter   |
| its weight gradient           | (r, s, c)       | output row, output column | filter   |
| Winograd, at one frequency    | tile            | -, channel                | filter   |
| Winograd's weight gradient    | channel         | -, tile                   | filter   |

Lane by lane, the same with A[rows[i] + k1 a1 + k2 a2 + j] in the place of one number for all j, it
serves what has as many groups as channels, where each filter sees a channel of its own.

It is written as LLVM instructions because no loop of Numba's keeps sixteen sums in registers: 8
rows by 2 vectors of 16 run at 260 GFLOP/s on a Zen 5 core, where OpenBLAS reaches 210 to 240.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from .simd import BYTES, WIDE, call_llvm, intrinsic, splat, vector_type
from .tiles import serial

ROWS = 8 if WIDE else 6  # of a tile two vectors wide; one vector wide it has twice as many
# out = acc, out += acc, out += acc^2, out += |acc|, out = an acc that began at what lay in out
SET, ADD, SQUARE, ABSOLUTE, CONTINUE = range(5)
_WORD = ir.IntType(64)


class Emitter:
    """Writes one tile into the function that is being compiled."""

    def __init__(self, context: Any, builder: ir.IRBuilder, scalar: types.Float) -> None:
        self.builder = builder
        self.size = scalar.bitwidth // 8
        self.vector = vector_type(context, scalar)
        self.zero = ir.Constant(self.vector, [ir.Constant(self.vector.element, 0.0)] * self.lanes)

    @property
    def lanes(self) -> int:
        return self.vector.count

    def bytes_of(self, elements: Any) -> Any:
        return self.builder.mul(elements, ir.Constant(_WORD, self.size))

    def offsets(self, table: Any, count: int) -> list[Any]:
        """The first `count` of the int64 at address `table`, in bytes."""
        pointer = self.builder.inttoptr(table, _WORD.as_pointer())
        places = (self.builder.gep(pointer, [ir.Constant(_WORD, i)]) for i in range(count))
        return [self.bytes_of(self.builder.load(place)) for place in places]

    def at(self, base: Any, vectors: int) -> Any:
        """A pointer `vectors` whole vectors after the address `base`."""
        place = self.builder.add(base, ir.Constant(_WORD, vectors * BYTES))
        return self.builder.inttoptr(place, self.vector.as_pointer())

    def loop(self, count: Any, start: list[Any], body: Any) -> list[Any]:
        """Repeat values = body(values) `count` times from `start`; returns the last values."""
        builder = self.builder
        before = builder.block
        head, inside, after = (builder.append_basic_block(name) for name in ("head", "in", "out"))
        builder.branch(head)
        builder.position_at_end(head)
        carried = [builder.phi(value.type) for value in (ir.Constant(_WORD, 0), *start)]
        for phi, value in zip(carried, (ir.Constant(_WORD, 0), *start), strict=True):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", carried[0], count), inside, after)
        builder.position_at_end(inside)
        following = [builder.add(carried[0], ir.Constant(_WORD, 1)), *body(carried[1:])]
        for phi, value in zip(carried, following, strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return carried[1:]

    def panel(self, base: Any, vectors: int) -> list[Any]:
        """So many vectors from the address `base` on."""
        return [self.builder.load(self.at(base, v), align=self.size) for v in range(vectors)]

    def multiply(self, rows: list[Any], panel: list[Any], offset: Any, sums: list[Any]):
        """sums + (the number at `offset` of each row) (the panel's vectors): the new sums."""
        builder = self.builder
        new = []
        for i, row in enumerate(rows):
            pointer = builder.inttoptr(builder.add(row, offset), self.vector.element.as_pointer())
            factor = splat(builder, builder.load(pointer), self.vector)
            new += self._added([factor] * len(panel), panel, sums[i * len(panel) :])
        return new

    def multiply_lanes(self, rows: list[Any], panel: list[Any], offset: Any, sums: list[Any]):
        """sums + (the vectors at `offset` of each row) (the panel's vectors): the new sums."""
        new = []
        for i, row in enumerate(rows):
            factors = self.panel(self.builder.add(row, offset), len(panel))
            new += self._added(factors, panel, sums[i * len(panel) :])
        return new

    def _added(self, factors: list[Any], panel: list[Any], sums: list[Any]) -> list[Any]:
        terms = zip(factors, panel, sums, strict=False)
        return [call_llvm(self.builder, "fma", self.vector, [*three]) for three in terms]

    def begin(self, way: Any, places: Any) -> list[Any]:
        """What the sums start from: 0, or where `way` is CONTINUE what lies at places()."""
        builder = self.builder
        before = builder.block
        given, after = (builder.append_basic_block(name) for name in ("given", "begun"))
        chosen = builder.icmp_signed("==", way, ir.Constant(_WORD, CONTINUE))
        builder.cbranch(chosen, given, after)
        builder.position_at_end(given)
        values = [builder.load(place, align=self.size) for place in places()]
        builder.branch(after)
        builder.position_at_end(after)
        sums = [builder.phi(self.vector) for _ in values]
        for phi, value in zip(sums, values, strict=True):
            phi.add_incoming(self.zero, before)
            phi.add_incoming(value, given)
        return sums

    def finish(self, way: Any, sums: list[Any], places: list[Any]) -> None:
        """Put the finished sums away as `way` says."""
        builder = self.builder
        after = builder.append_basic_block("stored")
        chosen = builder.switch(way, after)
        for number in (SET, ADD, SQUARE, ABSOLUTE, CONTINUE):
            block = builder.append_basic_block("store")
            chosen.add_case(ir.Constant(_WORD, number), block)
            builder.position_at_end(block)
            for value, place in zip(sums, places, strict=True):
                builder.store(self._joined(number, value, place), place, align=self.size)
            builder.branch(after)
        builder.position_at_end(after)

    def _joined(self, way: int, value: Any, place: Any) -> Any:
        """What goes to `place`, a sum being `value`."""
        if way in (SET, CONTINUE):
            return value
        old = self.builder.load(place, align=self.size)
        if way == SQUARE:
            return call_llvm(self.builder, "fma", self.vector, [value, value, old])
        if way == ABSOLUTE:
            value = call_llvm(self.builder, "fabs", self.vector, [value])
        return self.builder.fadd(old, value)


def _tile(rows: int, vectors: int, lanes: bool = False) -> Any:
    """The compiled function tile(one, way, a, a_rows, n1, a1, n2, a2, b, b1, b2, out, out_rows).

    a, b, out: addresses; a_rows, out_rows: addresses of int64 offsets in elements, one a row; way:
    what the sums begin at and become; the rest: counts, and strides in elements. `one` is any
    number of the dtype.
    """

    @intrinsic
    def tile(typing, one, way, a, a_rows, n1, a1, n2, a2, b, b1, b2, out, out_rows):
        scalar = one

        def generate(context, builder, signature, arguments):
            _, way, a, a_rows, n1, a1, n2, a2, b, b1, b2, out, out_rows = arguments
            emit = Emitter(context, builder, scalar)
            multiply = emit.multiply_lanes if lanes else emit.multiply
            a1, a2, b1, b2 = map(emit.bytes_of, (a1, a2, b1, b2))
            lines = [builder.add(a, offset) for offset in emit.offsets(a_rows, rows)]

            def inner(values):
                ka, kb, *sums = values
                new = multiply(lines, emit.panel(kb, vectors), ka, sums)
                return [builder.add(ka, a2), builder.add(kb, b2), *new]

            def outer(values):
                _, _, *sums = emit.loop(n2, values, inner)
                return [builder.add(values[0], a1), builder.add(values[1], b1), *sums]

            def places():
                return [
                    emit.at(builder.add(out, offset), v)
                    for offset in emit.offsets(out_rows, rows)
                    for v in range(vectors)
                ]

            start = [ir.Constant(_WORD, 0), b, *emit.begin(way, places)]
            _, _, *sums = emit.loop(n1, start, outer)
            emit.finish(way, sums, places())
            return context.get_dummy_value()

        return types.void(one, *[types.intp] * 12), generate

    return tile


_two_vectors, _one_vector = _tile(ROWS, 2), _tile(2 * ROWS, 1)
_two_by_lanes, _one_by_lanes = _tile(ROWS, 2, True), _tile(2 * ROWS, 1, True)


@serial
def rows_of(vectors):
    """Rows of a tile that many vectors wide; a list of rows is padded to a multiple of it."""
    return ROWS if vectors == 2 else 2 * ROWS


@serial
def multiply_rows(one, vectors, way, count, a, a_rows, n1, a1, n2, a2, b, b1, b2, out, out_rows):
    """`tile` for `count` rows, a multiple of `rows_of(vectors)`: all rows times one panel of B."""
    for at in range(0, 8 * count, 8 * rows_of(vectors)):
        x, y = a_rows + at, out_rows + at
        if vectors == 2:
            _two_vectors(one, way, a, x, n1, a1, n2, a2, b, b1, b2, out, y)
        else:
            _one_vector(one, way, a, x, n1, a1, n2, a2, b, b1, b2, out, y)


@serial
def multiply_lanes(one, vectors, way, count, a, a_rows, n1, a1, n2, a2, b, b1, b2, out, out_rows):
    """As `multiply_rows`, lane by lane: of A, too, whole vectors are read."""
    for at in range(0, 8 * count, 8 * rows_of(vectors)):
        x, y = a_rows + at, out_rows + at
        if vectors == 2:
            _two_by_lanes(one, way, a, x, n1, a1, n2, a2, b, b1, b2, out, y)
        else:
            _one_by_lanes(one, way, a, x, n1, a1, n2, a2, b, b1, b2, out, y)
