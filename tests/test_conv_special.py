"""NaN, infinities and hot pixels touch the outputs that see them, and no others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from backends import find
from kernel_sizes import FLOATS, moved, sizes
from weightspace.kernels import reference

WINOGRAD = sizes(3, (9, 10), 9, 17, (3, 3))  # tiles of all heights and widths, a vector and a bit
DIRECT = sizes(3, (6, 7), 5, 10, (3, 2))
MEANING: Any = reference
SPECIAL = (np.nan, np.inf, -np.inf)


@pytest.fixture(scope="module")
def cpu():
    return find("cpu")


def prepare(rng, name, where, dtype, **more):
    kernel = moved(name, (1, 1), (1, 1))
    arguments = kernel.arguments(rng, where, dtype)
    if "act" in arguments:
        arguments["act"] = 0
    return kernel, {**arguments, **more}


def agree(found, expected, dtype):
    """The same NaN and infinities, and otherwise nearly the same numbers."""
    finite = np.isfinite(expected)
    assert np.array_equal(finite, np.isfinite(found))
    assert np.array_equal(found[~finite], expected[~finite], equal_nan=True)
    scale = np.abs(expected[finite]).max()
    assert np.abs(found[finite] - expected[finite]).max() <= scale * 1e3 * np.finfo(dtype).eps


def both(cpu, kernel, arguments, dtype):
    """Each output by the backend, held against the reference."""
    with np.errstate(invalid="ignore", over="ignore"):
        expected = kernel.run(MEANING, arguments)
    found = kernel.run(cpu, arguments)
    for name in kernel.writes:
        if name != "work":
            agree(found[name], expected[name], dtype)
    return found


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("where", [WINOGRAD, DIRECT], ids=["winograd", "direct"])
@pytest.mark.parametrize("name", ["conv2d_forward", "conv2d_input_grad", "conv2d_tangent"])
def test_one_special_number_touches_what_sees_it(cpu, rng, name, where, dtype):
    kernel, arguments = prepare(rng, name, where, dtype)
    for operand in {"conv2d_tangent": ("x", "tx"), "conv2d_input_grad": ("dz",)}.get(name, ("x",)):
        for trial, value in enumerate(SPECIAL * 2):
            given = arguments[operand].copy()
            given[1][tuple(rng.integers(0, given.shape[1:]))] = value
            if trial >= len(SPECIAL):  # and an opposite infinity, or a second NaN
                given[1][tuple(rng.integers(0, given.shape[1:]))] = -value
            both(cpu, kernel, {**arguments, operand: given}, dtype)


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_pixel_of_a_tile_may_be_special(cpu, rng, dtype):
    """A 6 x 6 image without padding is one tile: each of its pixels, each special number."""
    kernel, arguments = prepare(rng, "conv2d_forward", sizes(1, (6, 6), 8, 8, (3, 3)), dtype)
    arguments["padding"] = (0, 0)
    arguments["y"] = np.empty((1, 4, 4, 8), dtype)
    for pixel in range(36):
        for value in SPECIAL:
            given = arguments["x"].copy()
            given[0, pixel // 6, pixel % 6, pixel % 8] = value
            both(cpu, kernel, {**arguments, "x": given}, dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["conv2d_forward", "conv2d_tangent"])
def test_special_weights_touch_their_own_filter(cpu, rng, name, dtype):
    """Zeros around an image count as numbers: times infinity they are NaN."""
    kernel, arguments = prepare(rng, name, WINOGRAD, dtype)
    for value in SPECIAL:
        w = arguments["w"].copy()
        w[4, 1, 2, 3] = value
        both(cpu, kernel, {**arguments, "w": w}, dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("where", [WINOGRAD, DIRECT], ids=["winograd", "direct"])
@pytest.mark.parametrize("name", ["conv2d_weight_grad", "conv2d_sample_grads"])
def test_gradients_of_special_numbers(cpu, rng, name, where, dtype):
    kernel, arguments = prepare(rng, name, where, dtype)
    for operand in ("x", "dz"):
        for value in SPECIAL:
            for place in ((4, 4), (0, 0)):
                given = arguments[operand].copy()
                given[(1, *place, 2)] = value
                both(cpu, kernel, {**arguments, operand: given}, dtype)


@pytest.mark.parametrize("name", ["conv2d_forward", "conv2d_input_grad", "conv2d_weight_grad"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_numbers_near_the_largest_do_not_overflow_within(cpu, rng, name, dtype):
    """Winograd's transforms multiply by up to 100; what overflows there is summed directly."""
    kernel, arguments = prepare(rng, name, WINOGRAD, dtype)
    near = np.finfo(dtype).max * dtype(1e-3)
    operand = "x" if "x" in arguments else "dz"
    arguments[operand][...] = np.sign(arguments[operand]) * near
    other = {"conv2d_forward": "w", "conv2d_input_grad": "w", "conv2d_weight_grad": "dz"}[name]
    arguments[other] *= dtype(1e-2) / np.abs(arguments[other]).max()
    found = both(cpu, kernel, arguments, dtype)
    assert all(np.isfinite(found[written]).all() for written in kernel.writes)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("hot", [60, 70, 1e6, 1e12])
