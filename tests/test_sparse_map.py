"""LASSO from second moments: scikit-learn's own on the activations themselves."""

from __future__ import annotations

import numpy as np
import pytest
from test_activations import small_cnn
from weightspace.kernels import errors
from weightspace.methods.activations import moments, unit_layers, unit_rows
from weightspace.methods.moments import Moments
from weightspace.methods.sparse_map import lasso, losses

linear_model = pytest.importorskip("sklearn.linear_model")
ALPHAS = (0.3, 0.0, 0.01, 0.1)


def standard(rows):
    rows = np.float64(rows)
    return (rows - rows.mean(axis=0)) / rows.std(axis=0)


def raw_lasso(x, y, alpha):
    """Weights (q, p) by scikit-learn on the data."""
    if not alpha:
        return np.linalg.lstsq(x, y, rcond=None)[0].T
    model = linear_model.Lasso(alpha, fit_intercept=False, tol=1e-12, max_iter=100_000)
    return np.array([model.fit(x, column).coef_ for column in y.T])


def test_it_is_lasso_on_raw_activations(rng):
    a, b = small_cnn(0), small_cnn(1)
    images = rng.normal(size=(120, 8, 8, 2))
    layers = unit_layers(a)[:2]
    streamed = moments([a, b], images, layers)
    for number, layer in enumerate(layers):
        x, y = (
            standard(unit_rows(net, images, layers)[number].reshape(-1, layer.units))
            for net in (a, b)
        )
        u = layer.units
        maps = lasso(streamed[number], range(u), range(u, 2 * u), ALPHAS, tolerance=1e-12)
        found = losses(maps, streamed[number])
        for k, alpha in enumerate(ALPHAS):
            wanted = raw_lasso(x, y, alpha)
            np.testing.assert_allclose(maps.weights[k], wanted, atol=1e-6)
            np.testing.assert_array_equal(maps.nonzero[k], (np.abs(wanted) > 1e-9).sum(axis=1))
            error = ((y - x @ wanted.T) ** 2).mean(axis=0) / 2
            np.testing.assert_allclose(found[k], error, atol=1e-6)


def test_losses_on_other_data(rng):
    mix = rng.normal(size=(6, 6))
    rows, other = rng.normal(size=(300, 6)) @ mix + 3, rng.normal(size=(200, 6)) @ mix + 2
    fitted, held = Moments.of(rows), Moments.of(other)
    maps = lasso(fitted, [4, 0, 1], [2, 5], [0.05, 0.0])
    z = ((other - rows.mean(axis=0)) / rows.std(axis=0))[:, [4, 0, 1, 2, 5]]
    for found, w in zip(losses(maps, fitted, held), maps.weights, strict=True):
        error = z[:, 3:] - z[:, :3] @ w.T
        np.testing.assert_allclose(found, (error**2).mean(axis=0) / 2)


def test_ends_of_the_path(rng):
    rows = rng.normal(size=(500, 4))
    rows = np.concatenate([rows, rows[:, [2]] * -3 + 1, np.full((500, 1), 0.1)], axis=1)
    found = Moments.of(rows)
    maps = lasso(found, [0, 1, 2, 3, 5], [4, 5], [0.0, 0.25, 1.5])
    lost = losses(maps, found)
    np.testing.assert_allclose(maps.weights[0, 0], [0, 0, -1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(maps.weights[1, 0], [0, 0, -0.75, 0, 0], atol=1e-6)  # shrunk
    np.testing.assert_allclose(lost[:, 0], [0, 0.25**2 / 2, 0.5], atol=1e-6)
    assert np.isnan(lost[:, 1]).all() and not maps.nonzero[:, 1].any()  # a dead target


def test_wrong_questions(rng, untyped):
    found = Moments.of(rng.normal(size=(20, 3)))
    for alphas in ([-0.1], [], [0.1, np.nan], [np.inf]):
        with pytest.raises(errors.SettingError, match="alphas"):
            lasso(found, [0], [1], alphas)
    for wrong in untyped(([3], [], [[0]], [True, False, True])):
        with pytest.raises(errors.ShapeError, match="columns"):
            lasso(found, wrong, [1], [0.1])
    for other in (Moments.nothing(3), Moments.of(rng.normal(size=(5, 2)))):
        with pytest.raises(errors.ShapeError, match="fitted on 3 columns"):
            losses(lasso(found, [0], [1], [0.0]), found, other)
