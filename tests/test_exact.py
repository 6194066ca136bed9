"""The exact backend: its fma rounds once, and the cpu backend gives its bits, kernel by kernel."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from backends import find
from kernel_sizes import FLOATS, STACKED, STACKING, TINY, fits, moved
from weightspace.kernels import available, get_backend
from weightspace.kernels.codes import ACTIVATIONS
from weightspace.kernels.exact.fused import fma
from weightspace.kernels.spec import KERNELS, check
from weightspace.nnlite import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Network,
    Residual,
    models,
    optim,
)

# Awkward for vectors of 4, 8 and 16 numbers: one, below, between and one more than they hold.
SIZES = [
    {"N": 1, "I": 1, "O": 1, "K": 1, "V": 1, "P": 1, "H": 5, "W": 5, "C": 3, "T": 1},
    {"N": 1, "I": 33, "O": 17, "K": 3, "V": 1, "P": 33, "H": 6, "W": 7, "C": 17, "T": 9},
    {"N": 3, "I": 17, "O": 33, "K": 66, "V": 1, "P": 1023, "H": 5, "W": 6, "C": 1, "T": 2},
    {"N": 17, "I": 65, "O": 3, "K": 10, "V": 1, "P": 17, "H": 9, "W": 6, "C": 5, "T": 7},
    {"N": 70, "I": 3, "O": 17, "K": 17, "V": 1, "P": 3, "H": 5, "W": 5, "C": 33, "T": 1},
]
# Direct and by Winograd's way (8 channels or more); samples in groups of one and of two.
CONV = [
    {"N": 1, "H": 1, "W": 1, "C": 1, "O": 1, "R": 1, "S": 1, "V": 1},
    {"N": 3, "H": 5, "W": 4, "C": 3, "O": 17, "R": 3, "S": 2, "V": 1},
    {"N": 17, "H": 3, "W": 4, "C": 2, "O": 33, "R": 1, "S": 3, "V": 1},
    {"N": 2, "H": 6, "W": 7, "C": 8, "O": 9, "R": 3, "S": 3, "V": 1},
    {"N": 1, "H": 3, "W": 5, "C": 17, "O": 33, "R": 3, "S": 3, "V": 1},
]


def assert_same_bits(found, expected, about):
    """NaN must meet NaN; of all other numbers every bit counts, the sign of zero too."""
    assert found.keys() == expected.keys()
    for name, array in found.items():
        other = expected[name]
        assert array.dtype == other.dtype and array.shape == other.shape, (about, name)
        same = np.isnan(array) & np.isnan(other) if array.dtype.kind == "f" else array == other
        if array.dtype.kind == "f":
            whole = np.dtype(f"u{array.itemsize}")
            flat = (np.ascontiguousarray(one).view(whole) for one in (array, other))
            same |= np.equal(*flat)
        assert same.all(), f"{name}, {about}: {np.count_nonzero(~same)} of {same.size} differ"


def compare(kernel, arguments, about):
    with np.errstate(all="ignore"):
        expected = kernel.run(get_backend("exact"), arguments)
    assert_same_bits(kernel.run(find("cpu"), arguments), expected, about)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", KERNELS)
def test_cpu_gives_the_bits(name, dtype):
    kernel = KERNELS[name]
    for variant in kernel.variants:
        for sizes in CONV if kernel.family == "conv" else SIZES:
            if fits(kernel, sizes, variant):
                made = kernel.arguments(np.random.default_rng(2), sizes, dtype, variant)
                compare(kernel, made, (variant, sizes))


@pytest.mark.parametrize("name", [*STACKING, "conv2d_input_grad"])
def test_cpu_gives_the_bits_of_stacked_cotangents(name):
    kernel = KERNELS[name]
    sizes = STACKED if kernel.family == "conv" else {**SIZES[3], "V": 3}
    for variant in kernel.variants:
        made = kernel.arguments(np.random.default_rng(3), sizes, "float32", variant)
        compare(kernel, made, variant)


@pytest.mark.parametrize("name", [
    name for name, kernel in KERNELS.items() if "beta" in kernel.scalars
])  # fmt: skip
def test_beta_is_rounded_to_the_dtype_before_it_multiplies(name):
    kernel = KERNELS[name]
    for sizes in CONV[1:4] if kernel.family == "conv" else SIZES[2:4]:
        made = kernel.arguments(np.random.default_rng(4), sizes, "float32")
        compare(kernel, {**made, "beta": 0.3}, sizes)


@pytest.mark.parametrize("dtype", FLOATS)
def test_in_place_has_the_bits_of_apart(rng, dtype):
    ops = find("cpu")
    x, dy = (planted(rng, rng.standard_normal(1003).astype(dtype)) for _ in range(2))
    apart = np.empty_like(x)

    def same(kernel, *given):
        """Of the last array that is given, and of that array as the output too."""
        kernel(*given, apart)
        here = given[-1].copy()
        kernel(*given[:-1], here, here)
        assert_same_bits({"y": here}, {"y": apart}, kernel)

    same(lambda x, y: ops.scale(x, 0.3, y), x)
    for act in ACTIVATIONS.values():
        same(ops.activation_forward, act, 0.1, x)
        same(ops.activation_backward, act, 0.1, x, dy)


def planted(rng, array):
    """A few of its numbers become infinite, NaN, zero of either sign or tiny."""
    flat = array.reshape(-1)
    special = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-40, -3e-42]
    flat[rng.integers(0, flat.size, len(special))] = special
    return array


@pytest.mark.parametrize("name", [n for n, k in KERNELS.items() if k.family == "conv"])
def test_cpu_gives_the_bits_of_special_pixels_and_weights(name):
    """One in a sample, so that some of Winograd's tiles see none; the last sample has none."""
    kernel, rng = KERNELS[name], np.random.default_rng(5)
    for sizes in ({**CONV[3], "N": 5}, {**CONV[1], "N": 5}):
        made = kernel.arguments(rng, sizes, "float32")
        for axis in ("x", "tx", "dz", "w"):
            if axis in made:
                given = made[axis].copy()
                for sample, value in zip(given, (1e6, np.nan, -np.inf, 1e30), strict=False):
                    sample[(0,) * (sample.ndim - 1)] = value
                compare(kernel, {**made, axis: given}, (sizes, axis))


