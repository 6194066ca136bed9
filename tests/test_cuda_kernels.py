"""Every CUDA kernel but the convolutions, run on the CPU: odd sizes, races, bits, corner cases.

The mode "fast" compares with the reference; the mode "check" also watches every access to memory,
so it gets tiny arrays. tests/test_cuda_conv.py does the same for the convolutions.
"""

from __future__ import annotations

import inspect
import shutil
from collections import Counter

import numpy as np
import pytest
from weightspace.kernels import codes, reference
from weightspace.kernels.cuda import SOURCES, CudaOps, dense, launch, losses, norm, tiles, update
from weightspace.kernels.cuda_host import HostDevice
from weightspace.kernels.spec import (
    KERNELS,
    PLANNERS,
    check,
    check_arguments,
    relative_error,
    tolerance,
)

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None, reason="needs a C++ compiler: apt install g++"
)

FLOATS = [np.float32, np.float64]
NAMES = [name for name, kernel in KERNELS.items() if kernel.family != "conv"]
# None fits a pack of 16 bytes, a warp or a block, but for the last. At least three channels: a
# single sum may cancel to nothing, which leaves no scale to judge its error by.
SIZES = [
    {"N": 1, "I": 1, "O": 1, "K": 1, "V": 1, "P": 1, "H": 5, "W": 5, "C": 3, "T": 1},
    {"N": 2, "I": 3, "O": 2, "K": 2, "V": 1, "P": 5, "H": 6, "W": 7, "C": 17, "T": 2},
    {"N": 9, "I": 31, "O": 10, "K": 10, "V": 1, "P": 1023, "H": 13, "W": 8, "C": 4, "T": 7},
    {"N": 33, "I": 65, "O": 63, "K": 17, "V": 1, "P": 1025, "H": 9, "W": 6, "C": 5, "T": 64},
    {"N": 130, "I": 64, "O": 131, "K": 33, "V": 1, "P": 8193, "H": 5, "W": 12, "C": 35, "T": 3},
    {"N": 5, "I": 200, "O": 65, "K": 100, "V": 1, "P": 20_001, "H": 8, "W": 8, "C": 16, "T": 100},
    {"N": 8, "I": 16, "O": 64, "K": 32, "V": 1, "P": 4096, "H": 6, "W": 6, "C": 1040, "T": 2},
]
TINY = [
    {"N": 3, "I": 5, "O": 7, "K": 3, "V": 1, "P": 37, "H": 5, "W": 6, "C": 3, "T": 3},
    {"N": 2, "I": 9, "O": 4, "K": 35, "V": 1, "P": 8, "H": 6, "W": 5, "C": 4, "T": 9},
]
LONG = [
    {"N": 300, "I": 3, "O": 5, "K": 3, "V": 1, "P": 2501, "H": 4, "W": 5, "C": 3, "T": 2},
    {"N": 40, "I": 270, "O": 60, "K": 34, "V": 1, "P": 1100, "H": 6, "W": 5, "C": 8, "T": 9},
]
# Kernels whose axis V is one of its own, or stacks samples that other arrays have once.
STACKED = [
    "activation_backward",
    "dense_accumulate",
    "max_pool_backward",
    "average_pool_backward",
    "norm_accumulate",
    "dropout",
]


@pytest.fixture(scope="module")
def ops() -> CudaOps:
    return CudaOps(HostDevice(mode="fast", order=0))


@pytest.fixture(scope="module", params=[0, 1], ids=["forward", "reverse"])
def watched(request) -> CudaOps:
    """Kernels whose every access is checked, the threads in order or in reverse."""
    return CudaOps(HostDevice(mode="check", order=request.param))


@pytest.fixture(params=["fast", "check"])
def either(request) -> CudaOps:
    return CudaOps(HostDevice(mode=request.param, order=1))


class Calls:
    """Kernels of `ops` on NumPy arrays: copied to the device, and back into the same arrays."""

    def __init__(self, ops: CudaOps) -> None:
        self.ops = ops

    def __getattr__(self, name: str):
        def call(*args):
            put, get = self.ops.device.put, self.ops.device.get
            sent = [put(a) if isinstance(a, np.ndarray) else a for a in args]
            getattr(self.ops, name)(*sent)
            for mine, theirs in zip(args, sent, strict=True):
                if isinstance(mine, np.ndarray):
                    mine[...] = get(theirs)

        return call


