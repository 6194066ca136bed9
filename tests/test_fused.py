"""Rounding is written, not chosen by LLVM: fma where it says so, and sums in the written order."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pytest

numba = pytest.importorskip("numba", reason="the cpu backend needs numba")

from weightspace.kernels import cpu  # noqa: E402
from weightspace.kernels.cpu import vector  # noqa: E402
from weightspace.kernels.cpu.fused import fma  # noqa: E402


@numba.njit
def fused(a, b, c):
    return fma(a, b, c)


@numba.njit
def separate(a, b, c):
    return a * b + c


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_fma_rounds_once(real):
    a = real(1) + np.finfo(real).eps  # a^2 = 1 + 2 eps + eps^2, whose last term a product loses
    product = a * a
    assert fused(a, a, -product) == np.finfo(real).eps ** 2
    assert separate(a, a, -product) == 0


def test_fma_refuses_mixed_types():
    """One float64 among them would turn a float32 kernel into a float64 one, unnoticed."""
    with pytest.raises(numba.TypingError, match="three floats of one type"):
        fused(np.float32(1), np.float32(1), 1.0)


def test_nothing_is_compiled_with_fastmath():
    found = 0
    for part in pkgutil.iter_modules(cpu.__path__):
        module = importlib.import_module(f"{cpu.__name__}.{part.name}")
        for name, kernel in vars(module).items():
            if hasattr(kernel, "targetoptions"):
                found += 1
                assert not kernel.targetoptions.get("fastmath"), f"{module.__name__}.{name}"
    assert found > 100


def short_numbers(rng, shape, real):
    """Numbers of 12 bits and like size: their products and sums of these are exact in float64."""
    return (rng.integers(-2048, 2048, shape) / 4096).astype(real)


@pytest.mark.parametrize("inputs", [1, 15, 16, 17, 100, 784])
@pytest.mark.parametrize("rows", [1, 3, 4, 9])
def test_one_sample_is_summed_in_the_written_order(rng, inputs, rows):
    w = short_numbers(rng, (rows, inputs), np.float32)
    x = short_numbers(rng, inputs, np.float32)
    lanes = np.zeros((rows, 16), np.float32)
    for i in range(inputs):  # an fma is the exact value, rounded once
        exact = np.float64(w[:, i]) * np.float64(x[i]) + lanes[:, i % 16]
        lanes[:, i % 16] = exact.astype(np.float32)
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    y = np.empty(rows, np.float32)
    vector.dot_rows(x, w, y, False)
    np.testing.assert_array_equal(y, lanes[:, 0])
