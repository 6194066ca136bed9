"""Linear algebra against NumPy's and SciPy's, and whatever threads a BLAS has."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.methods import contexts, correlation, dyads, fip, linear, taskspace
from weightspace.methods.fip.path import principal
from weightspace.methods.fip.solve import random_direction
from weightspace.methods.lanczos import lanczos
from weightspace.nnlite import models

SIZES = [1, 2, 5, 63, 64, 65, 130]


def semi_definite(size, rank, rng):
    rows = rng.normal(size=(size, rank))
    return rows @ rows.T


@pytest.mark.parametrize("size", [2, 5, 65, 130])
def test_a_rotation_is_the_draw_of_scipy(size):
    ortho_group = pytest.importorskip("scipy.stats", reason="compares with scipy").ortho_group
    found = contexts.haar(np.random.default_rng(size), size)
    expected = ortho_group.rvs(size, random_state=np.random.default_rng(size))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found @ found.T, np.eye(size), atol=1e-13)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_eigenvalues_and_vectors(size, share, rng):
    a = semi_definite(size, max(1, int(size * share)), rng)
    expected = np.linalg.eigvalsh(a)
    np.testing.assert_allclose(linear.eigenvalues(a), expected, atol=1e-12 * expected[-1])
    values, vectors = linear.eigenvectors(a)
    np.testing.assert_allclose(values, expected, atol=1e-12 * expected[-1])
    np.testing.assert_allclose(a @ vectors, vectors * values, atol=1e-11 * expected[-1])
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(size), atol=1e-11)


def test_equal_and_zero_eigenvalues():
    assert linear.eigenvalues(np.zeros((70, 70))).tolist() == [0] * 70
    a = np.diag(np.repeat([3.0, 1.0], 40))
    np.testing.assert_allclose(linear.eigenvalues(a), np.sort(np.diag(a)), atol=1e-14)


@pytest.mark.parametrize("answer", [linear.eigenvalues, linear.eigenvectors])
def test_nan_has_no_eigenvalues(answer):
    with pytest.raises(errors.NonFiniteError, match="no eigenvalues"):
        answer(np.full((3, 3), np.nan))


@pytest.mark.parametrize("size", SIZES)
def test_solve(size, rng):
    a, b = semi_definite(size, size + 2, rng), rng.normal(size=(size, 3))
    np.testing.assert_allclose(a @ linear.solve(a, b), b, atol=1e-9)
    np.testing.assert_allclose(a @ linear.solve(a, b[:, 0]), b[:, 0], atol=1e-9)
    np.testing.assert_allclose(a @ linear.least_squares(a, b[:, 0]), b[:, 0], atol=1e-9)


def test_solve_of_dependent_rows_gives_one_of_the_solutions(rng):
    a = semi_definite(90, 20, rng)
    a[:, 3] = a[3] = 0  # and one that no rounding makes regular
    b = a @ rng.normal(size=90)
    np.testing.assert_allclose(a @ linear.solve(a, b), b, atol=1e-8 * np.abs(b).max())


@pytest.mark.parametrize(("size", "rank", "count"), [(90, 60, 7), (90, 5, 20), (30, 30, 30)])
def test_lanczos(size, rank, count, rng):
    a = semi_definite(size, rank, rng)
    expected = np.linalg.eigvalsh(a)[::-1][:count]
    np.testing.assert_allclose(lanczos(lambda v: a @ v, size, count), expected, atol=1e-9)
    assert lanczos(lambda v: 0 * v, size, 3).tolist() == [0, 0, 0]


# ---- the threads of a BLAS -----------------------------------------------------------------------


def answers():
    """What would come from products that a BLAS shares out among its threads."""
    rng = np.random.default_rng(0)
    long, other = rng.normal(size=(2, 40_000))
    net = models.mlp((40, 30, 4), "tanh", backend="reference", dtype="float64")
    yield contexts.haar(np.random.default_rng(1), 200)
    fold = contexts.KINDS["rotation"].fold
    yield fold(rng.normal(size=(100, 200)), rng.normal(size=(200, 200)))
    yield np.array(correlation.pearson(long, other))
    yield taskspace.correlations(rng.normal(size=(80, 784)))
    yield random_direction(net, 1.0, 3, 0)
    yield linear.eigenvalues(semi := linear.product(b := rng.normal(size=(200, 300)), b.T))
    yield linear.eigenvectors(semi[:100, :100])[1]
    yield linear.solve(semi, b)
    yield linear.least_squares(semi, b[:, 0])
    yield lanczos(lambda v: linear.product(semi, v[:, None])[:, 0], 200, 5)
    yield principal(rng.normal(size=(100, 2000)), 3)[0]
    weights = rng.integers(0, 3, (200, 500)).astype(float)
    yield dyads.weighted_pearson(long[:500], other[:500], weights)


def test_bits_do_not_depend_on_the_threads_of_a_blas():
    limits = pytest.importorskip("threadpoolctl", reason="sets a BLAS's threads").threadpool_limits
    found = []
    for threads in (1, 2, 5):
        with limits(threads, "blas"):
            found.append([np.ascontiguousarray(array).tobytes() for array in answers()])
    assert found[0] == found[1] == found[2]


# ---- the metric's spectrum -----------------------------------------------------------------------


@pytest.mark.parametrize("exact", [0, 10, 3000])
def test_a_small_networks_whole_spectrum(exact, monkeypatch, rng):
    """More rows than weights, fewer weights than are asked for otherwise: k >= N for SciPy."""
    monkeypatch.setattr("weightspace.methods.fip.metric.EXACT", exact)
    net = models.mlp((3, 2), backend="reference", dtype="float64")
    metric = fip.Metric(net, rng.normal(size=(20, 3)))
    expected = np.linalg.eigvalsh(metric.dense())[::-1]
    found = metric.spectrum(net.num_parameters)
    np.testing.assert_allclose(found, np.maximum(expected, 0), atol=1e-12)
    np.testing.assert_allclose(metric.spectrum(2), expected[:2], atol=1e-12)
    np.testing.assert_allclose(metric.spectrum()[: len(expected)], found, atol=1e-12)


@pytest.mark.parametrize("exact", [0, 3000])
def test_a_dead_networks_spectrum_is_zero(exact, monkeypatch, rng):
    monkeypatch.setattr("weightspace.methods.fip.metric.EXACT", exact)
    net = models.mlp((3, 4, 2), backend="reference")
    net.theta[:] = 0
    net.theta[-1] = 200  # sure of one class: the metric is 0
    found = fip.Metric(net, rng.normal(size=(20, 3)).astype(np.float32)).spectrum(5)
    assert found.tolist() == [0] * 5


@pytest.mark.parametrize("count", [0, -1, 9, 41])
def test_a_count_that_is_none_is_named(count, rng):
    net = models.mlp((3, 2), backend="reference", dtype="float64")
    with pytest.raises(errors.SettingError, match=f"count={count}"):
        fip.Metric(net, rng.normal(size=(20, 3))).spectrum(count)
