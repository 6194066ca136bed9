"""Matching of units: brute force, and networks whose units were moved."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from test_activations import small_cnn
from weightspace.kernels import errors
from weightspace.methods.activations import moments, unit_layers
from weightspace.methods.matching import bipartite_matching, permute, semi_matching
from weightspace.nnlite import Conv2d, Flatten, Linear, Network, models


def moved(net, seed=3):
    """A copy with all hidden units in random orders, and the orders."""
    rng = np.random.default_rng(seed)
    orders = {layer.made: rng.permutation(layer.units) for layer in unit_layers(net)[:-1]}
    return permute(net, orders), orders


def make(kind, backend):
    if kind == "cnn":
        return small_cnn(0, backend)
    return models.mlp((128, 20, 9, 3), seed=2, backend=backend)


@pytest.fixture(params=["cnn", "mlp"])
def net(request, backend):
    return make(request.param, backend)


@pytest.fixture
def x(net, rng):
    return rng.normal(size=(100, *net.input_shape)).astype(net.dtype)


def test_a_matching_is_the_best_of_all(rng):
    scores = rng.normal(size=(6, 6))
    best = max(permutations(range(6)), key=lambda p: scores[np.arange(6), p].sum())
    found = bipartite_matching(scores)
    np.testing.assert_array_equal(found.partner, best)
    greedy = semi_matching(scores)
    np.testing.assert_array_equal(greedy.score, scores.max(axis=1))
    assert greedy.mean() >= found.mean()
    np.testing.assert_array_equal(found.score, scores[np.arange(6), found.partner])
    assert (np.diff(found.score[found.order()]) <= 0).all()


def test_signs_count():
    assert semi_matching(np.array([[-0.9, 0.1]])).partner.tolist() == [1]


def test_the_longer_side_has_a_surplus(rng):
    found = bipartite_matching(rng.normal(size=(5, 3)))
    assert (found.partner < 0).sum() == 2 and np.isnan(found.score).sum() == 2
    assert len(found.order()) == 3 and np.isfinite(found.mean())
    assert sorted(found.partner[found.partner >= 0]) == [0, 1, 2]


def test_a_moved_network_answers_alike(net, x):
    other, _ = moved(net)
    assert not np.array_equal(other.theta, net.theta)
    np.testing.assert_allclose(other.forward(x), net.forward(x), rtol=1e-5, atol=1e-6)


def test_bipartite_matching_recovers_the_permutation(net, x):
    other, orders = moved(net)
    back = {}
    for layer, found in zip(unit_layers(net)[:-1], moments([net, other], x), strict=False):
        r = found.correlation()[: layer.units, layer.units :]
        matched = bipartite_matching(r)
        np.testing.assert_array_equal(orders[layer.made][matched.partner], np.arange(layer.units))
        np.testing.assert_allclose(matched.score[found.alive[: layer.units]], 1, atol=1e-6)
        back[layer.made] = matched.partner
    again = permute(other, back)
    np.testing.assert_array_equal(again.theta, net.theta)
    for name, array in again.state.items():
        np.testing.assert_array_equal(array, net.state[name])


def test_a_depthwise_convolution_moves_along(rng):
    layers = [
        Conv2d(6, 3, activation="relu"), Conv2d(6, 3, padding="same", groups=6, activation="tanh"),
        Conv2d(4, 1, groups=2), Flatten(), Linear(3),
    ]  # fmt: skip
    net, order = Network(layers[:2] + layers[3:], (6, 5, 2), "reference"), rng.permutation(6)
    x = rng.normal(size=(7, 6, 5, 2)).astype("f")
    other = permute(net, {0: order})
    assert not np.array_equal(other.theta, net.theta)
    np.testing.assert_allclose(other.forward(x), net.forward(x), rtol=1e-5, atol=1e-6)
    with pytest.raises(errors.SettingError, match="its own group"):
        permute(net, {1: order})
    with pytest.raises(errors.SettingError, match="layer 2, a Conv2d, ties them"):
        permute(Network(layers, (6, 5, 2), "reference"), {0: order})


def test_units_that_cannot_be_moved():
    net = small_cnn()
    with pytest.raises(errors.ShapeError, match="permutation"):
        permute(net, {0: [0, 1, 1, 2]})
    with pytest.raises(errors.SettingError, match="outputs"):
        permute(net, {7: [2, 1, 0]})
    with pytest.raises(errors.SettingError, match="no Conv2d"):
        permute(net, {2: [0, 1, 2, 3]})
    with pytest.raises(errors.SettingError, match="Residual"):
        permute(models.resnet20(backend="reference"), {0: np.arange(16)})
    for wrong in (np.zeros(3), np.array([[1, np.nan]]), np.zeros((0, 2))):
        with pytest.raises(errors.ShapeError, match="finite scores"):
            semi_matching(wrong)
