"""Clusters of the units of two networks: planted ones are found."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.methods.moments import Moments
from weightspace.methods.unit_clusters import (
    affinity,
    clusters,
    explained,
    leaf_pairs,
    linkage,
    mixing,
)

pytest.importorskip("sklearn")
PLANTED = np.array([0, 1, 2, 0, 1, 0, 1, 2, 2, 2, 0, 1])  # the first six of one network


@pytest.fixture
def planted(rng):
    """Units that share a factor with their cluster, half of them inverted."""
    factors = rng.normal(size=(3000, 3))
    rows = factors[:, PLANTED] + 0.5 * rng.normal(size=(3000, len(PLANTED)))
    return Moments.of(rows * rng.choice([-1, 1], len(PLANTED)))


@pytest.mark.parametrize("kind", ["spectral", "hierarchical"])
def test_planted_clusters_are_found(planted, kind):
    labels = clusters(planted.correlation(), 3, kind)
    together = labels[:, None] == labels
    np.testing.assert_array_equal(together, PLANTED[:, None] == PLANTED)
    np.testing.assert_array_equal(labels, clusters(planted.correlation(), 3, kind))


@pytest.mark.parametrize("kind", ["spectral", "hierarchical"])
def test_units_that_do_not_vary_are_left_out(planted, kind, rng):
    wider = np.zeros((14, 14))
    wider[1:13, 1:13] = planted.correlation()
    labels = clusters(wider, 3, kind)
    assert labels[0] == labels[13] == -1
    assert len(set(labels[1:13])) == 3 and labels[1:13].min() == 0


def test_affinity_is_blind_to_signs_and_to_oneself():
    r = np.array([[1, -0.5], [-0.5, 1]])
    np.testing.assert_array_equal(affinity(r), [[0, 0.5], [0.5, 0]])


def test_leaf_pairs_are_one_anothers_nearest():
    r = np.full((5, 5), 0.1) + 0.9 * np.eye(5)
    r[0, 3] = r[3, 0] = -0.9
    r[1, 2] = r[2, 1] = 0.8
    r[4, :2] = r[:2, 4] = 0.5  # joins a pair, and so is of none
    assert leaf_pairs(linkage(affinity(r))).tolist() == [[0, 3], [1, 2]]


def test_mixing_counts_units_of_both():
    found = mixing(np.array([0, 0, 1, -1, 0, 0, 2, 0]), 4)
    assert found.first.tolist() == [2, 1, 0] and found.second.tolist() == [3, 0, 1]
    assert found.mixed == pytest.approx(1 / 3)
    assert found.balance == pytest.approx(2 * 2 / 7)
    assert found.several == pytest.approx(5 / 7)


def test_a_cluster_tells_more_than_one_unit(rng):
    """Each unit of B is a mean of two of A: one of them explains half of it, both all."""
    a, other = rng.normal(size=(5000, 2)), rng.normal(size=(5000, 2))
    rows = np.concatenate([a, other, a @ [[1, 1], [1, -1]]], axis=1)
    labels = np.array([0, 0, 1, 1, 0, 0])
    whole, single = explained(Moments.of(rows), labels, 4)
    np.testing.assert_allclose(whole, 1, atol=1e-6)
    np.testing.assert_allclose(single, 0.5, atol=0.05)
    null, _ = explained(Moments.of(rows), labels, 4, sources=np.array([2, 3, 0, 1]))
    assert null.max() < 0.01


def test_wrong_questions(planted, untyped):
    r = planted.correlation()
    with pytest.raises(errors.UnknownNameError, match="spectral"):
        clusters(r, 3, untyped("spectra"))
    for wrong in (1, 12):
        with pytest.raises(errors.SettingError, match="clusters"):
            clusters(r, wrong)
    with pytest.raises(errors.ShapeError, match="correlations"):
        affinity(r[:3])
    with pytest.raises(errors.ShapeError, match="labels"):
        mixing(PLANTED, 12)
