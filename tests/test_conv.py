"""Convolutions: Winograd's bound, every way of computing them, and what they leave untouched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weightspace.kernels import available, get_backend, reference
from weightspace.kernels.spec import KERNELS, check, relative_error, tolerance

CONV = [(k.name, v) for k in KERNELS.values() if k.family == "conv" for v in k.variants]
IMAGES = [
    (k.name, v) for k in KERNELS.values() if k.family in ("image", "norm") for v in k.variants
]
# Sizes that fit no vector, tile or panel. At least three filters: a single sum may cancel to
# nothing, which leaves no scale to judge its error by.
SIZES = st.fixed_dictionaries(
    {
        "N": st.sampled_from([1, 2, 5]),
        "H": st.sampled_from([5, 6, 8, 9, 13]),
        "W": st.sampled_from([5, 6, 7, 8, 12]),
        "C": st.sampled_from([1, 3, 4, 16, 17, 35]),
        "O": st.sampled_from([3, 5, 16, 20, 32, 40, 70]),
        "R": st.sampled_from([1, 2, 3, 5]),
        "S": st.sampled_from([1, 2, 3, 5]),
        "T": st.sampled_from([1, 2, 7, 64, 100]),
        "V": st.just(1),
    }
)
CHANNELS = st.sampled_from([3, 4, 16, 17, 35])
THREES = st.fixed_dictionaries(
    {
        "N": st.sampled_from([1, 3]),
        "H": st.sampled_from([3, 4, 8, 11, 33]),
        "W": st.sampled_from([3, 5, 8, 10]),
        "C": st.sampled_from([8, 16, 33, 64, 100]),
        "O": st.sampled_from([8, 15, 48, 64, 130]),
        "R": st.just(3),
        "S": st.just(3),
        "V": st.just(1),
    }
)


def agree(name, variant, dtype, sizes, seed):
    for backend in available():
        error = check(get_backend(backend), KERNELS[name], sizes, dtype, variant, seed)
        assert error <= 1, f"{backend}: {error} times the tolerance"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "variant"), CONV)
@settings(max_examples=12)
@given(sizes=SIZES, seed=st.integers(0, 2**16))
def test_convolutions_agree_with_reference(name, variant, dtype, sizes, seed):
    agree(name, variant, dtype, sizes, seed)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "variant"), IMAGES)
@settings(max_examples=12)
@given(sizes=SIZES, channels=CHANNELS, seed=st.integers(0, 2**16))
def test_pooling_and_norms_agree_with_reference(name, variant, dtype, sizes, channels, seed):
    agree(name, variant, dtype, {**sizes, "C": channels}, seed)


@pytest.mark.parametrize("name", [k for k in KERNELS if k.startswith("conv2d_")])
@settings(max_examples=12)
@given(sizes=THREES, seed=st.integers(0, 2**16))
def test_three_by_three_agrees_where_winograd_is_used(name, sizes, seed):
    for dtype in (np.float32, np.float64):
        for backend in available():
            assert check(get_backend(backend), KERNELS[name], sizes, dtype, "", seed) <= 1


@pytest.mark.parametrize("name", ["conv2d_accumulate", "norm_accumulate"])
def test_stacked_cotangents(backend, name):
    sizes = {"N": 3, "H": 6, "W": 7, "C": 5, "O": 9, "R": 3, "S": 2, "V": 4, "T": 6}
    for variant in KERNELS[name].variants:
        assert check(get_backend(backend), KERNELS[name], sizes, np.float64, variant) <= 1


def convolve(ops, x, w, stride=(1, 1), padding=(1, 1)):
    """x * w, without bias or activation."""
    h, across = (
        (x.shape[i + 1] + 2 * padding[i] - w.shape[i + 1]) // stride[i] + 1 for i in (0, 1)
    )
    y = np.empty((len(x), h, across, len(w)), x.dtype)
    size = ops.conv2d_workspace("conv2d_forward", x.shape, w.shape, stride, padding)
    work = np.full(size, np.nan, x.dtype)
    ops.conv2d_forward(x, w, None, stride, padding, 0, 0.0, work, y)
    return y


def test_winograd_keeps_within_its_own_bound(rng):
    """The stated bound in float32: an error of 2e-5 of the largest output, for 16 to 256 channels.

    The direct sum's is about 1e-6; F(4x4, 3x3) trades a digit for three quarters of the products.
    """
    pytest.importorskip("numba", reason="Winograd is the cpu backend's, which needs numba")
    for channels in (16, 64, 256):
        x = rng.normal(size=(2, 16, 16, channels)).astype("f")
        w = rng.normal(size=(32, 3, 3, channels)).astype("f")
        exact = convolve(reference, x.astype("d"), w.astype("d"))
        assert relative_error(convolve(get_backend("cpu"), x, w), exact) <= 2e-5
        wide = convolve(get_backend("cpu"), x.astype("d"), w.astype("d"))
        assert relative_error(wide, exact) <= 1e-13


def test_a_convolution_is_a_dense_layer_where_the_window_is_the_image(ops, rng):
    x, w = rng.normal(size=(4, 5, 3, 7)), rng.normal(size=(6, 5, 3, 7))
    found = convolve(ops, x, w, (1, 1), (0, 0))
    expected = x.reshape(4, -1) @ w.reshape(6, -1).T
    assert relative_error(found.reshape(4, 6), expected) <= tolerance("float64", 105)


def test_one_by_one_is_a_product_of_channels(ops, rng):
    x, w = rng.normal(size=(3, 4, 5, 20)), rng.normal(size=(33, 1, 1, 20))
    found = convolve(ops, x, w, (1, 1), (0, 0))
    assert relative_error(found, x @ w[:, 0, 0].T) <= tolerance("float64", 20)


def test_a_stride_larger_than_the_kernel_leaves_gaps(ops, rng):
    """Pixels that no window sees get a cotangent of exactly zero, whatever lay in the buffer."""
    w, dz = rng.normal(size=(4, 1, 1, 3)), rng.normal(size=(2, 3, 3, 4))
    dx = np.full((2, 7, 8, 3), np.nan)
    size = ops.conv2d_workspace("conv2d_input_grad", dx.shape, w.shape, (3, 3), (0, 0))
    ops.conv2d_input_grad(dz, w, (3, 3), (0, 0), np.empty(size), dx)
    expected = np.zeros_like(dx)
    expected[:, ::3, ::3] = dz @ w[:, 0, 0]
    assert relative_error(dx, expected) <= tolerance("float64", 4)


def test_nan_reaches_every_output_that_sees_it(ops, rng):
    x, w = rng.normal(size=(1, 8, 8, 16)), rng.normal(size=(16, 3, 3, 16))
    x[0, 4, 4, 3] = np.nan
    y = convolve(ops, x, w)
    assert np.isnan(y[0, 3:6, 3:6]).all()


def test_too_little_scratch_and_strided_images_are_refused(rng):
    """Both would otherwise be read and written out of bounds, without a word."""
    pytest.importorskip("numba", reason="scratch is the cpu backend's, which needs numba")
    ops = get_backend("cpu")
    x, w = rng.normal(size=(2, 8, 8, 16)), rng.normal(size=(16, 3, 3, 16))
    y, where = np.empty_like(x), ((1, 1), (1, 1))
    size = ops.conv2d_workspace("conv2d_forward", x.shape, w.shape, *where)
    with pytest.raises(ValueError, match="conv2d_workspace"):
        ops.conv2d_forward(x, w, None, *where, 0, 0.0, np.empty(size // 9), y)
    with pytest.raises(ValueError, match="contiguous"):
        ops.conv2d_forward(x[:, ::-1], w, None, *where, 0, 0.0, np.empty(size), y)
    with pytest.raises(ValueError, match="conv2d_workspace"):
        ops.conv2d_accumulate(x, y[None], *where, 2, np.empty(10), w, None)


def test_the_first_of_equal_values_wins(ops):
    x = np.zeros((1, 4, 4, 1))
    index, y = np.empty((1, 2, 2, 1), np.uint16), np.empty((1, 2, 2, 1))
    ops.max_pool_forward(x, (2, 2), (2, 2), (0, 0), index, y)
    dx = np.empty_like(x)
    ops.max_pool_backward(index, np.ones_like(y), (2, 2), (2, 2), (0, 0), dx)
    assert dx[0, :, :, 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_padding_never_wins_a_maximum(ops):
    for fill in (-1.0, -np.inf):
        x = np.full((1, 3, 3, 2), fill)
        index, y = np.empty((1, 2, 2, 2), np.uint16), np.empty((1, 2, 2, 2))
        ops.max_pool_forward(x, (3, 3), (2, 2), (1, 1), index, y)
        assert (y == fill).all()
        dx = np.empty_like(x)
        ops.max_pool_backward(index, np.ones_like(y), (3, 3), (2, 2), (1, 1), dx)
        assert dx.sum() == y.size


def test_nan_wins_a_maximum(ops):
    x = np.array([[1.0, np.nan], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    index, y = np.empty((1, 1, 1, 1), np.uint16), np.empty((1, 1, 1, 1))
    ops.max_pool_forward(x, (2, 2), (2, 2), (0, 0), index, y)
    assert np.isnan(y).all() and index.item() == 1


@given(count=st.integers(1, 9), length=st.integers(1, 12), seed=st.integers(0, 99))
def test_adaptive_pooling_divides_as_torch_does(count, length, seed):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    from weightspace.nnlite import AdaptiveAvgPool2d

    x = np.random.default_rng(seed).normal(size=(2, length, 7, 3))
    rows, columns = AdaptiveAvgPool2d(count, 2)._rectangles((length, 7, 3))
    theirs = torch.nn.functional.adaptive_avg_pool2d(
        torch.from_numpy(x).permute(0, 3, 1, 2), (count, 2)
    )
    for backend in available():
        y = np.empty((2, count, 2, 3))
        get_backend(backend).average_pool_forward(x, rows, columns, y)
        expected = theirs.permute(0, 2, 3, 1).numpy()
        assert relative_error(y, expected) <= tolerance("float64", 84)


def test_statistics_survive_a_large_mean(ops, rng):
    """A naive E[x^2] - E[x]^2 in float32 would lose all digits of this variance."""
    x = (1e4 + rng.normal(size=(8, 50, 20))).astype("f")
    mean, var, sums = np.empty(20, "f"), np.empty(20, "f"), np.empty((64, 2, 20), "f")
    ops.norm_statistics(x, sums, mean, var)
    assert np.allclose(var, x.astype("d").var(axis=(0, 1)), rtol=1e-3)


@given(seed=st.integers(0, 2**63), draw=st.integers(0, 2**40), units=st.integers(1, 20_000))
def test_dropout_draws_the_same_units_everywhere(seed, draw, units):
    x = np.ones((1, units))
    found = []
    for backend in available():
        y = np.empty_like(x)
        get_backend(backend).dropout(x, 0.3, seed, draw, y)
        found.append(y)
    assert all(np.array_equal(y, found[0]) for y in found)


def test_dropout_keeps_the_mean_and_differs_from_draw_to_draw():
    x, y, z = np.ones((1, 100_000)), np.empty((1, 100_000)), np.empty((1, 100_000))
    reference.dropout(x, 0.25, 7, 1, y)
    reference.dropout(x, 0.25, 7, 2, z)
    assert abs(y.mean() - 1) < 0.01
    assert 0.36 < (y != z).mean() < 0.39  # 2 * 0.25 * 0.75


def test_philox_is_the_published_generator():
    """The known answers of Random123 for Philox4x32-10."""
    words = reference.images._philox(np.array([0]), 0, 0)[:, 0]
    assert [f"{int(w):08x}" for w in words] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
