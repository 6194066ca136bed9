"""The order of a convolution's sums: one chain each, the same bits in any batch and on any CPU.

The chains are written out here from docs/convolutions.md and kernels/conv_order.py, in float64 with
a rounding to float32 after every step. Numbers have so few digits that float64 holds each product
and sum exactly, so that there is one rounding, as in a fused multiply-add.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from backends import find
from kernel_sizes import moved, sizes
from weightspace.kernels import conv_order
from weightspace.kernels.spec import KERNELS

# (sizes, stride, padding): filters of whole vectors and not, few and many positions
LAYERS = [
    (sizes(3, (6, 7), 5, 10, (3, 2)), (1, 1), (1, 1)),
    (sizes(5, (7, 6), 3, 16, (5, 4)), (2, 1), (2, 0)),
    (sizes(2, (8, 9), 4, 35, (3, 3)), (3, 2), (0, 2)),
]
WINOGRAD = [sizes(7, (5, 6), 8, 9, (3, 3)), sizes(5, (8, 9), 20, 33, (3, 3))]


@pytest.fixture(scope="module")
def cpu():
    return find("cpu")


def prepare(rng, name, layer, dtype: Any = np.float32):
    """Arguments of kernel `name` of 12 bits each, without an activation."""
    where, *steps = layer
    kernel = moved(name, *steps)
    arguments = kernel.arguments(rng, where, dtype)
    for key, value in arguments.items():
        if isinstance(value, np.ndarray) and key != "work":
            value[...] = np.round(rng.uniform(-2, 2, value.shape) * 1024) / 1024
    return kernel, {**arguments, "act": 0} if "act" in arguments else arguments


def step(a, b, total):
    """fma(a, b, total) in float32, of few digits."""
    return (a.astype("d") * b.astype("d") + total.astype("d")).astype("f")


def windows(x, taps, stride, padding):
    """(N, h, w, r s c): what each output sees, zeros around the image counted."""
    (ph, pw), (sh, sw) = padding, stride
    padded = np.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
    found = np.lib.stride_tricks.sliding_window_view(padded, taps, axis=(1, 2))[:, ::sh, ::sw]
    return found.transpose(0, 1, 2, 4, 5, 3).reshape(*found.shape[:3], -1)


def correlate(x, w, stride, padding, total: Any = 0.0):
    """Chains over (r, s, c)."""
    seen, flat = windows(x, w.shape[1:3], stride, padding), w.reshape(len(w), -1)
    total = np.broadcast_to(np.float32(total), (*seen.shape[:3], len(w)))
    for k in range(flat.shape[1]):
        total = step(seen[..., k, None], flat[:, k], total)
    return total


def weight_sum(seen, dz, dw, db):
    """Chains over (n, row, column) that go on from dw (O, k) and db (O,)."""
    seen, dz = seen.reshape(-1, seen.shape[-1]), dz.reshape(-1, dz.shape[-1])
    for t in range(len(dz)):
        dw, db = step(dz[t][:, None], seen[t], dw), db + dz[t]
    return dw, db


@pytest.mark.parametrize("layer", LAYERS)
def test_forward_and_tangent_are_one_chain(cpu, rng, layer):
    kernel, given = prepare(rng, "conv2d_forward", layer)
    _, stride, padding = layer
    z = correlate(given["x"], given["w"], stride, padding)
    assert np.array_equal(kernel.run(cpu, given)["y"], z + given["b"])
    kernel, given = prepare(rng, "conv2d_tangent", layer)
    tz = correlate(given["tx"], given["w"], stride, padding)
    tz = correlate(given["x"], given["tw"], stride, padding, tz)
    assert np.array_equal(kernel.run(cpu, given)["ty"], tz + given["tb"])


@pytest.mark.parametrize("layer", LAYERS)
def test_a_weight_gradient_is_one_chain_in_a_group_of_samples(cpu, rng, layer):
    where, stride, padding = layer
    kernel, given = prepare(rng, "conv2d_weight_grad", layer)
    seen, dz = windows(given["x"], (where["R"], where["S"]), stride, padding), given["dz"]
    n, filters, k = len(dz), dz.shape[3], seen.shape[3]
    dw, db = np.zeros((filters, k), "f"), np.zeros(filters, "f")
    groups = conv_order.sample_groups(n, k, filters)
    for group in range(groups):
        begin, end = (conv_order.group_begin(n, groups, group + i) for i in (0, 1))
        more = weight_sum(seen[begin:end], dz[begin:end], 0 * dw, 0 * db)
        dw, db = dw + more[0], db + more[1]
    found = kernel.run(cpu, given)
    assert np.array_equal(found["dw"].reshape(filters, k), dw)
    assert np.array_equal(found["db"], db)


def test_a_group_of_several_samples_is_one_chain(cpu, rng):
    layer = (sizes(40, (4, 3), 2, 3, (2, 2)), (1, 1), (1, 1))
    assert conv_order.sample_groups(40, 8, 3) < 40
    test_a_weight_gradient_is_one_chain_in_a_group_of_samples(cpu, rng, layer)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_sample_gradient_is_one_chain_and_powers_are_added_one_by_one(cpu, rng, layer):
    where, stride, padding = layer
    kernel, given = prepare(rng, "conv2d_sample_grads", layer)
    found, zero = kernel.run(cpu, given), np.zeros((), "f")
    seen = windows(given["x"], (where["R"], where["S"]), stride, padding)
    for n, dz in enumerate(given["dz"]):
        dw, db = weight_sum(seen[n], dz, zero, zero)
        assert np.array_equal(found["dw"][n].reshape(dw.shape), dw)
        assert np.array_equal(found["db"][n], db)
    entries, filters = seen.shape[3], given["dz"].shape[3]
    accumulate, more = prepare(rng, "conv2d_accumulate", layer)
    more.update(x=given["x"], dz=given["dz"][None], power=1)
    start = more["dw"].copy()  # as many groups as samples: one absolute value each
    assert conv_order.sample_groups(len(seen), entries, filters) == len(seen)
    for own in found["dw"]:
        start += np.abs(own)
    assert np.array_equal(accumulate.run(cpu, more)["dw"], start)


@pytest.mark.parametrize("layer", LAYERS)
def test_an_input_gradient_is_one_chain(cpu, rng, layer):
    """Over the taps that meet a pixel, by dz's rows and then columns, and then filters."""
    kernel, given = prepare(rng, "conv2d_input_grad", layer)
    dz, w, (sh, sw), (ph, pw) = given["dz"], given["w"], *layer[1:]
    n, height, width, _ = given["dx"].shape
    dx = np.zeros((n, height + 2 * ph, width + 2 * pw, w.shape[3]), "f")
    for i in range(dz.shape[1]):
        for j in range(dz.shape[2]):
            here = dx[:, i * sh : i * sh + w.shape[1], j * sw : j * sw + w.shape[2]]
            for o in range(len(w)):
                here[...] = step(dz[:, i, j, o, None, None, None], w[o], here)
    expected = dx[:, ph : ph + height, pw : pw + width]
    assert np.array_equal(kernel.run(cpu, given)["dx"], expected)