@pytest.mark.parametrize("rows", [slice(4, 5), slice(3, 6)], ids=["pixel", "band"])
def test_what_is_hot_leaves_alone_what_does_not_see_it(cpu, rng, rows, hot, dtype):
    """Each output's error is judged by what it sees: the bound of docs/convolutions.md."""
    kernel, given = prepare(rng, "conv2d_forward", WINOGRAD, np.float64, b=None, work=None)
    given["x"] = rng.uniform(0.5, 1, given["x"].shape) * np.sign(given["x"])
    given["x"][1, rows, 6 if rows.stop == 5 else slice(None), 3] *= hot
    given = {key: value.astype(dtype) if key in "xwy" else value for key, value in given.items()}
    found = kernel.run(cpu, given)["y"]
    wide = {key: value.astype("g") if key in "xwy" else value for key, value in given.items()}
    expected = kernel.run(MEANING, wide)["y"]
    padded = np.pad(np.abs(wide["x"]).max(3), ((0, 0), (1, 1), (1, 1)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2)).max((3, 4))
    bound = 2e-4 * np.finfo(dtype).eps / np.finfo("f").eps
    bound = bound * seen[..., None] * np.abs(wide["w"]).sum((1, 2, 3))
    assert (np.abs(found - expected) <= bound).all()


@pytest.mark.parametrize("name", ["conv2d_forward", "conv2d_input_grad", "conv2d_weight_grad"])
def test_ordinary_numbers_go_the_fast_way(cpu, rng, name):
    """Its roundings are its own: else the tests above would see the direct way alone."""
    kernel, given = prepare(rng, name, WINOGRAD, np.float32)
    for value in given.values():
        if isinstance(value, np.ndarray):  # whose direct sums are exact
            value[...] = rng.integers(-16, 17, value.shape) / 8
    (written, *_), wide = kernel.writes, {**given}
    wide.update({k: v.astype("d") for k, v in wide.items() if isinstance(v, np.ndarray)})
    assert (kernel.run(cpu, given)[written] == kernel.run(MEANING, wide)[written]).mean() < 0.5


def test_zeros_stay_zeros_beside_what_is_not(cpu, rng):
    kernel, arguments = prepare(rng, "conv2d_forward", WINOGRAD, np.float32, b=None)
    arguments["x"][...] = 0
    arguments["x"][0, 5, 5, :] = 1
    y = kernel.run(cpu, arguments)["y"]
    assert np.count_nonzero(y) == 9 * 17


@pytest.mark.parametrize("value", [*SPECIAL, 1e6])
def test_a_sample_beside_a_special_one_keeps_its_bits(cpu, rng, value):
    """Of a block of tiles only those that see the number go another way."""
    where = sizes(7, (5, 6), 8, 9, (3, 3))
    for name, operand, written in (
        ("conv2d_forward", "x", "y"), ("conv2d_input_grad", "dz", "dx"),
        ("conv2d_tangent", "tx", "ty"),
    ):  # fmt: skip
        kernel, arguments = prepare(rng, name, where, np.float32)
        before = kernel.run(cpu, arguments)[written]
        arguments[operand][3, 2, 2, 1] = value
        after = kernel.run(cpu, arguments)[written]
        assert np.array_equal(np.delete(before, 3, 0), np.delete(after, 3, 0))
