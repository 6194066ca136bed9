"""Rounding is written, not chosen by LLVM: fma where it says so, and sums in the written order."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pytest

numba = pytest.importorskip("numba", reason="the cpu backend needs numba")

from weightspace.kernels import cpu, get_backend  # noqa: E402
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
@pytest.mark.parametrize("samples", [1, 3, 9, 33])
def test_a_product_is_summed_in_the_written_order(rng, inputs, samples):
    """One chain of fma; here in arithmetic that needs no emulation."""
    w, x = (short_numbers(rng, (n, inputs), np.float32) for n in (9, samples))
    total = np.zeros((samples, 9), np.float32)
    for i in range(inputs):  # an fma is the exact value, rounded once
        exact = np.outer(x[:, i].astype(np.float64), w[:, i].astype(np.float64)) + total
        total = exact.astype(np.float32)
    y = np.empty_like(total)
    get_backend("cpu").matmul_nt(x, w, y)
    np.testing.assert_array_equal(y, total)
