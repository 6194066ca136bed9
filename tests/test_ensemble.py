"""Ensembles: their answers, their schedules, their regulariser, and how different they are."""

from __future__ import annotations

import numpy as np
import pytest
from blobs import make_blobs
from weightspace.kernels import errors
from weightspace.kernels.spec import relative_error
from weightspace.methods import ADP, Cycle, Ensemble, train_adp, train_fge
from weightspace.methods.diversity import (
    activation_norms,
    alignment,
    coherence,
    cosines,
    diversity,
    input_directions,
)
from weightspace.nnlite import Flatten, Linear, Network, models
from weightspace.nnlite.optim import Adam

K = 4


@pytest.fixture
def nets(backend):
    return [models.mlp((12, 9, K), backend=backend, seed=s) for s in range(3)]


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# ---- answers ---------------------------------------------------------------------------------


def test_an_ensemble_answers_with_the_mean_of_its_softmaxes(nets):
    x, y = make_blobs(0)
    expected = np.mean([softmax(np.float64(net.forward(x))) for net in nets], axis=0)
    both = Ensemble(nets)
    np.testing.assert_allclose(both.probabilities(x), expected, rtol=1e-5)
    assert both.accuracy(x, y) == (expected.argmax(1) == y).mean()


def test_networks_that_make_no_ensemble(nets, backend):
    for wrong in ([], [nets[0], nets[0]], [nets[0], models.mlp((12, K + 1), backend=backend)]):
        with pytest.raises(errors.SettingError, match="Ensemble"):
            Ensemble(wrong)


# ---- ADP -------------------------------------------------------------------------------------


def adp_loss(outputs, y, alpha, beta):
    """L of one sample, outputs (V, K), as the paper writes it with the code's offsets."""
    p = softmax(outputs)
    mean = p.mean(0)
    wrong = np.delete(p, y, axis=1)
    wrong /= np.linalg.norm(wrong, axis=1, keepdims=True)
    volume = np.linalg.slogdet(wrong @ wrong.T + 1e-6 * np.eye(len(p)))[1]
    entropy = -(mean * np.log(mean + 1e-20)).sum()
    return -np.log(p[:, y]).sum() - alpha * entropy - beta * volume


@pytest.mark.parametrize("members", [1, 3, 6])  # 6 members, 4 classes: the volume is 0
def test_adp_is_its_formula_and_its_gradient(rng, members):
    adp = ADP(alpha=1.3, beta=0.7)
    outputs, y = 2 * rng.normal(size=(members, 5, K)), rng.integers(0, K, 5)
    loss, found = adp.loss_and_cotangents(outputs, y)
    expected = [adp_loss(outputs[:, n], y[n], 1.3, 0.7) for n in range(5)]
    np.testing.assert_allclose(loss, expected, rtol=1e-9)
    numeric = np.empty_like(outputs)
    for index in np.ndindex(outputs.shape):
        step = np.zeros_like(outputs)
        step[index] = 1e-4
        up, down = (adp.loss_and_cotangents(outputs + s, y)[0] for s in (step, -step))
        numeric[index] = (up - down)[index[1]] / 2e-4
    assert relative_error(found, numeric) < 1e-5


def test_adp_without_strengths_is_cross_entropy(nets):
    x, y = make_blobs(0)
    outputs = np.array([net.forward(x) for net in nets])
    loss, cotangents = ADP(0, 0).loss_and_cotangents(outputs, y)
    np.testing.assert_allclose(loss, sum(net.losses(x, y) for net in nets), rtol=1e-5)
    np.testing.assert_allclose(
        cotangents, softmax(outputs) - np.eye(K)[y], rtol=1e-4, atol=1e-6
    )  # fmt: skip


def test_adp_stays_finite_where_members_are_sure():
    outputs = np.zeros((3, 2, K))
    outputs[:, :, 0] = 2000.0
    for y in (np.array([0, 0]), np.array([1, 1])):
        loss, cotangents = ADP().loss_and_cotangents(outputs, y)
        assert np.isfinite(loss).all()
        assert np.isfinite(cotangents).all()


