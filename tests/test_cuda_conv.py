"""The convolution in CUDA, run on the CPU: odd sizes, every tile, races, bits, and TF32."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_sizes import CONV, FLOATS, STACKED, WIDE, moved, sizes
from weightspace.kernels.cuda import CudaOps, conv, tiles
from weightspace.kernels.errors import SettingError
from weightspace.kernels.spec import KERNELS, check, check_arguments, relative_error, tolerance

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None, reason="needs a C++ compiler: apt install g++"
)

NAMES = [name for name, kernel in KERNELS.items() if kernel.family == "conv"]
PRODUCTS = [name for name in NAMES if name != "conv2d_signal"]
MOVE = (1, 1), (1, 1), (1, 1), 1  # stride, padding, dilation, groups
SMALL = [sizes(2, (5, 4), 3, 5, (3, 2), 2), sizes(2, (5, 4), 4, 8, (3, 2), 2)]
EVERY_TILE = [(t, False) for t in conv.TILES.single] + [(t, True) for t in conv.TILES.wide]


def make_ops(mode: str = "fast", order: int = 0) -> CudaOps:
    from weightspace.kernels.cuda_host import HostDevice

    return CudaOps(HostDevice(mode=mode, order=order))


@pytest.fixture(scope="module")
def ops() -> CudaOps:
    return make_ops()


@pytest.fixture
def replan():
    """Forget how products are launched, now and after the test; for tests that change the rules."""

    def forget() -> None:
        for cached in (conv.plan, conv.workspace, tiles.choose_tile):
            cached.cache_clear()

    yield forget
    forget()


@pytest.fixture
def only(monkeypatch, replan):
    """only(tile, wide): convolutions use that tile and no other, with pieces or without."""

    def use(tile: str, wide: bool) -> None:
        changed = {"wide" if wide else "single": (tile,)}
        monkeypatch.setattr(conv, "TILES", conv.TILES._replace(**changed))
        replan()

    return use


# ---- every way to form products ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize(("tile", "wide"), EVERY_TILE)
def test_every_tile_gives_every_product(ops, only, tile, wide, name, dtype):
    only(tile, wide)
    odd = [sizes(2, (9, 8), 9, 70, (3, 3), 2), sizes(2, (5, 6), 67, 7, (2, 1))]
    for where in WIDE if wide else odd:
        assert check(ops, KERNELS[name], where, dtype) <= 1
    launched = [key for key in ops.launch._functions if key.startswith(f"{name}<")]
    real = conv.c_type(np.empty(0, dtype))
    assert f"{name}<{tile}<{real}{', WIDE' * wide}>>" in launched


@pytest.mark.parametrize("dtype", FLOATS)
def test_arrays_that_begin_anywhere(ops, rng, dtype):
    """Parameters lie where the one before ends: pieces of 16 bytes may not fit their beginning."""
    kernel, device = KERNELS["conv2d_forward"], ops.device
    arguments = kernel.arguments(rng, WIDE[1], dtype)
    expected = kernel.run(ops, arguments)["y"]
    x, w, b = (arguments[name] for name in "xwb")
    for mode in ("fast", "check"):
        device.mode = mode
        for offset in (0, 1, 2, 3):
            room = device.zeros((w.size + offset,), dtype)
            moved_w = room[offset:].reshape(w.shape)
            moved_w.set(w)
            y = device.empty(expected.shape, dtype)
            ops.conv2d_forward(device.put(x), moved_w, device.put(b), *MOVE, arguments["act"],
                               0.01, None, y)  # fmt: skip
            assert relative_error(device.get(y), expected) <= tolerance(dtype, 108)
        device.mode = "fast"


def test_sums_in_many_groups_or_one(ops):
    """One group goes straight to its place, without scratch; several wait and are gathered."""
    for n, wanted in ((1, 0), (5, 5), (35, 16)):
        where = sizes(n, (6, 7), 5, 12, (3, 3), 2)
        for name in ("conv2d_weight_grad", "conv2d_accumulate"):
            for variant in KERNELS[name].variants:
                assert check(ops, KERNELS[name], where, np.float64, variant) <= 1
            shapes = (n, 6, 7, 5), (12, 3, 3, 5), (n, 6, 7, 12)
            size = ops.conv2d_workspace(name, *shapes, *MOVE)
            assert size == wanted * 46 * 12


def test_many_samples_fold_in_groups(ops):
    """The signal's first pass leaves several sums of samples where there are many."""
    where = sizes(40, (4, 5), 3, 6, (3, 2))
    assert conv._folds(4 * 5 * 3, 40) == 5
    for variant in KERNELS["conv2d_signal"].variants:
        assert check(ops, KERNELS["conv2d_signal"], where, np.float64, variant) <= 1


