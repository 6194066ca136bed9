"""Importances against their definitions, taken from per-sample gradients."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.kernels.spec import relative_error, tolerance
from weightspace.methods import importance
from weightspace.nnlite import models

N, K = 23, 5


@pytest.fixture
def net(backend):
    return models.mlp((9, 8, K), "tanh", backend=backend, dtype="float64", seed=4)


@pytest.fixture
def data(rng):
    return 2 * rng.normal(size=(N, 9)), rng.integers(0, K, N)


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_empirical_fisher_is_the_mean_of_squared_sample_gradients(net, data):
    x, y = data
    expected = (net.sample_grads(x, y) ** 2).mean(0)
    found = importance.fisher(net, x, y, "empirical", batch=7)
    assert relative_error(found, expected) <= tolerance("float64", N)


def test_it_is_not_the_square_of_the_mean_gradient(net, data):
    """The common mistake: squaring a batch's mean gradient is about N times too small."""
    x, y = data
    wrong = net.loss_and_grad(x, y)[1] ** 2
    assert importance.fisher(net, x, y, "empirical").sum() > 3 * wrong.sum()


def test_true_fisher_weighs_every_class_by_its_probability(net, data):
    x, _ = data
    p = softmax(net.forward(x))
    expected = np.mean(
        sum(p[:, c : c + 1] * net.sample_grads(x, np.full(N, c)) ** 2 for c in range(K)), axis=0
    )
    found = importance.fisher(net, x, kind="true", batch=6)
    assert relative_error(found, expected) <= tolerance("float64", N * K)


def test_true_fisher_is_the_gauss_newton_diagonal(net, data):
    """diag of 1/N sum J^T (diag p - p p^T) J, with J built column by column from JVPs."""
    x, _ = data
    p = softmax(net.forward(x))
    jacobian = np.stack([net.jvp(x, v) for v in np.eye(net.num_parameters)])  # (P, N, K)
    quadratic = (jacobian**2 * p).sum(2) - (jacobian * p).sum(2) ** 2
    found = importance.fisher(net, x, kind="true")
    assert relative_error(found, quadratic.mean(1)) <= tolerance("float64", N * K)


def test_sampled_fisher_is_unbiased(net, data):
    x, _ = data
    true = importance.fisher(net, x, kind="true")
    draws = np.array([importance.fisher(net, x, kind="sampled", seed=s) for s in range(300)])
    error = draws.std(0, ddof=1) / np.sqrt(len(draws))
    significant = true > 1e-3 * true.max()
    z = (draws.mean(0) - true)[significant] / error[significant]
    assert np.abs(z).max() < 5 and abs(z.mean()) < 1.5


def test_sampled_fisher_follows_its_seed(net, data):
    x, _ = data
    one, two = (importance.fisher(net, x, kind="sampled", seed=s) for s in (1, 2))
    assert np.array_equal(one, importance.fisher(net, x, kind="sampled", seed=1, batch=5)) or (
        relative_error(one, importance.fisher(net, x, kind="sampled", seed=1, batch=5))
        <= tolerance("float64", N)
    ), "the draw must not depend on the batch size"
    assert relative_error(one, two) > 0.01


@pytest.mark.parametrize("output", ["softmax", "logits"])
def test_mas_is_the_mean_absolute_gradient_of_the_squared_norm(net, data, output):
    x, _ = data

    def squared_norm(row):
        z = net.forward(x[row : row + 1])
        return float(((softmax(z) if output == "softmax" else z) ** 2).sum())

    theta, step = net.theta.copy(), 1e-6
    grads = np.zeros((N, net.num_parameters))
    for i in range(net.num_parameters):
        for sign in (1, -1):
            net.theta[:] = theta
            net.theta[i] += sign * step
            grads[:, i] += [sign * squared_norm(row) / (2 * step) for row in range(N)]
    net.theta[:] = theta
    found = importance.mas(net, x, output, batch=10)
    assert relative_error(found, np.abs(grads).mean(0)) <= 1e-7


def test_sig_is_the_mean_absolute_signal(net, data):
    x, _ = data
    w0, b0, w1, _ = net.layout.views(net.theta).values()
    hidden = np.tanh(x @ w0.T + b0)
    found = net.layout.views(importance.sig(net, x, batch=8))
    assert relative_error(found["0.weight"], np.abs(w0) * np.abs(x).mean(0)) < 1e-12
    assert relative_error(found["0.bias"], np.abs(hidden).mean(0)) < 1e-12
    assert relative_error(found["1.weight"], np.abs(w1) * np.abs(hidden).mean(0)) < 1e-12
    assert relative_error(found["1.bias"], softmax(net.forward(x)).mean(0)) < 1e-12


def test_masked_classes_have_no_importance(net, data):
    x, _ = data
    active = np.array([True, True, False, False, False])
    for found in (
        importance.fisher(net, x, kind="true", active=active),
        importance.mas(net, x, "softmax", active),
        importance.mas(net, x, "logits", active),
    ):
        head = net.layout.view(found, "1.weight")
        assert head[active].any() and not head[~active].any()


def test_importances_change_nothing(net, data):
    x, y = data
    theta = net.theta.copy()
    for kind in ("true", "sampled", "empirical"):
        importance.fisher(net, x, y, kind)
    importance.mas(net, x)
    importance.sig(net, x)
    assert np.array_equal(net.theta, theta)


def test_memory_does_not_depend_on_how_many_samples(net, rng):
    x = rng.normal(size=(2000, 9))
    importance.fisher(net, x[:64], kind="true", batch=32)
    held = net.workspace.nbytes
    importance.fisher(net, x, kind="true", batch=32)
    assert net.workspace.nbytes == held


def test_bad_requests_are_named(net, data, untyped):
    x, y = data
    with pytest.raises(errors.SettingError, match="labels"):
        importance.fisher(net, x, kind="empirical")
    with pytest.raises(errors.UnknownNameError, match="Did you mean 'sampled'"):
        importance.fisher(net, x, kind=untyped("sample"))
    with pytest.raises(errors.UnknownNameError, match="softmax"):
        importance.mas(net, x, untyped("probabilities"))
    with pytest.raises(errors.ShapeError, match="at least one sample"):
        importance.sig(net, x[:0])
    with pytest.raises(errors.LabelError):
        importance.fisher(net, x, y + K, "empirical")
    with pytest.raises(errors.SettingError, match="power"):
        net.accumulate(net.trace(x), np.ones((N, K)), np.zeros_like(net.theta), 3)


def test_the_exact_fisher_pulls_back_only_the_classes_in_play(net, data, monkeypatch):
    x, _ = data
    active = np.array([False, True, False, True, False])
    whole = importance._replayed(net, x, 256, "fisher", active=active)
    sizes = []
    rows = importance.fisher_rows

    def watched(*given, **more):
        for part in rows(*given, **more):
            sizes.append(len(part))
            yield part

    monkeypatch.setattr(importance, "fisher_rows", watched)
    found = importance.fisher(net, x, active=active)
    assert sizes == [2]
    assert relative_error(net.device.get(found), net.device.get(whole)) <= tolerance("float64", N)
    p = importance.probabilities(net, net.forward(x), active)
    apart = [part.copy() for part in rows(net, p, 0, 1, active=active)]  # one buffer for all
    assert [len(part) for part in apart] == [1, 1]
    together = next(rows(net, p, 0, active=active))
    for one, part in zip(apart, together, strict=True):
        found, whole = net.device.get(one[0]), net.device.get(part)
        assert relative_error(found, whole) <= tolerance("float64", K)
