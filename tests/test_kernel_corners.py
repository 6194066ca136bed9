"""What kernels do at the ends of numbers and shapes: losses, norms, images and optimizers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from kernel_sizes import FLOATS, TINY
from weightspace.kernels import codes, reference
from weightspace.kernels.spec import KERNELS, check_arguments, relative_error, tolerance

# ---- losses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [0, 40], ids=["narrow", "wide"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_extreme_logits_neither_overflow_nor_underflow(ops, dtype, extra):
    logits = np.full((2, 3 + extra), -1e30, dtype)
    logits[0, :3] = 1e4, -1e4, 0.0
    active = np.arange(3 + extra) < 3
    loss, d, p = np.zeros(2, dtype), np.zeros_like(logits), np.zeros_like(logits)
    ops.softmax_cross_entropy(logits, np.array([1, 0]), active, loss, d)
    ops.softmax(logits, active, p)
    assert np.isfinite(d).all() and loss[0] == dtype(2e4)
    assert relative_error(p[1, :3], np.full(3, 1 / 3, dtype)) <= tolerance(dtype)
    assert not p[:, 3:].any() and not d[:, 3:].any()
    y = np.zeros((1, 2), dtype)
    ops.activation_forward(codes.SIGMOID, 0.0, np.array([[800.0, -800.0]], dtype), y)
    assert y.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("classes", [5, 70])
def test_inactive_classes_play_no_part(ops, rng, classes):
    active = rng.random(classes) < 0.6
    active[:5] = False, True, True, False, True
    logits = rng.normal(size=(6, classes))
    logits[:, ~active] = np.nan
    labels = np.array([1, 2, 4, 1, 2, 4])
    loss, d, p = np.zeros(6), np.zeros((6, classes)), np.zeros((6, classes))
    ops.softmax_cross_entropy(logits, labels, active, loss, d)
    ops.softmax(logits, active, p)
    small = np.exp(logits[:, active])
    small /= small.sum(1, keepdims=True)
    assert relative_error(p[:, active], small) <= tolerance(np.float64, classes)
    assert not p[:, ~active].any() and not d[:, ~active].any()
    at = (np.cumsum(active) - 1)[labels]
    assert relative_error(loss, -np.log(small[range(6), at])) <= tolerance(np.float64, classes)
    assert relative_error(d[:, active], small - np.eye(active.sum())[at]) <= tolerance("d", classes)


def test_fisher_factor_is_a_square_root_of_the_metric(ops, rng):
    p = rng.dirichlet(np.ones(5), size=3)
    factor = np.empty((5, 3, 5))
    ops.softmax_fisher_factor(p, factor)
    metric = np.einsum("cni,cnj->nij", factor, factor)
    expected = np.einsum("ni,ij->nij", p, np.eye(5)) - np.einsum("ni,nj->nij", p, p)
    assert relative_error(metric, expected) <= tolerance(np.float64, 5)


def test_nan_is_not_hidden(ops):
    """A rectifier that turned NaN into 0 would let a diverged network look alive."""
    for code in codes.ACTIVATIONS.values():
        y = np.zeros((1, 3))
        ops.activation_forward(code, 0.01, np.array([[np.nan, 1.0, -1.0]]), y)
        assert np.isnan(y[0, 0]) and np.isfinite(y[0, 1:]).all()
    for classes in (3, 50):
        logits = np.zeros((2, classes))
        logits[0, 1] = np.nan
        loss, d = np.zeros(2), np.zeros((2, classes))
        ops.softmax_cross_entropy(logits, np.array([0, 0]), np.ones(classes, bool), loss, d)
        assert np.isnan(loss[0]) and np.isnan(d[0]).all() and np.isfinite(d[1]).all()


# ---- elementwise --------------------------------------------------------------------------------


def test_a_sum_may_overwrite_what_it_adds(device_ops, rng):
    put, get = device_ops.device.put, device_ops.device.get
    x, r = rng.normal(size=(5, 7)), rng.normal(size=(5, 7))
    for place in (0, 1):
        arrays = [put(x.copy()), put(r.copy())]
        device_ops.residual_forward(*arrays, codes.RELU, 0.0, arrays[place])
        assert np.array_equal(get(arrays[place]), np.maximum(x + r, 0))
        arrays = [put(x.copy()), put(r.copy())]
        device_ops.add(*arrays, arrays[place])
        assert np.array_equal(get(arrays[place]), x + r)
        arrays = [put(x.copy()), put(r.copy())]
        y = put(np.ones((5, 7)))
        device_ops.residual_tangent(y, *arrays, codes.RELU, 0.0, arrays[place])
        assert np.array_equal(get(arrays[place]), x + r)


def test_dropout_draws_the_units_of_the_reference(ops, rng):
    for units in (1, 3, 4, 1001, 4096):
        seed, draw = int(rng.integers(2**63)), int(rng.integers(2**40))
        x = rng.normal(size=(3, units)).astype("f")
        y, expected = np.empty_like(x), np.empty_like(x)
        ops.dropout(x, 0.4, seed, draw, y)
        reference.dropout(x, 0.4, seed, draw, expected)
        assert np.array_equal(y, expected)


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


# ---- norm ---------------------------------------------------------------------------------------


def test_statistics_survive_a_large_mean(ops, rng):
    """A naive E[x^2] - E[x]^2 in float32 would lose all digits of this variance."""
    x = (1e4 + rng.normal(size=(8, 50, 20))).astype("f")
    mean, var, sums = np.empty(20, "f"), np.empty(20, "f"), np.empty((64, 2, 20), "f")
    ops.norm_statistics(x, sums, mean, var)
    assert np.allclose(var, x.astype("d").var(axis=(0, 1)), rtol=1e-3)
    if ops.NAME != "reference":  # which squares what rounding left of the mean
        ops.norm_statistics(np.full_like(x, 1e30), sums, mean, var)
        assert (var == 0).all()
    x[3, 4, 5] = np.nan
    ops.norm_statistics(x, sums, mean, var)
    assert np.array_equal(np.isnan(var), np.arange(20) == 5)


@pytest.mark.parametrize("channels", [4, 5])
def test_constant_statistics_take_stacked_cotangents(ops, rng, channels):
    x, y = rng.normal(size=(2, 3, channels)), rng.uniform(size=(2, 3, channels))
    mean, inverse, gamma = rng.normal(size=(3, channels))
    dy, sums = rng.normal(size=(6, 3, channels)), np.empty((64, 2, channels))
    for act in codes.ACTIVATIONS.values():
        dx, expected = np.empty_like(dy), np.empty_like(dy)
        arguments = x, mean, inverse, gamma, y, dy, act, 0.1, False, 1.0, sums, None, None
        ops.norm_backward(*arguments, dx)
        for v in range(3):
            part = slice(2 * v, 2 * v + 2)
            reference.norm_backward(*arguments[:5], dy[part], *arguments[6:], expected[part])
        assert relative_error(dx, expected) <= tolerance(np.float64)


def test_gradients_of_samples_may_lie_apart(device_ops, rng):
    put, get = device_ops.device.put, device_ops.device.get
    x, dz = rng.normal(size=(2, 4, 9, 5))
    mean, inverse = rng.normal(size=(2, 5))
    out = put(np.full((4, 20), np.nan))
    arrays = put(x), put(mean), put(inverse), put(dz)
    device_ops.norm_sample_grads(*arrays, out[:, 2:7], out[:, 10:15])
    dgamma, dshift = np.empty((4, 5)), np.empty((4, 5))
    reference.norm_sample_grads(x, mean, inverse, dz, dgamma, dshift)
    assert relative_error(get(out)[:, 2:7], dgamma) <= tolerance(np.float64, 9)
    assert relative_error(get(out)[:, 10:15], dshift) <= tolerance(np.float64, 9)
    assert np.isnan(get(out)[:, [0, 1, 7, 8, 9, 15, 19]]).all()


# ---- images -------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 4])
def test_of_equal_values_the_first_wins_and_nan_beats_all(ops, channels):
    x = np.zeros((1, 4, 4, channels), np.float32)
    x[0, 2, 3], x[0, 3, 2] = np.nan, np.nan
    index, y = np.empty((1, 2, 2, channels), np.uint16), np.empty((1, 2, 2, channels), "f")
    ops.max_pool_forward(x, (2, 2), (2, 2), (0, 0), index, y)
    assert (index[0, :, :, 0] == [[0, 0], [0, 1]]).all()
    assert np.isnan(y[0, 1, 1]).all() and not y[0, 0].any()
    dx = np.empty_like(x)
    ops.max_pool_backward(index, np.ones_like(y), (2, 2), (2, 2), (0, 0), dx)
    assert dx[0, ..., 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0]]


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("fill", [-1.0, -np.inf])
def test_padding_never_wins_a_maximum(ops, fill, channels):
    x = np.full((1, 3, 3, channels), fill, np.float32)
    index, y = np.empty((1, 2, 2, channels), np.uint16), np.empty((1, 2, 2, channels), "f")
    ops.max_pool_forward(x, (3, 3), (2, 2), (1, 1), index, y)
    assert (y == fill).all()
    dx = np.full_like(x, np.nan)
    ops.max_pool_backward(index, np.ones_like(y), (3, 3), (2, 2), (1, 1), dx)
    assert dx.sum() == y.size


WINDOWS = {  # window, stride, padding
    "overlapping": ((3, 2), (1, 1), (0, 0)),
    "padded": ((3, 4), (2, 3), (1, 3)),
    "gaps": ((1, 2), (3, 4), (0, 1)),
    "over the end": ((2, 3), (2, 3), (0, 0)),
}


@pytest.mark.parametrize("where", WINDOWS)
@pytest.mark.parametrize("channels", [3, 8])
def test_maxima_of_any_windows(ops, rng, where, channels):
    window, stride, padding = WINDOWS[where]
    x = rng.normal(size=(2, 7, 8, channels)).astype("f")
    over = (1, 1) if where == "over the end" else padding
    h, w = ((x.shape[1 + a] + padding[a] + over[a] - window[a]) // stride[a] + 1 for a in (0, 1))
    found, wanted = ((np.empty((2, h, w, channels), np.uint16), np.empty((2, h, w, channels), "f"))
                     for _ in "ab")  # fmt: skip
    ops.max_pool_forward(x, window, stride, padding, *found)
    reference.max_pool_forward(x, window, stride, padding, *wanted)
    assert np.array_equal(found[0], wanted[0]) and np.array_equal(found[1], wanted[1])
    dy = rng.normal(size=(4, h, w, channels)).astype("f")  # two stacked cotangents
    dx, expected = np.empty((4, *x.shape[1:]), "f"), np.empty((4, *x.shape[1:]), "f")
    for backend, out in ((ops, dx), (reference, expected)):
        backend.max_pool_backward(wanted[0], dy, window, stride, padding, out)
    assert relative_error(dx, expected) <= tolerance("f", window[0] * window[1])


def test_means_of_windows_in_any_order(ops, rng):
    """Adaptive windows overlap; the contract does not even say that they come in order."""
    rows = np.array([[2, 5, 3], [0, 3, 4], [4, 5, 1]])
    columns = np.array([[1, 2, 3], [0, 7, 7], [5, 7, 2], [3, 4, 1]])
    for channels in (3, 4):
        x, dy = rng.normal(size=(2, 6, 7, channels)), rng.normal(size=(4, 3, 4, channels))
        y, expected = np.empty((2, 3, 4, channels)), np.empty((2, 3, 4, channels))
        ops.average_pool_forward(x, rows, columns, y)
        reference.average_pool_forward(x, rows, columns, expected)
        assert relative_error(y, expected) <= tolerance(np.float64, 21)
        dx, expected = np.full((2, 4, 6, 7, channels), np.nan)
        ops.average_pool_backward(dy, rows, columns, dx)
        reference.average_pool_backward(dy, rows, columns, expected)
        assert relative_error(dx, expected) <= tolerance(np.float64, 12)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("length", [1, 4, 7, 12])
def test_adaptive_pooling_divides_as_torch_does(ops, rng, count, length):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    from weightspace.nnlite import AdaptiveAvgPool2d

    x = rng.normal(size=(2, length, 7, 3))
    rows, columns = AdaptiveAvgPool2d(count, 2)._rectangles((length, 7, 3))
    theirs = torch.nn.functional.adaptive_avg_pool2d(
        torch.from_numpy(x).permute(0, 3, 1, 2), (count, 2)
    )
    y = np.empty((2, count, 2, 3))
    ops.average_pool_forward(x, rows, columns, y)
    assert relative_error(y, theirs.permute(0, 2, 3, 1).numpy()) <= tolerance("float64", 84)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u1", "i4"])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (4, 4, 3), (16,)])
def test_rows_of_any_type_are_gathered(ops, rng, dtype, shape):
    x = rng.integers(0, 100, (7, *shape)).astype(dtype)
    rows = np.array([6, 0, 0, 3, 5])
    out = np.empty((5, *shape), dtype)
    ops.gather_rows(x, rows, out)
    assert np.array_equal(out, x[rows])


# ---- the optimizers -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in KERNELS if name.endswith("_update")])
def test_streams_in_every_combination(device_ops, name):
    """All eight, of which the contract's variants are six."""
    if device_ops.NAME == "cpu":
        pytest.skip("the cpu backend compiles anew for each combination, for 20 s in all")
    kernel = KERNELS[name]
    for dtype in FLOATS:
        for there in itertools.product((True, False), repeat=3):
            penalty, path, gain = there
            asked = {"omega": penalty, "anchor": penalty, "path": path, "gain": gain}
            arguments = kernel.arguments(np.random.default_rng(0), TINY[0], dtype, "all")
            arguments |= {stream: None for stream, wanted in asked.items() if not wanted}
            assert check_arguments(device_ops, kernel, TINY[0], dtype, arguments) <= 1, there