GROUPED = [name for name in KERNELS["conv2d_forward"].variants if "groups" in
           KERNELS["conv2d_forward"].variants[name]]  # fmt: skip
STILL = (
    "work", "w", "b", "tw", "tb", "stride", "padding", "dilation", "groups", "act", "slope",
)  # fmt: skip
EACH = {
    "conv2d_forward": ("y",), "conv2d_tangent": ("ty",), "conv2d_input_grad": ("dx",),
    "conv2d_sample_grads": ("dw", "db"),
}  # fmt: skip


def alone_as_among_others(cpu, kernel, given):
    name, together = kernel.name, kernel.run(cpu, given)
    for begin, end in ((0, 1), (1, 2), (len(together[EACH[name][0]]) - 1, None), (1, None)):
        part = {
            key: value if key in STILL or value is None else value[begin:end]
            for key, value in given.items()
        }
        alone = kernel.run(cpu, part)
        for written in EACH[name]:
            assert np.array_equal(alone[written], together[written][begin:end])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layer", [*LAYERS, *((each, (1, 1), (1, 1)) for each in WINOGRAD)])
@pytest.mark.parametrize("name", EACH)
def test_a_sample_has_the_bits_it_has_alone(cpu, rng, name, layer, dtype):
    """At any place in any batch: blocks of positions and tiles hold several images."""
    alone_as_among_others(cpu, *prepare(rng, name, layer, dtype))


