"""Hidden units taken out of a network, of two put together, and made to stand for one another."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels.errors import SettingError, ShapeError
from weightspace.methods import surgery
from weightspace.nnlite import (
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool2d,
    Network,
    models,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 8, 8, 2))


def small(seed: int = 0, maps: int = 4, units: int = 5) -> Network:
    """Two convolutions, one with a norm, then two dense layers, float64; no number is at rest."""
    norm = BatchNorm2d(activation="relu")
    net = Network(
        [Conv2d(maps, 3, padding=1), norm, MaxPool2d(2), Conv2d(3, 2, activation="relu"), Flatten(),
         Linear(units, "tanh"), Linear(3)],
        (8, 8, 2), backend="reference", dtype="float64", seed=seed,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    net.theta[:] = rng.normal(size=net.num_parameters)
    net.state["1.mean"] = rng.normal(size=maps)
    net.state["1.var"] = 1 + rng.random(maps)
    return net


def test_rows_of_units_are_found_with_their_norms_and_readers():
    assert surgery.hidden_rows(small()) == [
        surgery.HiddenRow(0, (1,), 3, 4), surgery.HiddenRow(3, (), 5, 3),
        surgery.HiddenRow(5, (), 6, 5),
    ]  # fmt: skip


def test_what_is_cut_is_what_is_never_read():
    net = small()
    silent = net.like()
    kept = {0: np.array([2, 0]), 3: np.array([1, 2]), 5: np.array([4, 1, 0])}
    for row in surgery.hidden_rows(silent):
        out = [unit for unit in range(row.units) if unit not in kept[row.made]]
        surgery.columns(silent, row)[:, :, out] = 0
    cut = surgery.cut(net, kept)
    assert [row.units for row in surgery.hidden_rows(cut)] == [2, 2, 3]
    np.testing.assert_allclose(cut.forward(X), silent.forward(X), rtol=1e-12)
    assert np.abs(net.forward(X) - silent.forward(X)).max() > 0.01  # it mattered


def test_joined_networks_answer_by_the_mean_of_their_logits():
    a, b = small(0), small(1, maps=2, units=7)
    both = surgery.join(a, b)
    assert [row.units for row in surgery.hidden_rows(both)] == [6, 6, 12]
    np.testing.assert_allclose(both.forward(X), (a.forward(X) + b.forward(X)) / 2, rtol=1e-12)


def test_a_unit_that_is_a_multiple_of_another_is_folded_into_it():
    net = small()
    row = surgery.hidden_rows(net)[1]  # relu maps, flattened: unit 2 becomes 3 unit 0
    for name, of in (("3.weight", 3.0), ("3.bias", 3.0)):
        array = net.layout.view(net.theta, name)
        array[2] = of * array[0]
    before = net.forward(X)
    surgery.fold(net, row, np.array([2]), np.array([0]), np.array([3.0]), np.array([0.0]))
    small_one = surgery.cut(net, {3: np.array([0, 1])})
    np.testing.assert_allclose(small_one.forward(X), before, rtol=1e-11)


def test_an_offset_goes_into_the_readers_bias():
    net = Network([Linear(3), Linear(2)], (4,), backend="reference", dtype="float64", seed=3)
    weight, bias = net.layout.view(net.theta, "0.weight"), net.layout.view(net.theta, "0.bias")
    weight[1], bias[1] = -2 * weight[2], -2 * bias[2] + 0.7  # unit 1 = -2 unit 2 + 0.7
    x = RNG.normal(size=(5, 4))
    before = net.forward(x)
    (row,) = surgery.hidden_rows(net)
    surgery.fold(net, row, np.array([1]), np.array([2]), np.array([-2.0]), np.array([0.7]))
    np.testing.assert_allclose(
        surgery.cut(net, {0: np.array([0, 2])}).forward(x), before, rtol=1e-12
    )


def test_a_size_is_found_for_a_number_of_parameters():
    net = models.mlp((20, 40, 30, 5), backend="reference")
    twice = surgery.resized(net, surgery.width_for(net, 2 * net.num_parameters)).num_parameters
    half = surgery.resized(net, surgery.width_for(net, net.num_parameters // 2)).num_parameters
    assert twice / (2 * net.num_parameters) == pytest.approx(1, abs=0.04)
    assert half / (net.num_parameters / 2) == pytest.approx(1, abs=0.04)
    same = surgery.width_for(net, net.num_parameters)
    assert same == {0: 40, 1: 30}


def test_what_cannot_be_done_is_refused():
    net = small()
    with pytest.raises(SettingError, match="layer 6 makes no hidden units"):
        surgery.cut(net, {6: np.array([0])})
    for units in ([0, 0], [4], [-1], []):
        with pytest.raises(ShapeError, match="layer 0"):
            surgery.cut(net, {0: np.array(units, int)})
    with pytest.raises(SettingError, match="ties them"):
        surgery.hidden_rows(models.resnet20(input_shape=(8, 8, 2), backend="reference"))
    other = Network([Conv2d(4, 3), GlobalAvgPool(), Linear(3)], (8, 8, 2), backend="reference")
    with pytest.raises(SettingError, match="differ in the sizes"):
        surgery.join(net, other)
    with pytest.raises(SettingError, match="less than one unit"):
        surgery.width_for(net, 10)
    bare = Network([Linear(3), Linear(2, bias=False)], (4,), backend="reference")
    (row,) = surgery.hidden_rows(bare)
    one = np.array([1.0])
    with pytest.raises(SettingError, match="no bias"):
        surgery.fold(bare, row, np.array([1]), np.array([2]), one, one)
