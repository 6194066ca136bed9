"""Context-dependent gating: which units are silent, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from test_fit import StopAt
from weightspace.kernels import errors
from weightspace.methods import SI, Interrupted, Naive, XdG, fit
from weightspace.nnlite import BatchNorm2d, Conv2d, Flatten, Linear, Network, models, optim


def small_net(backend="reference", hidden=(20, 10)):
    return models.mlp((12, *hidden, 4), backend=backend, dtype="float64", seed=1)


def dense(net, layer, x):
    weight, bias = (net.layout.view(net.theta, f"{layer}.{name}") for name in ("weight", "bias"))
    return x @ weight.T + bias


def test_gates_silence_a_share_of_hidden_units_by_task(backend, rng):
    net, method = small_net(backend), XdG(gated=0.8)
    made = method.wrap(net)
    x = rng.normal(size=(5, 12))
    assert (made.forward(x) == net.forward(x)).all(), "all open until a task is selected"
    seen = []
    for task in (0, 1, 0):
        method.select(made, task, None)
        gates = list(method._gates(made))
        assert [gate.shape for gate in gates] == [(20,), (10,)]
        assert [gate.sum() for gate in gates] == [4, 2]
        seen.append(np.concatenate(gates))
        h = x
        for layer, gate in enumerate(gates):
            h = gate * np.maximum(dense(net, layer, h), 0)
        np.testing.assert_allclose(made.forward(x), dense(net, 2, h), rtol=1e-10)
    assert (seen[0] == seen[2]).all() and not (seen[0] == seen[1]).all()


def test_silent_units_do_not_learn(rng):
    net, method = small_net(), XdG()
    made = method.wrap(net)
    method.select(made, 3, 0)
    x, y = rng.normal(size=(30, 12)), rng.integers(0, 4, 30)
    grads = made.layout.views(made.loss_and_grad(x, y)[1])
    first, second = method._gates(made)
    into, between, out = (grads[name] for name in made.layout if name.endswith("weight"))
    assert not into[first == 0].any() and into[first == 1].any()
    assert not between[:, first == 0].any() and not between[second == 0].any()
    assert not out[:, second == 0].any()


def test_convolutions_are_not_gated_and_statistics_come_along():
    layers = (Conv2d(3, 3), BatchNorm2d(), Flatten(), Linear(8, "relu"), Linear(4))
    net = Network(layers, (4, 4, 2), "reference", "float64")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 4, 4, 2)), rng.integers(0, 4, 9)
    net.loss_and_grad(x, y, mode="train")
    made = XdG().wrap(net)
    assert (made.forward(x) == net.forward(x)).all()
    assert [a.shape for a in XdG()._gates(made)] == [(8,)]


def test_gating_and_si_remember(blob_tasks):
    def forgetting(method):
        settings = {"optimizer": optim.Adam(1e-2), "steps": 80, "batch_size": 30}
        return fit(small_net(hidden=(60, 60)), blob_tasks, method, **settings).forgetting

    assert forgetting(XdG(lam=0.0)) < forgetting(Naive())
    assert forgetting(XdG(lam=1.0)) <= forgetting(SI(lam=1.0))


def test_a_stopped_run_resumes_to_the_same_bits(blob_tasks, tmp_path):
    settings = {"steps": 20, "batch_size": 16, "optimizer": optim.Adam(1e-2)}
    fit(small_net(), blob_tasks, XdG(), **settings, checkpoint=tmp_path / "whole")
    with pytest.raises(Interrupted):
        fit(
            small_net(), blob_tasks, XdG(), **settings, checkpoint=tmp_path / "part",
            observer=StopAt(33),
        )  # fmt: skip
    fit(small_net(), blob_tasks, XdG(), **settings, checkpoint=tmp_path / "part", resume=True)
    assert (tmp_path / "part").read_bytes() == (tmp_path / "whole").read_bytes()


def test_bad_settings_are_named():
    for share in (-0.1, 1.0):
        with pytest.raises(errors.SettingError, match="gated"):
            XdG(gated=share)
    with pytest.raises(errors.SettingError, match="two dense layers"):
        XdG().wrap(Network((Linear(4),), (3,), "reference"))
