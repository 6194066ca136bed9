"""What float32 keeps of a sure sample, whose largest probability rounds to 1, by longer floats.

With z the logits and q the probability of all but the likeliest class, 1 - p, p - e_y, log p and
p (u - p.u) are all made of q, down to 1e-35.
"""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.methods import importance
from weightspace.methods.ensemble import log_softmax
from weightspace.nnlite import Linear, Network

GAPS = (0.5, 1, 5, 10, 15, 17, 20, 40, 80)
WIDE = 70  # classes: more than the kernels take side by side
CLOSE = 5e-6  # relative, in float32: of exp at 80 and of sums


def logits(gap, classes):
    z = np.zeros(classes)
    z[1] = gap
    z[2:] = -0.1 * np.arange(classes - 2)
    return z.astype(np.float32)


def exact(gap, classes):
    """p, 1 - p and p_i - p_j, nothing cancelled, in long double."""
    z = logits(gap, classes).astype(np.longdouble)
    e = np.exp(z - z.max())
    p = e / e.sum()
    rest = np.array([np.delete(p, i).sum() for i in range(classes)])
    return p, rest, p[:, None] - p


@pytest.mark.parametrize("classes", [2, 10, WIDE])
@pytest.mark.parametrize("gap", GAPS)
def test_the_softmax_and_its_derivatives(ops, gap, classes):
    p, rest, apart = exact(gap, classes)
    z, active = logits(gap, classes)[None], np.ones(classes, bool)
    found = np.empty_like(z)
    ops.softmax(z, active, found)
    u, dz = 2 * found, np.empty_like(z)
    ops.softmax_backward(found, u, dz)
    terms = 2 * p[:, None] * (apart * p)  # of different signs, where no class is sure
    scale = np.abs(terms).sum(axis=1)
    assert (np.abs(dz[0] - terms.sum(axis=1)) <= CLOSE * scale + 1e-38).all()
    factor = np.empty((classes, 1, classes), np.float32)
    ops.softmax_fisher_factor(found, factor)
    own = np.sqrt(p) * rest
    np.testing.assert_allclose(np.diag(factor[:, 0]), own.astype(float), rtol=CLOSE, atol=1e-38)


@pytest.mark.parametrize("classes", [2, 10, WIDE])
@pytest.mark.parametrize("gap", GAPS)
def test_cross_entropy_of_a_sure_label(ops, gap, classes):
    p, rest, _ = exact(gap, classes)
    z = np.repeat(logits(gap, classes)[None], 3, axis=0)
    labels, loss, dz = np.array([1, 0, 1]), np.empty(3, np.float32), np.empty_like(z)
    ops.softmax_cross_entropy(z, labels, np.ones(classes, bool), loss, dz)
    sure, wrong = p.copy(), p.copy()
    sure[1], wrong[0] = -rest[1], -rest[0]
    expected = np.stack([sure, wrong, sure]).astype(float)
    np.testing.assert_allclose(dz, expected, rtol=CLOSE, atol=1e-38)
    log = -np.where(p > 0.5, np.log1p(-np.minimum(rest, 0.5)), np.log(p)).astype(float)
    np.testing.assert_allclose(loss, log[labels], rtol=CLOSE)


@pytest.mark.parametrize("gap", GAPS)
def test_importances_of_a_sure_sample(backend, gap):
    classes = 10
    net = Network([Linear(classes)], (2,), backend)
    net.theta[:] = 0
    net.layout.view(net.theta, "0.bias")[...] = logits(gap, classes)
    x, y = np.zeros((3, 2), np.float32), np.ones(3, np.int64)
    p, rest, apart = exact(gap, classes)
    sure = p.copy()
    sure[1] = rest[1]
    for found, expected in (
        (importance.mas(net, x), np.abs(2 * p * (apart * p).sum(axis=1))),
        (importance.fisher(net, x), p * rest),
        (importance.fisher(net, x, y, "empirical"), sure**2),
    ):
        bias = net.layout.view(found, "0.bias")
        np.testing.assert_allclose(bias, expected.astype(float), rtol=2 * CLOSE, atol=1e-37)


@pytest.mark.parametrize("gap", GAPS)
def test_log_softmax(gap):
    p, rest, _ = exact(gap, 10)
    expected = np.where(p > 0.5, np.log1p(-np.minimum(rest, 0.5)), np.log(p)).astype(float)
    np.testing.assert_allclose(log_softmax(logits(gap, 10)), expected, rtol=CLOSE)


def test_a_constant_cotangent_moves_no_probability(ops, rng):
    """The softmax does not see a number that is added to all logits; nor does its cotangent."""
    z = rng.normal(size=(5, 6)).astype(np.float32)
    z[:, 2] += 9
    p, dz = np.empty_like(z), np.empty_like(z)
    ops.softmax(z, np.ones(6, bool), p)
    ops.softmax_backward(p, np.full_like(z, 1e4), dz)
    assert not dz.any()
