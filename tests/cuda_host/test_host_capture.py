"""A capture is that of a CUDA graph: nothing runs until the replay, and some things may not be."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from weightspace.kernels.cuda_host import ArgumentError, CaptureError, HostDevice

f4, i8 = np.float32, np.int64


@pytest.fixture
def scale(device, kernel):
    """scale(x, y, factor): y = factor x, by a kernel."""
    function = kernel("clean.cu", "scale")

    def launch(x, y, factor):
        args = (x, y, f4(factor), i8(x.size))
        device.launch(function, (1,), (32,), args)

    return launch


def test_nothing_runs_until_the_replay(device, scale):
    x, y = device.full(8, 3, f4), device.zeros(8, f4)

    def work():
        scale(x, y, 2)
        y[:4] += 1
        np.multiply(y, x, out=y)

    replay = device.capture(work)
    assert not y.get().any()
    replay()
    np.testing.assert_array_equal(y.get(), [21] * 4 + [18] * 4)
    x.fill(1)
    replay()
    np.testing.assert_array_equal(y.get(), [3] * 4 + [2] * 4)


def test_operations_in_place_are_recorded(device):
    x, y = device.zeros((2, 3), f4), device.full((2, 3), 5, f4)

    def work():
        x.fill(1)
        x[0] = 2
        x[1, ::2] = y[0, ::2]
        np.copyto(y, x)
        np.sum(x, axis=0, out=y[1])
        x.T.reshape(3, 2)[0] *= 10

    replay = device.capture(work)
    assert not x.get().any()
    replay()
    np.testing.assert_array_equal(x.get(), [[20, 2, 2], [50, 1, 5]])
    np.testing.assert_array_equal(y.get(), [[2, 2, 2], [7, 3, 7]])


@pytest.mark.parametrize(
    "use",
    [
        lambda d, x: d.empty(3, f4),
        lambda d, x: d.zeros(3, f4),
        lambda d, x: d.full(3, 1, f4),
        lambda d, x: d.put(np.ones(3, f4)),
        lambda d, x: d.get(x),
        lambda d, x: x.get(),
        lambda d, x: x.set(np.ones(4, f4)),
        lambda d, x: d.synchronize(),
        lambda d, x: float(x[0]),
        lambda d, x: int(x[0]),
        lambda d, x: bool(x[0]),
        lambda d, x: x[0].item(),
        lambda d, x: x.tolist(),
        lambda d, x: x + 1,
        lambda d, x: x.sum(),
        lambda d, x: x.copy(),
        lambda d, x: x.astype("f8"),
        lambda d, x: np.zeros_like(x),
        lambda d, x: np.concatenate([x, x]),
        lambda d, x: x.reshape(2, 2).T.reshape(-1),
        lambda d, x: x[x > 0],
        lambda d, x: d.capture(lambda: None),
    ],
)
def test_what_breaks_a_capture_raises(use):
    device = HostDevice("fast")
    x = device.zeros(4, f4)
    with pytest.raises(CaptureError, match="during a capture"):
        device.capture(lambda: use(device, x))
    assert float(x.sum()) == 0  # the capture is over


def test_views_may_be_made_during_a_capture(device):
    x = device.zeros((2, 6), f4)
    replay = device.capture(lambda: x[1].reshape(2, 3).T[0].fill(1))
    replay()
    np.testing.assert_array_equal(x.get()[1], [1, 0, 0, 1, 0, 0])


def test_arguments_are_checked_when_captured(device, kernel):
    x = device.zeros(4, f4)
    function = kernel("clean.cu", "scale")
    with pytest.raises(ArgumentError):
        device.capture(lambda: device.launch(function, (1,), (32,), (x, x, 1.0, i8(4))))


def test_a_graph_does_not_keep_its_arrays(device, scale):
    """On a GPU a replay would write to memory that belongs to somebody else by then."""
    arrays = [device.zeros(8, f4), device.zeros(8, f4)]
    replay = device.capture(lambda: scale(arrays[0][:4], arrays[1][4:], 2))
    replay()  # the views are gone, the memory is there
    del arrays[1]
    gc.collect()
    with pytest.raises(CaptureError, match="scale"):
        replay()
