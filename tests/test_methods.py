"""Methods: penalties against their equations, SI's path integral, metrics on a known matrix."""

from __future__ import annotations

import math

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.methods import EWC, MAS, METHODS, SI, SIG, WVA, Naive, Task, fit, metrics
from weightspace.methods.base import TaskEnd
from weightspace.methods.correlation import ImportanceProbe, pearson, spearman
from weightspace.methods.si import consolidate
from weightspace.nnlite import models, optim

R = np.array([[0.9, 0.2, 0.1], [0.7, 0.8, 0.3], [0.8, 0.5, 0.6]])


def small_net(seed=0, backend="reference"):
    return models.mlp((12, 16, 4), backend=backend, dtype="float64", seed=seed)


def penalty_of(method, net):
    """The gradient that the method's streams and adjust add to a loss that is flat."""
    theta, grad = net.theta.copy(), np.zeros_like(net.theta)
    method.adjust(net, grad)
    streams = method.streams()
    if streams.omega is not None:
        grad += streams.lam * streams.omega * (theta - streams.anchor)
    return grad


@pytest.fixture
def remembered():
    """Two tasks' importances and anchors, and a net that has moved on."""
    net = small_net()
    rng = np.random.default_rng(5)
    size = net.num_parameters
    fishers, anchors = rng.random((2, size)), rng.normal(size=(2, size))
    net.theta[:] = rng.normal(size=size)
    return net, fishers, anchors


def with_memory(method, net, fishers, anchors):
    method.start(net, optim.SGD(0.1))
    for fisher, anchor in zip(fishers, anchors, strict=True):
        method.remember(anchor, fisher)
    return method


def test_ewc_separate_is_the_sum_of_both_pulls(remembered):
    net, f, a = remembered
    method = with_memory(EWC(lam=3.0, penalty="separate"), net, f, a)
    expected = 3.0 * (f[0] * (net.theta - a[0]) + f[1] * (net.theta - a[1]))
    assert np.allclose(penalty_of(method, net), expected, rtol=1e-12)
    assert method.persistent_bytes() == 4 * net.theta.nbytes


def test_ewc_merged_has_the_same_gradient_in_half_the_memory(remembered):
    net, f, a = remembered
    separate = with_memory(EWC(lam=3.0, penalty="separate"), net, f, a)
    merged = with_memory(EWC(lam=3.0, penalty="merged"), net, f, a)
    assert np.allclose(penalty_of(merged, net), penalty_of(separate, net), rtol=1e-10)
    assert merged.persistent_bytes() == 2 * net.theta.nbytes


def test_ewc_merged_survives_weights_that_never_mattered(remembered):
    net, f, a = remembered
    f = f * (np.arange(f.shape[1]) % 2)
    method = with_memory(EWC(lam=1.0, penalty="merged"), net, f, a)
    assert np.isfinite(penalty_of(method, net)).all()


def test_ewc_online_decays_once(remembered):
    net, f, a = remembered
    method = with_memory(EWC(lam=2.0, penalty="online", gamma=0.5), net, f, a)
    expected = 2.0 * (0.5 * f[0] + f[1]) * (net.theta - a[1])
    assert np.allclose(penalty_of(method, net), expected, rtol=1e-12)


def test_latest_is_online_without_decay_and_mas_has_no_half(remembered):
    net, f, a = remembered
    method = with_memory(MAS(lam=2.0), net, f, a)
    expected = 2 * 2.0 * (f[0] + f[1]) * (net.theta - a[1])
    assert np.allclose(penalty_of(method, net), expected, rtol=1e-12)


