"""No answer where there is none: NaN, regressions, batch statistics, sizes; and memory kept."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.methods import PGD, Ensemble, diversity, fip, importance, interference
from weightspace.methods.evaluate import accuracy
from weightspace.nnlite import Activation, BatchNorm2d, Conv2d, Flatten, Linear, Network, models

K = 4


@pytest.fixture
def net(backend):
    return models.mlp((6, 5, K), "tanh", backend=backend, seed=1)


@pytest.fixture
def data(rng):
    return rng.uniform(0.2, 0.8, (20, 6)).astype(np.float32), rng.integers(0, K, 20)


def ruined(net):
    bad = net.like()
    bad.theta[3] = np.nan
    return bad


# ---- NaN -----------------------------------------------------------------------------------------


def test_an_ensemble_with_a_ruined_member_names_it(net, data):
    x, y = data
    both = Ensemble([net, ruined(net)])
    for ask in (both.predict, both.probabilities, lambda x: both.accuracy(x, y)):
        with pytest.raises(errors.NonFiniteError, match="member 1 of 2"):
            ask(x)


@pytest.mark.parametrize("settings", [{}, {"random_start": False}, {"epsilon": 0.0}])
def test_an_attack_on_a_ruined_network_is_no_robustness(net, data, settings):
    with pytest.raises(errors.NonFiniteError, match="attacked network 0 of 1, at step 0"):
        PGD(steps=2, **settings).run(ruined(net), *data)
    with pytest.raises(errors.NonFiniteError, match="attacked network 0"):
        diversity.input_directions([ruined(net)], *data)


def test_an_attack_refuses_inputs_that_are_not_finite(net, data):
    x, y = data
    x[3, 2] = np.nan
    with pytest.raises(errors.NonFiniteError, match="NaN"):
        PGD(steps=2).run(net, x, y)


ASKED = [
    lambda net, x, y: importance.fisher(net, x),
    lambda net, x, y: importance.fisher(net, x, kind="sampled"),
    lambda net, x, y: importance.fisher(net, x, y, "empirical"),
    lambda net, x, y: importance.mas(net, x),
    lambda net, x, y: importance.sig(net, x),
]


@pytest.mark.parametrize("ask", [*ASKED, lambda net, x, y: importance.mas(net, x, "logits")])
def test_an_importance_of_a_ruined_network_is_none(net, data, ask):
    with pytest.raises(errors.NonFiniteError, match="importance"):
        ask(ruined(net), *data)


def test_a_path_from_a_ruined_network_stops_at_once(net, data):
    x, _ = data
    for how in ("cg", "sampled"):
        with pytest.raises((errors.DivergedError, errors.NonFiniteError)):
            fip.path(ruined(net), x, lambda net: net.theta.copy(), steps=3, how=how)
    weights = np.stack([ruined(net).theta] * 3)
    with pytest.raises(errors.NonFiniteError, match="energy"):
        fip.refine(net, x, weights)


# ---- regressions ---------------------------------------------------------------------------------


@pytest.fixture
def regression(backend):
    return Network([Linear(5, "tanh"), Linear(K)], (6,), backend, loss="squared_error")


ON_SOFTMAX = [
    *ASKED[:4],
    lambda net, x, y: importance.fisher(net, x, np.zeros((len(x), K), np.float32), "empirical"),
    lambda net, x, y: importance.label_cotangent(net, net.forward(x), y),
    lambda net, x, y: importance.probabilities(net, net.forward(x)),
    lambda net, x, y: Ensemble([net]).predict(x),
    lambda net, x, y: PGD().run(net, x, y),
    lambda net, x, y: diversity.input_directions([net], x, y),
    lambda net, x, y: fip.Metric(net, x),
    lambda net, x, y: fip.Metric(net, x, "softmax"),
    lambda net, x, y: interference.metric_overlap(net, x, x),
    lambda net, x, y: fip.path(net, x, steps=1),
]


@pytest.mark.parametrize("ask", ON_SOFTMAX)
def test_what_is_of_a_softmax_is_refused_of_a_regression(regression, data, ask):
    with pytest.raises(errors.SettingError, match="'squared_error'"):
        ask(regression, *data)


def test_what_is_defined_of_a_regression(regression, data):
    x, _ = data
    outputs = regression.forward(x)
    bias = regression.layout.view(importance.sig(regression, x), "1.bias")
    np.testing.assert_allclose(bias, np.abs(outputs).mean(axis=0), rtol=1e-5)
    bias = regression.layout.view(importance.mas(regression, x, "logits"), "1.bias")
    np.testing.assert_allclose(bias, np.abs(2 * outputs).mean(axis=0), rtol=1e-5)
    assert fip.Metric(regression, x, "logits").rayleigh(regression.theta) > 0


# ---- batch statistics ----------------------------------------------------------------------------


def test_batch_statistics_are_over_all_samples_for_ensembles_and_attacks(backend, rng):
    """Sorted samples: a pass of 256 of them has other statistics than all, and other answers."""
    layers = [Conv2d(3, 3), BatchNorm2d(statistics="batch"), Activation("relu"), Flatten(),
              Linear(K)]  # fmt: skip
    net = Network(layers, (5, 5, 1), backend, seed=2)
    x = np.sort(rng.uniform(0, 1, (600, 5, 5, 1)).astype(np.float32), axis=0)
    y = rng.integers(0, K, len(x))
    whole = net.forward(x)
    one = Ensemble([net])
    np.testing.assert_array_equal(one.predict(x), whole.argmax(axis=1))
    assert one.accuracy(x, y) == accuracy(net, x, y) == (whole.argmax(axis=1) == y).mean()
    still = PGD(epsilon=0.0, steps=1, random_start=False).run(net, x, y)
    np.testing.assert_array_equal(still.right, whole.argmax(axis=1) == y)
    last = [*net.activations(x)][-1].copy()
    norms = diversity.activation_norms(net, x)[-1]
    np.testing.assert_allclose(norms, np.linalg.norm(last, axis=1), rtol=1e-5)


# ---- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [0, -3, 2.5, True, "8"])
@pytest.mark.parametrize("ask", [importance.fisher, importance.mas, importance.sig])
def test_an_impossible_batch_is_named(net, data, ask, batch):
    with pytest.raises(errors.SettingError, match="batch"):
        ask(net, data[0], batch=batch)


@pytest.mark.parametrize("first", [-1, 1.5, False])
def test_an_impossible_first_sample_is_named(net, data, first):
    with pytest.raises(errors.SettingError, match="first"):
        importance.fisher(net, data[0], kind="sampled", first=first)


# ---- memory --------------------------------------------------------------------------------------


def test_the_true_fisher_of_many_classes_keeps_to_its_room(monkeypatch, rng):
    """K^2 numbers a sample are 32 MB here; what is pulled back of them, some times that."""
    room, classes = 1 << 23, 1000
    monkeypatch.setattr(importance, "ROOM", room)
    monkeypatch.setattr(importance.fisher_rows, "__defaults__", (room,))
    net = models.mlp((4, classes), backend="reference")
    x = rng.normal(size=(8, 4)).astype(np.float32)
    tracemalloc.start()
    found = importance.fisher(net, x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * room
    monkeypatch.undo()
    np.testing.assert_allclose(found, importance.fisher(net, x), rtol=1e-4, atol=1e-12)


def test_the_true_fisher_in_blocks_of_classes_is_the_whole(net, data, monkeypatch):
    expected = importance.fisher(net, data[0])
    blocks = []
    rows = importance.fisher_rows

    def counted(net, p, others, active):
        for part in rows(net, p, others, 1, active=active):
            blocks.append(len(part))
            yield part

    monkeypatch.setattr(importance, "fisher_rows", counted)
    monkeypatch.setattr(importance, "_replayed", lambda *_, **__: None)
    np.testing.assert_allclose(importance.fisher(net, data[0]), expected, rtol=1e-5)
    assert blocks == [1] * K


def test_a_metrics_diagonal_keeps_to_its_room(net, data):
    x = data[0]
    expected = fip.Metric(net, x).diagonal()
    found = fip.Metric(net, x, room=20_000).diagonal()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-10)
