"""Pruning: the projection's identities, training under a mask, lottery tickets round by round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from blobs import make_blobs
from weightspace.kernels import errors
from weightspace.methods import Task
from weightspace.methods import pruning as pruning_module
from weightspace.methods.pruning import (
    Magnitude,
    Training,
    cosine,
    layer_sparsity,
    lottery_tickets,
    next_mask,
    one_shot,
    sparsity_of,
    weight_names,
)
from weightspace.nnlite import BatchNorm2d, Conv2d, GlobalAvgPool, Linear, Network, models
from weightspace.nnlite.optim import SGD

SHORT = Training(steps=40, batch_size=30)


@pytest.fixture
def net(backend):
    return models.mlp((12, 20, 10, 4), backend=backend, seed=3, init="glorot_normal")


@pytest.fixture
def task():
    return Task.from_arrays("blobs", make_blobs(0), make_blobs(0, 60))


def counts(net, mask):
    return {name: int(view.sum()) for name, view in net.layout.views(mask).items()}


@pytest.mark.parametrize("sparsity", [0.0, 0.2, 0.5, 0.994])
def test_projection_keeps_the_largest_and_is_idempotent(net, rng, sparsity):
    w = rng.normal(size=net.num_parameters).astype(net.dtype)
    net.theta[:] = w
    mask = Magnitude().project(net, sparsity)
    kept = mask == 1
    assert (~kept).sum() == round(sparsity * len(w)) and set(np.unique(mask)) <= {0, 1}
    assert (net.theta == w * kept).all()
    if 0 < kept.sum() < len(w):
        assert abs(w[kept]).min() >= abs(w[~kept]).max()
    again = Magnitude().mask(net, sparsity)
    assert (net.theta * again == net.theta).all()


def test_projection_is_the_nearest_sparse_vector(net, rng):
    w = rng.normal(size=net.num_parameters).astype(net.dtype)
    mask = Magnitude().mask(net, 0.8, w)
    distance = np.linalg.norm(w - w * mask)
    for seed in range(20):
        other = np.random.default_rng(seed).permutation(mask)
        assert distance <= np.linalg.norm(w - w * other)
    assert (net.theta != 0).any()  # a vector that is given is looked at, theta left alone


def test_weights_alone_and_layer_by_layer(net):
    biases = [name for name in net.layout if name not in weight_names(net)]
    for rule in (Magnitude("weights"), Magnitude("weights", "layer"), Magnitude("all", "layer")):
        mask = rule.mask(net, 0.75)
        left, shares = counts(net, mask), layer_sparsity(net, mask)
        if rule.what == "weights":
            assert all(shares[name] == 0 for name in biases)
            total = sum(int(np.prod(net.layout.shape(name))) for name in weight_names(net))
            zeros = total - sum(left[name] for name in weight_names(net))
            assert zeros == round(0.75 * total)
        if rule.by == "layer":
            assert all(shares[name] == 0.75 for name in weight_names(net))


def test_equal_magnitudes_still_give_the_exact_number(net):
    net.theta[:] = 1
    assert Magnitude().mask(net, 0.5).sum() == net.num_parameters - round(0.5 * net.num_parameters)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_of_a_diverged_network_are_not_pruned(net, bad):
    net.theta[3] = bad
    with pytest.raises(errors.NonFiniteError, match="diverged"):
        one_shot(net, 0.5)
    with pytest.raises(errors.NonFiniteError, match="diverged"):
        next_mask(net, np.ones_like(net.theta), 0.2, 0.1)


def test_every_backend_prunes_the_same(every_backend):
    layers = (Conv2d(4, 3), BatchNorm2d(), GlobalAvgPool(), Linear(3))
    theirs = Network(layers, (6, 6, 2), backend="reference", seed=1)
    ours = Network(layers, (6, 6, 2), backend=every_backend, seed=1)
    for rule in (Magnitude(), Magnitude("weights"), Magnitude("weights", "layer")):
        expected = rule.mask(theirs, 0.6)
        assert (ours.device.get(rule.mask(ours, 0.6)) == expected).all()
    ours.theta *= ours.device.put(expected)
    assert layer_sparsity(ours, rule.mask(ours, 0.6)) == layer_sparsity(theirs, expected)


def test_training_under_a_mask_moves_survivors_alone(net, task):
    mask = one_shot(net, 0.7)
    before = net.theta.copy()
    SHORT.run(net, task, 0, mask)
    assert not net.theta[mask == 0].any()
    assert (net.theta[mask == 1] != before[mask == 1]).mean() > 0.5


def test_stages_share_the_steps_and_lower_the_rate(net, task, monkeypatch):
    seen = []
    monkeypatch.setattr(
        pruning_module, "fit", lambda *a, **k: seen.append((k["steps"], k["optimizer"].lr))
    )
    training = Training(10, 30, SGD(0.5), ((0.5, 1.0), (0.3, 0.1), (0.2, 0.01)))
    training.run(net, task, 0)
    training.run(net, task, 0, done=6)
    assert seen == [(5, 0.5), (3, 0.05), (2, 0.005), (2, 0.05), (2, 0.005)]


def test_a_stopped_training_goes_on_to_the_same_bits_and_leaves_no_file(task, tmp_path):
    training = Training(12, 30, SGD(0.1, 0.9), cosine(3), decay=0.01)

    def trained(stop_at=None):
        net = models.mlp((12, 20, 10, 4), backend="reference", seed=3)
        turns = []

        def augment(x, key):
            turns.append(key)
            if stop_at is not None and len(turns) > stop_at:
                raise KeyboardInterrupt
            return x

        replace(training, augment=augment).run(net, task, 0, kept=tmp_path / "net.safetensors")
        return net.theta, len(turns)

    whole, steps = trained()
    assert steps == 12 and not list(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        trained(stop_at=9)  # in the last of three stages
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "net-stage-0.safetensors", "net-stage-1.safetensors"]  # fmt: skip
    theta, steps = trained()
    assert steps == 4 and (theta == whole).all() and not list(tmp_path.iterdir())


def test_weights_decay_towards_zero_in_training(net, task):
    """One step of plain descent: decay adds -lr decay theta to it, under a mask, too."""
    start = net.theta.copy()
    moved = {}
    for decay in (0.0, 0.5):
        net.theta[:] = start
        Training(1, 30, SGD(0.1), ((1.0, 1.0),), decay=decay).run(net, task, 0)
        moved[decay] = net.theta - start
    np.testing.assert_allclose(moved[0.5] - moved[0.0], -0.1 * 0.5 * start, rtol=1e-3, atol=1e-6)
    mask = np.zeros_like(start)
    mask[::2] = 1
    net.theta[:] = start
    Training(1, 30, SGD(0.1), ((1.0, 1.0),), decay=0.5).run(net, task, 0, mask)
    assert not net.theta[mask == 0].any() and net.theta[mask == 1].any()


def test_a_cosine_of_stages():
    stages = cosine(4)
    assert abs(sum(share for share, _ in stages) - 1) < 1e-12
    factors = [factor for _, factor in stages]
    assert factors == sorted(factors, reverse=True) and factors[0] > 0.95 and 0 < factors[-1] < 0.05
    assert abs(sum(factors) / 4 - 0.5) < 1e-12


def test_lottery_tickets_lose_a_fifth_of_each_layer_a_round_and_half_that_at_the_end(net, task):
    sizes = counts(net, np.ones_like(net.theta))
    expected = dict(sizes)
    for ticket in lottery_tickets(net, task, 3, SHORT):
        if ticket.round:
            for name, rate in zip(weight_names(net), (0.2, 0.2, 0.1), strict=True):
                expected[name] -= round(rate * expected[name])
        assert counts(net, ticket.mask) == expected
        assert ticket.sparsity == sparsity_of(ticket.mask)
        assert ticket.steps == (ticket.round + 1) * SHORT.steps
        assert not ticket.net.theta[ticket.mask == 0].any()


def test_of_the_whole_network_the_last_layer_is_left_alone(net):
    mask = np.ones_like(net.theta)
    pruned = next_mask(net, mask, 0.5, 0.5, "network")
    first, second, last = weight_names(net)
    left, whole = counts(net, pruned), counts(net, mask)
    assert left[last] == whole[last]
    assert left[first] + left[second] == (whole[first] + whole[second]) // 2
    w, kept = net.layout.views(abs(net.theta)), net.layout.views(pruned == 1)
    largest_gone = max(w[n][~kept[n]].max() for n in (first, second))
    assert largest_gone <= min(w[n][kept[n]].min() for n in (first, second))


@pytest.mark.parametrize("rewind", [0, 7])
def test_rewinding_is_exact(net, task, monkeypatch, rewind):
    """What each round starts from is the weights after `rewind` steps, times the mask."""
    starts = []
    real = Training.run

    def watched(self, net, task, seed, mask=None, done=0):
        starts.append((net.theta.copy(), mask))
        real(self, net, task, seed, mask, done)

    monkeypatch.setattr(Training, "run", watched)
    first = net.theta.copy()
    tickets = list(lottery_tickets(net, task, 2, SHORT, rewind=rewind))
    (whole, _), *later = starts
    assert (whole == first).all() == (rewind == 0)
    for theta, mask in later:
        assert (theta == whole * mask).all() and 0 < mask.mean() < 1
    assert [t.steps for t in tickets] == [
        SHORT.steps + r * (SHORT.steps - rewind) for r in range(3)
    ]


def test_rewinding_puts_running_statistics_back(task, monkeypatch):
    x, y = make_blobs(0, inputs=32)
    x = x.reshape(-1, 4, 4, 2)
    images = Task.from_arrays("images", (x, y), (x, y))
    net = Network((Conv2d(3, 3), BatchNorm2d(), GlobalAvgPool(), Linear(4)), (4, 4, 2), seed=0)
    seen = []
    real = Training.run

    def watched(self, net, task, seed, mask=None, done=0):
        seen.append(net.state["1.mean"].copy())
        real(self, net, task, seed, mask, done)

    monkeypatch.setattr(Training, "run", watched)
    list(lottery_tickets(net, images, 1, Training(9, 40), rewind=3, by="network"))
    assert seen[0].any() and (seen[0] == seen[1]).all()


def test_the_same_seed_gives_the_same_bits(net, task):
    twin = net.like()
    for one, two in zip(
        lottery_tickets(net, task, 2, SHORT, seed=5),
        lottery_tickets(twin, task, 2, SHORT, seed=5),
        strict=True,
    ):
        assert (one.mask == two.mask).all() and (one.net.theta == two.net.theta).all()


def test_bad_settings_are_named(net, task, untyped):
    for sparsity in (-0.1, 1.0, float("nan")):
        with pytest.raises(errors.SettingError, match="sparsity"):
            one_shot(net, sparsity)
    with pytest.raises(errors.UnknownNameError, match="weights"):
        Magnitude("weight")  # type: ignore[arg-type]
    with pytest.raises(errors.UnknownNameError, match="layer"):
        Magnitude("all", "layers")  # type: ignore[arg-type]
    nan = float("nan")
    for last in ((0.4, 0.1), (nan, 0.1), (0.5, nan), (0.5, 0)):
        with pytest.raises(errors.SettingError, match="stages"):
            Training(stages=((0.5, 1.0), last))
    with pytest.raises(errors.SettingError, match="steps"):
        Training(steps=0)
    for wrong in ({"rate": 0.0}, {"rate": nan}, {"rewind": 40}, {"output_rate": -1}):
        with pytest.raises(errors.SettingError, match="lottery"):
            next(lottery_tickets(net, task, 2, SHORT, **untyped(wrong)))
    with pytest.raises(errors.ShapeError, match="mask"):
        SHORT.run(net, task, 0, np.ones(3, np.float32))
    with pytest.raises(errors.ShapeError, match="mask"):
        layer_sparsity(net, np.ones(3))