@given(divisor=st.integers(1, 2**31 - 1), number=st.integers(0, 2**31 - 1))
def test_division_by_multiplication_is_exact(divisor, number):
    """What Divisor of conv.cuh does, on the numbers that are hardest: around multiples."""
    magic, shift = int(conv._magic(divisor)), max((divisor - 1).bit_length() - 1, 0)
    near = number // divisor * divisor
    for a in {number, near, max(near - 1, 0), min(near + divisor - 1, 2**31 - 1)}:
        assert (a * magic >> 32 >> shift if magic else a) == a // divisor


# ---- what is written, and what is not -----------------------------------------------------------


def test_too_large_images_are_refused(ops):
    """They would otherwise be read and written out of bounds, without a word."""
    for shape in ((1 << 20, 64, 64, 1), (1, 1 << 14, 1 << 14, 16)):
        with pytest.raises(ValueError, match="smaller batches"):
            shapes = shape, (4, 3, 3, shape[3]), (*shape[:3], 4)
            ops.conv2d_workspace("conv2d_weight_grad", *shapes, *MOVE)


# ---- races, bounds and bits ---------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_the_checker_finds_nothing(name, order):
    """No races, nothing out of bounds, nothing read that was not written."""
    ops, kernel = make_ops("check", order), KERNELS[name]
    for where in SMALL:
        for variant in ("", "strided", "no bias"):
            if variant in kernel.variants:
                assert check(ops, kernel, where, np.float32, variant) <= 1
        assert check(ops, moved(name, (3, 5), (7, 4)), where, np.float64) <= 1


@pytest.mark.parametrize(("tile", "wide"), EVERY_TILE)
def test_the_checker_finds_nothing_in_any_tile(only, tile, wide):
    only(tile, wide)
    ops = make_ops("check", 3)
    for name in PRODUCTS:
        for dtype in FLOATS:
            channels = (4, 20) if wide else (3, 19)
            assert check(ops, KERNELS[name], sizes(2, (6, 5), *channels, (3, 3)), dtype) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_bits_depend_on_no_order(ops, name):
    kernel = KERNELS[name]
    for where in (CONV[3], WIDE[1], STACKED):
        arguments = kernel.arguments(np.random.default_rng(3), where, np.float32)
        found = []
        for order in (0, 0, 1, 2, 11):
            ops.device.order = order
            found.append(kernel.run(ops, arguments))
        ops.device.order = 0
        for again in found[1:]:
            assert all(np.array_equal(again[key], found[0][key]) for key in found[0])


def test_a_step_can_be_captured(ops, rng):
    """Launches allocate nothing and read nothing back."""
    device, where = ops.device, MOVE
    x, w, dz = (
        device.put(rng.normal(size=shape)) for shape in ((5, 8, 8, 4), (6, 3, 3, 4), (5, 8, 8, 6))
    )
    y, dx, dw = (device.zeros(like.shape, np.float64) for like in (dz, x, w))
    shapes = x.shape, w.shape, dz.shape
    size = max(ops.conv2d_workspace(name, *shapes, *where) for name in NAMES)
    work = device.empty((size,), np.float64)

    def step() -> None:
        ops.conv2d_forward(x, w, None, *where, 1, 0.0, work, y)
        ops.conv2d_input_grad(dz, w, *where, work, dx)
        ops.conv2d_weight_grad(x, dz, *where, 1.0, work, dw, None)

    again = device.capture(step)
    again()
    once = device.get(dw)
    again()
    assert relative_error(device.get(dw), 2 * once) <= tolerance("float64")
    assert np.abs(device.get(y)).sum() > 0 and np.abs(device.get(dx)).sum() > 0


# ---- TF32 ---------------------------------------------------------------------------------------


def rounded(a: np.ndarray) -> np.ndarray:
    """`a` with 10 bits of mantissa: the nearest, of two the one further from 0."""
    bits = a.view(np.uint32) + np.uint32(1 << 12)
    return (bits & np.uint32(0xFFFFE000)).view(np.float32)


def round_factors(arguments):
    """`arguments` with all that is multiplied rounded to what tensor cores take."""
    return {
        name: rounded(value)
        if name in ("x", "w", "dz", "dy", "tx", "tw") and value is not None
        else value
        for name, value in arguments.items()
    }


@pytest.fixture
def tensor(replan, monkeypatch):
    """Backends that use tensor cores, and nothing else in float."""
    for name, tile in tiles.TILES.items():
        if not name.startswith("Tensor"):
            monkeypatch.setitem(tiles.TILES, name, tile._replace(cost=1e6))
    replan()

    def make(mode: str = "fast", order: int = 0) -> CudaOps:
        ops = make_ops(mode, order)
        ops.allow_tf32 = True
        return ops

    return make


