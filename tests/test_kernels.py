"""Every kernel of every backend against its reference twin in float64, and those of dense layers.

Sizes fit no block. Losses, norms and images have corner cases of their own in
tests/test_kernel_corners.py, convolutions in tests/test_conv.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from backends import BACKENDS, find
from kernel_sizes import FLOATS, SIZES, STACKED, STACKING, fits, ladder
from weightspace.kernels import codes
from weightspace.kernels.spec import KERNELS, check, relative_error, tolerance


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_with_reference(backend, name, dtype):
    ops, kernel = find(backend), KERNELS[name]
    for variant in kernel.variants:
        for seed, sizes in enumerate(ladder(kernel, backend, variant)):
            if fits(kernel, sizes, variant):
                error = check(ops, kernel, sizes, dtype, variant, seed)
                assert error <= 1, f"{variant}, {sizes}: {error} times the tolerance"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [*STACKING, "conv2d_input_grad"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_stacked_cotangents(backend, name, dtype):
    """V cotangents: an axis of their own, or more samples."""
    ops, kernel = find(backend), KERNELS[name]
    stacked = [STACKED] if kernel.family == "conv" else [{**s, "V": 3} for s in SIZES[2:4]]
    if name not in STACKING:
        stacked = [{**s, "N": s["N"] * s["V"]} for s in stacked]
    for variant in kernel.variants:
        for sizes in stacked:
            assert check(ops, kernel, sizes, dtype, variant) <= 1, variant


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_bits_twice(backend, name):
    ops, kernel = find(backend), KERNELS[name]
    sizes = STACKED if kernel.family == "conv" else SIZES[4]
    arguments = kernel.arguments(np.random.default_rng(0), sizes, "float32")
    first, second = (kernel.run(ops, arguments) for _ in range(2))
    assert {key: a.tobytes() for key, a in first.items()} == {
        key: a.tobytes() for key, a in second.items()
    }


def test_float64_tolerance_is_within_the_promise():
    assert tolerance(np.float64, 10_000) <= 1e-10


def test_check_catches_a_wrong_kernel(untyped):
    """The check itself can fail: a backend off by a factor 1.001 is caught."""

    class Wrong:
        @staticmethod
        def sgd_update(theta, grad, lr, *streams):
            theta -= 1.001 * lr * grad

    sizes = {"P": 50}
    assert check(untyped(Wrong), KERNELS["sgd_update"], sizes, np.float64) > 1e3


# ---- dense layers -------------------------------------------------------------------------------


def test_dense_backward_takes_stacked_cotangents(ops, rng):
    x, w = rng.normal(size=(6, 5)), rng.normal(size=(4, 5))
    y, dy = rng.normal(size=(6, 4)), rng.normal(size=(3, 6, 4))
    dz, dx = np.empty((18, 4)), np.empty((18, 5))
    ops.dense_backward(x, w, y, dy.reshape(18, 4), codes.TANH, 0.0, 0.0, dz, None, None, dx)
    expected = dy * (1 - y**2)
    assert relative_error(dz.reshape(3, 6, 4), expected) <= tolerance(np.float64)
    assert relative_error(dx.reshape(3, 6, 5), expected @ w) <= tolerance(np.float64, 5)


def test_rows_may_be_strided(device_ops, rng):
    """Column slices of wider arrays: rows apart, last axis contiguous."""
    put, get = device_ops.device.put, device_ops.device.get
    wide_x, wide_w, b = rng.normal(size=(7, 90)), rng.normal(size=(6, 100)), rng.normal(size=6)
    y, dw, db = (put(np.full((7, columns), np.nan)) for columns in (20, 80, 9))
    x, w, dz = put(wide_x)[:, 3:13], put(wide_w)[:, 20:30], put(wide_x[:, :6].copy())
    device_ops.dense_forward(x, w, put(b), codes.RELU, 0.0, y[:, 5:11])
    expected = np.maximum(wide_x[:, 3:13] @ wide_w[:, 20:30].T + b, 0)
    assert relative_error(get(y)[:, 5:11], expected) <= tolerance(np.float64, 10)
    assert np.isnan(get(y)[:, :5]).all() and np.isnan(get(y)[:, 11:]).all()
    inner = put(wide_x[:, 3:13].copy())
    grads = dw[:, 7:67].reshape(7, 6, 10)
    device_ops.dense_sample_grads(inner, dz, grads, db[:, 2:8])
    expected = wide_x[:, :6, None] * wide_x[:, None, 3:13]
    assert np.array_equal(get(grads), expected)
    assert np.array_equal(get(db)[:, 2:8], wide_x[:, :6])


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_a_strided_last_axis_is_refused(backend, rng):
    """The compiled kernels would otherwise read other numbers, without a word."""
    ops = find(backend)
    put = ops.device.put
    x, w, y = put(rng.normal(size=(4, 10)))[:, ::2], put(np.ones((3, 5))), put(np.ones((4, 3)))
    with pytest.raises(ValueError, match="last axis"):
        ops.dense_forward(x, w, None, codes.RELU, 0.0, y)
    for name, a, b in (("matmul_nn", x, w.T), ("matmul_tn", put(np.ones((5, 4))), y)):
        with pytest.raises(ValueError, match=r"last axis|contiguous"):
            getattr(ops, name)(a, b, put(np.empty((6, 4))).T)


@pytest.mark.parametrize("rows", [1, 70])
def test_products_and_sums_are_those_of_the_layers_bit_for_bit(ops, rng, rows):
    """Where a layer wants no more than a product or a sum, the numbers are those it had before."""
    x, w, dy = (rng.normal(size=shape).astype("f") for shape in ((rows, 90), (66, 90), (rows, 66)))
    y, dz, dw, dx = np.empty_like(dy), np.empty_like(dy), np.empty_like(w), np.empty_like(x)
    ops.dense_forward(x, w, None, codes.IDENTITY, 0.0, y)
    ops.dense_backward(x, w, y, dy, codes.IDENTITY, 0.0, 0.0, dz, dw, None, dx)
    for name, a, b, expected in (
        ("matmul_nt", x, w, y), ("matmul_tn", dy, x, dw), ("matmul_nn", dy, w, dx),
        ("add", x, dx, x + dx),
    ):  # fmt: skip
        found = np.full_like(expected, np.nan)
        getattr(ops, name)(a, b, found)
        np.testing.assert_array_equal(found, expected)


def test_first_write_ignores_what_was_there(ops, rng):
    """beta 0 must overwrite even NaN: 0 * NaN would keep it."""
    x, w = rng.normal(size=(5, 70)), rng.normal(size=(66, 70))
    y = dy = rng.normal(size=(5, 66))
    dw, db = np.full((66, 70), np.nan), np.full(66, np.nan)
    ops.dense_backward(x, w, y, dy, codes.IDENTITY, 0.0, 0.0, np.empty_like(dy), dw, db, None)
    assert relative_error(dw, dy.T @ x) <= tolerance(np.float64, 5)
    assert relative_error(db, dy.sum(0)) <= tolerance(np.float64, 5)
