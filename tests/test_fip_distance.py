"""The Bhattacharyya distance: central differences, its second order, masks, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.kernels.spec import relative_error, tolerance
from weightspace.methods.fip import bhattacharyya
from weightspace.nnlite import models

N, K = 9, 5
STEP = 1e-6
# of a central difference in float64: what its step leaves, and what rounding does
DIFFERENCE = 1e-8


@pytest.fixture
def net(every_backend):
    return models.mlp((7, 6, K), "tanh", backend=every_backend, dtype="float64", seed=4)


def softmax(z, active=None):
    z = np.where(np.ones(K, bool) if active is None else active, z, -np.inf)
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def distance(z, q, active=None):
    return -np.log(np.sqrt(softmax(z, active) * q).sum(1))


def put(net, *arrays):
    return [net.device.put(array) for array in arrays]


@pytest.mark.parametrize("active", [None, np.array([True, False, True, True, False])])
def test_value_and_cotangent_by_central_differences(net, rng, active):
    z, q = 2 * rng.normal(size=(N, K)), softmax(2 * rng.normal(size=(N, K)), active)
    values, cotangent = map(net.device.get, bhattacharyya(net, *put(net, z, q), active=active))
    assert relative_error(values, distance(z, q, active)) <= tolerance("float64", K)
    expected = np.zeros((N, K))
    for k in range(K):
        e = STEP * np.eye(K)[k]
        expected[:, k] = (distance(z + e, q, active) - distance(z - e, q, active)) / (2 * STEP)
    assert relative_error(cotangent, expected) <= DIFFERENCE
    if active is not None:
        assert not cotangent[:, ~active].any()


def test_reference_over_all_classes_is_restricted_to_the_active_ones(net, rng):
    active = np.array([True, False, True, True, False])
    z, other = rng.normal(size=(2, N, K))
    whole, restricted = softmax(other), softmax(other, active)
    ours = bhattacharyya(net, *put(net, z, whole), active=active)
    theirs = bhattacharyya(net, *put(net, z, restricted), active=active)
    for mine, expected in zip(ours, theirs, strict=True):
        found = net.device.get(mine)
        assert relative_error(found, net.device.get(expected)) <= tolerance("float64", K)


def test_gradient_of_the_weights(backend, rng):
    """The cotangent pulled back is the slope of the summed distance along any direction."""
    net = models.mlp((7, 6, K), "tanh", backend=backend, dtype="float64", seed=4)
    x, q = rng.normal(size=(N, 7)), softmax(rng.normal(size=(N, K)))
    v, start = rng.normal(size=net.num_parameters), net.theta.copy()
    saved = net.trace(x)
    slope = net.pull(saved, bhattacharyya(net, saved.outputs, q)[1]) @ v
    totals = []
    for sign in (1, -1):
        net.theta[:] = start + sign * STEP * v
        totals.append(bhattacharyya(net, net.forward(x), q)[0].sum())
    assert abs(slope - (totals[0] - totals[1]) / (2 * STEP)) <= DIFFERENCE * abs(slope)


def test_to_second_order_it_is_an_eighth_of_the_fisher_metric(backend, rng):
    net = models.mlp((7, 6, K), "tanh", backend=backend, dtype="float64", seed=4)
    x = rng.normal(size=(N, 7))
    p = softmax(net.forward(x))
    dw = rng.normal(size=net.num_parameters)
    t = net.jvp(x, dw)
    fisher = (p * t * t).sum(1) - (p * t).sum(1) ** 2
    size = 1e-4
    net.theta += size * dw
    found = bhattacharyya(net, net.forward(x), p)[0] / size**2
    assert relative_error(found, fisher / 8) <= 10 * size


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_answers_are_at_distance_zero_and_pull_nowhere(backend, rng, dtype):
    net = models.mlp((7, 6, K), backend=backend, dtype=dtype)
    outputs = net.forward(rng.normal(size=(N, 7)).astype(dtype))
    p = np.empty_like(outputs)
    net.ops.softmax(outputs, net.mask(), p)
    values, cotangent = bhattacharyya(net, outputs, p)
    assert not values.any() and not cotangent.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_answers_that_share_no_class_are_far_apart_but_finite(backend, dtype):
    net = models.mlp((7, 3), backend=backend, dtype=dtype)
    outputs = np.array([[2e4, 0, 0]], dtype)
    values, cotangent = bhattacharyya(net, outputs, np.array([[0, 1, 0]], dtype))
    assert np.isfinite(values).all() and values[0] > 80
    assert np.isfinite(cotangent).all() and cotangent[0, 0] > 0  # away from the wrong class


def test_nan_is_not_hidden(backend):
    net = models.mlp((7, 3), backend=backend, dtype="float64")
    p = np.full((1, 3), 1 / 3)
    values, cotangent = bhattacharyya(net, np.array([[np.nan, 0, 0]]), p)
    assert np.isnan(values).all() and np.isnan(cotangent).all()


def test_wrong_references_are_named(backend, rng):
    net = models.mlp((7, 6, K), backend=backend, dtype="float64")
    outputs, p = rng.normal(size=(N, K)), np.full((N, K), 1 / K)
    with pytest.raises(errors.ShapeError, match="frozen"):
        bhattacharyya(net, outputs, p[:-1])
    with pytest.raises(errors.DtypeError, match="float32"):
        bhattacharyya(net, outputs, p.astype(np.float32))
    with pytest.raises(errors.SettingError, match="no class"):
        bhattacharyya(net, outputs, p, np.zeros(K, bool))
