"""Every kernel against its reference twin in float64, on sizes that fit no block."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightspace.kernels import available, codes, get_backend
from weightspace.kernels.spec import KERNELS, check, relative_error, tolerance

IMAGES = ("conv", "image", "norm")  # tests/test_conv.py has sizes for these
CASES = [(k.name, v) for k in KERNELS.values() if k.family not in IMAGES for v in k.variants]
SIZES = st.fixed_dictionaries(
    {
        # 1, sizes below, at and above ROWS, the tiles and BLOCK, and none a multiple of them
        "N": st.sampled_from([1, 2, 7, 8, 9, 33, 65, 130]),
        "I": st.sampled_from([1, 3, 31, 64, 65, 200]),
        "O": st.sampled_from([1, 2, 10, 63, 64, 65, 131]),
        "K": st.sampled_from([1, 2, 10, 17]),
        "V": st.just(1),
        "P": st.sampled_from([1, 5, 1023, 1025, 8191, 8193, 20_001]),
    }
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "variant"), CASES)
@given(sizes=SIZES, seed=st.integers(0, 2**16))
def test_backend_agrees_with_reference(name, variant, dtype, sizes, seed):
    for backend in available():
        error = check(get_backend(backend), KERNELS[name], sizes, dtype, variant, seed)
        assert error <= 1, f"{backend}: {error} times the tolerance"


def test_float64_tolerance_is_within_the_promise():
    assert tolerance(np.float64, 10_000) <= 1e-10


@pytest.mark.parametrize("name", ["activation_backward", "dense_accumulate"])
def test_stacked_cotangents(backend, name):
    sizes = {"N": 9, "I": 13, "O": 66, "V": 4}
    for variant in KERNELS[name].variants:
        assert check(get_backend(backend), KERNELS[name], sizes, np.float64, variant) <= 1


def test_dense_backward_takes_stacked_cotangents(ops, rng):
    x, w = rng.normal(size=(6, 5)), rng.normal(size=(4, 5))
    y, dy = rng.normal(size=(6, 4)), rng.normal(size=(3, 6, 4))
    dz, dx = np.empty((18, 4)), np.empty((18, 5))
    ops.dense_backward(x, w, y, dy.reshape(18, 4), codes.TANH, 0.0, 0.0, dz, None, None, dx)
    expected = dy * (1 - y**2)
    assert relative_error(dz.reshape(3, 6, 4), expected) <= tolerance(np.float64)
    assert relative_error(dx.reshape(3, 6, 5), expected @ w) <= tolerance(np.float64, 5)


@pytest.mark.parametrize("rows", [1, 70])
def test_products_and_sums_are_those_of_the_layers_bit_for_bit(ops, rng, rows):
    """Where a layer wants no more than a product or a sum, the numbers are those it had before."""
    x, w, dy = (rng.normal(size=shape).astype("f") for shape in ((rows, 90), (66, 90), (rows, 66)))
    y, dz, dw, dx = np.empty_like(dy), np.empty_like(dy), np.empty_like(w), np.empty_like(x)
    found = [np.full_like(array, np.nan) for array in (dy, w, x, x)]
    ops.dense_forward(x, w, None, codes.IDENTITY, 0.0, y)
    ops.dense_backward(x, w, y, dy, codes.IDENTITY, 0.0, 0.0, dz, dw, None, dx)
    for kernel, a, b, out, expected in zip(
        (ops.matmul_nt, ops.matmul_tn, ops.matmul_nn, ops.add),
        (x, dy, dy, x),
        (w, x, w, dx),
        found,
        (y, dw, dx, x + dx),
        strict=True,
    ):
        kernel(a, b, out)
        np.testing.assert_array_equal(out, expected)


def test_rows_may_be_strided(ops, rng):
    """Column slices of wider arrays: rows apart, last axis contiguous."""
    wide_x, wide_w = rng.normal(size=(70, 90)), rng.normal(size=(66, 100))
    x, w, b = wide_x[:, 3:40], wide_w[:, 20:57], rng.normal(size=66)
    y = np.full((70, 80), np.nan)[:, 5:71]
    ops.dense_forward(x, w, b, codes.RELU, 0.0, y)
    assert relative_error(y, np.maximum(x @ w.T + b, 0)) <= tolerance(np.float64, 37)


def test_a_strided_last_axis_is_refused(rng):
    pytest.importorskip("numba", reason="the cpu backend needs numba")
    x = rng.normal(size=(4, 10))[:, ::2]
    cpu, y = get_backend("cpu"), np.empty((4, 3))
    with pytest.raises(ValueError, match="last axis"):
        cpu.dense_forward(x, rng.normal(size=(3, 5)), None, codes.RELU, 0.0, y)
    for product, a, b in ((cpu.matmul_nn, x, np.ones((5, 3))), (cpu.matmul_tn, np.ones((5, 4)), y)):
        with pytest.raises(ValueError, match="last axis"):
            product(a, b, np.empty((6, 4)).T)


def test_nan_is_not_hidden(ops):
    """A rectifier that turned NaN into 0 would let a diverged network look alive."""
    for code in codes.ACTIVATIONS.values():
        y = np.zeros((1, 3))
        ops.activation_forward(code, 0.01, np.array([[np.nan, 1.0, -1.0]]), y)
        assert np.isnan(y[0, 0]) and np.isfinite(y[0, 1:]).all()
    logits = np.array([[0.0, np.nan, 1.0]])
    loss, d = np.zeros(1), np.zeros((1, 3))
    ops.softmax_cross_entropy(logits, np.array([0]), np.ones(3, bool), loss, d)
    assert np.isnan(loss).all()


def test_first_write_ignores_what_was_there(ops, rng):
    """beta 0 must overwrite even NaN: 0 * NaN would keep it."""
    x, w = rng.normal(size=(5, 70)), rng.normal(size=(66, 70))
    y = dy = rng.normal(size=(5, 66))
    dw, db = np.full((66, 70), np.nan), np.full(66, np.nan)
    ops.dense_backward(x, w, y, dy, codes.IDENTITY, 0.0, 0.0, np.empty_like(dy), dw, db, None)
    assert relative_error(dw, dy.T @ x) <= tolerance(np.float64, 5)
    assert relative_error(db, dy.sum(0)) <= tolerance(np.float64, 5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_neither_overflow_nor_underflow(ops, dtype):
    logits = np.array([[1e4, -1e4, 0.0], [-1e30, -1e30, -1e30]], dtype)
    loss, d, p = np.zeros(2, dtype), np.zeros((2, 3), dtype), np.zeros((2, 3), dtype)
    ops.softmax_cross_entropy(logits, np.array([1, 0]), np.ones(3, bool), loss, d)
    ops.softmax(logits, np.ones(3, bool), p)
    assert np.isfinite(d).all() and loss[0] == dtype(2e4)
    assert relative_error(p[1], np.full(3, 1 / 3, dtype)) <= tolerance(dtype)
    y = np.zeros((1, 2), dtype)
    ops.activation_forward(codes.SIGMOID, 0.0, np.array([[800.0, -800.0]], dtype), y)
    assert y.tolist() == [[1.0, 0.0]]


def test_inactive_classes_play_no_part(ops, rng):
    logits = rng.normal(size=(6, 5))
    active = np.array([False, True, True, False, True])
    labels = np.array([1, 2, 4, 1, 2, 4])
    loss, d, p = np.zeros(6), np.zeros((6, 5)), np.zeros((6, 5))
    ops.softmax_cross_entropy(logits, labels, active, loss, d)
    ops.softmax(logits, active, p)
    small = np.exp(logits[:, active])
    small /= small.sum(1, keepdims=True)
    assert relative_error(p[:, active], small) <= tolerance(np.float64, 3)
    assert not p[:, ~active].any() and not d[:, ~active].any()
    at = {1: 0, 2: 1, 4: 2}
    expected = -np.log(small[range(6), [at[label] for label in labels]])
    assert relative_error(loss, expected) <= tolerance(np.float64, 3)


def test_fisher_factor_is_a_square_root_of_the_metric(ops, rng):
    p = rng.dirichlet(np.ones(5), size=3)
    factor = np.empty((5, 3, 5))
    ops.softmax_fisher_factor(p, factor)
    metric = np.einsum("cni,cnj->nij", factor, factor)
    expected = np.einsum("ni,ij->nij", p, np.eye(5)) - np.einsum("ni,nj->nij", p, p)
    assert relative_error(metric, expected) <= tolerance(np.float64, 5)


def test_check_catches_a_wrong_kernel():
    """The check itself can fail: a backend off by a factor 1.001 is caught."""

    class Wrong:
        @staticmethod
        def sgd_update(theta, grad, lr, *streams):
            theta -= 1.001 * lr * grad

    sizes = {"P": 50}
    assert check(Wrong, KERNELS["sgd_update"], sizes, np.float64) > 1e3