def test_adp_training_learns_and_spreads_second_choices(nets):
    train = make_blobs(0)
    plain = [net.like() for net in nets]
    losses = train_adp(nets, train, 60, ADP(0.5, 0.5), Adam(0.02), batch_size=40)
    train_adp(plain, train, 60, ADP(0, 0), Adam(0.02), batch_size=40)
    assert losses[-10:].mean() < losses[:10].mean()
    assert Ensemble(nets).accuracy(*train) > 0.9

    def volume(members):
        outputs = np.array([net.forward(train[0]) for net in members])
        one = ADP(0, 1).loss_and_cotangents(outputs, train[1])[0]
        return (ADP(0, 0).loss_and_cotangents(outputs, train[1])[0] - one).mean()

    assert volume(nets) > volume(plain)


def test_adp_training_is_repeatable_and_checks_its_settings(backend):
    train = make_blobs(0)

    def once():
        made = [models.mlp((12, 9, K), backend=backend, seed=s) for s in range(2)]
        train_adp(made, train, 5, seed=3)
        return np.array([net.theta for net in made])

    np.testing.assert_array_equal(once(), once())
    with pytest.raises(errors.SettingError):
        ADP(alpha=-1)
    with pytest.raises(errors.SettingError):
        train_adp([models.mlp((12, K), backend=backend)], train, 0)


# ---- FGE -------------------------------------------------------------------------------------


def test_the_cycle_goes_down_and_up_again(untyped):
    cycle = Cycle(4, high=1.0, low=0.2)
    expected = [0.6, 0.2, 0.6, 1.0] * 2
    np.testing.assert_allclose([cycle.rate(i) for i in range(1, 9)], expected)
    assert [i for i in range(1, 13) if cycle.is_middle(i)] == [2, 6, 10]
    for wrong in untyped(({"steps": 3}, {"steps": 0}, {"high": 1e-5}, {"low": 0.0})):
        with pytest.raises(errors.SettingError, match="cycle"):
            Cycle(**wrong)


def test_fge_saves_members_in_the_middle_of_cycles(nets):
    train, seen = make_blobs(0), []
    net = nets[0]
    members = train_fge(net, train, 3, Cycle(6, 0.1, 0.001), batch_size=40, decay=1e-4,
                        watch=lambda step, loss: seen.append(step))  # fmt: skip
    assert seen[-1] == 15  # the middle of the third cycle
    assert len(members) == 3
    np.testing.assert_array_equal(members[-1].theta, net.theta)
    assert (members[0].theta != members[1].theta).any()
    with pytest.raises(errors.SettingError):
        train_fge(net, train, 0)


# ---- how different ---------------------------------------------------------------------------


def test_norms_and_diversity_by_hand(backend):
    nets = [Network([Flatten(), Linear(2, bias=False)], (2, 1), backend=backend) for _ in range(2)]
    for net, factor in zip(nets, (1, 3), strict=True):
        net.theta[:] = factor * np.eye(2).ravel()
    x = np.array([[[3], [4]], [[0], [1]]], np.float32)
    np.testing.assert_allclose(activation_norms(nets[1], x), [[5, 1], [15, 3]], rtol=1e-6)
    np.testing.assert_allclose(diversity(nets, x), [[0, 0], [5, 1]], rtol=1e-6)
    with pytest.raises(errors.SettingError, match="depth"):
        diversity([nets[0], models.mlp((2, 2), backend=backend)], x)


def test_activations_end_in_the_outputs(nets):
    x, _ = make_blobs(0)
    rows = [y.copy() for y in nets[0].activations(x)]
    assert [row.shape for row in rows] == [(len(x), 9), (len(x), K)]
    np.testing.assert_array_equal(rows[-1], nets[0].forward(x))
    assert (rows[0] >= 0).all()


def test_coherence_by_hand():
    directions = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[0.6, 0.8]]])
    np.testing.assert_allclose(cosines(directions), [[0], [0.6], [0.8]])
    np.testing.assert_allclose(coherence(directions), [0.8])
    np.testing.assert_allclose(alignment(directions, directions[0]), [[1], [0], [0.6]])
    with pytest.raises(errors.ShapeError):
        coherence(directions[:1])


def test_input_directions_are_the_gradients_at_unit_length(nets):
    x, y = make_blobs(0)
    found = input_directions(nets, x, y)
    assert found.shape == (3, len(x), 12)
    gradient = np.float64(nets[1].input_grad(x, y))
    gradient /= np.linalg.norm(gradient, axis=1, keepdims=True)
    np.testing.assert_allclose(found[1], gradient, atol=1e-4)
    np.testing.assert_allclose(coherence(input_directions([nets[0], nets[0].like()], x, y)), 1)