def shifted(ops: CudaOps, array: np.ndarray):
    """`array` on the device, one element behind where 16 bytes could be moved at once."""
    wide = ops.device.put(np.concatenate([array.reshape(-1)[:1], array.reshape(-1)]))
    return wide[1:].reshape(array.shape)


# ---- the contract -------------------------------------------------------------------------------


def test_all_kernels_are_there_with_the_arguments_of_the_reference(ops):
    assert set(ops.__all__) - {"NAME"} - PLANNERS == set(KERNELS)
    for name in KERNELS:
        theirs = inspect.signature(getattr(reference, name)).parameters
        assert list(inspect.signature(getattr(ops, name)).parameters) == list(theirs), name


def test_no_family_hides_a_method_of_another():
    """All families are one object, so their private names must differ too."""
    own = Counter(
        name
        for family in CudaOps.__bases__
        for name, value in vars(family).items()
        if callable(value) and not name.startswith("__")
    )
    assert [name for name, times in own.items() if times > 1] == []


def test_every_instantiation_is_registered_once():
    names = [name for source in SOURCES for name in source.names()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_reference(ops, name, dtype):
    kernel = KERNELS[name]
    for variant in kernel.variants:
        for seed, sizes in enumerate(SIZES):
            error = check(ops, kernel, sizes, dtype, variant, seed)
            assert error <= 1, f"{variant}, {sizes}: {error} times the tolerance"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", STACKED)
def test_stacked_cotangents(ops, name, dtype):
    kernel = KERNELS[name]
    for variant in kernel.variants:
        for sizes in (SIZES[2], SIZES[3]):
            assert check(ops, kernel, {**sizes, "V": 3}, dtype, variant) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_accesses_to_memory_are_in_order(watched, name):
    """No race, nothing out of bounds, nothing read before it was written."""
    kernel = KERNELS[name]
    for variant in kernel.variants:
        for tiny, dtype in zip(TINY, FLOATS, strict=True):
            sizes = {**tiny, "V": 2 if name in STACKED else 1}
            assert check(watched, kernel, sizes, dtype, variant) <= 1, variant


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("dense")])
def test_few_blocks_go_round_again(watched, monkeypatch, name):
    """Large arrays make the loops of blocks run more than once; here, one block is all there is."""
    for module in (launch, losses, norm, update):
        monkeypatch.setattr(module, "MOST_BLOCKS", 1)
    kernel = KERNELS[name]
    for variant in list(kernel.variants)[:2]:
        for sizes, dtype in zip(LONG, FLOATS, strict=True):
            assert check(watched, kernel, sizes, dtype, variant) <= 1, variant


@pytest.mark.parametrize("name", NAMES)
def test_any_order_of_threads_gives_the_same_bits(ops, name):
    kernel = KERNELS[name]
    others = [CudaOps(HostDevice(mode="fast", order=order)) for order in (1, 12345)]
    for variant in kernel.variants:
        for sizes, dtype in ((SIZES[3], np.float32), (SIZES[2], np.float64)):
            arguments = kernel.arguments(np.random.default_rng(1), sizes, dtype, variant)
            expected = kernel.run(ops, arguments)
            for other in others:
                found = kernel.run(other, arguments)
                assert all(np.array_equal(found[k], expected[k], True) for k in expected), variant


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("dense")])
def test_addresses_need_not_allow_16_bytes(either, name):
    """The same answer from arrays one element further on, to within rounding."""
    kernel, put = KERNELS[name], either.device.put
    allowed = tolerance(np.float32, kernel.length(TINY[1]))
    for variant in kernel.variants:
        arguments = kernel.arguments(np.random.default_rng(2), TINY[1], np.float32, variant)
        arrays = {k: v for k, v in arguments.items() if isinstance(v, np.ndarray)}
        plain = {k: put(v) for k, v in arrays.items()}
        moved = {k: shifted(either, v) for k, v in arrays.items()}
        for given in (plain, moved):
            getattr(either, name)(*{**arguments, **given}.values())
        for result in kernel.writes.keys() & arrays.keys():
            assert relative_error(moved[result].get(), plain[result].get()) <= allowed, variant


