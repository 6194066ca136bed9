"""Convolutions: Winograd's bound, every way of computing them, and what they leave untouched.

Their agreement with the reference is in tests/test_kernels.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from backends import BACKENDS, find
from kernel_sizes import CONV, FLOATS, STACKED, fits, moved, sizes
from weightspace.kernels import get_backend, reference
from weightspace.kernels.spec import KERNELS, check, check_arguments, relative_error, tolerance

NAMES = [name for name, kernel in KERNELS.items() if kernel.family == "conv"]
# (stride, padding) beyond those of the contract's variants.
STEPS = {
    "padding beyond the image": ((1, 1), (6, 5)),
    "stride beyond the window": ((4, 3), (0, 0)),
    "both": ((3, 5), (7, 4)),
    "three by two": ((3, 2), (2, 1)),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_for_unusual_steps(backend, name, steps, dtype):
    ops, kernel = find(backend), moved(name, *STEPS[steps])
    for where in (sizes(2, (7, 5), 3, 10, (3, 2)), sizes(2, (5, 9), 4, 16, (5, 4)), STACKED):
        if fits(kernel, where):
            assert check(ops, kernel, where, dtype) <= 1, where


def convolve(ops, x, w, stride=(1, 1), padding=(1, 1)):
    """x * w, without bias or activation."""
    h, across = (
        (x.shape[i + 1] + 2 * padding[i] - w.shape[i + 1]) // stride[i] + 1 for i in (0, 1)
    )
    y = np.empty((len(x), h, across, len(w)), x.dtype)
    move = stride, padding, (1, 1), 1
    size = ops.conv2d_workspace("conv2d_forward", x.shape, w.shape, y.shape, *move)
    work = np.full(size, np.nan, x.dtype)
    ops.conv2d_forward(x, w, None, *move, 0, 0.0, work, y)
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
    move = (3, 3), (0, 0), (1, 1), 1
    size = ops.conv2d_workspace("conv2d_input_grad", dx.shape, w.shape, dz.shape, *move)
    ops.conv2d_input_grad(dz, w, *move, np.empty(size), dx)
    expected = np.zeros_like(dx)
    expected[:, ::3, ::3] = dz @ w[:, 0, 0]
    assert relative_error(dx, expected) <= tolerance("float64", 4)


def test_samples_gradients_may_lie_apart(device_ops, rng):
    """They are views of an (N, P) array, as a network's parameters lie in it."""
    kernel = KERNELS["conv2d_sample_grads"]
    arguments = kernel.arguments(rng, CONV[2], np.float64)
    expected = kernel.run(device_ops, arguments)
    (n, *w_shape), device = arguments["dw"].shape, device_ops.device
    weights, filters = int(np.prod(w_shape)), w_shape[0]
    flat = device.full((n, weights + filters + 7), 5.0, np.float64)
    dw = flat[:, 3 : 3 + weights].reshape((n, *w_shape))
    db = flat[:, 4 + weights : 4 + weights + filters]
    x, dz = (device.put(arguments[name]) for name in ("x", "dz"))
    work = kernel.complete(device_ops, arguments)["work"]
    move = (1, 1), (1, 1), (1, 1), 1
    device_ops.conv2d_sample_grads(x, dz, *move, device.put(work), dw, db)
    found = device.get(flat)
    assert np.array_equal(found[:, 3 : 3 + weights].reshape(n, *w_shape), expected["dw"])
    assert np.array_equal(found[:, 4 + weights : -3], expected["db"])
    assert (found[:, [0, 1, 2, 3 + weights, -3, -2, -1]] == 5).all()


@pytest.mark.parametrize("name", ["conv2d_weight_grad", "conv2d_sample_grads", "conv2d_input_grad"])
def test_a_first_write_heeds_nothing_that_lay_there(device_ops, rng, name):
    kernel = KERNELS[name]
    arguments = kernel.arguments(rng, CONV[3], np.float64)
    for written in kernel.writes:
        arguments[written].fill(np.nan)
    assert check_arguments(device_ops, kernel, CONV[3], np.float64, arguments) <= 1


def test_nan_reaches_every_output_that_sees_it(device_ops, rng):
    kernel = moved("conv2d_forward", (1, 1), (1, 1))
    arguments = kernel.arguments(rng, sizes(1, (8, 8), 16, 16, (3, 3)), np.float64)
    arguments["x"][0, 4, 4, 3] = np.nan
    y = kernel.run(device_ops, arguments)["y"]
    assert np.isnan(y[0, 3:6, 3:6]).all()
    assert np.isnan(y).sum() == 9 * 16


def test_depthwise_sees_its_own_channel_alone(ops, rng):
    """Written out: each channel by itself, taps two rows and three columns apart."""
    x, w = rng.normal(size=(2, 9, 10, 5)), rng.normal(size=(5, 2, 2, 1))
    y = np.empty((2, 5, 4, 5))
    move = (1, 2), (0, 1), (2, 3), 5
    size = ops.conv2d_workspace("conv2d_forward", x.shape, w.shape, y.shape, *move)
    ops.conv2d_forward(x, w, None, *move, 0, 0.0, np.empty(size), y)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    expected: Any = sum(
        w[:, r, s, 0] * padded[:, 2 * r : 2 * r + 5, 3 * s : 3 * s + 7 : 2]
        for r in range(2)
        for s in range(2)
    )
    assert relative_error(y, expected) <= tolerance("float64", 4)


def test_zeros_above_are_not_those_below(ops, rng):
    """(top, left) is given; what lies below and to the right follows from y."""
    x, w = rng.normal(size=(1, 4, 4, 3)), rng.normal(size=(4, 3, 3, 3))
    even, move = convolve(ops, x, w, (1, 1), (2, 2)), ((1, 1), (2, 1), (1, 1), 1)
    y = np.empty((1, 5, 3, 4))
    size = ops.conv2d_workspace("conv2d_forward", x.shape, w.shape, y.shape, *move)
    ops.conv2d_forward(x, w, None, *move, 0, 0.0, np.empty(size), y)
    assert relative_error(y, even[:, :5, 1:4]) <= tolerance("float64", 27)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_channels_that_are_not_of_the_groups_are_refused(backend, name, rng):
    """They would be read out of bounds, without a word."""
    ops, kernel = find(backend), KERNELS[name]
    arguments = kernel.arguments(rng, sizes(2, (8, 8), 16, 16, (3, 3)), np.float64, "grouped")
    given = {
        key: ops.device.put(value) if isinstance(value, np.ndarray) else value
        for key, value in kernel.complete(ops, arguments).items()
    }
    with pytest.raises(ValueError, match="groups"):
        getattr(ops, name)(*{**given, "groups": 1}.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_too_little_scratch_and_strided_images_are_refused(backend, name, rng):
    """Both would otherwise be read and written out of bounds, without a word."""
    ops, kernel = find(backend), KERNELS[name]
    arguments = kernel.arguments(rng, sizes(20, (8, 8), 16, 16, (3, 3)), np.float64)
    given = {
        key: ops.device.put(value) if isinstance(value, np.ndarray) else value
        for key, value in kernel.complete(ops, arguments).items()
    }
    if given["work"].size:
        with pytest.raises(ValueError, match="conv2d_workspace"):
            getattr(ops, name)(*{**given, "work": given["work"][:-1]}.values())
    image = "x" if "x" in given else "dz"
    given[image] = ops.device.put(np.repeat(arguments[image], 2, axis=1))[:, ::2]
    with pytest.raises(ValueError, match="contiguous"):
        getattr(ops, name)(*given.values())
