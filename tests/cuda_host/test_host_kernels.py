"""Right kernels give right results, in both modes and in any order of blocks and threads.

In the mode "check" this also shows that the checker has nothing to say about them.
"""

from __future__ import annotations

import numpy as np
import pytest

f4, i4, i8 = np.float32, np.int32, np.int64


@pytest.fixture
def run(any_device, kernel):
    def launch(name, grid, block, *args, shared=0):
        any_device.launch(kernel("clean.cu", name), grid, block, args, shared)

    return launch


def test_lanes_exchange_through_shared_memory(any_device, run):
    y = any_device.empty(128, f4)
    run("exchange_in_warps", (2,), (64,), y)
    np.testing.assert_array_equal(y.get(), np.tile((np.arange(64) ^ 3) + 1, 2))


def test_blocks_of_three_axes_and_a_short_warp(any_device, run):
    y = any_device.empty((12, 45), i4)
    run("three_axes", (2, 3, 2), (5, 3, 3), y)
    expected = np.broadcast_to((44 - np.arange(45)) * 1000 + 15, (12, 45))
    np.testing.assert_array_equal(y.get(), expected)


@pytest.mark.parametrize(("name", "tile", "dtype"), [("float, 8", 8, f4), ("double, 4", 4, "f8")])
def test_a_template_with_static_shared_memory(any_device, run, values, name, tile, dtype):
    m, n, k = 13, 10, 11
    a, b = values((m, k), dtype), values((k, n), dtype)
    c = any_device.empty((m, n), dtype)
    grid = (-(-n // tile), -(-m // tile))
    given = any_device.put(a), any_device.put(b), c, i4(m), i4(n), i4(k)
    run(f"product<{name}>", grid, (tile, tile), *given)
    np.testing.assert_allclose(c.get(), a @ b, rtol=1e-5, atol=1e-5)


def test_shuffles_and_dynamic_shared_memory(any_device, run, values):
    x = values((5, 300))
    sums = any_device.empty(5, f4)
    run("row_sums", (5,), (96,), any_device.put(x), sums, i4(300), shared=12)
    np.testing.assert_allclose(sums.get(), x.sum(1), rtol=1e-5, atol=1e-5)


def test_vector_loads_and_atomic_additions(any_device, run, values):
    x = values((53, 64))
    sums = any_device.zeros(64, f4)
    run("column_sums", (1, 4), (32,), any_device.put(x), sums, i4(53), i4(16), i4(16))
    np.testing.assert_allclose(sums.get(), x.sum(0), rtol=1e-5, atol=1e-5)


def test_the_same_array_given_twice(any_device, run, values):
    x = any_device.put(values(1000))
    run("scale", (3,), (64,), x, x, f4(2), i8(1000))
    np.testing.assert_array_equal(x.get(), 2 * values(1000))


def test_parts_of_one_array(any_device, run, values):
    """Views that overlap are one memory to the checker, whatever their element's number."""
    whole = any_device.put(values(300))
    run("scale", (1,), (64,), whole[:200], whole[200:], f4(3), i8(100))
    np.testing.assert_array_equal(whole.get()[200:], f4(3) * values(300)[:100])
    run("scale", (1,), (64,), whole, whole[7:], f4(1), i8(5))


def test_neighbouring_bytes_are_not_one_place(any_device, run, values):
    x = values(64, np.uint8)
    y, odd = any_device.empty(64, np.uint8), any_device.empty(64, bool)
    run("bytes", (1,), (64,), any_device.put(x), y, odd)
    np.testing.assert_array_equal(y.get(), x[::-1])
    np.testing.assert_array_equal(odd.get(), x[::-1] % 2 == 1)


def test_halves_of_a_warp_with_masks_of_their_own(any_device, run):
    y = any_device.empty(32, i4)
    run("halves", (1,), (32,), y)
    value = np.array([sum(range(16))] * 16 + [19 + 4] * 16)
    up, down = np.r_[value[0], value[:-1]], np.r_[value[1:], value[-1]]
    np.testing.assert_array_equal(y.get(), value + up + down)


def test_atomic_operations_in_shared_memory(any_device, run, values):
    x = values(1000, i4)
    counts = any_device.zeros(8, i4)
    run("histogram", (2,), (96,), any_device.put(x), counts, i4(1000))
    np.testing.assert_array_equal(counts.get(), 2 * np.bincount(x % 8, minlength=8))


def test_rows_that_lie_apart(any_device, run, values):
    x, y = any_device.put(values((4, 50))), any_device.zeros((4, 30), f4)
    run("copy_rows", (4,), (32,), x[:, 3:10], i8(50), y[:, :7], i8(30), i4(7))
    np.testing.assert_array_equal(y.get()[:, :7], values((4, 50))[:, 3:10])
    assert not y.get()[:, 7:].any()


def test_constants_and_null_pointers(any_device, run):
    x, y = any_device.put(np.arange(32, dtype=i4)), any_device.empty(32, f4)
    run("look_up", (1,), (32,), x, None, y)
    np.testing.assert_array_equal(y.get(), 2.0 ** (np.arange(32) % 4))
    run("look_up", (1,), (32,), x, any_device.full(32, 0.5, f4), y)
    np.testing.assert_array_equal(y.get(), 2.0 ** (np.arange(32) % 4) + 0.5)


def test_mode_and_order_may_change(kernel, device):
    y = device.empty(64, f4)
    for mode, order in (("fast", 0), ("check", 1), ("fast", 5)):
        device.mode, device.order = mode, order
        y.fill(0)
        device.launch(kernel("clean.cu", "exchange_in_warps"), (1,), (64,), (y,))
        np.testing.assert_array_equal(y.get(), (np.arange(64) ^ 3) + 1)
