"""The convolution in CUDA, run on the CPU: odd sizes, every tile, races, bits, and TF32."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightspace.kernels.cuda import CudaOps, conv, tiles
from weightspace.kernels.spec import KERNELS, check, check_arguments, relative_error, tolerance

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None, reason="needs a C++ compiler: apt install g++"
)

NAMES = [name for name, kernel in KERNELS.items() if kernel.family == "conv"]
PRODUCTS = [name for name in NAMES if name != "conv2d_signal"]
CASES = [(name, variant) for name in NAMES for variant in KERNELS[name].variants]
FLOATS = [np.float32, np.float64]


def sizes(n: int, image: tuple[int, int], channels: int, filters: int, window, stacked: int = 1):
    (h, w), (r, s) = image, window
    return {"N": n, "H": h, "W": w, "C": channels, "O": filters, "R": r, "S": s, "V": stacked}


# Sizes that fit no tile, slice or warp. Three filters at least: a single sum may cancel to nothing,
# which leaves no scale to judge its error by.
SIZES = [
    sizes(1, (1, 1), 1, 3, (1, 1)),
    sizes(2, (5, 4), 1, 3, (1, 1)),
    sizes(3, (19, 2), 3, 10, (3, 3)),
    sizes(2, (5, 6), 17, 65, (3, 3)),
    sizes(1, (7, 9), 17, 3, (5, 4)),
    sizes(5, (6, 5), 3, 33, (1, 3)),
    sizes(2, (8, 8), 40, 10, (1, 1)),
    sizes(9, (4, 4), 5, 16, (3, 3)),
]
# Multiples of 4 channels and filters are read in pieces of 16 bytes.
WIDE = [
    sizes(3, (7, 9), 4, 4, (1, 1)),
    sizes(2, (9, 8), 12, 68, (3, 3)),
    sizes(2, (5, 6), 68, 12, (2, 3)),
    sizes(5, (6, 5), 16, 20, (5, 4)),
]
STACKED = sizes(3, (6, 5), 5, 18, (3, 2), 3)
SMALL = [sizes(2, (5, 4), 3, 5, (3, 2), 2), sizes(2, (5, 4), 4, 8, (3, 2), 2)]
EVERY_TILE = [(t, False) for t in conv.TILES.single] + [(t, True) for t in conv.TILES.wide]
# (stride, padding) beyond those of the contract's variants.
STEPS = {
    "padding beyond the image": ((1, 1), (6, 5)),
    "stride beyond the window": ((4, 3), (0, 0)),
    "both": ((3, 5), (7, 4)),
    "three by two": ((3, 2), (2, 1)),
}


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


def fits(kernel, where, variant="") -> bool:
    """Whether there is any output position."""
    all_sizes = kernel.all_sizes(where, variant)
    return min(all_sizes["h"], all_sizes["w"]) >= 1


def moved(name: str, stride, padding):
    """The kernel's contract with other steps."""
    kernel = KERNELS[name]
    steps = {"stride": stride, "padding": padding}
    return dataclasses.replace(kernel, scalars={**kernel.scalars, **steps})


# ---- against the reference ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("name", "variant"), CASES)
def test_agrees_with_reference(ops, name, variant, dtype):
    kernel = KERNELS[name]
    for seed, where in enumerate([*SIZES, *WIDE]):
        if fits(kernel, where, variant):
            error = check(ops, kernel, where, dtype, variant, seed)
            assert error <= 1, f"{where}: {error} times the tolerance"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", NAMES)
def test_agrees_for_unusual_steps(ops, name, steps, dtype):
    kernel = moved(name, *STEPS[steps])
    for where in (sizes(2, (7, 5), 3, 10, (3, 2)), sizes(2, (5, 9), 4, 16, (5, 4)), STACKED):
        if fits(kernel, where):
            assert check(ops, kernel, where, dtype) <= 1, where