@pytest.mark.parametrize("variant", GROUPED)
@pytest.mark.parametrize("name", EACH)
def test_a_sample_has_the_bits_it_has_alone_in_groups(cpu, rng, name, variant):
    for where in (sizes(4, (6, 7), 5, 10, (3, 2)), sizes(3, (9, 8), 48, 33, (3, 3))):
        kernel = KERNELS[name]
        alone_as_among_others(cpu, kernel, kernel.arguments(rng, where, np.float32, variant))


@pytest.mark.parametrize("variant", GROUPED)
def test_a_group_is_a_convolution_of_its_own(cpu, rng, variant):
    """To the bit: the same chains as where the group's channels and filters are all there are."""
    kernel = KERNELS["conv2d_forward"]
    given = kernel.arguments(rng, sizes(2, (9, 8), 12, 24, (3, 3)), np.float32, variant)
    whole, groups, each = kernel.run(cpu, given)["y"], given["groups"], given["w"].shape[3]
    filters = len(given["w"]) // groups
    for group in range(groups):
        c, o = (slice(group * k, (group + 1) * k) for k in (each, filters))
        own = {"x": given["x"][..., c].copy(), "w": given["w"][o], "b": given["b"][o]}
        own |= {"y": np.empty_like(whole[..., o]), "groups": 1}
        found = kernel.run(cpu, {**given, **own})["y"]
        assert np.array_equal(found, whole[..., o])


def test_groups_follow_from_sizes_alone():
    assert conv_order.sample_groups(1, 9, 8) == 1
    assert conv_order.sample_groups(100, 9, 8) == 16
    assert conv_order.sample_groups(100, 9 * 128, 128) == 14
    assert conv_order.sample_groups(100, 9 * 512, 512) == 1
    assert [conv_order.tile_groups(t, 64, 64) for t in (0, 1, 32, 33, 10_000)] == [1, 1, 1, 2, 16]
    assert conv_order.tile_groups(10_000, 64, 65) == 1


PROGRAM = """
import hashlib, sys
sys.path.insert(0, "tests")
import numpy as np
from kernel_sizes import moved, sizes
from weightspace.kernels import get_backend
from weightspace.kernels.spec import KERNELS
ops, total = get_backend("cpu"), hashlib.sha256()
for variant in (
    "asymmetric", "dilated, strided", "grouped, dilated", "depthwise", "depthwise, dilated",
):
    for where in (sizes(19, (6, 7), 5, 10, (3, 2)), sizes(3, (9, 6), 48, 40, (3, 3))):
        for name in ("forward", "tangent", "input_grad", "weight_grad", "accumulate"):
            kernel = KERNELS[f"conv2d_{name}"]
            given = kernel.arguments(np.random.default_rng(1), where, np.float32, variant)
            for written, array in sorted(kernel.run(ops, given).items()):
                total.update(array.tobytes())
for where, *steps in (
    (sizes(19, (6, 7), 5, 10, (3, 2)), (2, 1), (1, 1)),  # not of whole vectors
    (sizes(3, (9, 6), 24, 40, (3, 3)), (1, 1), (1, 1)),  # Winograd's way, tiles in groups
    (sizes(9, (8, 8), 64, 72, (3, 3)), (1, 1), (1, 1)),  # and in one sum
):
    for name in ("forward", "tangent", "input_grad", "weight_grad", "accumulate"):
        kernel = moved(f"conv2d_{name}", *steps)
        given = kernel.arguments(np.random.default_rng(1), where, np.float32)
        if "x" in given:
            given["x"][0, 2, 2, 0] = 1e6
        for written, array in sorted(kernel.run(ops, given).items()):
            if written != "work":
                total.update(array.tobytes())
print(total.hexdigest())
"""


def digest(**settings):
    command = [sys.executable, "-c", PROGRAM]
    environment = {**os.environ, **settings}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_vectors_and_threads_do_not_change_a_bit():
    """Registers of 32 bytes and, where there are any, of 64."""
    pytest.importorskip("numba", reason="vectors and threads are the cpu backend's")
    narrow = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"}
    one = digest(NUMBA_NUM_THREADS="1")
    assert digest(NUMBA_NUM_THREADS="3") == one
    assert digest(NUMBA_NUM_THREADS="2", **narrow) == one
