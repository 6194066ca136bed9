"""C's convolutions have the bits of `exact`, by each of their ways, and stay in their arrays."""

from __future__ import annotations

import shutil

import c_driver
import numpy as np
import pytest
from kernel_sizes import DRAWN_CONV, DRAWN_THREES, STACKED, draw, fits, moved, sizes
from test_exact import CONV, assert_same_bits
from weightspace.kernels import Backend, get_backend
from weightspace.kernels.c import conv_plan, library
from weightspace.kernels.c.sources import PREFIX, needed
from weightspace.kernels.exact import conv as exact_conv
from weightspace.kernels.spec import KERNELS


def ops_of(winograd: bool = True) -> Backend:
    """The backend, by Winograd's way where the engine goes so, or directly."""
    return get_backend("c" if winograd else "c-direct")


NAMES = [name for name, kernel in KERNELS.items() if kernel.family == "conv"]
ALL = tuple(NAMES)
WINOGRAD = [name for name, ways in conv_plan.WAYS.items() if conv_plan.WINOGRAD in ways]
SPECIAL = (np.nan, np.inf, -np.inf, 1e6, 1e12, 1e30, -3e38, 1e-42)
# channels and filters of whole blocks of 4 and not; tiles of all heights and widths
TILES = [
    sizes(3, (9, 10), 9, 17, (3, 3)),
    sizes(5, (5, 6), 8, 8, (3, 3)),
    sizes(1, (3, 3), 13, 11, (3, 3)),
]
# of one channel, by filters three wide: outputs of whole blocks of 4 and not
GREY = [
    sizes(2, (5, 9), 1, 6, (3, 3)),
    sizes(2, (4, 8), 1, 8, (2, 3)),
    sizes(1, (6, 3), 1, 5, (5, 3)),
]
STRICTER = (*library.STRICT, "-Wvla", "-Wshadow", "-Wstrict-prototypes")


@pytest.fixture(params=[True, False], ids=["winograd", "direct"])
def ops(request, monkeypatch):
    """The backend, and `exact` going the same way."""
    if not request.param:
        monkeypatch.setattr(exact_conv, "_winograd", lambda *given: False)
    return ops_of(winograd=request.param)


def compare(ops, kernel, arguments, about):
    with np.errstate(all="ignore"):
        expected = kernel.run(get_backend("exact"), arguments)
    found = kernel.run(ops, arguments)
    assert_same_bits(found, expected, (kernel.name, about))
    return found


def made(kernel, where, variant="", seed=1):
    return kernel.arguments(np.random.default_rng(seed), where, np.float32, variant)


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_has_the_bits(ops, name):
    kernel = KERNELS[name]
    for variant in kernel.variants:
        for where in CONV:
            if fits(kernel, where, variant):
                compare(ops, kernel, made(kernel, where, variant), (variant, where))


@pytest.mark.parametrize("name", NAMES)
def test_odd_sizes_and_steps_have_the_bits(name):
    """Strides above the kernel's size too, so that an input gradient has phases without taps."""
    ops = ops_of()
    for number, where in enumerate(draw(DRAWN_CONV, 6) + draw({**DRAWN_THREES, "C": (8, 9, 12),
                                                               "O": (8, 11, 12)}, 3)):  # fmt: skip
        for stride, padding in (((1, 1), (1, 1)), ((3, 2), (0, 1)), ((1, 4), (1, 2))):
            kernel = moved(name, stride, padding)
            small = {**where, "N": min(where["N"], 2), "C": min(where["C"], 17)}
            if fits(kernel, small):
                compare(ops, kernel, made(kernel, small, seed=number), (stride, padding, small))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_groups_of_several_channels_have_the_bits(name, groups):
    """Blocks of 4 filters and 4 channels within a group, and what is left of them."""
    kernel = moved(name, (2, 1), (1, 1))
    kernel.scalars.update(groups=groups, dilation=(1, 2))
    for channels, filters in ((16, 24), (12, 20)):
        where = sizes(2, (7, 8), channels, filters, (3, 3))
        compare(ops_of(), kernel, made(kernel, where), (groups, where))


@pytest.mark.parametrize("where", GREY)
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 3)])
def test_images_of_one_channel_have_the_bits(padding, where, rng):
    """Six pixels a row within the image, and over each of its edges; with a bias and without."""
    kernel = moved("conv2d_forward", (1, 1), padding)
    if not fits(kernel, where):
        pytest.skip("no output")
    for b in (None, rng.normal(size=where["O"]).astype(np.float32)):
        arguments = {**made(kernel, where), "b": b}
        compare(ops_of(), kernel, arguments, (padding, where))
        arguments["x"].ravel()[rng.integers(0, arguments["x"].size)] = np.nan
        compare(ops_of(), kernel, arguments, (padding, where, "NaN"))
        assert kernel.complete(ops_of(), arguments)["work"].size == 6 * where["R"]


