"""Pooling layers: windows, padding and the last window are those of torch, or of a padded image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from weightspace.kernels.spec import relative_error, tolerance
from weightspace.nnlite import AvgPool2d, Flatten, MaxPool2d, Network
from weightspace.nnlite.checkpoint import describe_network

POOLS = [  # size, stride, padding, length
    (2, 2, 0, 5),
    (2, 2, 0, 6),
    (3, 2, 1, 8),
    (3, 2, 1, 7),
    (3, 1, 1, 4),
    (2, 3, 1, 7),
    (4, 3, 2, 9),
    (5, 4, 2, 5),
    (3, 5, 0, 4),
    (2, 2, 1, 2),
]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("size", "stride", "padding", "length"), POOLS)
def test_windows_are_those_of_torch(backend, rng, size, stride, padding, length, ceil_mode):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    shape = (length, 7, 2)
    x = rng.normal(size=(3, *shape))
    theirs = torch.from_numpy(x).permute(0, 3, 1, 2).requires_grad_()
    steps = (size, stride, padding, ceil_mode)
    functional = torch.nn.functional
    pools: list[Any] = [
        (MaxPool2d(*steps), functional.max_pool2d(theirs, *steps[:3], 1, ceil_mode))
    ]
    for counted in (True, False):
        y = functional.avg_pool2d(theirs, *steps, count_include_pad=counted)
        pools.append((AvgPool2d(*steps, counted), y))
    allowed = tolerance("float64", size**2)
    for layer, y in pools:
        net = Network([layer, Flatten()], shape, backend, "float64")
        expected = y.permute(0, 2, 3, 1).flatten(1).detach().numpy()
        assert relative_error(net.forward(x), expected) <= allowed, layer
        u = rng.normal(size=expected.shape)
        given = torch.from_numpy(u.reshape(3, *y.shape[2:], 2)).permute(0, 3, 1, 2)
        (dx,) = torch.autograd.grad(y, theirs, given)
        found = net.pull_input(net.trace(x), u)
        assert relative_error(found, dx.permute(0, 2, 3, 1).numpy()) <= allowed, layer


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("ceil_mode", [True, False])
def test_sides_of_padding_may_differ(backend, rng, counted, ceil_mode):
    """As windows over an image that was padded beforehand."""
    x, sides = rng.normal(size=(2, 6, 7, 3)), ((2, 0), (1, 2))
    padded = np.pad(x, ((0, 0), *sides, (0, 0)), constant_values=np.nan)
    h, w = (4 if ceil_mode else 3), 4
    windows = [padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 4] for i in range(h) for j in range(w)]
    largest = [np.nanmax(each, axis=(1, 2)) for each in windows]
    means = [np.nansum(each, axis=(1, 2)) / _area(each[0, ..., 0], counted) for each in windows]
    for layer, expected in (
        (MaxPool2d((3, 4), 2, sides, ceil_mode), largest),
        (AvgPool2d((3, 4), 2, sides, ceil_mode, counted), means),
    ):
        net = Network([layer, Flatten()], x.shape[1:], backend, "float64")
        assert layer.output_shape(x.shape[1:]) == (h, w, 3)
        flat = np.stack(expected, axis=1).reshape(2, -1)
        assert relative_error(net.forward(x), flat) <= tolerance("float64", 12), layer


def _area(window: np.ndarray, counted: bool) -> int:
    """How many pixels a window is divided by; padding is NaN."""
    return window.size if counted else int(np.count_nonzero(~np.isnan(window)))


def test_equal_sides_are_no_setting_of_their_own():
    assert MaxPool2d(3, padding=((1, 1), (0, 0))) == MaxPool2d(3, padding=(1, 0))
    assert AvgPool2d(3, padding=((1, 1), (1, 1))) == AvgPool2d(3, padding=1)


def test_settings_of_pools_come_back_from_a_checkpoint(tmp_path):
    layers = [
        MaxPool2d(3, 2, ((1, 0), (0, 2)), ceil_mode=True),
        AvgPool2d(2, 1, ((0, 1), (1, 0)), count_padding=False),
        Flatten(),
    ]
    net = Network(layers, (9, 9, 1), "reference")
    net.save(tmp_path / "a")
    assert Network.load(tmp_path / "a", "reference").layers == net.layers


def test_pools_as_they_were_are_described_as_they_were():
    """A run that began under an earlier version goes on only with the same words."""
    net = Network([MaxPool2d(2), AvgPool2d(3, 1), Flatten()], (9, 9, 1), "reference")
    assert describe_network(net)["layers"][:2] == [
        {"kind": "MaxPool2d", "size": [2, 2], "stride": [2, 2], "padding": [0, 0]},
        {"kind": "AvgPool2d", "size": [3, 3], "stride": [1, 1]},
    ]
