"""fold: a network without what only training needs, of the same answers."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels.errors import ModeError, SettingError
from weightspace.nnlite import (
    Activation,
    BatchNorm2d,
    ContextLinear,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    Network,
    Residual,
    Sequential,
    models,
)
from weightspace.nnlite.export.fold import fold

SETTINGS = {"backend": "reference", "seed": 3, "dtype": "float64"}


def moved(net: Network) -> Network:
    """With parameters and statistics that are not those of the beginning."""
    rng = np.random.default_rng(5)
    net.theta[...] += rng.normal(0, 0.1, net.theta.shape)
    for name in net.state:
        net.state[name][...] = rng.uniform(0.5, 1.5, net.state[name].shape)
    return net


def kinds(net: Network) -> list[str]:
    return [type(layer).__name__ for layer in net.layers]


BLOCK = Residual(
    (Conv2d(4, 3, 1, 1, bias=False), BatchNorm2d(activation="relu"), Dropout(0.1),
     Conv2d(4, 3, 1, 1), BatchNorm2d(affine=False)),
    (Conv2d(4, 1, bias=False), BatchNorm2d()), "identity",
)  # fmt: skip
NETWORKS = {
    "conv": ([Conv2d(4, 3), BatchNorm2d(activation="leaky_relu", slope=0.3), Flatten(), Linear(3)],
             ["Conv2d", "Flatten", "Linear"]),
    "dense": ([Flatten(), Linear(5, bias=False), BatchNorm2d(), Activation("tanh"), Dropout(0.5),
               Linear(3)], ["Flatten", "Linear", "Linear"]),
    "not foldable": ([BatchNorm2d(), Conv2d(4, 3, activation="relu"), BatchNorm2d(),
                      Activation("relu"), MaxPool2d(2), Activation("tanh"), Flatten(), Linear(3)],
                     ["BatchNorm2d", "Conv2d", "BatchNorm2d", "MaxPool2d", "Activation", "Flatten",
                      "Linear"]),
    "nested": ([Sequential((Conv2d(4, 3), BatchNorm2d())), BLOCK, Activation("relu"), Flatten(),
                Linear(3)], ["Conv2d", "Residual", "Flatten", "Linear"]),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_answers_stay_and_layers_go(name):
    layers, left = NETWORKS[name]
    net = moved(Network(layers, (6, 6, 2), **SETTINGS))
    found = fold(net)
    assert kinds(found) == left
    x = np.random.default_rng(0).normal(size=(7, 6, 6, 2))
    np.testing.assert_allclose(found.forward(x), net.forward(x), rtol=1e-12, atol=1e-12)
    assert not np.shares_memory(found.theta, net.theta)


def test_a_residual_is_folded_inside():
    found = fold(moved(Network([BLOCK, Flatten(), Linear(3)], (6, 6, 2), **SETTINGS)))
    block = found.layers[0]
    assert isinstance(block, Residual)
    assert [type(layer) for layer in block.body] == [Conv2d, Conv2d]
    assert [type(layer) for layer in block.shortcut] == [Conv2d]
    assert not found.state


def test_a_model_of_the_zoo_in_float32():
    net = moved(models.fip_cnn(10, (12, 12, 1), backend="reference"))
    found = fold(net)
    assert kinds(found) == ["Conv2d", "MaxPool2d"] * 2 + ["Flatten"] + ["Linear"] * 3
    x = np.random.default_rng(0).normal(size=(5, 12, 12, 1)).astype(np.float32)
    y = net.forward(x)
    assert np.abs(found.forward(x) - y).max() < 1e-5 * np.abs(y).max()


def test_contexts_stay_unless_asked_for():
    net = Network([ContextLinear(4, "relu"), Linear(3)], (5,), **SETTINGS)
    net.state["0.context"] = np.array([1.0, -1, -1, 1, -1])
    x = np.random.default_rng(0).normal(size=(5, 5))
    assert kinds(fold(net)) == ["ContextLinear", "Linear"]
    for found in (fold(net), fold(net, contexts=True)):
        assert np.allclose(found.forward(x), net.forward(x), rtol=1e-12)
    assert kinds(found) == ["Linear", "Linear"]
    net.state["0.context"][0] = 2.0
    with pytest.raises(SettingError, match="not binary"):
        fold(net, contexts=True)


def test_statistics_of_a_batch_cannot_be_folded():
    net = Network([Linear(4), BatchNorm2d(statistics="batch"), Linear(3)], (5,), **SETTINGS)
    with pytest.raises(ModeError, match="batch"):
        fold(net)
