"""The rounding rule of int8: exact, the same in C to the bit, and convolutions of every shape."""

from __future__ import annotations

import ctypes
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
from exported import Device
from hypothesis import given
from hypothesis import strategies as st
from weightspace.kernels.c.library import HEADERS, STRICT, build, compiler, machine_flags
from weightspace.kernels.c.sources import needed, preamble
from weightspace.kernels.errors import MissingCompilerError, SettingError
from weightspace.nnlite.export.int8 import Quantised, print_c
from weightspace.nnlite.export.int8.operations import AveragePool, Convolution, Ends, MaxPool
from weightspace.nnlite.export.int8.quantised import Tensor
from weightspace.nnlite.export.int8.rounding import Fixed, Grid, fixed, scaled

INT32 = st.integers(-(2**31) + 1, 2**31 - 1)


@cache
def functions() -> Any:
    """A few of the C functions, which can be called."""
    try:
        compiler()
    except MissingCompilerError as wrong:
        pytest.skip(str(wrong))
    names = ("ws_q_scaled", "ws_q_even", "ws_q_odd", "ws_q_smlad", "ws_q_quantise")
    parts = [HEADERS, preamble(), *(each.text for each in needed(names))]
    text = "\n".join(parts).replace("static ", "")
    relaxed = [flag for flag in STRICT if flag != "-Werror"]
    return ctypes.CDLL(str(build(text, (*relaxed, "-O2", *machine_flags()))))


@given(INT32, st.integers(2**30, 2**31 - 1), st.integers(1, 62))
def test_scaled_is_floor_of_a_half_more(a, m, n):
    exact = (Fraction(a * m, 2**n) + Fraction(1, 2)).__floor__()
    assert scaled(np.array([a], np.int64), m, n)[0] == exact
    held = min(max(exact, -(2**31)), 2**31 - 1)
    assert functions().ws_q_scaled(a, m, n) == held


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 34, 45, 59])
def test_ties_go_up(n):
    """2.5 becomes 3 and -2.5 becomes -2, wherever the shift cuts."""
    m = 1 << min(n - 1, 30)
    a = 5 * (1 << (n - 1)) // m
    for sum_, rounded in ((a, 3), (-a, -2)):
        assert scaled(np.array([sum_]), m, n)[0] == rounded
        assert functions().ws_q_scaled(sum_, m, n) == rounded


@given(st.floats(1e-25, 2.0**29))
def test_fixed_point_numbers_are_near(real):
    found = fixed(real)
    assert 0 <= found.multiplier < 2**31
    assert 1 <= found.shift <= 62
    error = abs(Fraction(found.multiplier, 2**found.shift) / Fraction(real) - 1)
    assert error <= Fraction(1, 2**31) or real < 2.0**-31


def test_fixed_point_numbers_at_the_ends():
    assert fixed(1.0) == Fixed(1 << 30, 30)
    assert fixed(float(np.nextafter(1.0, 0))) == Fixed(1 << 30, 30)  # rounds up to 1
    for wrong in (0.0, -1.0, 2.0**30, float("inf"), float("nan")):
        with pytest.raises(SettingError, match="must lie in"):
            fixed(wrong)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(-(10**6), 10**6))
def test_pairs_of_products(a, b, total):
    """The bytes of two words, multiplied two and two, as Cortex-M4's instructions do it."""
    said = functions()
    for name in ("ws_q_even", "ws_q_odd"):
        getattr(said, name).restype = ctypes.c_uint32
    for name, first in (("ws_q_even", 0), ("ws_q_odd", 1)):
        one, two = (getattr(said, name)(ctypes.c_uint32(word)) for word in (a, b))
        x, y = (np.array([w], "<u4").view(np.int8).astype(int)[first::2] for w in (a, b))
        found = said.ws_q_smlad(ctypes.c_uint32(one), ctypes.c_uint32(two), total)
        assert found == total + int(x @ y)


@given(st.lists(st.floats(width=32), min_size=1, max_size=40), st.integers(-128, 127),
       st.floats(2.0**-20, 2.0**10, width=32))  # fmt: skip
def test_floats_become_int8_alike(numbers, zero, scale):
    """Of any float32: what lies between, subnormal ones, infinities and NaN."""
    grid = Grid(scale, zero)
    ties = np.float32(scale) * (np.arange(-6, 7) + 0.5)
    x = np.concatenate([np.array(numbers), ties]).astype(np.float32)
    found = np.empty(x.size, np.int8)
    functions().ws_q_quantise(
        x.ctypes.data_as(ctypes.c_void_p), ctypes.c_float(float(grid.inverse)), zero,
        found.ctypes.data_as(ctypes.c_void_p), x.size,
    )  # fmt: skip
    assert np.array_equal(found, grid.quantised(x))


def test_halves_go_up_at_the_input():
    t = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, np.nextafter(np.float32(0.5), np.float32(0)), np.nan])
    assert Grid(1.0, 0).quantised(t).tolist() == [-2, -1, 0, 1, 2, 0, -128]


# ---- images --------------------------------------------------------------------------------------


def one(operation: Any, image: tuple[int, int, int], shape: tuple[int, int, int]) -> Quantised:
    """A network of one operation."""
    grid = Grid(0.5, 3)
    return Quantised((Tensor(image, grid), Tensor(shape, grid)), (operation,), 1)


