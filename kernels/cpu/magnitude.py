"""Largest magnitudes: what tells a number that Winograd's way cannot carry, at a vector's speed.

Magnitudes are compared by their bits, as whole numbers: no order of comparing changes the result,
and a NaN is larger than everything, infinity included.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.np.numpy_support import carray

from .simd import call_llvm, intrinsic, lanes_in, load, load_part, memory, splat
from .tiles import serial


def _bits(builder: ir.IRBuilder, vector: Any) -> Any:
    """A vector's numbers without their signs, as whole numbers."""
    width = 32 if isinstance(vector.type.element, ir.FloatType) else 64
    kind = ir.VectorType(ir.IntType(width), vector.type.count)
    mask = ir.Constant(kind, [2 ** (width - 1) - 1] * kind.count)
    return builder.and_(builder.bitcast(vector, kind), mask)


@intrinsic
def larger(typing, a, b):
    """Lane by lane, the larger of |a| and |b|."""

    def generate(context, builder, signature, arguments):
        a, b = (_bits(builder, value) for value in arguments)
        chosen = builder.select(builder.icmp_signed(">", a, b), a, b)
        return builder.bitcast(chosen, arguments[0].type)

    return a(a, b), generate


@intrinsic
def lane_largest(typing, vector):
    """The largest magnitude of a vector's lanes."""

    def generate(context, builder, signature, arguments):
        bits = _bits(builder, arguments[0])
        whole = bits.type.element
        suffix = f"v{bits.type.count}i{whole.width}"
        found = call_llvm(builder, "vector.reduce.smax", whole, [bits], suffix)
        return builder.bitcast(found, arguments[0].type.element)

    return vector.scalar(vector), generate


@intrinsic
def reaches(typing, vector, least):
    """Whether the magnitude of any lane is at least the number `least`."""

    def generate(context, builder, signature, arguments):
        vector, least = arguments
        magnitude = call_llvm(builder, "fabs", vector.type, [vector])
        lanes = builder.fcmp_ordered(">=", magnitude, splat(builder, least, vector.type))
        suffix = f"v{vector.type.count}i1"
        return call_llvm(builder, "vector.reduce.or", ir.IntType(1), [lanes], suffix)

    return types.boolean(vector, least), generate


@intrinsic
def number(typing, one, value):
    """`value` as a number of the dtype of `one`."""

    def generate(context, builder, signature, arguments):
        return context.cast(builder, arguments[1], types.unliteral(signature.args[1]), one)

    return one(one, value), generate


@serial
def put(one, base, index, value):
    """Element `index` at address `base` = value; written in a `prange` itself, Numba drops it."""
    carray(memory(one, base), index + 1)[index] = value


@serial
def largest(one, base, count):
    """The largest magnitude of `count` numbers at address `base`, 0 of none."""
    lanes = lanes_in(one)
    p = q = load_part(one, base, 0, 0)
    i = 0
    while i + 2 * lanes <= count:
        p, q = larger(p, load(one, base, i)), larger(q, load(one, base, i + lanes))
        i += 2 * lanes
    while i < count:
        p = larger(p, load_part(one, base, i, count - i))
        i += lanes
    return lane_largest(larger(p, q))
