"""Shards: the same bits for any number of workers, the whole within rounding, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from blobs import make_blobs
from weightspace.kernels import errors
from weightspace.methods import fip, importance, shards
from weightspace.methods.shards import metric_diagonal, metric_product, sharded
from weightspace.nnlite import BatchNorm2d, Conv2d, Flatten, Linear, Network, models

N, SHARD = 130, 32


@pytest.fixture
def data():
    return make_blobs(3, N)


def make_net(dtype="float32"):
    net = models.mlp((12, 9, 4), backend="reference", seed=2)
    return Network(net.layers, net.input_shape, "reference", dtype, seed=2)


def backwards(function, messages):
    """A map whose workers finish in the opposite order."""
    messages = list(messages)
    answers = {i: function(messages[i]) for i in reversed(range(len(messages)))}
    return [answers[i] for i in range(len(messages))]


def questions(net, rng):
    v = rng.normal(size=(net.num_parameters,)).astype(net.dtype)
    active = np.array([True, True, False, True])
    return [
        (importance.fisher, {}), (importance.fisher, {"kind": "empirical"}),
        (importance.fisher, {"kind": "sampled", "seed": 5}), (importance.mas, {"output": "logits"}),
        (importance.fisher, {"active": active}), (importance.sig, {}), (metric_product, {"v": v}),
        (metric_product, {"v": np.stack([v, -v]), "space": "logits"}), (metric_diagonal, {}),
    ]  # fmt: skip


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 2e-5), ("float64", 1e-12)])
def test_shards_are_the_whole_within_rounding(data, rng, dtype, rtol):
    x, y = data[0].astype(dtype), data[1]
    net = make_net(dtype)
    for question, settings in questions(net, rng):
        labels = {"y": y} if settings.get("kind") == "empirical" else {}
        whole = question(net, x, **labels, **settings)
        parts = sharded(question, net, x, **labels, shard=SHARD, **settings)
        assert parts.dtype == whole.dtype and parts.shape == whole.shape
        np.testing.assert_allclose(parts, whole, rtol=rtol, atol=rtol * np.abs(whole).max())
        other = sharded(question, net, x, **labels, shard=SHARD, map=backwards, **settings)
        assert np.array_equal(parts, other)
        one = sharded(question, net, x, **labels, shard=N, **settings)
        assert np.array_equal(one, whole)


def test_a_shard_is_read_when_it_is_its_turn(data, untyped):
    """Nothing is read ahead of the map, so data may be larger than memory."""
    x, _ = data
    read = []

    class OnDisk:
        def __len__(self):
            return len(x)

        def __getitem__(self, part):
            read.append(part.start)
            return x[part]

    def one_by_one(function, messages):
        for number, message in enumerate(messages):
            assert read == [SHARD * i for i in range(number + 1)]
            yield function(message)

    found = sharded(importance.mas, make_net(), untyped(OnDisk()), shard=SHARD, map=one_by_one)
    assert np.array_equal(found, sharded(importance.mas, make_net(), x, shard=SHARD))
    assert len(read) == 5


def test_running_statistics_travel(rng):
    layers = [Conv2d(3, 3), BatchNorm2d(), Flatten(), Linear(4)]
    net = Network(layers, (6, 6, 1), "reference", seed=1)
    x = rng.normal(2, 3, (12, 6, 6, 1)).astype(np.float32)
    net.forward(x, "train")
    parts = sharded(importance.mas, net, x, shard=5)
    np.testing.assert_allclose(parts, importance.mas(net, x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("space", fip.metric.SPACES)
def test_the_diagonal_and_the_trace(data, space):
    x = data[0][:20].astype(np.float64)
    metric = fip.Metric(make_net("float64"), x, space)
    np.testing.assert_allclose(metric.diagonal(), np.diag(metric.dense()), rtol=1e-9, atol=1e-15)
    trace = sharded(metric_diagonal, make_net("float64"), x, shard=7, space=space).sum()
    assert trace == pytest.approx(np.trace(metric.gram()), rel=1e-9)


def test_refusals(data, untyped):
    x, y = data
    net = make_net()
    with pytest.raises(errors.UnknownNameError, match="metric_product"):
        sharded(untyped(metric_products), net, x)
    with pytest.raises(errors.ShapeError, match="at least one sample"):
        sharded(importance.sig, net, x[:0])
    with pytest.raises(errors.ShapeError, match="130 samples, 7 labels"):
        sharded(importance.fisher, net, x, y[:7], kind="empirical")
    for shard in untyped((0, 2.5)):
        with pytest.raises(errors.SettingError, match=f"shard is {shard}"):
            sharded(importance.sig, net, x, shard=shard)
    with pytest.raises(errors.SettingError, match="no labels"):
        sharded(importance.mas, net, x, y)
    with pytest.raises(errors.SettingError, match="labels y"):
        sharded(importance.fisher, net, x, kind="empirical")
    with pytest.raises(errors.CheckpointError, match="a shard"):
        shards.work(b"no message")
    coupled = [Conv2d(3, 3), BatchNorm2d(statistics="batch"), Flatten(), Linear(4)]
    net = Network(coupled, (6, 6, 1), "reference")
    with pytest.raises(errors.SettingError, match="running ones"):
        sharded(importance.mas, net, np.zeros((9, 6, 6, 1), np.float32), shard=5)


def metric_products(net, x):
    """Not a question of `shards`."""


def test_shards_have_the_same_bits_for_any_number_of_blas_threads():
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    net = models.mlp((784, 100, 10), backend="reference")
    x = np.random.default_rng(0).random((90, 784)).astype(np.float32)
    found = []
    for threads in (1, 2):
        with limits(threads, user_api="blas"):
            found.append(sharded(importance.fisher, net, x))
    assert np.array_equal(*found)