@pytest.mark.parametrize("variant", ["dilated, strided", "grouped", "depthwise, strided"])
@pytest.mark.parametrize("name", [n for n, k in KERNELS.items() if k.family == "conv"])
def test_cpu_gives_the_bits_of_special_numbers_in_groups(name, variant):
    kernel, rng = KERNELS[name], np.random.default_rng(6)
    made = kernel.arguments(rng, {**CONV[3], "N": 5, "O": 34}, "float32", variant)
    for axis in ("x", "tx", "dz", "w"):
        if axis in made:
            given = made[axis].copy()
            planted(rng, given)
            compare(kernel, {**made, axis: given}, axis)


@pytest.mark.parametrize("name", [n for n, k in KERNELS.items() if k.family != "conv"])
def test_cpu_gives_the_bits_of_special_numbers(name):
    kernel, rng = KERNELS[name], np.random.default_rng(5)
    for variant in kernel.variants:
        made = kernel.arguments(rng, SIZES[3], "float32", variant)
        for array in made.values():
            if isinstance(array, np.ndarray) and array.dtype == np.float32:
                planted(rng, array)
        compare(kernel, made, variant)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("backend", ["cpu", "exact"])
def test_a_unit_that_is_off_passes_no_infinity_through_a_norm(backend, batch):
    """Its slope is 0 and no factor: 0 times infinity would be NaN, and of the batch's own all."""
    kernel, ops = KERNELS["norm_backward"], find(backend)
    made = kernel.arguments(np.random.default_rng(13), {**SIZES[3], "C": 3}, "float32")
    made["y"][2, 1, 0], made["dy"][2, 1, 0] = 0, np.inf
    found = kernel.run(ops, {**made, "batch": batch})
    assert all(np.isfinite(array).all() for array in found.values())


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shift", [-3, 0, 60])
def test_cpu_gives_the_bits_of_exp_log_and_tanh_over_their_range(dtype, shift):
    """By the kernels they are in: both ends of exp, sure and unsure classes, flat activations."""
    rng = np.random.default_rng(6)
    logits = (rng.normal(size=(37, 13)) * np.exp(rng.uniform(-6, 5, (37, 1))) + shift).astype(dtype)
    rooms = {name: np.empty_like(logits[:, 0] if name == "loss" else logits)
             for name in ("loss", "dlogits", "p", "y")}  # fmt: skip
    active = np.arange(13) % 5 != 1
    made = {"logits": logits, "labels": rng.integers(0, 13, 37), "active": active, **rooms}
    for name in ("softmax", "softmax_cross_entropy"):
        kernel = KERNELS[name]
        compare(kernel, {axis: made[axis] for axis in kernel.axes}, shift)
    for code in range(5):
        given = {"act": code, "slope": 0.1, "x": logits, "y": rooms["y"]}
        compare(KERNELS["activation_forward"], given, code)


def test_cpu_gives_the_bits_of_adam_after_a_long_time():
    kernel = KERNELS["adam_update"]
    made = kernel.arguments(np.random.default_rng(7), SIZES[3], "float64")
    for step in (1, 2, 999, 65_537, 10**7):
        compare(kernel, {**made, "step": step, "beta2": 0.9999999}, step)


