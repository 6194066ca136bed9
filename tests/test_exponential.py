"""exp, tanh and log of the cpu backend against extended precision, and at their ends."""

from __future__ import annotations

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from weightspace.kernels.cpu import exponential  # noqa: E402

DTYPES = (np.float32, np.float64)
LARGEST = {np.float32: 88.72, np.float64: 709.78}  # exp of more is infinite


def looped(function):
    """The scalar function over an array, compiled as the kernels are."""

    @numba.njit(fastmath={"contract"}, error_model="numpy")
    def loop(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    def call(x):
        y = np.empty_like(x)
        loop(x, y)
        return y

    return call


exp, tanh, log = (looped(getattr(exponential, name)) for name in ("exp", "tanh", "log"))


def units(found, exact):
    """Error in units in the last place of the exact value."""
    wide = exact.astype(np.longdouble)
    return float(np.abs((found - wide) / np.spacing(np.abs(exact.astype(found.dtype)))).max())


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_over_its_whole_range(dtype, rng):
    x = rng.uniform(-LARGEST[dtype] + 2, LARGEST[dtype], 200_000).astype(dtype)
    assert units(exp(x), np.exp(x.astype(np.longdouble))) < 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_at_its_ends(dtype):
    x = np.array([0, -0.0, np.inf, -np.inf, np.nan, LARGEST[dtype] + 0.1, -1e30, 1e30], dtype)
    expected = [1, 1, np.inf, 0, np.nan, np.inf, 0, np.inf]
    np.testing.assert_array_equal(exp(x), np.array(expected, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_runs_through_subnormal_numbers(dtype):
    least = np.log(np.finfo(dtype).tiny)
    x = np.linspace(least - 10, least, 1000).astype(dtype)
    step = float(np.finfo(dtype).smallest_subnormal)
    exact = np.exp(x.astype(np.longdouble))
    assert float(np.abs(exp(x) - exact).max()) < 2 * step + 4 * np.finfo(dtype).eps * exact.max()
    assert 0 < exp(x)[0] < np.finfo(dtype).tiny


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_keeps_its_accuracy_near_zero(dtype, rng):
    sizes = np.exp(rng.uniform(-30, 3, 200_000))
    x = (sizes * rng.choice([-1, 1], sizes.size)).astype(dtype)
    assert units(tanh(x), np.tanh(x.astype(np.longdouble))) < 3
    ends = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 100], dtype)
    found = tanh(ends)
    np.testing.assert_array_equal(found, np.array([0, 0, 1, -1, np.nan, 1], dtype))
    assert np.signbit(found[1]) and not np.signbit(found[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_of_positive_numbers(dtype, rng):
    x = np.exp(rng.uniform(-80, 80, 200_000)).astype(dtype)
    assert units(log(x), np.log(x.astype(np.longdouble))) < 3
    near = rng.uniform(0.8, 1.2, 100_000).astype(dtype)
    error = log(near) - np.log(near.astype(np.longdouble))
    assert float(np.abs(error).max()) < np.finfo(dtype).eps
    np.testing.assert_array_equal(log(np.array([1, np.nan], dtype)), np.array([0, np.nan], dtype))


def test_the_loop_over_exp_is_vectorised():
    """Speed is the reason for all this: the compiled loop must hold vector multiply-adds."""

    @numba.njit(fastmath={"contract"}, error_model="numpy")
    def loop(x, y):
        for i in range(x.size):
            y[i] = exponential.exp(x[i])

    loop(np.zeros(4, np.float32), np.zeros(4, np.float32))
    assembly = "".join(loop.inspect_asm().values())
    packed = ("vfmadd", "ymm") if "ymm" in assembly else ("mulps",)
    if not any(mark in assembly for mark in ("mulps", "fmla")):
        pytest.fail("no packed arithmetic in the loop over exp")
    assert all(mark in assembly for mark in packed) or "fmla" in assembly
