"""Mutual information of binned units: known answers, and scikit-learn's on the same bins."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.methods.mutual_information import codes, entropies, mutual_information


@pytest.fixture
def values(rng):
    """70 units (more than a block), half of them mostly zeros."""
    found = rng.normal(size=(1500, 5)) @ rng.normal(size=(5, 70)) + rng.normal(size=(1500, 70))
    found[:, ::2] = np.maximum(found[:, ::2] - 1, 0)
    return found


def test_bins_are_zeros_and_equal_shares_of_the_rest(rng):
    column = np.concatenate([np.zeros(50), rng.normal(size=1000), [1e-7] * 10, [-1e-7] * 5])
    found = codes(column[:, None])[:, 0]
    np.testing.assert_array_equal(np.bincount(found), [65, *[100] * 10])
    order = np.argsort(column[found > 0])
    assert (np.diff(found[found > 0][order].astype(int)) >= 0).all()
    assert not codes(np.zeros((4, 2))).any()


def test_the_plug_in_is_scikit_learns(values):
    metrics = pytest.importorskip("sklearn.metrics")
    a, b = codes(values), codes(values[:, 60:] ** 3 + values[:, :10])
    found = mutual_information(a, b, corrected=False)
    assert found.shape == (70, 10)
    for i, j in ((0, 0), (63, 3), (64, 9), (69, 4)):
        np.testing.assert_allclose(
            found[i, j], metrics.mutual_info_score(a[:, i], b[:, j]), atol=1e-10
        )


def test_of_itself_it_is_the_entropy(values):
    binned = codes(values)
    plain = mutual_information(binned, binned, corrected=False)
    np.testing.assert_allclose(np.diag(plain), entropies(binned), rtol=1e-10)
    odd = entropies(binned)[1::2]  # without zeros: ten equal bins
    np.testing.assert_allclose(odd, np.log(10), rtol=1e-6)
    occupied = np.array([len(np.unique(column)) for column in binned.T])
    excess = plain - mutual_information(binned, binned)
    np.testing.assert_allclose(excess, np.outer(occupied - 1, occupied - 1) / 3000, rtol=1e-10)


def test_of_independent_units_it_is_nothing(rng):
    a, b = (codes(rng.normal(size=(2000, 30))) for _ in range(2))
    plain, found = mutual_information(a, b, corrected=False), mutual_information(a, b)
    assert plain.mean() > 0.015  # the bias, 81 / 4000
    assert abs(found.mean()) < 1e-3


def test_it_sees_what_correlation_does_not(rng):
    x = rng.normal(size=(4000, 1))
    assert abs(np.corrcoef(x[:, 0], x[:, 0] ** 2)[0, 1]) < 0.1
    assert mutual_information(codes(x), codes(x**2))[0, 0] > 1


def test_wrong_samples():
    with pytest.raises(errors.ShapeError, match="same samples"):
        mutual_information(np.zeros((3, 2), np.uint8), np.zeros((4, 2), np.uint8))
    with pytest.raises(errors.ShapeError, match="samples of U"):
        codes(np.zeros(3))
    with pytest.raises(errors.NonFiniteError, match="NaN"):
        codes(np.array([[0.5], [np.nan]]))
    with pytest.raises(errors.DtypeError, match="codes"):
        mutual_information(np.zeros((3, 2)), np.zeros((3, 2)))
    many = np.broadcast_to(np.uint8(0), (2**24, 1))
    with pytest.raises(errors.SettingError, match="exact"):
        mutual_information(many, many)