@pytest.mark.parametrize("dtype", FLOATS)
def test_stacked_cotangents(ops, dtype):
    """V cotangents: an axis of their own for accumulate, more samples for input_grad."""
    for variant in KERNELS["conv2d_accumulate"].variants:
        assert check(ops, KERNELS["conv2d_accumulate"], STACKED, dtype, variant) <= 1
    stacked = {**STACKED, "N": STACKED["N"] * STACKED["V"]}
    for variant in KERNELS["conv2d_input_grad"].variants:
        assert check(ops, KERNELS["conv2d_input_grad"], stacked, dtype, variant) <= 1


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
            ops.conv2d_forward(device.put(x), moved_w, device.put(b), (1, 1), (1, 1),
                               arguments["act"], 0.01, None, y)  # fmt: skip
            assert relative_error(device.get(y), expected) <= tolerance(dtype, 108)
        device.mode = "fast"


@pytest.mark.parametrize("least", [1, 7, 1000])
def test_sums_in_many_parts_or_one(ops, monkeypatch, replan, least):
    """One part goes straight to its place, without scratch; several wait there and are gathered."""
    monkeypatch.setattr(conv, "LEAST_PART", least)
    monkeypatch.setattr(tiles, "ENOUGH_BLOCKS", 1000 // least)
    replan()
    where = sizes(5, (6, 7), 5, 12, (3, 3), 2)
    room = {}
    for name in ("conv2d_weight_grad", "conv2d_accumulate"):
        for variant in KERNELS[name].variants:
            assert check(ops, KERNELS[name], where, np.float64, variant) <= 1
            size = ops.conv2d_workspace(name, (5, 6, 7, 5), (12, 3, 3, 5), (1, 1), (1, 1))
        room[name] = size // (46 * 12)
    wanted = {1: (210, 5), 7: (30, 5), 1000: (0, 0)}[least]
    assert tuple(room.values()) == wanted


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


def test_samples_gradients_may_lie_apart(ops, rng):
    """They are views of an (N, P) array, as a network's parameters lie in it."""
    kernel = KERNELS["conv2d_sample_grads"]
    arguments = kernel.arguments(rng, SIZES[2], np.float64)
    expected = kernel.run(ops, arguments)
    (n, *w_shape), device = arguments["dw"].shape, ops.device
    weights, filters = int(np.prod(w_shape)), w_shape[0]
    flat = device.full((n, weights + filters + 7), 5.0, np.float64)
    dw = flat[:, 3 : 3 + weights].reshape((n, *w_shape))
    db = flat[:, 4 + weights : 4 + weights + filters]
    x, dz = (device.put(arguments[name]) for name in ("x", "dz"))
    for mode in ("fast", "check"):
        device.mode = mode
        ops.conv2d_sample_grads(x, dz, (1, 1), (1, 1), device.empty((0,), np.float64), dw, db)
        device.mode = "fast"
        found = device.get(flat)
        assert np.array_equal(found[:, 3 : 3 + weights].reshape(n, *w_shape), expected["dw"])
        assert np.array_equal(found[:, 4 + weights : -3], expected["db"])
        assert (found[:, [0, 1, 2, 3 + weights, -3, -2, -1]] == 5).all()


@pytest.mark.parametrize("name", ["conv2d_weight_grad", "conv2d_sample_grads", "conv2d_input_grad"])
def test_a_first_write_heeds_nothing_that_lay_there(ops, rng, name):
    kernel = KERNELS[name]
    arguments = kernel.arguments(rng, SIZES[3], np.float64)
    for written in kernel.writes:
        arguments[written].fill(np.nan)
    assert check_arguments(ops, kernel, SIZES[3], np.float64, arguments) <= 1


def test_nan_reaches_every_output_that_sees_it(ops, rng):
    kernel = moved("conv2d_forward", (1, 1), (1, 1))
    arguments = kernel.arguments(rng, sizes(1, (8, 8), 16, 16, (3, 3)), np.float64)
    arguments["x"][0, 4, 4, 3] = np.nan
    y = kernel.run(ops, arguments)["y"]
    assert np.isnan(y[0, 3:6, 3:6]).all() and np.isnan(y).sum() == 9 * 16


def test_too_little_scratch_strided_images_and_too_large_ones_are_refused(ops, rng):
    """The first two would otherwise be read and written out of bounds, without a word."""
    put, where = ops.device.put, ((1, 1), (1, 1))
    x, w = put(rng.normal(size=(20, 8, 8, 4))), put(rng.normal(size=(4, 3, 3, 4)))
    for name in ("conv2d_weight_grad", "conv2d_accumulate", "conv2d_signal"):
        size = ops.conv2d_workspace(name, x.shape, w.shape, *where)
        assert size > 0
        work = put(np.zeros(size - 1))
        with pytest.raises(ValueError, match="conv2d_workspace"):
            if name == "conv2d_weight_grad":
                ops.conv2d_weight_grad(x, x, *where, 0.0, work, w, put(np.zeros(4)))
            elif name == "conv2d_accumulate":
                ops.conv2d_accumulate(x, x.reshape((1, *x.shape)), *where, 2, work, w,
                                      put(np.zeros(4)))  # fmt: skip
            else:
                ops.conv2d_signal(x, x, w, *where, work, w, put(np.zeros(4)))
    with pytest.raises(ValueError, match="contiguous"):
        ops.conv2d_forward(x[:, ::2], w, None, *where, 0, 0.0, work, x)
    for shape in ((1 << 20, 64, 64, 1), (1, 1 << 14, 1 << 14, 16)):
        with pytest.raises(ValueError, match="smaller batches"):
            ops.conv2d_workspace("conv2d_weight_grad", shape, (4, 3, 3, shape[3]), *where)


# ---- races, bounds and bits ---------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_the_checker_finds_nothing(name, order, monkeypatch, replan):
    """No races, nothing out of bounds, nothing read that was not written."""
    monkeypatch.setattr(conv, "LEAST_PART", 8)
    replan()
    ops, kernel = make_ops("check", order), KERNELS[name]
    for where in SMALL:
        for variant in ("", "strided", "no bias"):
            if variant in kernel.variants:
                assert check(ops, kernel, where, np.float32, variant) <= 1
        assert check(ops, moved(name, *STEPS["both"]), where, np.float64) <= 1


@pytest.mark.parametrize(("tile", "wide"), EVERY_TILE)
def test_the_checker_finds_nothing_in_any_tile(only, tile, wide):
    only(tile, wide)
    ops = make_ops("check", 3)
    for name in PRODUCTS:
        for dtype in FLOATS:
            channels = (4, 20) if wide else (3, 19)
            assert check(ops, KERNELS[name], sizes(2, (6, 5), *channels, (3, 3)), dtype) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_bits_depend_on_no_order(ops, name, monkeypatch, replan):
    monkeypatch.setattr(conv, "LEAST_PART", 16)
    replan()
    kernel = KERNELS[name]
    for where in (SIZES[3], WIDE[1], STACKED):
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
    device, where = ops.device, ((1, 1), (1, 1))
    x, w, dz = (
        device.put(rng.normal(size=shape)) for shape in ((5, 8, 8, 4), (6, 3, 3, 4), (5, 8, 8, 6))
    )
    y, dx, dw = (device.zeros(like.shape, np.float64) for like in (dz, x, w))
    size = max(ops.conv2d_workspace(name, x.shape, w.shape, *where) for name in NAMES)
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
    ops.dense_accumulate(put(x), put(dz), 2, None, None, dw, None)
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


def test_tf32_is_off_unless_asked_for(monkeypatch):
    monkeypatch.delenv("WEIGHTSPACE_TF32", raising=False)
    assert not make_ops().allow_tf32
    monkeypatch.setenv("WEIGHTSPACE_TF32", "1")
    assert make_ops().allow_tf32
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
        (64, 64, 2000, "Small"),  # few results of long sums: groups along k
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
    assert check(ops, KERNELS["conv2d_sample_grads"], SIZES[5], np.float64) <= 1


def test_a_split_depends_on_sizes_alone():
    assert tiles.split(3, 131072, 256) == 176  # blocks for every processor
    assert tiles.split(3, 1000, 256) == 3  # but none with too little to do
    assert tiles.split(5000, 131072, 256) == 1
