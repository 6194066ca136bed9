"""Optimizers refuse settings with which no step, or a NaN late in training, would come out."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.nnlite import optim

RATES = (0, -1e-3, float("inf"), float("nan"), 1e39, 1e-46, True, "0.1", None, 1j)
SHARES = (-0.1, 1, 2, float("inf"), float("nan"), False, "0.9", None)
SETTINGS = (
    (optim.SGD, {"lr": RATES, "momentum": SHARES}),
    (optim.Adam, {"lr": RATES, "beta1": SHARES, "beta2": SHARES, "eps": RATES}),
    (optim.RMSprop, {"lr": RATES, "alpha": SHARES, "eps": RATES}),
    (optim.Adadelta, {"lr": RATES, "rho": SHARES, "eps": RATES}),
)


@pytest.mark.parametrize(
    ("made", "name", "value"),
    [(made, name, v) for made, wrong in SETTINGS for name, values in wrong.items() for v in values],
)
def test_an_impossible_setting_is_refused_when_the_optimizer_is_made(made, name, value):
    with pytest.raises(errors.SettingError, match=rf"{made.__name__}\.{name} is"):
        made(**{name: value})


@pytest.mark.parametrize("made", [optim.SGD, optim.Adam, optim.RMSprop, optim.Adadelta])
def test_a_zero_gradient_steps_by_zero_at_the_smallest_divisor(made, backend):
    from weightspace.kernels import get_backend

    settings = {"eps": float(np.finfo(np.float32).tiny)} if made is not optim.SGD else {}
    optimizer, theta = made(lr=0.1, **settings), np.ones(3, np.float32)
    state = optimizer.state(3, np.float32)
    optimizer.step(get_backend(backend), theta, np.zeros_like(theta), state, 1)
    np.testing.assert_array_equal(theta, np.ones(3))


def test_numpy_scalars_become_numbers_that_a_file_can_hold(untyped):
    found = optim.Adam(lr=untyped(np.float32(0.5)), beta1=np.float64(0)).settings()
    assert found == {"name": "adam", "lr": 0.5, "beta1": 0.0, "beta2": 0.999, "eps": 1e-8}
    assert {type(value) for value in found.values()} == {str, float}


def test_a_setting_of_another_optimizer_is_named():
    with pytest.raises(errors.SettingError, match="'adam' has no setting 'momentum'; it has lr, b"):
        optim.get_optimizer("adam", momentum=0.5)


def test_adam_counts_from_1(backend):
    from weightspace.kernels import get_backend

    adam, theta = optim.Adam(), np.ones(3, np.float32)
    state = adam.state(3, np.float32)
    with pytest.raises(errors.SettingError, match="count=0; steps are numbered from 1"):
        adam.step(get_backend(backend), theta, theta.copy(), state, 0)
    np.testing.assert_array_equal(theta, np.ones(3))
