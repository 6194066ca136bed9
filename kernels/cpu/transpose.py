"""Blocks of a matrix turned in registers: as many rows as a vector has lanes, at a time."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from .simd import call_llvm, intrinsic, lane_mask, vector_type

_WORD = ir.IntType(64)


def _shuffle(builder: ir.IRBuilder, a: Any, b: Any, lanes: list[int]) -> Any:
    word = ir.IntType(32)
    mask = ir.Constant(ir.VectorType(word, len(lanes)), lanes)
    return builder.shuffle_vector(a, b, mask)


def _exchange(builder: ir.IRBuilder, rows: list[Any], apart: int) -> list[Any]:
    """Rows i and i + apart exchange every other block of `apart` lanes: a step of a transpose."""
    count = len(rows)
    new = list(rows)
    for i in range(count):
        if i & apart == 0:
            a, b = rows[i], rows[i + apart]
            low = [j if j & apart == 0 else count + j - apart for j in range(count)]
            new[i] = _shuffle(builder, a, b, low)
            new[i + apart] = _shuffle(builder, a, b, [lane + apart for lane in low])
    return new


def _interleave(builder: ir.IRBuilder, rows: list[Any]) -> list[Any]:
    """The first two steps in one for floats of 4 bytes: x86 has these shuffles within 16 bytes."""
    count = len(rows)
    new = list(rows)
    low = [q + lane for q in range(0, count, 4) for lane in (0, count, 1, count + 1)]
    for i in range(0, count, 4):
        a, b, c, d = rows[i : i + 4]
        p, q = _shuffle(builder, a, b, low), _shuffle(builder, a, b, [x + 2 for x in low])
        r, s = _shuffle(builder, c, d, low), _shuffle(builder, c, d, [x + 2 for x in low])
        pair = [q4 + lane for q4 in range(0, count, 4) for lane in (0, 1, count, count + 1)]
        new[i], new[i + 1] = (_shuffle(builder, p, r, [x + e for x in pair]) for e in (0, 2))
        new[i + 2], new[i + 3] = (_shuffle(builder, q, s, [x + e for x in pair]) for e in (0, 2))
    return new


def transposed(builder: ir.IRBuilder, rows: list[Any]) -> list[Any]:
    """The columns of a square block, of its `rows`: LLVM vectors."""
    apart = 1
    if isinstance(rows[0].type.element, ir.FloatType):
        rows, apart = _interleave(builder, rows), 4
    while apart < len(rows):
        rows, apart = _exchange(builder, rows, apart), 2 * apart
    return rows


def _mover(partly: bool) -> Any:
    """turn(one, source, from_row, rows, columns, target, to_row): a block to its transpose.

    source, target: addresses; from_row, to_row: elements from one row to the next. `partly`: only
    rows x columns of the source are read (others count as copies of the last row, and as 0), and
    only columns x rows of the target are written.
    """

    @intrinsic
    def turn(typing, one, source, from_row, rows, columns, target, to_row):
        scalar = one

        def generate(context, builder, signature, arguments):
            _, source, from_row, rows, columns, target, to_row = arguments
            vector = vector_type(context, scalar)
            size = scalar.bitwidth // 8
            lanes = vector.count
            step, back = (builder.mul(x, ir.Constant(_WORD, size)) for x in (from_row, to_row))

            def place(base, line, last, number):
                row = ir.Constant(_WORD, number)
                if partly:
                    end = builder.sub(last, ir.Constant(_WORD, 1))
                    row = builder.select(builder.icmp_signed("<", row, end), row, end)
                return builder.inttoptr(
                    builder.add(base, builder.mul(line, row)), vector.as_pointer()
                )

            align = ir.Constant(ir.IntType(32), size)
            suffix = f"v{lanes}f{scalar.bitwidth}.p0"
            values = []
            if partly:
                zero = ir.Constant(vector, [ir.Constant(vector.element, 0.0)] * lanes)
                mask = lane_mask(builder, columns, lanes)
                for i in range(lanes):
                    terms = [place(source, step, rows, i), align, mask, zero]
                    values.append(call_llvm(builder, "masked.load", vector, terms, suffix))
            else:
                for i in range(lanes):
                    values.append(builder.load(place(source, step, rows, i), align=size))
            values = transposed(builder, values)
            if partly:
                mask = lane_mask(builder, rows, lanes)
            for i in reversed(range(lanes)):  # so that the last of the rows is written in the end
                pointer = place(target, back, columns, i)
                if partly:
                    terms = [values[i], pointer, align, mask]
                    call_llvm(builder, "masked.store", ir.VoidType(), terms, suffix)
                else:
                    builder.store(values[i], pointer, align=size)
            return context.get_dummy_value()

        return types.void(one, *[types.intp] * 6), generate

    return turn


turn_block, turn_part = _mover(False), _mover(True)