@pytest.mark.parametrize("power", [1, 2])
def test_stacked_cotangents_have_the_bits(power):
    kernel = KERNELS["conv2d_accumulate"]
    for where in (STACKED, {**STACKED, "N": 40, "H": 3, "W": 3}):  # samples in groups of several
        compare(ops_of(), kernel, {**made(kernel, where), "power": power}, where)


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_beta_and_groups_of_samples_and_of_tiles_have_the_bits(ops, beta):
    """33 tiles and more: two groups of them; more than 64 x 64 weights a tap: one."""
    kernel = KERNELS["conv2d_weight_grad"]
    for where in (
        sizes(17, (5, 4), 8, 9, (3, 3)),
        sizes(33, (3, 3), 65, 64, (3, 3)),
        sizes(40, (4, 3), 2, 3, (2, 2)),
    ):
        compare(ops, kernel, {**made(kernel, where), "beta": beta}, where)


@pytest.mark.parametrize("where", [*TILES[:2], sizes(3, (6, 7), 5, 10, (3, 2))])
@pytest.mark.parametrize("name", NAMES)
def test_special_numbers_have_the_bits(ops, rng, name, where):
    """NaN, infinite, hot, nearly the largest, tiny: one in a sample, of weights one in all."""
    kernel = moved(name, (1, 1), (1, 1))
    arguments = made(kernel, where)
    for operand in {"x", "tx", "dz", "w", "tw"} & arguments.keys():
        for value in SPECIAL:
            given = arguments[operand].copy()
            for sample in (given if operand in ("x", "tx", "dz") else given[None])[:2]:
                sample[tuple(rng.integers(0, sample.shape))] = value
            compare(ops, kernel, {**arguments, operand: given}, (operand, value))


@pytest.mark.parametrize("value", SPECIAL)
def test_every_pixel_of_a_tile_may_be_special(value):
    """A 6 x 6 image without padding is one tile."""
    kernel = moved("conv2d_forward", (1, 1), (0, 0))
    arguments = made(kernel, sizes(1, (6, 6), 8, 8, (3, 3)))
    for pixel in range(36):
        given = arguments["x"].copy()
        given[0, pixel // 6, pixel % 6, pixel % 8] = value
        compare(ops_of(), kernel, {**arguments, "x": given}, (value, pixel))


@pytest.mark.parametrize("hot", [62.5, 63.0, 63.5, 64.0, np.nextafter(np.float32(64), np.inf), 65])
@pytest.mark.parametrize("least", [0.5, 1.0])
def test_outputs_go_directly_from_the_same_bound_on(rng, hot, least):
    """Of a tile with a pixel 64 times the others, or about so, some outputs do, or none, or all."""
    kernel = moved("conv2d_forward", (1, 1), (1, 1))
    arguments = made(kernel, sizes(2, (9, 10), 8, 8, (3, 3)))
    x = rng.uniform(least, 1, arguments["x"].shape).astype(np.float32)
    x[:, 4, 4, 3] = hot
    compare(ops_of(), kernel, {**arguments, "x": x}, hot)


@pytest.mark.parametrize("name", ["conv2d_forward", "conv2d_input_grad", "conv2d_weight_grad"])
@pytest.mark.parametrize("size", [2.0**39, 2.0**41, 2.0**60, 2.0**62, 3e35])
def test_large_numbers_have_the_bits(name, size):
    """About the bounds between what is surely finite by Winograd's way and what may overflow."""
    kernel = moved(name, (1, 1), (1, 1))
    arguments = made(kernel, TILES[0])
    for operand in ("x", "dz"):
        if operand in arguments:
            large = (arguments[operand] * size).astype(np.float32)
            compare(ops_of(), kernel, {**arguments, operand: large}, (operand, size))
    if "dz" in arguments and "x" in arguments:
        more = {key: (arguments[key] * np.float32(size)) for key in ("x", "dz")}
        with np.errstate(over="ignore"):
            compare(ops_of(), kernel, {**arguments, **more, "beta": 0.5}, size)


@pytest.mark.parametrize("name", WINOGRAD)
def test_the_direct_way_of_a_winograd_layer_is_another_one(name):
    """Else the tests above would see one of them twice."""
    kernel = moved(name, (1, 1), (1, 1))
    arguments = made(kernel, TILES[0])
    written = next(iter(kernel.writes))
    found = [kernel.run(ops_of(winograd=way), arguments)[written] for way in (True, False)]
    assert (found[0] != found[1]).mean() > 0.3
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=2e-5 * abs(found[1]).max())


# ---- which function a call is -------------------------------------------------------------------

SAME = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}


def planned(kernel, channels, filters, change=None, winograd=True):
    given = {**SAME, **(change or {})}
    each = channels // given["groups"]
    where = {"N": 1, "H": 8, "W": 8, "C": channels, "O": filters, "R": 3, "S": 3, "c": each}
    return conv_plan.plan(kernel, {**where, "h": 8, "w": 8}, given, winograd)


