"""exp, tanh and log that LLVM can vectorise: no branch, no table, no call.

The C library's functions are a call for each element: 1 ns of exp in sigmoid, 7 ns of tanh. Here
x = n ln 2 + r with |r| <= ln 2 / 2; exp(r) - 1 is a polynomial, and 2^n is made of the bits of n.
Errors stay within 3 units in the last place (tests/test_exponential.py). NaN gives NaN; the ends
overflow to infinity and run through the subnormal numbers to 0, as they should.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from ..series import FLOAT32, FLOAT64, LN2, LOG2E, MIDDLE
from .fused import fma
from .tiles import inner, serial


def _intrinsic(generator: Any) -> Any:
    """numba.extending.intrinsic; mypy would take the generator's arguments for the function's."""
    return intrinsic(generator)


def _sized(builder, number, n, like):
    """The integer `number` of type n, cut to the size of `like`: Numba widens int32 to int64."""
    size = ir.IntType(like.bitwidth)
    return builder.trunc(number, size) if n.bitwidth > like.bitwidth else number


@_intrinsic
def _bits(context, x):
    """The bits of a float as a signed integer of its size."""
    whole = types.Integer.from_bitwidth(x.bitwidth, True)

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(x.bitwidth))

    return whole(x), generate


@_intrinsic
def _power_of_two(context, n, like):
    """2.0^n in the dtype of `like`, for n within its exponents: n's bits where they belong."""
    series = FLOAT32 if like.bitwidth == 32 else FLOAT64

    def generate(context, builder, signature, arguments):
        size, number = ir.IntType(like.bitwidth), _sized(builder, arguments[0], n, like)
        moved = builder.shl(builder.add(number, size(series.bias)), size(series.digits))
        return builder.bitcast(moved, context.get_value_type(like))

    return like(n, like), generate


@_intrinsic
def _float(context, n, like):
    """The float with the bits n, in the dtype of `like`."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(_sized(builder, arguments[0], n, like), context.get_value_type(like))

    return like(n, like), generate


def _reduce(x) -> Any:
    """(exp(r) - 1, n) of x = n ln 2 + r."""
    raise NotImplementedError("only inside compiled code")


@overload(_reduce, inline="always")
def _reduce_of_dtype(x):
    constants = FLOAT32 if x == types.float32 else FLOAT64
    real: Any = np.float32 if x == types.float32 else np.float64
    high, low, magic = real(constants.high), real(constants.low), real(constants.magic)
    least, most, log2e = real(constants.least), real(constants.most), real(LOG2E)
    magic_bits = int(magic.view(np.int32 if real is np.float32 else np.int64))
    first, rest = real(constants.polynomial[0]), tuple(map(real, constants.polynomial[1:]))

    def reduce(x):
        x = least if x < least else x  # this way round, NaN stays NaN
        x = most if x > most else x
        t = fma(x, log2e, magic)
        n = t - magic
        r = fma(-n, low, fma(-n, high, x))
        p = first
        for c in rest:
            p = fma(p, r, c)
        return fma(p * r, r, r), _bits(t) - magic_bits

    return reduce


@serial
def exp(x):
    """e^x in the dtype of x."""
    p, n = _reduce(x)
    half = n >> 1  # twice a half: 2^n itself would not reach into the subnormal numbers
    return (p + type(x)(1)) * _power_of_two(half, x) * _power_of_two(n - half, x)


@inner
def expm1_negative(x):
    """e^x - 1 for x <= 0, exact near 0 too."""
    p, n = _reduce(x)
    half = n >> 1
    scale = _power_of_two(half, x) * _power_of_two(n - half, x)
    return fma(scale, p, scale - type(x)(1))


@serial
def tanh(x):
    """tanh x = -m / (m + 2) with m = exp(-2 x) - 1 for x >= 0, and odd."""
    two = type(x)(2)
    m = expm1_negative(-two * abs(x))
    return math.copysign(m / (m + two), x)


def _split(x) -> Any:
    """(m, e) of a positive, normal x = m 2^e, sqrt(1/2) <= m < sqrt(2)."""
    raise NotImplementedError("only inside compiled code")


@overload(_split, inline="always")
def _split_of_dtype(x):
    digits = (FLOAT32 if x == types.float32 else FLOAT64).digits
    real: Any = np.float32 if x == types.float32 else np.float64
    middle = int(real(MIDDLE).view(np.int32 if real is np.float32 else np.int64))

    def split(x):
        bits = _bits(x)
        e = (bits - middle) >> digits
        return _float(bits - (e << digits), x), type(x)(e)

    return split


def _log_series(x) -> Any:
    """1/3, 1/5, ...: as many terms of atanh's series as the dtype of x can tell, the last first."""
    raise NotImplementedError("only inside compiled code")


@overload(_log_series, inline="always")
def _log_series_of_dtype(x):
    series, real = (FLOAT32, np.float32) if x == types.float32 else (FLOAT64, np.float64)
    terms = tuple(map(real, series.logarithm))
    return lambda x: terms


@serial
def log(x):
    """ln x for a positive, normal x: e ln 2 + 2 atanh(s), s = (m - 1) / (m + 1). NaN gives NaN."""
    m, e = _split(x)
    one = type(x)(1)
    s = (m - one) / (m + one)
    square = s * s
    p = type(x)(0)
    for c in _log_series(x):
        p = fma(p, square, c)
    value = fma(e, type(x)(LN2), fma((s + s) * square, p, s + s))
    return x if math.isnan(x) else value  # the bits of NaN make a number like any other