@pytest.mark.parametrize("name", [*PRODUCTS, "dense_forward", "dense_tangent", "dense_backward"])
def test_tf32_is_the_product_of_rounded_inputs(tensor, name):
    """Within float's own tolerance of it; and inputs that were not rounded give the same bits."""
    ops, kernel = tensor(), KERNELS[name]
    variant = "identity" if name == "dense_backward" else ""
    ladder = [*WIDE, sizes(2, (13, 12), 8, 140, (3, 3), 2)]
    if kernel.family == "dense":
        ladder = [{"N": n, "I": i, "O": o, "V": 1} for n, i, o in ((10, 84, 68), (150, 12, 72))]
    for where in ladder:
        arguments = kernel.arguments(np.random.default_rng(5), where, np.float32, variant)
        exact = round_factors(arguments)
        assert check_arguments(ops, kernel, where, np.float32, exact) <= 1
        if name != "dense_backward":  # it gives dz too, which is not a product
            found, again = kernel.run(ops, arguments), kernel.run(ops, exact)
            assert all(np.array_equal(found[key], again[key]) for key in found)
    product = "dense_input_grad" if name == "dense_backward" else name
    assert f"{product}<Tensor<WIDE>>" in ops.launch._functions


def test_tf32_rounds_powers_too(tensor, rng):
    """dense_accumulate multiplies powers: those are what is rounded."""
    ops = tensor()
    x, dz = (rng.normal(size=shape).astype("f") for shape in ((9, 36), (9, 20)))
    dw = ops.device.zeros((20, 36), np.float32)
    put = ops.device.put
    ops.dense_accumulate(put(x), put(dz[None]), 2, put(x), put(dz), dw, None)
    expected = rounded(dz**2).astype("d").T @ rounded(x**2).astype("d")
    assert relative_error(ops.device.get(dw), expected) <= tolerance("float32", 9)
    assert relative_error(ops.device.get(dw), (dz.astype("d") ** 2).T @ x.astype("d") ** 2) <= 2e-3


@pytest.mark.parametrize("name", PRODUCTS)
def test_tf32_has_no_races_and_the_same_bits(tensor, name):
    kernel, where = KERNELS[name], sizes(2, (6, 5), 4, 20, (3, 3))
    arguments = kernel.arguments(np.random.default_rng(3), where, np.float32)
    runs = [kernel.run(tensor("check", order), arguments) for order in (0, 1)]
    runs.append(kernel.run(tensor("fast", 5), arguments))
    for run in runs[1:]:
        assert all(np.array_equal(run[key], runs[0][key]) for key in run)


def test_other_bits_are_off_unless_asked_for(monkeypatch):
    for name, field in (("TF32", "allow_tf32"), ("CUBLAS", "allow_cublas")):
        monkeypatch.delenv(f"WEIGHTSPACE_{name}", raising=False)
        assert not getattr(make_ops(), field)
        monkeypatch.setenv(f"WEIGHTSPACE_{name}", "1")
        assert getattr(make_ops(), field)
        monkeypatch.setenv(f"WEIGHTSPACE_{name}", "on")
        with pytest.raises(SettingError, match=f"{name} is 'on'; expected 1 or 0"):
            make_ops()
        monkeypatch.delenv(f"WEIGHTSPACE_{name}")


def test_tensor_cores_take_float_where_they_may():
    for real, asked, tile in (
        ("float", False, "Medium<float, WIDE>"),
        ("float", True, "Tensor<WIDE>"),
        ("double", True, "Medium<double, WIDE>"),
    ):
        names = conv.TILES.names(real, True, asked)
        assert tiles.choose_tile(1 << 14, 64, 576, names).name == tile


# ---- the choice of tiles ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "columns", "length", "tile"),
    [
        (131072, 16, 144, "Thin"),  # narrow outputs waste no columns
        (32768, 32, 288, "Narrow"),
        (32768, 64, 576, "Medium"),
        (32768, 3, 144, "Thin"),
        (64, 64, 2000, "Small"),  # few results: as many blocks as can be
    ],
)
def test_tiles_suit_the_results(rows, columns, length, tile):
    names = conv.TILES.names("float", True, False)
    chosen = tiles.choose_tile(rows, columns, length, names)
    assert chosen.name == f"{tile}<float, WIDE>"
    down, across = tiles.TILES[chosen.name][:2]
    assert (chosen.grid[0] - 1) * down < rows <= chosen.grid[0] * down
    assert (chosen.grid[1] - 1) * across < columns <= chosen.grid[1] * across


def test_more_samples_than_a_grid_has(ops, monkeypatch, replan):
    monkeypatch.setattr(conv, "MOST_SAMPLES", 2)
    replan()
    assert check(ops, KERNELS["conv2d_sample_grads"], CONV[5], np.float64) <= 1