def test_a_call_is_one_function_by_its_sizes():
    assert planned("conv2d_forward", 8, 8).function == "conv2d_forward_winograd"
    assert planned("conv2d_forward", 8, 8, winograd=False) == ("conv2d_forward", 4 * 9 * 8)
    assert planned("conv2d_forward", 8, 8, {"groups": 8}) == ("conv2d_forward_depthwise", 2 * 9 * 8)
    assert planned("conv2d_input_grad", 8, 8, {"groups": 8}) == ("conv2d_input_grad_depthwise", 0)
    assert planned("conv2d_forward", 1, 8) == ("conv2d_forward_grey", 6 * 3)
    assert planned("conv2d_forward", 1, 3) == ("conv2d_forward", 4 * 9)
    assert planned("conv2d_forward", 1, 8, {"stride": (1, 2)}) == ("conv2d_forward", 4 * 9)
    assert planned("conv2d_forward", 8, 16, {"groups": 8}) == ("conv2d_forward", 4 * 9)
    assert planned("conv2d_forward", 8, 8, {"dilation": (1, 2)}).function == "conv2d_forward"
    assert planned("conv2d_input_grad", 8, 8, {"stride": (1, 2)}).function == "conv2d_input_grad"
    assert planned("conv2d_sample_grads", 8, 8) == ("conv2d_sample_grads", 0)
    assert conv_plan.plan("dense_forward", {}, {}) == ("dense_forward", 0)


@pytest.mark.parametrize(("change", "y", "room"), [
    ({}, (4, 3), 0), ({"padding": (0, 1)}, (4, 3), 288), ({"padding": (1, 0)}, (4, 3), 288),
    ({}, (5, 3), 288), ({}, (4, 4), 288),  # zeros below, and to the right
    ({"dilation": (2, 1)}, (3, 3), 0), ({"dilation": (1, 2)}, (4, 1), 288),
    ({"stride": (2, 2)}, (2, 2), 0), ({"stride": (2, 2)}, (3, 2), 288),
])  # fmt: skip
def test_windows_inside_the_image_are_read_where_they_lie(rng, change, y, room):
    kernel, given = KERNELS["conv2d_forward"], {**SAME, "padding": (0, 0), **change}
    x, w = rng.normal(size=(2, 5, 5, 12)), rng.normal(size=(4, 2, 3, 12))
    rooms = {"act": 0, "slope": 0.0, "work": None, "y": np.empty((2, *y, 4), np.float32)}
    arguments = {"x": x.astype("f"), "w": w.astype("f"), "b": None, **given, **rooms}
    assert kernel.complete(ops_of(), arguments)["work"].size == room
    compare(ops_of(), kernel, arguments, (change, y))


def test_too_little_scratch_is_refused():
    kernel = KERNELS["conv2d_forward"]
    arguments = {**made(kernel, TILES[0]), "work": np.zeros(2015, np.float32)}
    with pytest.raises(ValueError, match=r"conv2d_forward got scratch of 2015.*needs 2016: ask"):
        ops_of().conv2d_forward(*arguments.values())


def test_what_a_network_does_not_need_is_not_in_its_file():
    def names(function):
        return {each.name for each in needed([PREFIX + function])}

    assert not any("winograd" in name for name in names("conv2d_forward"))
    assert not any("conv_quad" in name for name in names("conv2d_forward_winograd"))
    assert not any("conv_quad" in name for name in names("conv2d_forward_depthwise"))
    assert not any("winograd" in name for name in names("conv2d_weight_grad"))


# ---- compilers and memory -----------------------------------------------------------------------


@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_compilers_and_their_levels_agree(c_compiler, level, monkeypatch):
    built = library.Library(ALL, (*STRICTER, level))
    monkeypatch.setattr(library, "_all_kernels", lambda winograd: built)
    for name in NAMES:
        kernel = moved(name, (1, 1), (1, 1))
        for where in (TILES[0], GREY[0], sizes(2, (5, 6), 6, 7, (3, 2))):
            compare(ops_of(), kernel, made(kernel, where), (c_compiler, level, where))


@pytest.mark.parametrize("name", NAMES)
def test_sanitizers_find_nothing(tmp_path, name):
    """Of arrays of exactly their sizes, scratch too, on all variants and ways."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc and its sanitizers")
    kernel, calls = KERNELS[name], []
    for variant in kernel.variants:
        for where in (CONV[1], CONV[3], {**TILES[1], "N": 3}, *GREY):
            if fits(kernel, where, variant):
                given = made(kernel, where, variant)
                calls += [c_driver.Case(name, given, way) for way in (True, False)]
    flags = ["-O1", "-g", "-fno-inline", "-static-libasan", "-fsanitize=address,undefined",
             "-fno-sanitize-recover=all"]  # fmt: skip
    found = c_driver.run(calls, ["gcc", *flags, *library.machine_flags()], tmp_path)
    for case, wrote in zip(calls, found, strict=True):
        here = kernel.run(ops_of(case.winograd), case.arguments)
        assert_same_bits(wrote, here, (name, case.winograd))