def same_in_c(made: Quantised) -> np.ndarray:
    """The outputs of some samples, which are the same in C."""
    q = np.random.default_rng(0).integers(-128, 128, (5, *made.input_shape)).astype(np.int8)
    y = made.predict_int8(q)
    device, found = Device(print_c(made)), np.empty_like(y)
    for image, out in zip(q, found, strict=True):
        device.predict_int8(image, out)
    assert np.array_equal(found, y)
    return y


def convolution(
    groups: int, filters: int, each: int, size: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int], dilation: tuple[int, int], image: tuple[int, int], more: int,
) -> tuple[Convolution, tuple[int, int, int], tuple[int, int, int]]:  # fmt: skip
    """One of random weights. more: rows and columns of padding after the image."""
    rng = np.random.default_rng(3)
    spans = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    high, wide = (
        (long + before + more - span) // step + 1
        for long, before, span, step in zip(image, padding, spans, stride, strict=True)
    )
    out = high, wide
    whole, channels = filters * groups, each * groups
    made = Convolution(
        "conv", (0,), 1, rng.integers(-127, 128, (whole, *size, each)).astype(np.int8),
        rng.integers(-999, 999, whole).astype(np.int32),
        rng.integers(2**30, 2**31 - 1, whole).astype(np.int32),
        rng.integers(38, 44, whole).astype(np.uint8), Ends(-7, -100, 120), (*image, channels), out,
        11, stride, padding, dilation, groups,
    )  # fmt: skip
    return made, (*image, channels), (high, wide, whole)


def by_hand(conv: Convolution, x: np.ndarray) -> np.ndarray:
    """A convolution, number by number."""
    groups, (_, r_count, s_count, each) = conv.groups, conv.weight.shape
    y = np.empty((*conv.size, len(conv.weight)), np.int64)
    for i, j, o in np.ndindex(y.shape):
        total, group = int(conv.bias[o]), o // (len(conv.weight) // groups)
        for r, s, c in np.ndindex(r_count, s_count, each):
            row = i * conv.stride[0] - conv.padding[0] + r * conv.dilation[0]
            column = j * conv.stride[1] - conv.padding[1] + s * conv.dilation[1]
            inside = 0 <= row < x.shape[0] and 0 <= column < x.shape[1]
            value = int(x[row, column, group * each + c]) if inside else conv.xzero
            total += value * int(conv.weight[o, r, s, c])
        m, n = int(conv.multiplier[o]), int(conv.shift[o])
        y[i, j, o] = (Fraction(total * m, 2**n) + Fraction(1, 2)).__floor__()
    return np.clip(y + conv.ends.zero, conv.ends.low, conv.ends.high)


SHAPES = {
    "plain": (1, 5, 3, (3, 3), (1, 1), (1, 1), (1, 1), (6, 5), 1),
    "asymmetric": (1, 4, 4, (2, 3), (2, 1), (0, 2), (1, 1), (7, 6), 1),
    "dilated": (1, 6, 2, (3, 2), (1, 2), (2, 0), (2, 3), (8, 9), 2),
    "wider than the image": (1, 4, 3, (3, 7), (1, 1), (1, 3), (1, 1), (3, 2), 3),
    "groups": (2, 5, 3, (3, 3), (1, 1), (1, 1), (1, 1), (5, 6), 1),
    "depthwise": (7, 1, 1, (3, 3), (2, 2), (1, 0), (1, 1), (7, 8), 1),
    "depthwise, dilated": (4, 1, 1, (3, 2), (1, 1), (2, 2), (2, 2), (6, 6), 2),
    "several filters a channel": (3, 2, 1, (3, 3), (1, 1), (0, 1), (1, 1), (5, 5), 0),
    "1 x 1 and padding": (1, 3, 5, (1, 1), (2, 1), (0, 0), (1, 1), (4, 4), 2),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_convolutions(shape, c_compiler):
    made, image, out = convolution(*SHAPES[shape])
    y = same_in_c(one(made, image, out))
    q = np.random.default_rng(0).integers(-128, 128, (5, *image)).astype(np.int8)
    assert np.array_equal(by_hand(made, q[0]), y[0])
    assert len(np.unique(y)) > 20  # neither all clamped nor all alike


@pytest.mark.parametrize("padding", [(0, 0), (2, 1)])
def test_max_pools(padding, c_compiler):
    pool = MaxPool("pool", (0,), 1, (7, 6, 3), (4, 3), (3, 2), (2, 2), padding)
    y = same_in_c(one(pool, (7, 6, 3), (4, 3, 3)))
    q = np.random.default_rng(0).integers(-128, 128, (5, 7, 6, 3)).astype(np.int8)
    top, left = 2 - padding[0], 4 - padding[1]
    assert y[2, 1, 2, 1] == q[2, max(top, 0) : top + 3, left : left + 2, 1].max()


def test_average_pools_of_uneven_windows(c_compiler):
    rows, columns = (np.array(b, np.uint16) for b in ([[0, 2], [1, 5]], [[0, 1], [1, 4], [3, 5]]))
    scales = [fixed(1 / int(area)) for area in np.outer([2, 4], [1, 3, 2]).ravel()]
    pool = AveragePool(
        "pool", (0,), 1, (5, 5, 2), rows, columns, np.array([m for m, _ in scales], np.int32),
        np.array([n for _, n in scales], np.uint8), 3, 3,
    )  # fmt: skip
    y = same_in_c(one(pool, (5, 5, 2), (2, 3, 2)))
    q = np.random.default_rng(0).integers(-128, 128, (5, 5, 5, 2)).astype(np.int8)
    mean = q[1, 1:5, 1:4, 0].astype(float).mean()
    assert y[1, 1, 1, 0] == np.floor(mean + 0.5)
