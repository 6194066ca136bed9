"""One sample through a dense layer: as fast as its weights stream, and each sum still in order.

A chain over k for each output wants outputs in the lanes, and k runs along the weights' rows. So
square blocks of weights are turned in registers as they come: as many rows as a vector has lanes.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.np.numpy_support import carray

from .fused import fma
from .microkernel import Emitter
from .scratch import stack_of
from .simd import (
    call_llvm,
    intrinsic,
    lanes_in,
    load,
    load_part,
    memory,
    size_of,
    splat,
    store,
    store_part,
)  # fmt: skip
from .strided import row_addresses
from .tiles import inner
from .transpose import transposed, turn_part

_WORD = ir.IntType(64)
_stack = stack_of(17 * 16 + 16, np.float32)  # a block and the sums, of vectors of 64 bytes


@intrinsic
def _add_blocks(typing, one, w, w_row, rows, x, blocks, sums):
    """sums (lanes,) += W (rows, blocks * lanes) x, in order; w, x, sums: addresses."""
    scalar = one

    def generate(context, builder, signature, arguments):
        _, w, w_row, rows, x, blocks, sums = arguments
        emit = Emitter(context, builder, scalar)
        lines = row_addresses(emit, w, w_row, rows, emit.lanes)

        def block(values):
            offset, total = values
            places = (builder.add(line, offset) for line in lines)
            pointers = [builder.inttoptr(place, emit.vector.as_pointer()) for place in places]
            loaded = [builder.load(pointer, align=emit.size) for pointer in pointers]
            for k, column in enumerate(transposed(builder, loaded)):
                at = builder.add(builder.add(x, offset), ir.Constant(_WORD, k * emit.size))
                factor = builder.load(builder.inttoptr(at, emit.vector.element.as_pointer()))
                terms = [column, splat(builder, factor, emit.vector), total]
                total = call_llvm(builder, "fma", emit.vector, terms)
            return [builder.add(offset, ir.Constant(_WORD, emit.lanes * emit.size)), total]

        place = emit.at(sums, 0)
        start = [ir.Constant(_WORD, 0), builder.load(place, align=emit.size)]
        builder.store(emit.loop(blocks, start, block)[1], place, align=emit.size)
        return context.get_dummy_value()

    return types.void(one, *[types.intp] * 6), generate


@inner
def multiply_vector(one, goes_on, w, w_row, rows, x, depth, y):
    """y (rows,) = W (rows, depth) x, from 0 or, where `goes_on`, from y: addresses of arrays."""
    size, lanes = size_of(one), lanes_in(one)
    sums = (np.intp(carray(_stack(one), 1).ctypes.data) + 63) // 64 * 64
    block = sums + 64
    whole = depth // lanes
    rest, at = depth - whole * lanes, whole * lanes * size
    tail = carray(memory(one, x + at), rest)
    for r in range(0, rows, lanes):
        count, line = min(lanes, rows - r), w + r * w_row * size
        if goes_on:
            store(sums, 0, load_part(one, y, r, count))
        else:
            store(sums, 0, load_part(one, sums, 0, 0))
        _add_blocks(one, line, w_row, count, x, whole, sums)
        total = load(one, sums, 0)
        if rest > 0:
            turn_part(one, line + at, w_row, count, rest, block, lanes)
            for k in range(rest):
                total = fma(tail[k], load(one, block, k * lanes), total)
        store_part(y, r, total, count)
