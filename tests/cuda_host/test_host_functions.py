"""What CUDA's language has by itself: mathematics, bits, vectors, atomics, tensor cores.

NVRTC must accept the same sources, so that what the host offers is what a GPU has.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from weightspace.kernels.cuda.nvrtc import CUPY_OPTIONS, nvrtc
from weightspace.kernels.errors import MissingExtraError

f4, u4, u8 = np.float32, np.uint32, np.uint64
TEMPLATES = {
    "clean.cu": ["product<float, 8>", "product<double, 4>"],
    "functions.cu": ["mathematics<float>", "mathematics<double>"],
}


@pytest.mark.parametrize("filename", ["clean.cu", "bugs.cu", "functions.cu"])
def test_nvrtc_accepts_the_same_source(filename):
    source = Path(__file__).with_name(filename).read_text().replace("assert(", "(void)(")
    options = ("--std=c++17", *CUPY_OPTIONS, "-arch=sm_90")
    try:
        nvrtc().compile(source, filename, TEMPLATES.get(filename, []), options)
    except MissingExtraError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def run(device, kernel):
    """run(name, threads, *args): one block of functions.cu; NumPy arrays go there and back."""

    def launch(name, threads, *args):
        there = [device.put(arg) for arg in args]
        device.launch(kernel("functions.cu", name), (1,), (threads,), there)
        return [array.get() for array in there]

    return launch


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_mathematics(run, values, dtype):
    a, b = values(32, dtype), np.abs(values(64, dtype)[32:]) + np.dtype(dtype).type(1)
    name = {"f4": "mathematics<float>", "f8": "mathematics<double>"}[dtype]
    out = run(name, 32, a, b, np.empty((18, 32), dtype))[2]
    erf = np.array([math.erf(value) for value in a], dtype)
    expected = [
        np.exp(a), np.log(b), np.tanh(a), np.sqrt(b), 1 / np.sqrt(b), np.abs(a), a * b + a,
        np.minimum(a, b), np.maximum(a, b), np.minimum(a, b), np.maximum(a, b), b**a, np.floor(a),
        np.expm1(a), np.log1p(b), erf, np.ones(32), np.where(a < 0, a[0], 0),
    ]  # fmt: skip
    rtol = 1e-5 if dtype == "f4" else 1e-12
    np.testing.assert_allclose(out, np.array(expected, dtype), rtol=rtol, atol=rtol)


def test_functions_of_floats(run, values):
    a, b = values(32), np.abs(values(64)[32:]) + f4(0.5)
    out = run("of_floats", 32, a, b, np.empty((17, 32), f4))[2]
    expected = [
        np.exp(a), np.log(b), np.tanh(a), np.sqrt(b), 1 / np.sqrt(b), np.abs(a), a * b + a,
        np.minimum(a, b), np.maximum(a, b), np.exp(a), np.log(b), a / b, a * b + a,
        np.clip(a, 0, 1), np.rint(a), a, np.where(a > 0, np.inf, np.nan),
    ]  # fmt: skip
    np.testing.assert_allclose(out, np.array(expected, f4), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(out[12], a * b + a)  # rounded twice, not fused


def test_nan_is_never_the_smaller_or_larger(run):
    a = np.array([np.nan, 1, np.nan], f4)
    b = np.array([2, np.nan, np.nan], f4)
    out = run("mathematics<float>", 3, a, b, np.empty((18, 3), f4))[2]
    for row in out[7:11]:
        np.testing.assert_array_equal(row, [2, 1, np.nan])


def test_functions_of_bits(run, values):
    rng = np.random.default_rng(3)
    a, b = rng.integers(1, 2**32, 32, u4), rng.integers(1, 2**64, 32, u8)
    out = run("of_bits", 32, a, b, np.empty((11, 32), u8))[2]
    p, q = [int(one) for one in a], [int(one) for one in b]
    expected = [
        [one * 0x9E3779B9 >> 32 for one in p],
        [one * 0x9E3779B97F4A7C15 >> 64 for one in q],
        [one.bit_count() for one in p],
        [one.bit_count() for one in q],
        [32 - one.bit_length() for one in p],
        [64 - one.bit_length() for one in q],
        [(one & -one).bit_length() for one in p],
        [int(f"{one:032b}"[::-1], 2) for one in p],
        [min(one, 1000) for one in p],
        [max(one, 1000) for one in q],
        q,
    ]
    np.testing.assert_array_equal(out, np.array(expected, u8))


def test_vectors(run):
    a, b = np.array([1, 2, 3, 4], f4), np.array([5.0, 7.5])
    c, d = np.array([6, 7], np.int32), np.array([8, 0, 0, 9], np.uint8)
    out = run("of_vectors", 1, a, b, c, d, np.empty(5))[4]
    np.testing.assert_array_equal(out, [5, -2.5, 42, 17, 16 + 12 + 16 + 4])


def test_atomics(any_device, kernel):
    count = any_device.put(np.array([0, 0, 2**32 - 1, 0, 0, 0, 0], u4))
    sums, total = any_device.zeros(1, "f8"), any_device.zeros(1, u8)
    extremes = any_device.zeros(2, np.int32)
    args = (count, sums, extremes, total)
    any_device.launch(kernel("functions.cu", "of_atomics"), (2,), (32,), args)
    assert sums.get()[0] == 32 and total.get()[0] == 192
    assert extremes.tolist() == [63, -63]
    added, ored, anded, xored, wrapped, swapped, exchanged = count.tolist()
    assert (added, ored, anded, xored) == (64, 2**32 - 1, 0, 0)
    assert (wrapped, exchanged) == (64 % 10, 77) and 1 <= swapped <= 64


def tf32(x: np.ndarray) -> np.ndarray:
    """The nearest numbers with 10 bits of mantissa, of two equally near the one further from 0."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    scaled = np.ldexp(mantissa, 11)
    away = np.trunc(scaled + np.copysign(0.5, scaled))
    return np.ldexp(away, exponent - 11)


def test_rounding_to_tf32(run, values):
    ties = np.array([1 + 2.0**-11, -1 - 2.0**-11, 1 + 3 * 2.0**-11, 1 + 2.0**-12, 0, -0.0], f4)
    x = np.concatenate([ties, values(256), f4(1e-30) * values(256)])
    bits = run("rounded_to_tf32", len(x), x, np.empty(len(x), u4))[1]
    assert not (bits & 0x1FFF).any()
    np.testing.assert_array_equal(bits.view(f4), tf32(x).astype(f4))


def test_tf32_of_what_is_not_finite(run):
    x = np.array([np.inf, -np.inf, np.nan, np.finfo(f4).max], f4)
    rounded = run("rounded_to_tf32", 4, x, np.empty(4, u4))[1].view(f4)
    np.testing.assert_array_equal(rounded, [np.inf, -np.inf, np.nan, np.inf])


def test_a_product_on_tensor_cores(any_device, kernel, values):
    a, b, c = values((16, 8)), values((24, 8))[16:], values((40, 8))[24:]
    d = any_device.empty((16, 8), f4)
    args = (*(any_device.put(array) for array in (a, b, c)), d)
    any_device.launch(kernel("functions.cu", "tensor_core"), (1,), (32,), args)
    expected = (c + tf32(a) @ tf32(b)).astype(f4)
    np.testing.assert_allclose(d.get(), expected, rtol=1e-6, atol=1e-6)
    assert not np.allclose(d.get(), c + a @ b, rtol=1e-6, atol=1e-6)  # it did round
