"""Vectors of the machine's width as values of compiled code: what they are, + - *, load and store.

Numba has scalars and arrays; whether a loop over an array becomes vector instructions is LLVM's
choice, and with thirty-six streams side by side (a Winograd tile) it chooses not to. These few
functions take the choice away. A `Vector` lives in a register; `fused.fma` takes them too.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import models, overload, register_model

from .target import BYTES

WIDE = BYTES == 64
intrinsic: Any = numba_intrinsic  # its functions lose their first argument: types cannot say so


class Vector(types.Type):
    """The type of a register full of `scalar`."""

    def __init__(self, scalar: types.Float) -> None:
        self.scalar = scalar
        self.lanes = lanes_of(scalar)
        super().__init__(name=f"Vector({scalar} x {self.lanes})")


def lanes_of(scalar: types.Float) -> int:
    """How many numbers of a Numba float type fill a register."""
    return BYTES * 8 // scalar.bitwidth


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        element = ir.FloatType() if vector.scalar == types.float32 else ir.DoubleType()
        super().__init__(manager, vector, ir.VectorType(element, vector.lanes))


def vector_type(context: Any, scalar: types.Float) -> Any:
    """The LLVM type of a register full of `scalar`."""
    return ir.VectorType(context.get_value_type(scalar), lanes_of(scalar))


def call_llvm(
    builder: ir.IRBuilder, name: str, result: Any, arguments: list[Any], suffix: str = ""
) -> Any:
    """Call llvm.NAME; `suffix` names the overload, by default the result's vector type."""
    if not suffix:
        width = 32 if isinstance(result.element, ir.FloatType) else 64
        suffix = f"v{result.count}f{width}"
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.{suffix}")
    return builder.call(function, arguments)


