"""The path to a sparse network: where it leads, what it keeps, determinism, settings."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from blobs import make_blobs
from weightspace.kernels import errors
from weightspace.methods import Task, accuracy, fit
from weightspace.methods.fip import SparsePath, authors_path, bhattacharyya, sparsify
from weightspace.methods.importance import probabilities
from weightspace.methods.pruning import Magnitude, one_shot
from weightspace.nnlite import BatchNorm2d, Conv2d, GlobalAvgPool, Linear, Network, models
from weightspace.nnlite.optim import SGD, Adam

X, Y = make_blobs(0, 400, classes=4)
SHORT = SparsePath(steps=300, batch_size=50, optimizer=Adam(0.005))
SPARSITY = 0.95


@pytest.fixture(scope="module")
def dense():
    net = models.mlp((12, 40, 20, 4), seed=1)
    fit(net, [Task.from_arrays("blobs", (X, Y), (X, Y))], steps=200, batch_size=50)
    return net


def apart(net, dense):
    """The mean distance of two networks' answers on all inputs."""
    q = probabilities(dense, dense.forward(X))
    return float(bhattacharyya(net, net.forward(X), q)[0].mean())


def test_it_keeps_what_one_shot_pruning_loses(dense):
    found = sparsify(dense, X, SPARSITY, SHORT)
    pruned = dense.like()
    one_shot(pruned, SPARSITY)
    assert int(found.mask.sum()) == dense.num_parameters - round(SPARSITY * dense.num_parameters)
    assert not found.net.theta[found.mask == 0].any()
    assert apart(found.net, dense) < 0.25 * apart(pruned, dense)
    assert accuracy(found.net, X, Y) > accuracy(pruned, X, Y) + 0.2


def test_the_dense_network_stays_as_it_is(dense):
    before = dense.theta.copy()
    sparsify(dense, X, 0.5, SparsePath(steps=5, batch_size=50))
    assert (dense.theta == before).all()


def test_the_authors_step_shrinks_the_distance_by_its_length_at_most(dense):
    walk = authors_path(steps=60, batch_size=50, length=0.02)
    found = sparsify(dense, X, 0.5, walk, look=10)
    away = [point.distance for point in found.record]
    assert [point.step for point in found.record] == [10, 20, 30, 40, 50, 60]
    assert all(later < sooner for sooner, later in pairwise(away))
    assert all(s - later <= 10 * 0.02 * 1.001 for s, later in pairwise(away))
    assert {point.sparsity for point in found.record} == {0.5}


def test_sparsity_grows_along_the_path_and_ends_where_asked(dense):
    found = sparsify(dense, X, 0.9, SparsePath(steps=40, batch_size=50), look=4)
    shares = [point.sparsity for point in found.record]
    assert shares == sorted(shares) and shares[0] < 0.5 and shares[-1] == 0.9
    settled = [point.distance for point in found.record if point.step > 24]
    assert settled and not any(settled)  # zeros are fixed: w is its own projection
    assert found.record[-1].step == 40


@pytest.mark.parametrize(
    "changes",
    [
        {"at": "weights"},
        {"optimizer": None},
        {"optimizer": SGD(0.01, 0.9)},
        {"growth": 0.0, "settle": 0.0},
        {"growth": 0.3, "settle": 0.7},
        {"labels": 0.5},
        {"rule": Magnitude("weights", "layer")},
    ],
)
def test_every_setting_leads_to_a_network_of_that_sparsity(dense, changes):
    walk = SparsePath(**{"steps": 20, "batch_size": 50, **changes})
    y = Y if walk.labels else None
    one, two = (sparsify(dense, X, 0.8, walk, y=y, seed=3) for _ in range(2))
    assert (one.net.theta == two.net.theta).all() and (one.mask == two.mask).all()
    assert not one.net.theta[one.mask == 0].any()
    if walk.rule == Magnitude():
        assert one.mask.sum() == dense.num_parameters - round(0.8 * dense.num_parameters)