# ---- matrix products ----------------------------------------------------------------------------

DENSE = [name for name in NAMES if name.startswith(("dense", "superposed", "matmul"))]
PRODUCTS = [name for name in DENSE if KERNELS[name].product]


@pytest.fixture
def only(monkeypatch):
    """only(tile): dense products use that tile and no other."""

    def use(name: str) -> None:
        tile = tiles.TILES[name]

        def choose(rows: int, columns: int, *_) -> tiles.Choice:
            grid = -(-rows // tile.down), -(-columns // tile.across)
            return tiles.Choice(name, grid, (tile.threads,))

        monkeypatch.setattr(dense, "choose_tile", choose)

    return use


@pytest.mark.parametrize("tile", dense.PRODUCTS)
@pytest.mark.parametrize("name", PRODUCTS)
def test_every_tile_gives_every_product(ops, only, name, tile):
    """Numbers of 5 bits, and their squares, fit the 11 bits of TF32: tensor cores lose nothing."""
    kernel, tensor = KERNELS[name], tile.startswith("Tensor")
    only(tile)
    dtype = np.float64 if "double" in tile else np.float32
    left_out = {"leaky_relu", "tanh", "sigmoid"} if tensor else set()
    for sizes in (SIZES[3], SIZES[4], {"N": 44, "I": 64, "O": 72, "V": 1}):
        if "WIDE" in tile and sizes["I"] % 4 + sizes["O"] % 4:
            continue
        for variant in kernel.variants.keys() - left_out:
            arguments = kernel.arguments(np.random.default_rng(0), sizes, dtype, variant)
            for value in arguments.values():
                if tensor and isinstance(value, np.ndarray):
                    value.view(np.uint32)[...] &= np.uint32(0xFFF80000)
            assert check_arguments(ops, kernel, sizes, dtype, arguments) <= 1, variant


class HostWithGemm(HostDevice):
    """The host launcher with a product like cuBLAS's."""

    def gemm(self, transposed, sizes, a, b, c, strides, beta, tf32):
        m, n, k = sizes
        left, right = (
            array.get().T if flag else array.get()
            for array, flag in zip((a, b), transposed, strict=True)
        )
        assert left.shape == (m, k) and right.shape == (k, n) and c.shape == (m, n)
        assert strides == tuple(x.strides[0] // x.itemsize for x in (a, b, c))
        c[...] = self.put(left @ right) + (beta * c if beta else 0)


@pytest.mark.parametrize("name", DENSE)
def test_products_of_another_library_are_finished(monkeypatch, name):
    monkeypatch.setattr(dense, "LARGE", 1)
    ops = CudaOps(HostWithGemm(mode="fast", order=0))
    for dtype in FLOATS:
        for variant in KERNELS[name].variants:
            assert check(ops, KERNELS[name], SIZES[3], dtype, variant) <= 1


def test_rows_may_be_strided(either, rng):
    """Column slices of wider arrays: rows apart, last axis contiguous."""
    put, empty = either.device.put, either.device.empty
    wide_x, wide_w, b = rng.normal(size=(7, 90)), rng.normal(size=(6, 100)), rng.normal(size=6)
    y, dw, db = empty((7, 20), "d"), empty((7, 80), "d"), empty((7, 9), "d")
    x, w, dz = put(wide_x)[:, 3:13], put(wide_w)[:, 20:30], put(wide_x[:, :6].copy())
    either.dense_forward(x, w, put(b), codes.RELU, 0.0, y[:, 5:11])
    expected = np.maximum(wide_x[:, 3:13] @ wide_w[:, 20:30].T + b, 0)
    assert relative_error(y.get()[:, 5:11], expected) <= tolerance(np.float64, 10)
    assert np.isnan(y.get()[:, :5]).all() and np.isnan(y.get()[:, 11:]).all()
    inner = put(wide_x[:, 3:13].copy())
    grads = dw[:, 7:67].reshape(7, 6, 10)
    either.dense_sample_grads(inner, dz, grads, db[:, 2:8])
    expected = wide_x[:, :6, None] * wide_x[:, None, 3:13]
    assert np.array_equal(grads.get(), expected)
    assert np.array_equal(db.get()[:, 2:8], wide_x[:, :6])


def test_what_cannot_be_launched_is_refused(ops, rng):
    put = ops.device.put
    x, w, y = put(rng.normal(size=(4, 10)))[:, ::2], put(np.ones((3, 5))), put(np.ones((4, 3)))
    with pytest.raises(ValueError, match="last axis"):
        ops.dense_forward(x, w, None, codes.RELU, 0.0, y)
    with pytest.raises(ValueError, match="contiguous"):
        ops.activation_forward(codes.RELU, 0.0, x, x)
    half = put(np.ones(4, np.float16))
    with pytest.raises(TypeError, match="float16"):
        ops.activation_forward(codes.RELU, 0.0, half, half)


# ---- losses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [0, 40], ids=["narrow", "wide"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_extreme_logits_neither_overflow_nor_underflow(either, dtype, extra):
    ops = Calls(either)
    logits = np.full((2, 3 + extra), -1e30, dtype)
    logits[0, :3] = 1e4, -1e4, 0.0
    active = np.arange(3 + extra) < 3
    loss, d, p = np.zeros(2, dtype), np.zeros_like(logits), np.zeros_like(logits)
    ops.softmax_cross_entropy(logits, np.array([1, 0]), active, loss, d)
    ops.softmax(logits, active, p)
    assert np.isfinite(d).all() and loss[0] == dtype(2e4)
    assert relative_error(p[1, :3], np.full(3, 1 / 3, dtype)) <= tolerance(dtype)
    assert not p[:, 3:].any() and not d[:, 3:].any()


@pytest.mark.parametrize("classes", [5, 70])
def test_inactive_classes_play_no_part(either, rng, classes):
    active = rng.random(classes) < 0.6
    active[:5] = False, True, True, False, True
    logits = rng.normal(size=(6, classes))
    logits[:, ~active] = np.nan
    labels = np.array([1, 2, 4, 1, 2, 4])
    loss, d, p = np.zeros(6), np.zeros((6, classes)), np.zeros((6, classes))
    Calls(either).softmax_cross_entropy(logits, labels, active, loss, d)
    Calls(either).softmax(logits, active, p)
    expected = {"loss": np.zeros(6), "d": np.zeros((6, classes)), "p": np.zeros((6, classes))}
    reference.softmax_cross_entropy(logits, labels, active, expected["loss"], expected["d"])
    reference.softmax(logits, active, expected["p"])
    for found, name in ((loss, "loss"), (d, "d"), (p, "p")):
        assert relative_error(found, expected[name]) <= tolerance(np.float64, classes)


@pytest.mark.parametrize("classes", [4, 33])
def test_a_label_that_names_no_active_class_gives_nan(either, classes):
    """Nobody looks at labels on a device: they must not be read past, and it must be seen."""
    active = np.ones(classes, bool)
    active[2] = False
    labels = np.array([0, -1, classes, 2, 2**40, 1])
    logits = np.zeros((6, classes), np.float32)
    loss, d = np.zeros(6, np.float32), np.zeros_like(logits)
    Calls(either).softmax_cross_entropy(logits, labels, active, loss, d)
    wrong = np.array([False, True, True, True, True, False])
    assert np.array_equal(np.isnan(loss), wrong)
    assert np.array_equal(np.isnan(d).all(axis=1), wrong)
    assert np.array_equal(np.isnan(d).any(axis=1), wrong)


def test_nan_is_not_hidden(either):
    ops = Calls(either)
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


def test_many_rows_come_round_to_the_same_blocks(ops, rng):
    """More tiles than blocks are launched: the loops inside the kernels run more than once."""
    for n, classes in ((64 * 8448 + 3, 1), (4 * 8448 + 3, 33)):
        logits = rng.normal(size=(n, classes)).astype("f")
        loss, d = np.zeros(n, "f"), np.zeros_like(logits)
        Calls(ops).squared_error(logits, np.zeros_like(logits), loss, d)
        assert np.array_equal(d, logits)
        assert relative_error(loss, (logits**2).sum(axis=1) / 2) <= tolerance("f", classes)


# ---- elementwise --------------------------------------------------------------------------------


def test_a_sum_may_overwrite_what_it_adds(either, rng):
    x, r = rng.normal(size=(5, 7)), rng.normal(size=(5, 7))
    for place in (0, 1):
        arrays = [either.device.put(x), either.device.put(r)]
        either.residual_forward(*arrays, codes.RELU, 0.0, arrays[place])
        assert np.array_equal(arrays[place].get(), np.maximum(x + r, 0))
        arrays = [either.device.put(x), either.device.put(r)]
        either.add(*arrays, arrays[place])
        assert np.array_equal(arrays[place].get(), x + r)
        arrays = [either.device.put(x), either.device.put(r)]
        y = either.device.put(np.ones((5, 7)))
        either.residual_tangent(y, *arrays, codes.RELU, 0.0, arrays[place])
        assert np.array_equal(arrays[place].get(), x + r)


def test_dropout_draws_the_units_of_the_reference(ops, rng):
    for units in (1, 3, 4, 1001, 4096):
        seed, draw = int(rng.integers(2**63)), int(rng.integers(2**40))
        x = rng.normal(size=(3, units)).astype("f")
        y, expected = np.empty_like(x), np.empty_like(x)
        Calls(ops).dropout(x, 0.4, seed, draw, y)
        reference.dropout(x, 0.4, seed, draw, expected)
        assert np.array_equal(y, expected)


# ---- clocks -------------------------------------------------------------------------------------


def test_a_clock_says_the_same_as_a_number(either, rng):
    put = either.device.put
    x, theta = put(rng.normal(size=(2, 9))), rng.normal(size=21).astype("f")
    for turn in (1, 7, 2**33):
        clock, out = put(np.array([turn])), [put(np.zeros((2, 9))) for _ in "ab"]
        steps = [[put(theta) for _ in range(4)] for _ in "ab"]
        for step, y, vectors in zip((turn, clock), out, steps, strict=True):
            either.dropout(x, 0.5, 3, step, y)
            rates = 1e-3, 0.9, 0.999, 1e-8
            either.adam_update(*vectors, *rates, step, None, None, 0.0, None, None)
        assert np.array_equal(out[0].get(), out[1].get())
        for ours, theirs in zip(*steps, strict=True):
            assert np.array_equal(ours.get(), theirs.get(), True)


def test_a_captured_step_reads_its_clock_anew(ops, rng):
    """What a CUDA graph is for: the same launches again, a step further on."""
    put, theta = ops.device.put, np.ones(5)
    vectors = [put(v) for v in (theta, rng.normal(size=5), np.zeros(5), np.zeros(5))]
    expected = [v.get() for v in vectors]
    clock = put(np.array([0]))

    def record() -> None:
        ops.advance(clock)
        ops.adam_update(*vectors, 0.1, 0.9, 0.999, 1e-8, clock, None, None, 0.0, None, None)

    replay = ops.device.capture(record)
    for step in (1, 2, 3):
        replay()
        reference.adam_update(*expected, 0.1, 0.9, 0.999, 1e-8, step, None, None, 0.0, None, None)
    assert clock.get() == [3]
    for found, wanted in zip(vectors, expected, strict=True):
        assert relative_error(found.get(), wanted) <= tolerance(np.float64, 3)


# ---- norm ---------------------------------------------------------------------------------------


def test_statistics_survive_a_large_mean(ops, rng):
    x = (1e4 + rng.normal(size=(8, 50, 20))).astype("f")
    mean, var, sums = np.empty(20, "f"), np.empty(20, "f"), np.empty((64, 2, 20), "f")
    Calls(ops).norm_statistics(x, sums, mean, var)
    assert np.allclose(var, x.astype("d").var(axis=(0, 1)), rtol=1e-3)
    Calls(ops).norm_statistics(np.full_like(x, 1e30), sums, mean, var)
    assert (var == 0).all()
    x[3, 4, 5] = np.nan
    Calls(ops).norm_statistics(x, sums, mean, var)
    assert np.array_equal(np.isnan(var), np.arange(20) == 5)


@pytest.mark.parametrize("parts", [1, 7, 256])
def test_any_number_of_parts_will_do(ops, rng, parts):
    x, sums = rng.normal(size=(3, 50, 6)), np.empty((parts, 2, 6))
    mean, var = np.empty(6), np.empty(6)
    Calls(ops).norm_statistics(x, sums, mean, var)
    assert relative_error(mean, x.mean(axis=(0, 1))) <= tolerance(np.float64, 150)
    assert relative_error(var, x.var(axis=(0, 1))) <= tolerance(np.float64, 150)


@pytest.mark.parametrize("channels", [4, 5])
def test_constant_statistics_take_stacked_cotangents(either, rng, channels):
    x, y = rng.normal(size=(2, 3, channels)), rng.uniform(size=(2, 3, channels))
    mean, inverse, gamma = rng.normal(size=(3, channels))
    dy, sums = rng.normal(size=(6, 3, channels)), np.empty((64, 2, channels))
    for act in codes.ACTIVATIONS.values():
        dx, expected = np.empty_like(dy), np.empty_like(dy)
        arguments = x, mean, inverse, gamma, y, dy, act, 0.1, False, 1.0, sums, None, None
        Calls(either).norm_backward(*arguments, dx)
        for v in range(3):
            part = slice(2 * v, 2 * v + 2)
            reference.norm_backward(*arguments[:5], dy[part], *arguments[6:], expected[part])
        assert relative_error(dx, expected) <= tolerance(np.float64)


def test_gradients_of_samples_may_lie_apart(either, rng):
    x, dz = rng.normal(size=(2, 4, 9, 5))
    mean, inverse = rng.normal(size=(2, 5))
    out = either.device.empty((4, 20), "d")
    put = either.device.put
    arrays = put(x), put(mean), put(inverse), put(dz)
    either.norm_sample_grads(*arrays, out[:, 2:7], out[:, 10:15])
    dgamma, dshift = np.empty((4, 5)), np.empty((4, 5))
    reference.norm_sample_grads(x, mean, inverse, dz, dgamma, dshift)
    assert relative_error(out.get()[:, 2:7], dgamma) <= tolerance(np.float64, 9)
    assert relative_error(out.get()[:, 10:15], dshift) <= tolerance(np.float64, 9)
    assert np.isnan(out.get()[:, [0, 1, 7, 8, 9, 15, 19]]).all()


# ---- images -------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 4])
def test_of_equal_values_the_first_wins_and_nan_beats_all(either, channels):
    x = np.zeros((1, 4, 4, channels), np.float32)
    x[0, 2, 3], x[0, 3, 2] = np.nan, np.nan
    index, y = np.empty((1, 2, 2, channels), np.uint16), np.empty((1, 2, 2, channels), "f")
    Calls(either).max_pool_forward(x, (2, 2), (2, 2), (0, 0), index, y)
    assert (index[0, :, :, 0] == [[0, 0], [0, 1]]).all()
    assert np.isnan(y[0, 1, 1]).all() and not y[0, 0].any()


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("fill", [-1.0, -np.inf])
def test_padding_never_wins_a_maximum(either, fill, channels):
    x = np.full((1, 3, 3, channels), fill, np.float32)
    index, y = np.empty((1, 2, 2, channels), np.uint16), np.empty((1, 2, 2, channels), "f")
    Calls(either).max_pool_forward(x, (3, 3), (2, 2), (1, 1), index, y)
    assert (y == fill).all()
    dx = np.full_like(x, np.nan)
    Calls(either).max_pool_backward(index, np.ones_like(y), (3, 3), (2, 2), (1, 1), dx)
    assert dx.sum() == y.size


WINDOWS = {  # window, stride, padding
    "overlapping": ((3, 2), (1, 1), (0, 0)),
    "padded": ((3, 4), (2, 3), (1, 3)),
    "gaps": ((1, 2), (3, 4), (0, 1)),
}


@pytest.mark.parametrize("where", WINDOWS)
@pytest.mark.parametrize("channels", [3, 8])
def test_maxima_of_any_windows(either, rng, where, channels):
    window, stride, padding = WINDOWS[where]
    x = rng.normal(size=(2, 7, 8, channels)).astype("f")
    h, w = ((x.shape[1 + a] + 2 * padding[a] - window[a]) // stride[a] + 1 for a in (0, 1))
    found, wanted = ((np.empty((2, h, w, channels), np.uint16), np.empty((2, h, w, channels), "f"))
                     for _ in "ab")  # fmt: skip
    Calls(either).max_pool_forward(x, window, stride, padding, *found)
    reference.max_pool_forward(x, window, stride, padding, *wanted)
    assert np.array_equal(found[0], wanted[0]) and np.array_equal(found[1], wanted[1])
    dy = rng.normal(size=(4, h, w, channels)).astype("f")  # two stacked cotangents
    dx, expected = np.empty((4, *x.shape[1:]), "f"), np.empty((4, *x.shape[1:]), "f")
    for backend, out in ((Calls(either), dx), (reference, expected)):
        backend.max_pool_backward(wanted[0], dy, window, stride, padding, out)
    assert relative_error(dx, expected) <= tolerance("f", window[0] * window[1])


def test_means_of_windows_in_any_order(either, rng):
    """Adaptive windows overlap; the contract does not even say that they come in order."""
    rows, columns = np.array([[2, 5], [0, 3], [4, 5]]), np.array([[1, 2], [0, 7], [5, 7], [3, 4]])
    for channels in (3, 4):
        x, dy = rng.normal(size=(2, 6, 7, channels)), rng.normal(size=(4, 3, 4, channels))
        y, expected = np.empty((2, 3, 4, channels)), np.empty((2, 3, 4, channels))
        Calls(either).average_pool_forward(x, rows, columns, y)
        reference.average_pool_forward(x, rows, columns, expected)
        assert relative_error(y, expected) <= tolerance(np.float64, 21)
        dx, expected = np.full((2, 4, 6, 7, channels), np.nan)
        Calls(either).average_pool_backward(dy, rows, columns, dx)
        reference.average_pool_backward(dy, rows, columns, expected)
        assert relative_error(dx, expected) <= tolerance(np.float64, 12)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u1", "i4"])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (4, 4, 3), (16,)])
def test_rows_of_any_type_are_gathered(either, rng, dtype, shape):
    x = rng.integers(0, 100, (7, *shape)).astype(dtype)
    rows = np.array([6, 0, 0, 3, 5])
    for array in (either.device.put(x), shifted(either, x)):
        out = either.device.empty((5, *shape), dtype)
        either.gather_rows(array, either.device.put(rows), out)
        assert np.array_equal(out.get(), x[rows])


def test_a_row_that_is_not_there_is_nan_or_minus_one(either):
    rows = either.device.put(np.array([0, -1, 2, 1]))
    for dtype in ("f4", "i8"):
        out = either.device.empty((4, 3), dtype)
        either.gather_rows(either.device.put(np.ones((2, 3), dtype)), rows, out)
        found = out.get()
        assert (found[[0, 3]] == 1).all()
        assert np.isnan(found[1:3]).all() if dtype == "f4" else (found[1:3] == -1).all()


# ---- the optimizers -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_update")])
def test_streams_in_every_combination(ops, name):
    """All eight, of which the contract's variants are six."""
    kernel = KERNELS[name]
    for dtype in FLOATS:
        for streams in update.STREAMS:
            penalty, path, gain = (there == "true" for there in streams.split(", "))
            absent = {"omega": penalty, "anchor": penalty, "path": path, "gain": gain}
            arguments = kernel.arguments(np.random.default_rng(0), TINY[0], dtype, "all")
            arguments |= {stream: None for stream, there in absent.items() if not there}
            assert check_arguments(ops, kernel, TINY[0], dtype, arguments) <= 1, streams