def splat(builder: ir.IRBuilder, scalar: Any, vector: Any) -> Any:
    """A vector of equal elements."""
    word = ir.IntType(32)
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, scalar, ir.Constant(word, 0))
    mask = ir.Constant(ir.VectorType(word, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, nothing, mask)


def address(builder: ir.IRBuilder, base: Any, index: Any, vector: Any):
    """A pointer to the vector that begins at element `index` of the memory at `base`."""
    size = 4 if isinstance(vector.element, ir.FloatType) else 8
    offset = builder.mul(index, ir.Constant(ir.IntType(64), size))
    return builder.inttoptr(builder.add(base, offset), vector.as_pointer())


def lane_mask(builder: ir.IRBuilder, count: Any, lanes: int) -> Any:
    """Lane i is on where i < count."""
    wide = ir.VectorType(ir.IntType(64), lanes)
    return builder.icmp_signed(
        "<", ir.Constant(wide, list(range(lanes))), splat(builder, count, wide)
    )


@intrinsic
def load(typing, one, base, index):
    """The vector at element `index` of the memory at address `base`, of the dtype of `one`."""
    scalar = one

    def generate(context, builder, signature, arguments):
        _, base, index = arguments
        place = address(builder, base, index, vector_type(context, scalar))
        return builder.load(place, align=scalar.bitwidth // 8)

    return Vector(scalar)(scalar, types.intp, types.intp), generate


@intrinsic
def load_part(typing, one, base, index, count):
    """As `load`, of which only the first `count` elements are read; the others are 0."""
    scalar = one

    def generate(context, builder, signature, arguments):
        _, base, index, count = arguments
        vector = vector_type(context, scalar)
        bits = scalar.bitwidth
        pointer = address(builder, base, index, vector)
        align = ir.Constant(ir.IntType(32), bits // 8)
        zero = ir.Constant(vector, [ir.Constant(vector.element, 0.0)] * vector.count)
        mask = lane_mask(builder, count, vector.count)
        suffix = f"v{vector.count}f{bits}.p0"
        return call_llvm(builder, "masked.load", vector, [pointer, align, mask, zero], suffix)

    return Vector(scalar)(scalar, types.intp, types.intp, types.intp), generate


@intrinsic
def store(typing, base, index, value):
    """Put the vector `value` at element `index` of the memory at address `base`."""

    def generate(context, builder, signature, arguments):
        base, index, value = arguments
        align = signature.args[2].scalar.bitwidth // 8
        builder.store(value, address(builder, base, index, value.type), align=align)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, value), generate


@intrinsic
def store_part(typing, base, index, value, count):
    """As `store`, of which only the first `count` elements are written."""

    def generate(context, builder, signature, arguments):
        base, index, value, count = arguments
        bits = signature.args[2].scalar.bitwidth
        pointer = address(builder, base, index, value.type)
        align = ir.Constant(ir.IntType(32), bits // 8)
        mask = lane_mask(builder, count, value.type.count)
        suffix = f"v{value.type.count}f{bits}.p0"
        call_llvm(builder, "masked.store", ir.VoidType(), [value, pointer, align, mask], suffix)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, value, types.intp), generate


@intrinsic
def fill(typing, scalar):
    """A vector whose elements all are `scalar`."""

    def generate(context, builder, signature, arguments):
        return splat(builder, arguments[0], vector_type(context, signature.args[0]))

    return Vector(scalar)(scalar), generate


@intrinsic
def where_positive(typing, sign, yes, no):
    """Lane by lane, `yes` where `sign` is above 0, else `no` (so also where it is NaN)."""

    def generate(context, builder, signature, arguments):
        sign, yes, no = arguments
        zero = ir.Constant(sign.type, [ir.Constant(sign.type.element, 0.0)] * sign.type.count)
        return builder.select(builder.fcmp_ordered(">", sign, zero), yes, no)

    return sign(sign, yes, no), generate


@intrinsic
def where_larger(typing, a, b, yes, no):
    """Lane by lane, `yes` where a > b, or where a is NaN and b is not; else `no`."""

    def generate(context, builder, signature, arguments):
        a, b, yes, no = arguments
        larger = builder.fcmp_unordered(">", a, b)
        return builder.select(builder.and_(larger, builder.fcmp_ordered("==", b, b)), yes, no)

    return a(a, b, yes, no), generate


@intrinsic
def store_places(typing, base, index, value, count):
    """Put the first `count` whole numbers that `value` holds at element `index` of uint16s."""

    def generate(context, builder, signature, arguments):
        base, index, value, count = arguments
        lanes = value.type.count
        short = ir.VectorType(ir.IntType(16), lanes)
        place = builder.add(base, builder.mul(index, ir.Constant(ir.IntType(64), 2)))
        pointer = builder.inttoptr(place, short.as_pointer())
        align, mask = ir.Constant(ir.IntType(32), 2), lane_mask(builder, count, lanes)
        terms = [builder.fptoui(value, short), pointer, align, mask]
        call_llvm(builder, "masked.store", ir.VoidType(), terms, f"v{lanes}i16.p0")
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, value, types.intp), generate


def _arithmetic(instruction: str) -> Any:
    @intrinsic
    def combine(typing, a, b):
        def generate(context, builder, signature, arguments):
            return getattr(builder, instruction)(*arguments)

        return a(a, b), generate

    return combine


def _provide(function: Any, instruction: str) -> None:
    """`function` of two vectors, or of a number and a vector, is LLVM's `instruction`."""
    combine = _arithmetic(instruction)

    @overload(function)
    def of_vectors(a, b):
        if isinstance(a, Vector) and isinstance(b, Vector):
            return lambda a, b: combine(a, b)  # noqa: PLW0108  (an overload is a plain function)
        if isinstance(b, Vector) and isinstance(a, types.Integer | types.Float):
            kind = b.scalar

            def scaled(a, b):
                return combine(fill(kind(a)), b)

            return scaled
        return None


_provide(operator.add, "fadd")
_provide(operator.sub, "fsub")
_provide(operator.mul, "fmul")


@intrinsic
def lanes_in(typing, one):
    """How many numbers of the dtype of `one` a vector holds."""
    count = lanes_of(one)

    def generate(context, builder, signature, arguments):
        return ir.Constant(ir.IntType(64), count)

    return types.intp(one), generate


@intrinsic
def memory(typing, one, base):
    """The memory at address `base` as a pointer to numbers of the dtype of `one`, for `carray`."""

    def generate(context, builder, signature, arguments):
        kind = context.get_value_type(signature.args[0])
        return builder.inttoptr(arguments[1], kind.as_pointer())

    return types.CPointer(one)(one, types.intp), generate


@intrinsic
def size_of(typing, one):
    """Bytes of a number of the dtype of `one`."""
    count = one.bitwidth // 8

    def generate(context, builder, signature, arguments):
        return ir.Constant(ir.IntType(64), count)

    return types.intp(one), generate


def ask_for(builder: ir.IRBuilder, place: Any, write: int = 0) -> None:
    """Ask for the cache line at an address; nothing waits, and no address is wrong."""
    byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    how = [ir.Constant(word, value) for value in (write, 2, 1)]
    builder.call(function, [builder.inttoptr(place, byte), *how])


def _prefetcher(write: int) -> Any:
    @intrinsic
    def fetch(typing, place):
        def generate(context, builder, signature, arguments):
            ask_for(builder, arguments[0], write)
            return context.get_dummy_value()

        return types.void(types.intp), generate

    return fetch


prefetch, prefetch_to_write = _prefetcher(0), _prefetcher(1)  # of the line at an address