@pytest.mark.parametrize("penalty", ["latest", "separate"])
def test_stabilised_steps_never_overshoot(remembered, penalty):
    """One SGD step of the penalty alone stays between theta and the anchor at any strength."""
    net, f, a = remembered
    lr = 0.1
    for lam in (1.0, 1e3, 1e9):
        method = EWC(lam=lam, penalty=penalty, stabilised=True)
        with_memory(method, net, f[:1], a[:1])
        moved = net.theta - lr * penalty_of(method, net)
        expected = lam * f[0] / (1 + lam * lr * f[0]) * (net.theta - a[0])
        assert np.allclose(penalty_of(method, net), expected, rtol=1e-12)
        assert (np.abs(moved - a[0]) <= np.abs(net.theta - a[0]) + 1e-12).all()
        assert (np.sign(moved - a[0]) * np.sign(net.theta - a[0]) >= -1e-12).all()


def test_si_path_integral_is_the_loss_it_descended(blob_tasks):
    """With small SGD steps on one fixed batch, sum of -g dtheta equals the drop of the loss."""
    task = blob_tasks[0]
    net = small_net()
    x, y = task.load_train()
    x = x.astype("float64")
    method = SI(lam=0.0)
    method.start(net, optim.SGD(1e-3))
    before = net.losses(x, y).mean()
    for count in range(1, 201):
        _, grad = net.loss_and_grad(x, y)
        streams = method.streams()
        optim.SGD(1e-3).step(net.ops, net.theta, grad, {}, count, streams)
    drop = before - net.losses(x, y).mean()
    assert math.isclose(method.arrays["path"].sum(), drop, rel_tol=0.02)


def test_si_uses_the_gradient_of_the_loss_alone(blob_tasks):
    net = small_net()
    method = SI(lam=100.0)
    method.start(net, optim.SGD(0.1))
    method.arrays |= {"omega": np.ones_like(net.theta), "anchor": net.theta + 1}
    grad = np.full_like(net.theta, 0.5)
    optim.SGD(0.1).step(net.ops, net.theta.copy(), grad, {}, 1, method.streams())
    step = -0.1 * (0.5 + 200.0 * -1)  # the actual step contains the penalty ...
    assert np.allclose(method.arrays["path"], -0.5 * step)  # ... the gradient beside it does not


def test_si_clamps():
    path, moved = np.array([1.0, -1.0]), np.array([0.0, 0.0])
    omega = np.array([0.0, 5.0])
    assert consolidate(path, moved, omega, 0.5, "sum").tolist() == [2.0, 3.0]
    assert consolidate(path, moved, omega, 0.5, "task").tolist() == [2.0, 5.0]
    assert consolidate(path, moved, None, 0.5, "none").tolist() == [2.0, -2.0]
    assert consolidate(path, moved, None, 0.5, "sum").tolist() == [2.0, 0.0]


@pytest.mark.parametrize("rule", ["inverse", "exp"])
def test_wva_attenuates_the_step(blob_tasks, rule):
    net = small_net()
    x, y = blob_tasks[0].load_train()
    method = WVA(lam=2.0, rule=rule)
    method.start(net, optim.SGD(0.1))
    method.end_task(net, TaskEnd(0, blob_tasks[0], (x.astype("float64"), y), 0))
    signal = method.arrays["signal"]
    expected = 1 / (1 + 2 * signal) if rule == "inverse" else np.exp(-2 * signal)
    before = net.theta.copy()
    optim.SGD(0.1).step(net.ops, net.theta, np.ones_like(before), {}, 1, method.streams())
    assert np.allclose(net.theta - before, -0.1 * expected)


def test_metrics_of_a_known_matrix():
    assert math.isclose(metrics.acc(R), (0.8 + 0.5 + 0.6) / 3)
    assert math.isclose(metrics.bwt(R), ((0.8 - 0.9) + (0.5 - 0.8)) / 2)
    assert math.isclose(metrics.fwt(R, np.full(3, 0.1)), ((0.2 - 0.1) + (0.3 - 0.1)) / 2)
    assert np.allclose(metrics.forgetting(R), [0.1, 0.3])
    assert np.allclose(metrics.forgetting_since_learnt(R), [0.1, 0.3])
    assert np.allclose(metrics.intransigence(R, np.ones(3)), [0.1, 0.2, 0.4])


