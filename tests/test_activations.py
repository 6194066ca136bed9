"""Moments that merge, and activation statistics that are streamed: equal to those in memory."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from weightspace.kernels import errors, get_backend
from weightspace.methods.activations import layer_moments, moments, sample, unit_layers, unit_rows
from weightspace.methods.moments import Moments
from weightspace.nnlite import Network, models
from weightspace.nnlite.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d


def small_cnn(seed=0, backend="reference"):
    """Two convolutions, one normalised (its statistics no longer 0 and 1), then two dense ones.

    In float64: a sample's float32 output may depend, in its last bits, on the batch it is in.
    """
    layers = [
        Conv2d(4, 3, padding=1), BatchNorm2d(activation="relu"), MaxPool2d(2),
        Conv2d(5, 3, activation="tanh"), Flatten(), Linear(6, "relu"), Dropout(0.5), Linear(3),
    ]  # fmt: skip
    net = Network(layers, (8, 8, 2), backend=backend, seed=seed, dtype="float64")
    rng = np.random.default_rng(seed)
    net.state["1.mean"][...] = rng.normal(size=4)
    net.state["1.var"][...] = rng.uniform(0.5, 2, 4)
    net.theta += rng.normal(0, 0.1, net.num_parameters)
    return net


@pytest.fixture
def images(rng):
    return rng.normal(size=(230, 8, 8, 2))


def close(ours: Moments, rows):
    rows = np.asarray(rows, np.float64)
    centred = rows - rows.mean(axis=0)
    assert ours.count == len(rows)
    np.testing.assert_allclose(ours.mean, rows.mean(axis=0), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(ours.comoment, centred.T @ centred, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(ours.std, rows.std(axis=0), rtol=1e-9, atol=1e-13)
    with np.errstate(invalid="ignore"):  # a relu's unit may be dead
        wanted = np.nan_to_num(np.corrcoef(rows.T))
    np.testing.assert_allclose(ours.correlation(), wanted, atol=1e-11)


def test_pieces_merge_to_the_whole_in_any_grouping(rng, backend):
    # means far from 0: sums of squares would lose all their digits
    rows = 1e4 + rng.normal(size=(1000, 7)) @ rng.normal(size=(7, 7))
    pieces = [Moments.of(part, get_backend(backend)) for part in np.split(rows, [1, 40, 41, 700])]
    left = reduce(Moments.merge, pieces)
    right = pieces[0].merge(reduce(Moments.merge, pieces[1:])).merge(Moments.nothing(7))
    for merged in (left, Moments.nothing(7).merge(right)):
        close(merged, rows)
    shared = left.select(np.array([4, 0]))
    np.testing.assert_allclose(shared.correlation(), np.corrcoef(rows[:, [4, 0]].T), atol=1e-12)


def test_a_unit_that_does_not_vary_correlates_with_none(rng):
    rows = rng.normal(size=(90, 3))
    rows[:, 1] = 0.1  # whose mean is not exactly 0.1
    found = reduce(Moments.merge, (Moments.of(part) for part in np.split(rows, 3)))
    assert found.alive.tolist() == [True, False, True] and found.std[1] == 0
    r = found.correlation()
    np.testing.assert_array_equal(r[1], 0)
    np.testing.assert_allclose(r[0, 2], np.corrcoef(rows[:, 0], rows[:, 2])[0, 1])


def test_where_units_are_read():
    found = [tuple(layer) for layer in unit_layers(small_cnn())]
    assert found == [
        ("conv1", 0, 1, 4, 64), ("conv2", 3, 3, 5, 4), ("fc1", 5, 6, 6, 1), ("fc2", 7, 7, 3, 1),
    ]  # fmt: skip
    names = [layer.name for layer in unit_layers(models.resnet20())]
    assert names == ["conv1", *(f"block{n}" for n in range(1, 10)), "fc1"]


def test_streamed_is_in_memory(backend, images):
    a, b = small_cnn(0, backend), small_cnn(1, backend)
    order = np.random.default_rng(0).permutation(len(images))
    layers = unit_layers(a)
    for shuffled in (None, order):
        streamed = moments([a, b], images, order=shuffled)
        other = images if shuffled is None else images[shuffled]
        whole = zip(unit_rows(a, images, layers), unit_rows(b, other, layers), strict=True)
        for found, rows in zip(streamed, whole, strict=True):
            assert found.count == len(images) * rows[0].shape[1]
            close(found, np.concatenate([r.reshape(-1, r.shape[-1]) for r in rows], axis=1))
    np.testing.assert_allclose(unit_rows(a, images, layers)[-1][:, 0], a.forward(images))


def test_two_shards_are_one_machine(images):
    nets = [small_cnn(0), small_cnn(1)]
    shards = zip(moments(nets, images[:75]), moments(nets, images[75:]), strict=True)
    for one, (first, second) in zip(moments(nets, images), shards, strict=True):
        both = first.merge(second)
        assert both.count == one.count
        np.testing.assert_allclose(both.mean, one.mean, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(both.correlation(), one.correlation(), atol=1e-12)


def test_layers_against_each_other(images):
    net = small_cnn()
    found, columns = layer_moments(net, images)
    rows = [np.float64(r).mean(axis=1) for r in unit_rows(net, images, unit_layers(net))]
    close(found, np.concatenate(rows, axis=1))
    assert [(s.start, s.stop) for s in columns] == [(0, 4), (4, 9), (9, 15), (15, 18)]
    (first, *_) = moments([net], images, pool="mean")
    np.testing.assert_allclose(first.comoment, found.select(columns[0]).comoment, atol=1e-9)


def test_samples_see_the_same_places(images):
    net = small_cnn()
    layers = unit_layers(net)
    found = sample([net, net.like()], images, layers, positions=3, seed=1)
    for (first, second), layer in zip(found, layers, strict=True):
        assert first.shape == (len(images) * min(3, layer.positions), layer.units)
        np.testing.assert_array_equal(first, second)
    rows = unit_rows(net, images, layers)[0]
    for image in range(5):  # of this very image
        drawn = {tuple(row) for row in found[0][0][3 * image : 3 * image + 3]}
        assert drawn <= {tuple(row) for row in rows[image]}
    every = sample([net], images[:1], layers, positions=64)[0][0]  # each place once
    np.testing.assert_array_equal(np.sort(every, axis=0), np.sort(rows[0], axis=0))


def test_wrong_questions(images, untyped):
    net = small_cnn()
    with pytest.raises(errors.SettingError, match="architecture"):
        moments([net, Network([Flatten(), Linear(3)], (8, 8, 2), backend="reference")], images)
    with pytest.raises(errors.ShapeError, match="order"):
        moments([net], images, order=np.arange(3))
    with pytest.raises(errors.UnknownNameError, match="positions"):
        moments([net], images, pool=untyped("position"))
    with pytest.raises(errors.SettingError, match="positions is 0"):
        sample([net], images, unit_layers(net), positions=0)
    with pytest.raises(errors.ShapeError, match="columns"):
        Moments.nothing(2).merge(Moments.nothing(3))
    with pytest.raises(errors.ShapeError, match="rows"):
        Moments.of(np.zeros((0, 3)))
    for value in (np.nan, np.inf):
        with pytest.raises(errors.NonFiniteError, match="NaN or infinity"):
            Moments.of(np.array([[1, 2], [value, 3]]))
    for ask in (moments, lambda nets, x: sample(nets, x, unit_layers(net))):
        with pytest.raises(errors.SettingError, match="no network"):
            ask([], images)
    with pytest.raises(errors.ShapeError, match="co-moments"):
        Moments(1, np.zeros(2), np.zeros((3, 3)))