def test_no_label_is_read_unless_asked(dense):
    walk = SparsePath(steps=10, batch_size=50)
    one, two = (sparsify(dense, X, 0.8, walk, y=y) for y in (None, Y))
    assert (one.net.theta == two.net.theta).all()


def test_running_statistics_may_follow_and_images_may_change(rng):
    x = rng.normal(size=(60, 6, 6, 2)).astype(np.float32)
    net = Network((Conv2d(4, 3), BatchNorm2d(activation="relu"), GlobalAvgPool(), Linear(3)),
                  (6, 6, 2), seed=1)  # fmt: skip
    flip = lambda x, key: np.ascontiguousarray(x[:, :, ::-1])  # noqa: E731
    walk = SparsePath(steps=6, batch_size=20, mode="train", augment=flip)
    found = sparsify(net, x, 0.5, walk)
    assert found.net.state["1.mean"].any() and not net.state["1.mean"].any()
    still = sparsify(net, x, 0.5, SparsePath(steps=6, batch_size=20))
    assert not still.net.state["1.mean"].any()


@pytest.mark.parametrize("optimizer", [Adam(0.01), None], ids=["adam", "normalised"])
def test_every_backend_walks_the_same_way(every_backend, optimizer):
    theirs, ours = (
        models.mlp((12, 8, 4), backend=name, dtype="float64", seed=2)
        for name in ("reference", every_backend)
    )
    walk = SparsePath(steps=8, batch_size=50, optimizer=optimizer, labels=0.3)
    x, y = X[:100].astype(np.float64), Y[:100]
    expected = sparsify(theirs, x, 0.6, walk, y=y, watch=lambda net: accuracy(net, x, y))
    found = sparsify(ours, x, 0.6, walk, y=y, watch=lambda net: accuracy(net, x, y))
    get = ours.device.get
    assert (get(found.mask) == expected.mask).all()
    assert np.allclose(get(found.net.theta), expected.net.theta, rtol=1e-9, atol=1e-12)
    assert found.record[-1].watched == expected.record[-1].watched


def test_classes_that_are_out_of_play_pull_nowhere(dense):
    active = np.array([True, True, False, True])
    walk = SparsePath(steps=10, batch_size=50, pull=0.0)
    found = sparsify(dense, X, 0.5, walk, active=active)
    assert found.record[-1].apart > 0
    name = f"{len(dense.layers) - 1}.weight"
    start, end = (net.layout.view(net.theta, name) for net in (dense, found.net))
    assert ((end[2] == start[2]) | (end[2] == 0)).all()
    assert (end[active] != start[active]).any()


def test_bad_settings_are_named(dense, untyped):
    for wrong in ({"steps": 0}, {"batch_size": 0}, {"length": 0.0}, {"pull": -1.0},
                  {"growth": 0.7, "settle": 0.4}, {"labels": 1.5}, {"growth": -0.1}):  # fmt: skip
        with pytest.raises(errors.SettingError):
            SparsePath(**untyped(wrong))
    with pytest.raises(errors.UnknownNameError, match="projection"):
        SparsePath(at="projektion")  # type: ignore[arg-type]
    with pytest.raises(errors.SettingError, match="sparsity"):
        sparsify(dense, X, 1.0, SHORT)
    with pytest.raises(errors.SettingError, match="labels"):
        sparsify(dense, X, 0.5, SparsePath(labels=0.5))
    with pytest.raises(errors.ShapeError, match="labels"):
        sparsify(dense, X, 0.5, SHORT, y=Y[:-1])
    with pytest.raises(errors.SettingError, match="look"):
        sparsify(dense, X, 0.5, SHORT, look=0)


def test_a_path_that_diverges_says_where(dense):
    x = X.copy()
    x[0] = np.inf
    with (
        np.errstate(all="ignore"),
        pytest.raises(errors.DivergedError, match="by step"),
    ):
        sparsify(dense, x, 0.5, SparsePath(steps=8, batch_size=400))
