"""Evaluation: one way for all, right where samples depend on each other, never on NaN."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.methods import Task, accuracy, context_choice, evaluate, fit, memory
from weightspace.methods.activations import moments
from weightspace.nnlite import BatchNorm2d, Linear, Network, models


def coupled_net(seed=0):
    layers = [Linear(8), BatchNorm2d(statistics="batch", activation="relu"), Linear(3)]
    return Network(layers, (6,), backend="reference", seed=seed)


@pytest.fixture
def sorted_set():
    """Samples in the order of their classes, as many data sets come."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 30)
    return (rng.normal(size=(90, 6)) + 3 * y[:, None]).astype("f"), y


def test_batch_statistics_are_those_of_all_samples(sorted_set, monkeypatch):
    x, y = sorted_set
    net = coupled_net()
    whole = net.forward(x)
    expected = (whole.argmax(1) == y).mean()
    assert accuracy(net, x, y, batch=30) == expected
    np.testing.assert_array_equal(memory.logits(net, x), whole)
    monkeypatch.setattr(memory, "ROOM", 1)
    np.testing.assert_array_equal(memory.logits(net, x), whole)
    hidden = moments([net], x)[0].mean
    np.testing.assert_allclose(hidden, list(net.activations(x))[1].mean(0), rtol=1e-5)


def test_samples_that_stand_alone_share_a_pass_by_memory_alone(sorted_set):
    net = models.mlp((6, 5, 3), backend="reference")
    assert evaluate.parts(net, 90, 40) == [slice(0, 40), slice(40, 80), slice(80, 90)]
    assert evaluate.parts([net, coupled_net()], 90, 40) == [slice(0, 90)]
    assert evaluate.parts(coupled_net(), 0) == []
    x, _ = sorted_set
    found = np.concatenate([part.copy() for _, part in evaluate.outputs(net, x, 40)])
    np.testing.assert_allclose(found, net.forward(x), rtol=1e-6)


def test_samples_that_do_not_fit_one_pass_are_refused(sorted_set, monkeypatch):
    monkeypatch.setattr(evaluate, "TOGETHER", 1000)
    with pytest.raises(errors.SettingError, match="statistics='running'"):
        accuracy(coupled_net(), *sorted_set)
    task = Task.from_arrays("t", sorted_set, sorted_set)
    with pytest.raises(errors.SettingError, match="90 samples in one pass"):
        fit(coupled_net(), [task], steps=1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_largest_of_nan_is_no_answer(sorted_set, backend, bad):
    x, y = sorted_set
    net = models.mlp((6, 5, 3), backend=backend)
    net.theta[-1] = bad
    with pytest.raises(errors.NonFiniteError, match="for 90 of 90 samples"):
        accuracy(net, x, y)


def test_entropies_of_nan_choose_no_context(sorted_set):
    from weightspace.methods import Superposition

    method = Superposition()
    net = method.wrap(models.mlp((6, 5, 3), backend="reference"))
    net.theta[:] = np.nan
    with pytest.raises(errors.NonFiniteError, match="under context 0"):
        context_choice.choose_context(method, net, sorted_set[0], range(2))


def test_a_regression_has_no_accuracy(sorted_set):
    x, y = sorted_set
    net = models.mlp((6, 5, 3), backend="reference", loss="squared_error")
    targets = np.eye(3, dtype="f")[y]
    for labels in (y, targets):
        with pytest.raises(errors.SettingError, match="squared_error"):
            accuracy(net, x, labels)
    with pytest.raises(errors.SettingError, match="squared_error"):
        fit(net, [Task.from_arrays("t", (x, targets), (x, targets))], steps=1)


def test_accuracy_compares_labels_with_answers_one_by_one(sorted_set, untyped):
    x, y = sorted_set
    net = models.mlp((6, 5, 3), backend="reference")
    for labels in (y[:, None], y[:1], y[:50]):  # the first two would broadcast
        with pytest.raises(errors.ShapeError, match="labels have shape"):
            accuracy(net, x, labels)
    with pytest.raises(errors.ShapeError, match="no samples"):
        accuracy(net, x[:0], y[:0])
    for batch in untyped((-1, 0, 2.5)):  # the first answered 0.0: no sample was looked at
        with pytest.raises(errors.SettingError, match=f"batch is {batch}"):
            accuracy(net, x, y, batch=batch)
    active = np.array([True, True, False])
    with pytest.raises(errors.LabelError, match=r"30 of 90 labels .*leaves \[0, 1\]"):
        accuracy(net, x, y, active)