@pytest.mark.parametrize("name", [n for n, k in KERNELS.items() if k.family == "conv"])
def test_cpu_gives_the_bits_of_other_steps(name):
    """Strides above the kernel's size, so that an input gradient has phases without taps."""
    sizes = {"N": 2, "H": 7, "W": 9, "C": 3, "O": 5, "R": 2, "S": 3, "V": 1}
    for stride, padding in (((3, 2), (0, 1)), ((1, 4), (1, 2))):
        kernel = moved(name, stride, padding)
        kernel = dataclasses.replace(kernel, variants={"": {}})
        compare(kernel, kernel.arguments(np.random.default_rng(8), sizes, "float32"), stride)


def test_cpu_gives_the_bits_of_winograd_weight_gradients_in_groups_and_in_one():
    """33 tiles and more: two groups; more than 64 x 64 weights a tap: one."""
    kernel = KERNELS["conv2d_weight_grad"]
    for sizes in (
        {"N": 17, "H": 5, "W": 4, "C": 8, "O": 9, "R": 3, "S": 3, "V": 1},
        {"N": 33, "H": 3, "W": 3, "C": 65, "O": 64, "R": 3, "S": 3, "V": 1},
    ):
        compare(kernel, kernel.arguments(np.random.default_rng(9), sizes, "float32"), sizes)


def of_convolutions(backend, dtype):
    """3 x 3 by Winograd's way and direct, strides, norms, both poolings, a shortcut."""
    block = Residual((Conv2d(8, 3, 1, 1, bias=False), BatchNorm2d()))
    first = [Conv2d(8, 3, 1, 1), BatchNorm2d(activation="relu"), block, MaxPool2d(2)]
    last = [Conv2d(5, 3, 2, 1, activation="leaky_relu"), AvgPool2d(2), Flatten(), Linear(4)]
    return Network([*first, *last], (9, 8, 8), backend, dtype, seed=2)