def test_forgetting_counts_from_when_a_task_was_learnt():
    lucky = np.array([[0.9, 0.99], [0.8, 0.7]])
    assert np.allclose(metrics.forgetting(lucky), [0.1])
    better = np.array([[0.5, 0, 0], [0.9, 0.9, 0], [0.6, 0.8, 0.9]])
    assert np.allclose(metrics.forgetting(better), [0.3, 0.1])
    assert np.allclose(metrics.forgetting_since_learnt(better), [-0.1, 0.1])


def test_one_task_forgets_nothing():
    assert metrics.acc(R[:1, :1]) == R[0, 0]
    assert math.isnan(metrics.bwt(R[:1, :1])) and metrics.forgetting(R[:1, :1]).size == 0
    with pytest.raises(errors.ShapeError):
        metrics.acc(np.zeros((2, 3)))


def test_every_method_learns_and_says_its_convention(blob_tasks, backend):
    for name, method in METHODS.items():
        made = method()
        assert made.convention and made.settings()["name"] == name
        net = models.mlp((12, 16, 4), backend=backend, seed=1)
        result = fit(net, blob_tasks, made, optimizer=optim.Adam(1e-2), steps=60, batch_size=30)
        assert result.R.shape == (3, 3)
        assert np.diag(result.R).mean() > 0.8, name


def test_penalties_hold_on_to_what_was_learnt(blob_tasks):
    def forgetting(method):
        net = models.mlp((12, 24, 4), backend="reference", seed=2)
        settings = {"optimizer": optim.Adam(1e-2), "steps": 80, "batch_size": 30}
        return fit(net, blob_tasks, method, **settings).forgetting

    naive = forgetting(Naive())
    for method in (EWC(lam=50.0), MAS(lam=5.0), SI(lam=1.0), SIG(lam=0.3)):
        assert forgetting(method) < naive, method.name


def test_probe_measures_all_pairs(blob_tasks):
    pytest.importorskip("scipy", reason="Spearman's correlation needs scipy")
    probe = ImportanceProbe(lam=1.0)
    net = models.mlp((12, 16, 4), backend="reference", seed=1)
    fit(net, blob_tasks, probe, optimizer=optim.Adam(1e-2), steps=40, batch_size=30)
    assert probe.tables.shape == (3, 2, 10, 2)
    assert np.nanmax(np.abs(probe.tables)) <= 1 + 1e-12
    assert (probe.tables[:, 1, 6] > 1 - 1e-12).all(), "ranks of MAS and MAS^2 are the same"


def test_correlations():
    scipy = pytest.importorskip("scipy.stats", reason="compares with scipy")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=50), rng.integers(0, 5, 50).astype(float)
    assert math.isclose(pearson(a, b), scipy.pearsonr(a, b).statistic)
    assert math.isclose(spearman(a, b), scipy.spearmanr(a, b).statistic)
    assert math.isnan(pearson(a, np.ones(50)))


@pytest.mark.parametrize(
    ("build", "wrong", "error"),
    [
        (EWC, {"lam": -1}, errors.SettingError),
        (EWC, {"penalty": "merge"}, errors.UnknownNameError),
        (EWC, {"gamma": 2}, errors.SettingError),
        (EWC, {"which": "first"}, errors.UnknownNameError),
        (SI, {"xi": 0}, errors.SettingError),
        (SI, {"clamp": "yes"}, errors.UnknownNameError),
        (SI, {"gradient": "all"}, errors.UnknownNameError),
        (WVA, {"rule": "linear"}, errors.UnknownNameError),
        (WVA, {"lam": -1}, errors.SettingError),
        (Task.from_arrays, {"name": "", "train": (R, R[0, :1]), "test": (R, R)}, errors.ShapeError),
    ],
)
def test_bad_settings_are_named(build, wrong, error):
    with pytest.raises(error):
        build(**wrong)
