"""fma(a, b, c) = a b + c with one rounding: written where it is meant, and made nowhere else.

LLVM fuses products and sums by itself where fastmath's `contract` lets it, here and there as it
optimises: the process that compiled a kernel gave other bits than every later one that loaded it,
and another CPU gave others again. So kernels are compiled without fastmath, each operation rounds
as IEEE 754 says, and a fused one is a call of `fma`. LLVM vectorises it like a sum.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError

from .simd import Vector, call_llvm, intrinsic, splat


@intrinsic
def fma(typing, a, b, c):
    """a b + c of three floats of one type, or of vectors, beside which a number fills all lanes."""
    vectors = [kind for kind in (a, b, c) if isinstance(kind, Vector)]
    kind: Any = vectors[0] if vectors else c
    if not vectors and not (isinstance(c, types.Float) and a == b == c):
        raise TypingError(f"fma takes three floats of one type, not {a}, {b}, {c}")

    def generate(context, builder, signature, arguments):
        vector = context.get_value_type(kind)
        values = [
            _widened(context, builder, value, given, kind, vector)
            for value, given in zip(arguments, signature.args, strict=True)
        ]
        if isinstance(kind, Vector):
            return call_llvm(builder, "fma", vector, values)
        return call_llvm(builder, "fma", vector, values, suffix=f"f{kind.bitwidth}")

    return kind(a, b, c), generate


def _widened(context: Any, builder: ir.IRBuilder, value: ir.Value, given: Any, kind: Any, to: Any):
    """`value` of Numba type `given` as one of `kind`: a number in every lane."""
    if given == kind:
        return value
    scalar = context.cast(builder, value, types.unliteral(given), kind.scalar)
    return splat(builder, scalar, to)
