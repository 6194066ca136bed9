"""What only CUDA's kernels have, run on the CPU: races, orders of threads, addresses, tiles.

The mode "check" watches every access to memory, so it gets tiny arrays. What holds for all backends
is in tests/test_kernels.py; tests/test_cuda_conv.py does the same for the convolutions.
"""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest
from backends import OnHost, checked
from kernel_sizes import FLOATS, SIZES, STACKING, TINY
from weightspace.kernels import codes, reference
from weightspace.kernels.cuda import SOURCES, CudaOps, dense, launch, losses, norm, tiles, update
from weightspace.kernels.cuda_host import HostDevice
from weightspace.kernels.spec import KERNELS, check, check_arguments, relative_error, tolerance

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None, reason="needs a C++ compiler: apt install g++"
)

NAMES = [name for name, kernel in KERNELS.items() if kernel.family != "conv"]
LONG = [
    {"N": 300, "I": 3, "O": 5, "K": 3, "V": 1, "P": 2501, "H": 4, "W": 5, "C": 3, "T": 2},
    {"N": 40, "I": 270, "O": 60, "K": 34, "V": 1, "P": 1100, "H": 6, "W": 5, "C": 8, "T": 9},
]


@pytest.fixture(scope="module")
def ops() -> CudaOps:
    return CudaOps(HostDevice(mode="fast", order=0))


@pytest.fixture(scope="module", params=[0, 1], ids=["forward", "reverse"])
def watched(request) -> CudaOps:
    """Kernels whose every access is checked, the threads in order or in reverse."""
    return checked(request.param)


@pytest.fixture(params=["fast", "check"])
def either(request) -> CudaOps:
    return CudaOps(HostDevice(mode=request.param, order=1))


def shifted(ops: CudaOps, array: np.ndarray):
    """`array` on the device, one element behind where 16 bytes could be moved at once."""
    wide = ops.device.put(np.concatenate([array.reshape(-1)[:1], array.reshape(-1)]))
    return wide[1:].reshape(array.shape)


# ---- the contract -------------------------------------------------------------------------------


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


@pytest.mark.parametrize("name", NAMES)
def test_accesses_to_memory_are_in_order(watched, name):
    """No race, nothing out of bounds, nothing read before it was written."""
    kernel = KERNELS[name]
    for variant in kernel.variants:
        for tiny, dtype in zip(TINY, FLOATS, strict=True):
            sizes = {**tiny, "V": 2 if name in STACKING else 1}
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
    """The host launcher with a product like cuBLAS's, and how many were asked for."""

    products = 0

    def gemm(self, transposed, sizes, a, b, c, strides, beta, tf32):
        self.products += 1
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
    device = HostWithGemm(mode="fast", order=0)
    ops = CudaOps(device)
    for allowed in (False, True):  # such a library adds up in an order of its own
        ops.allow_cublas = allowed
        for dtype in FLOATS:
            for variant in KERNELS[name].variants:
                assert check(ops, KERNELS[name], SIZES[3], dtype, variant) <= 1
        assert bool(device.products) == (allowed and KERNELS[name].product)


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


@pytest.mark.parametrize("classes", [4, 33])
def test_a_label_that_names_no_class_gives_nan(either, classes):
    """Nobody looks at labels on a device: they must not be read past, and it must be seen."""
    active = np.ones(classes, bool)
    active[2] = False
    labels = np.array([0, -1, classes, 2, 2**40, 1])
    logits = np.zeros((6, classes), np.float32)
    loss, d = np.zeros(6, np.float32), np.zeros_like(logits)
    OnHost(either).softmax_cross_entropy(logits, labels, active, loss, d)
    wrong = np.array([False, True, True, False, True, False])
    assert np.array_equal(np.isnan(loss), wrong)
    assert np.array_equal(np.isnan(d).all(axis=1), wrong)
    assert np.array_equal(np.isnan(d).any(axis=1), wrong)
    assert np.array_equal(np.isinf(loss), labels == 2)  # a class that is out of play


def test_many_rows_come_round_to_the_same_blocks(ops, rng):
    """More tiles than blocks are launched: the loops inside the kernels run more than once."""
    for n, classes in ((64 * 8448 + 3, 1), (4 * 8448 + 3, 33)):
        logits = rng.normal(size=(n, classes)).astype("f")
        loss, d = np.zeros(n, "f"), np.zeros_like(logits)
        OnHost(ops).squared_error(logits, np.zeros_like(logits), loss, d)
        assert np.array_equal(d, logits)
        assert relative_error(loss, (logits**2).sum(axis=1) / 2) <= tolerance("f", classes)


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


def test_a_captured_step_reads_its_clock_anew(ops, rng, untyped):
    """What a CUDA graph is for: the same launches again, a step further on."""
    put, theta, adam = ops.device.put, np.ones(5), untyped(reference.adam_update)
    vectors = [put(v) for v in (theta, rng.normal(size=5), np.zeros(5), np.zeros(5))]
    expected = [v.get() for v in vectors]
    clock = put(np.array([0]))

    def record() -> None:
        ops.advance(clock)
        ops.adam_update(*vectors, 0.1, 0.9, 0.999, 1e-8, clock, None, None, 0.0, None, None)

    replay = ops.device.capture(record)
    for step in (1, 2, 3):
        replay()
        adam(*expected, 0.1, 0.9, 0.999, 1e-8, step, None, None, 0.0, None, None)
    assert clock.get() == [3]
    for found, wanted in zip(vectors, expected, strict=True):
        assert relative_error(found.get(), wanted) <= tolerance(np.float64, 3)


# ---- norm ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 7, 256])
def test_any_number_of_parts_will_do(ops, rng, parts):
    x, sums = rng.normal(size=(3, 50, 6)), np.empty((parts, 2, 6))
    mean, var = np.empty(6), np.empty(6)
    OnHost(ops).norm_statistics(x, sums, mean, var)
    assert relative_error(mean, x.mean(axis=(0, 1))) <= tolerance(np.float64, 150)
    assert relative_error(var, x.var(axis=(0, 1))) <= tolerance(np.float64, 150)


# ---- images -------------------------------------------------------------------------------------


def test_a_row_that_is_not_there_is_nan_or_minus_one(either):
    rows = either.device.put(np.array([0, -1, 2, 1]))
    for dtype in ("f4", "i8"):
        out = either.device.empty((4, 3), dtype)
        either.gather_rows(either.device.put(np.ones((2, 3), dtype)), rows, out)
        found = out.get()
        assert (found[[0, 3]] == 1).all()
        assert np.isnan(found[1:3]).all() if dtype == "f4" else (found[1:3] == -1).all()