def of_rows(backend, dtype):
    return models.mlp((33, 17, 9, 4), "tanh", backend=backend, dtype=dtype, seed=1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("build", [of_rows, of_convolutions])
def test_networks_learn_the_same_bits(build, dtype):
    found = []
    find("cpu")
    for backend in ("cpu", "exact"):
        net, rng, adam = build(backend, dtype), np.random.default_rng(10), optim.Adam(1e-2)
        state = adam.state(net.num_parameters, dtype)
        for step in (1, 2, 3):
            x, y = rng.normal(size=(7, *net.input_shape)).astype(dtype), rng.integers(0, 4, 7)
            adam.step(net.ops, net.theta, net.loss_and_grad(x, y, mode="train")[1], state, step)
        found.append({"theta": net.theta, **net.state, **state})
    assert_same_bits(found[0], found[1], "theta, its moments and the running statistics")


# ---- the exact backend itself -------------------------------------------------------------------


@pytest.mark.parametrize("name", KERNELS)
def test_it_means_what_the_reference_means(name):
    kernel = KERNELS[name]
    for variant in kernel.variants:
        for sizes in CONV[1:4] if kernel.family == "conv" else TINY:
            if fits(kernel, sizes, variant):
                assert check(get_backend("exact"), kernel, sizes, "float64", variant) <= 1, variant


def test_it_is_for_study():
    assert "exact" in available(study=True) and "exact" not in available()


def rounded(exact: Fraction, dtype) -> float:
    """The number of `dtype` next to `exact`, of two as near the even one; by whole numbers."""
    about = np.finfo(dtype)
    size = abs(exact)
    lengths = size.numerator.bit_length() - size.denominator.bit_length()
    exponent = max(lengths - 1, about.minexp)
    while size >= Fraction(2) ** (exponent + 1):
        exponent += 1
    unit = Fraction(2) ** (exponent - about.nmant)
    size = round(size / unit) * unit  # round: to the even one
    value = np.inf if size >= Fraction(2) ** about.maxexp else float(size)
    return -value if exact < 0 else value


def assert_rounds_once(a, b, c, dtype):
    a, b, c = (np.asarray(one, dtype) for one in (a, b, c))
    exact = [Fraction(float(p)) * Fraction(float(q)) + Fraction(float(r))
             for p, q, r in zip(a, b, c, strict=True)]  # fmt: skip
    expected = np.array([rounded(one, dtype) for one in exact], dtype)
    np.testing.assert_array_equal(fma(a, b, c), expected)


@pytest.mark.parametrize("spread", [0, 3, 30])
@pytest.mark.parametrize("dtype", FLOATS)
def test_fma_rounds_once(dtype, spread):
    """spread: of the exponents, so that c is above, among and below the product's bits."""
    rng = np.random.default_rng(spread)
    a, b, c = rng.normal(size=(3, 800)) * np.exp2(rng.integers(-spread, spread + 1, (3, 800)))
    c[::2] = -(a * b * (1 + rng.normal(size=800) * np.finfo(dtype).eps))[::2]  # it cancels
    assert_rounds_once(a, b, c, dtype)


@pytest.mark.parametrize("dtype", FLOATS)
def test_fma_is_not_rounded_twice(dtype):
    """Sums beside the half way point of two numbers, by far less than float64 tells apart."""
    eps, least = np.finfo(dtype).eps, np.finfo(dtype).smallest_normal
    steps = np.arange(-8, 8).astype(dtype)
    signs = np.where(steps % 2 == 0, dtype(1), dtype(-1))
    near_half = (1 + eps) * eps / 2 * signs, np.full_like(steps, 1 - eps), 1 + steps // 2 * eps
    assert_rounds_once(*near_half, dtype)  # c odd and even, and half a step less a trifle
    half = 1 + (2 * abs(steps) + 1) * eps, np.full_like(steps, 1.5)
    for trifle in (eps**3, least, dtype(2) * eps**2):
        assert_rounds_once(*half, trifle * signs, dtype)
        assert_rounds_once(-half[0], half[1], trifle * signs, dtype)
    if dtype == np.float32:  # which a sum in float64 does not do
        a, b, c = (one.astype(np.float64) for one in near_half)
        assert ((a * b + c).astype(dtype) != fma(*near_half)).any()


@pytest.mark.parametrize("dtype", FLOATS)
def test_fma_of_tiny_and_of_large_numbers(dtype):
    rng, about = np.random.default_rng(11), np.finfo(dtype)
    low, high = about.minexp - about.nmant, about.maxexp
    mantissas = rng.uniform(1, 2, (3, 400)) * rng.choice([-1, 1], (3, 400))
    first = rng.integers(low // 2, high // 2, 400)
    for at in (low, low + 30, about.minexp, high - 1):  # of the product, and about so of c
        exponents = np.stack([first, at - first, at + rng.integers(-40, 3, 400)])
        exponents = np.clip(exponents, low, high - 1)
        with np.errstate(all="ignore"):
            terms = np.ldexp(mantissas.astype(dtype), exponents.astype(np.int32))
        terms = np.where(np.isfinite(terms), terms, dtype(1))
        assert_rounds_once(terms[0], terms[1], terms[2], dtype)


@pytest.mark.parametrize("dtype", FLOATS)
def test_fma_of_special_numbers(dtype):
    big, inf, nan = float(np.finfo(dtype).max), np.inf, np.nan
    table = [
        (big, big, -inf, -inf), (big, big, -big, inf), (-big, big, 1, -inf), (inf, 0, 1, nan),
        (inf, 1, -inf, nan), (inf, 2, -big, inf), (nan, 0, 0, nan), (1, 1, nan, nan),
        (0, -1, -0.0, -0.0), (0, -1, 0.0, 0.0), (-0.0, 5, -0.0, -0.0), (2, 3, -6, 0.0),
        (-2, 3, 6, 0.0), (1, 1, -inf, -inf), (big, 2, -big, big), (0, big, 3, 3),
    ]  # fmt: skip
    a, b, c, expected = (np.array(column, dtype) for column in zip(*table, strict=True))
    assert_same_bits({"": fma(a, b, c)}, {"": expected}, table)
    least = float(np.finfo(dtype).smallest_subnormal)
    down = fma(np.array([least, -least, least], dtype), [0.25, 0.25, 0.5], np.zeros(3, dtype))
    assert_same_bits({"": down}, {"": np.array([0.0, -0.0, 0.0], dtype)}, "half goes to even")


@pytest.mark.parametrize("dtype", FLOATS)
def test_fma_is_the_processors(dtype):
    """What the cpu backend's kernels compute, on numbers of all sizes."""
    numba = pytest.importorskip("numba")
    find("cpu")
    from weightspace.kernels.cpu.fused import fma as of_processor

    @numba.njit
    def loop(a, b, c, y):
        for i in range(y.size):
            y[i] = of_processor(a[i], b[i], c[i])

    rng, about = np.random.default_rng(12), np.finfo(dtype)
    span = about.maxexp // 2
    terms = rng.normal(size=(3, 20_000)) * np.exp2(rng.integers(-span, span, (3, 20_000)))
    a, b, c = terms.astype(dtype)
    y = np.empty_like(a)
    loop(a, b, c, y)
    assert_same_bits({"": fma(a, b, c)}, {"": y}, dtype)
