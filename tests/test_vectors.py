"""Norms, cosines and projections of vectors whose squares leave their dtype's range."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.methods import AGEM, GEM, fip, interference, vectors
from weightspace.methods.correlation import pearson
from weightspace.methods.gem import project
from weightspace.methods.taskspace import correlations
from weightspace.nnlite import models

FAR = [("float32", s) for s in (1e-44, 1e-38, 1e-25, 1e-19, 1.0, 1e19, 1e37)] + [
    ("float64", s) for s in (1e-310, 1e-200, 1.0, 1e200, 1e307)
]
G = np.array([1, 1, 3, -1, 1, -2.0])
R = np.array([0, 0, -3, 0, 0, 2.0])
Z = [1, 1, 0, -1, 1, 0]


@pytest.mark.parametrize(("dtype", "scale"), FAR)
def test_a_norm_and_a_cosine_know_no_scale(backend, dtype, scale, rng):
    net = models.mlp((4, 3), backend=backend, dtype=dtype)
    a, b = (rng.uniform(0.5, 1, net.num_parameters) for _ in range(2))
    expected = a @ b / np.sqrt((a @ a) * (b @ b))
    far, near = (a * scale).astype(dtype), b.astype(dtype)
    exact = 1e-6 if scale >= 1e-38 else 0.2  # fewer digits among the subnormal numbers
    assert vectors.cosine(net, far, near) == pytest.approx(expected, rel=exact)
    assert interference.gradient_cosine(net, far, far) == pytest.approx(1, rel=1e-6)
    size = np.sqrt((far.astype(np.longdouble) ** 2).sum())
    assert vectors.norm(net, far) == pytest.approx(float(size), rel=1e-6)


def test_ordinary_vectors_keep_their_bits(backend, rng):
    net = models.mlp((40, 30), backend=backend)
    v = (1e-4 * rng.normal(size=net.num_parameters)).astype(np.float32)
    e = vectors.exponents(net, v[None])
    assert e.tolist() == [0] and vectors.times_power(v, 0) is v
    far = v * np.float32(2.0**-90)
    assert vectors.inner(net, far, v) == np.ldexp(vectors.inner(net, v, v), -90)


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-25, 1e-10, 1.0, 1e18, 1e30])
@pytest.mark.parametrize("method", [AGEM(), GEM(margin=0.0, ridge=0.0)])
def test_a_nearly_perfect_memory_still_gives_a_projection(method, backend, scale):
    net = models.mlp((2, 2), backend=backend)

    class Perfect:
        tasks = 1

        def of_task(self, k):
            return None

        def loss_gradient(self, net, rows, out, mode):
            out[...] = R * scale

    found = G.astype(np.float32)
    method.start(net, None)
    object.__setattr__(method, "_draw", lambda size: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(method), "memory", Perfect())
        method.adjust(net, found)
    np.testing.assert_allclose(found, Z, atol=1e-6 if scale > 1e-38 else 1e-2)


def test_gems_dual_of_gradients_of_very_different_lengths():
    rows = np.array([[1e-20, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1e20, 0]])
    g = np.array([-1.0, -2, -3, 4])
    np.testing.assert_allclose(g + project(rows @ rows.T, rows @ g) @ rows, [0, 0, 0, 4], atol=1e-9)


def test_inner_products_of_any_scale_on_every_backend(ops):
    net = models.mlp((2, 2), backend="reference")
    object.__setattr__(net, "ops", ops)  # kernels of another backend, on NumPy's arrays
    rows = np.stack([R * 1e-25, G]).astype(np.float32)
    expected = [[13e-50, -13e-25], [-13e-25, 17.0]]
    np.testing.assert_allclose(vectors.inner_products(net, rows, rows), expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_directions_are_solved_for_at_any_scale(backend, scale, rng):
    net = models.mlp((5, 4, 3), "tanh", backend=backend)
    x = rng.normal(size=(6, 5)).astype(np.float32)
    v = rng.normal(size=net.num_parameters).astype(np.float32)
    metric = fip.Metric(net, x)
    here = fip.solve(metric, v, 0.1)
    there = fip.solve(metric, v * np.float32(scale), 0.1)
    assert there.iterations == here.iterations
    np.testing.assert_allclose(there.x / np.float32(scale), here.x, rtol=1e-3, atol=1e-5)
    assert metric.rayleigh(v * np.float32(scale)) == pytest.approx(metric.rayleigh(v), rel=1e-5)
    length = metric.length(v * np.float32(scale))
    assert length == pytest.approx(scale * metric.length(v), rel=1e-5)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_correlations_of_float64_far_from_one(scale, rng):
    a, b = rng.normal(size=(2, 30))
    expected = np.corrcoef(a, b)[0, 1]
    assert pearson(a * scale, b) == pytest.approx(expected)
    assert correlations(np.stack([a, b]) * scale)[0, 1] == pytest.approx(expected)
    f = np.abs(a)
    assert interference.fisher_overlap(f * scale, f) == pytest.approx(1)
