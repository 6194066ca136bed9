"""PGD: it stays where it may be, climbs, and is never weaker for trying harder."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.methods import Ensemble
from weightspace.methods.adp import train_adp
from weightspace.methods.attack import PGD, ascent, fgsm
from weightspace.methods.evaluate import accuracy
from weightspace.nnlite import models
from weightspace.nnlite.optim import Adam

N, K, EPS = 40, 4, 0.1


def blobs(rng, n=N):
    """Pixels in [0, 1] whose classes are some distance apart."""
    y = np.arange(n) % K
    x = np.clip(0.3 + 0.4 * (y[:, None] == np.arange(8) % K) + rng.normal(0, 0.05, (n, 8)), 0, 1)
    return x.astype(np.float32), y.astype(np.int64)


def trained(backend, x, y, seed=0, steps=60, scale=1.0):
    net = models.mlp((8, 16, K), backend=backend, seed=seed)
    optimizer, moments = Adam(0.02), Adam().state(net.num_parameters, net.dtype)
    for step in range(steps):
        optimizer.step(net.ops, net.theta, net.loss_and_grad(x, y)[1], moments, step + 1)
    net.layout.view(net.theta, "1.weight")[...] *= scale
    return net


@pytest.fixture
def setting(backend, rng):
    x, y = blobs(rng)
    return trained(backend, x, y), x, y


def wrong_share(attacked):
    return 1 - attacked.right.mean()


def test_it_stays_in_the_ball_and_among_pixels(setting):
    net, x, y = setting
    found = PGD(EPS, steps=7, restarts=3, alpha=0.05).run(net, x, y)
    assert np.abs(found.x - x).max() <= EPS * (1 + 1e-5)
    assert found.x.min() >= 0
    assert found.x.max() <= 1
    assert found.x.dtype == x.dtype
    assert np.abs(found.x - x).max() > 0.9 * EPS


def test_it_raises_the_loss_and_reports_what_is_there(setting):
    net, x, y = setting
    found = PGD(EPS, steps=10).run(net, x, y)
    assert net.losses(found.x, y).mean() > 2 * net.losses(x, y).mean()
    np.testing.assert_allclose(found.loss, net.losses(found.x, y), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.right, net.forward(found.x).argmax(1) == y)


def test_more_steps_or_restarts_do_not_weaken_it(setting):
    net, x, y = setting
    before = None
    for steps, restarts in ((1, 1), (5, 1), (20, 1), (20, 3)):
        found = PGD(0.2, alpha=0.02, steps=steps, restarts=restarts).run(net, x, y)
        if before is not None:
            assert (found.right <= before.right).all()
            assert (found.loss >= before.loss)[before.right == found.right].all()
        before = found
    assert wrong_share(found) > wrong_share(PGD(0.2, alpha=0.02, steps=1).run(net, x, y))


def test_fgsm_is_one_step_along_the_sign(setting):
    net, x, y = setting
    by_hand = np.clip(x + np.float32(EPS) * np.sign(net.input_grad(x, y)), 0, 1)
    found = fgsm(EPS).run(net, x, y)
    moved = found.loss > net.losses(x, y)  # where the step did not help, the start was worse
    assert moved.mean() > 0.9
    np.testing.assert_allclose(found.x[moved], by_hand[moved], atol=1e-6)


def test_radius_zero_changes_nothing(setting):
    net, x, y = setting
    np.testing.assert_array_equal(PGD(0.0, steps=2).run(net, x, y).x, x)
    np.testing.assert_array_equal(fgsm(0.0).run(net, x, y).x, x)


def test_normalised_inputs_are_attacked_in_pixels(backend, rng):
    """The same network behind a normalisation: the same pixels come out."""
    x, y = blobs(rng)
    plain = trained(backend, x, y)
    mean, deviation = np.linspace(0.2, 0.5, 8), np.linspace(0.1, 0.9, 8)
    behind = plain.like()
    weight, bias = (behind.layout.view(behind.theta, f"0.{name}") for name in ("weight", "bias"))
    bias += (weight * mean).sum(1)
    weight *= deviation
    settings = {"epsilon": EPS, "steps": 5, "restarts": 2}
    ours = PGD(**settings).run(plain, x, y)
    inputs = ((x - mean) / deviation).astype(np.float32)
    theirs = PGD(**settings, mean=tuple(mean), deviation=tuple(deviation)).run(behind, inputs, y)
    pixels = theirs.x * deviation + mean
    assert np.abs(pixels - x).max() <= EPS * (1 + 1e-4)
    assert pixels.min() >= -1e-6
    assert pixels.max() <= 1 + 1e-6
    np.testing.assert_allclose(theirs.loss, ours.loss, rtol=0.02, atol=1e-3)


def test_the_same_seed_finds_the_same_inputs(setting):
    net, x, y = setting
    first, again, other = (PGD(EPS, steps=3, seed=s).run(net, x, y).x for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_what_is_found_does_not_depend_on_the_batches(setting, monkeypatch):
    net, x, y = setting
    whole = PGD(EPS, steps=3).run(net, x, y)
    monkeypatch.setattr("weightspace.methods.ensemble.BATCH", 7)
    np.testing.assert_allclose(PGD(EPS, steps=3).run(net, x, y).x, whole.x, atol=1e-5)


def test_the_gradient_of_a_very_sure_network_does_not_vanish(backend, rng):
    x, y = blobs(rng)
    sure = trained(backend, x, y, scale=300.0)
    assert (sure.losses(x, y) == 0).mean() > 0.9
    assert (ascent([sure], x, y) == 0).all(axis=1).mean() < 0.05
    assert wrong_share(PGD(0.4, steps=20).run(sure, x, y)) > 0.5


def test_ascent_follows_the_mean_probability(backend, rng):
    """Along the gradient of -log of the members' mean probability, by central differences."""
    nets = [models.mlp((6, 7, K), "tanh", backend=backend, dtype="float64", seed=s) for s in (1, 2)]
    nets[1].theta *= 3
    x, y = rng.normal(size=(5, 6)), rng.integers(0, K, 5)

    def loss(at):
        p = Ensemble(nets).probabilities(at)
        return -np.log(p[np.arange(5), y])

    expected = np.empty_like(x)
    for i in range(6):
        step = 1e-6 * (np.arange(6) == i)
        expected[:, i] = (loss(x + step) - loss(x - step)) / 2e-6
    found = ascent(nets, x, y)
    found *= np.linalg.norm(expected, axis=1, keepdims=True)
    found /= np.linalg.norm(ascent(nets, x, y), axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


def test_an_ensemble_is_harder_to_fool_by_one_member_than_by_all(backend, rng):
    x, y = blobs(rng)
    nets = [trained(backend, x, y, seed=s) for s in range(3)]
    both = Ensemble(nets)
    alone = PGD(0.2, steps=10).run(nets[0], x, y).x
    together = PGD(0.2, steps=10).run(both, x, y)
    assert both.accuracy(together.x, y) == pytest.approx(together.right.mean())
    assert both.accuracy(together.x, y) <= both.accuracy(alone, y)


@pytest.mark.parametrize(
    "settings",
    [{"epsilon": -1}, {"epsilon": float("nan")}, {"alpha": 0.0}, {"steps": 0}, {"restarts": 0},
     {"restarts": 2, "random_start": False}, {"lo": 1.0}, {"deviation": 0.0}],
)  # fmt: skip
def test_settings_that_make_no_attack(settings):
    with pytest.raises(errors.SettingError, match="PGD"):
        PGD(**settings)


def test_inputs_that_do_not_fit_the_settings(setting):
    net, x, y = setting
    with pytest.raises(errors.SettingError, match="normalised"):
        PGD().run(net, x * 3 - 1, y)
    with pytest.raises(errors.SettingError, match="one a channel"):
        PGD(mean=(0.0, 0.0)).run(net, x, y)
    with pytest.raises(errors.LabelError):
        PGD().run(net, x, y + K)


@pytest.mark.parametrize("kind", ["int32", "uint8", list])
def test_every_door_takes_the_labels_that_training_takes(kind, rng, untyped):
    x, y = blobs(rng)
    other = untyped(y.tolist() if kind is list else y.astype(kind))
    nets = [trained("reference", x, y, seed, steps=5) for seed in (0, 1)]
    assert accuracy(nets[0], x, other) == accuracy(nets[0], x, y)
    assert Ensemble(nets).accuracy(x, other) == Ensemble(nets).accuracy(x, y)
    same, found = (PGD(EPS, steps=2).run(nets[0], x, labels) for labels in (y, other))
    np.testing.assert_array_equal(found.x, same.x)
    twins = [[net.like() for net in nets] for _ in range(2)]
    first, second = (
        train_adp(each, (x, labels), steps=3)
        for each, labels in zip(twins, (y, other), strict=True)
    )
    np.testing.assert_array_equal(first, second)


def test_one_class_has_no_wrong_one_to_look_for(rng):
    x, _ = blobs(rng)
    net = models.mlp((8, 1), backend="reference")
    for attack in (PGD(EPS).run, lambda net, x, y: ascent([net], x, y)):
        with pytest.raises(errors.SettingError, match="wrong class"):
            attack(net, x, np.zeros(len(x), np.int64))
