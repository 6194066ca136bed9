"""Lambdas of other sources: the penalty is theirs, number for number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from weightspace.kernels.errors import SettingError, UnknownNameError, WeightspaceError
from weightspace.methods import METHODS
from weightspace.methods.conversions import CONVENTIONS, from_source


def test_settings_are_those_of_the_method():
    for method, sources in CONVENTIONS.items():
        for source, found in sources.items():
            made: Any = METHODS[method]
            made(**found.settings, lam=1.0)
            assert found.says, source


@pytest.mark.parametrize(
    ("method", "source", "lam", "theirs"),
    [
        ("ewc", "kirkpatrick", 10.0, lambda o, d: 10.0 / 2 * (o * d**2).sum()),
        ("ewc", "van-de-ven", 10.0, lambda o, d: 10.0 / 2 * (o * d**2).sum()),
        ("ewc", "kutalev", 41.0, lambda o, d: 41.0 * (o * d**2).sum()),
        ("mas", "kutalev", 4.5, lambda o, d: 4.5 * (o * d**2).sum()),
        ("si", "zenke", 0.1, lambda o, d: 0.1 * (o * d**2).sum()),
    ],
)
def test_the_penalty_is_the_sources(method, source, lam, theirs):
    """For one omega and distance: the gradient of their penalty is the strength that ours has."""
    rng = np.random.default_rng(0)
    omega, distance = rng.random(9), rng.standard_normal(9)
    kind: Any = METHODS[method]
    mine = kind(lam=from_source(method, source, lam).lam)
    half = getattr(mine, "half", False)
    penalty = mine.lam * (0.5 if half else 1.0) * (omega * distance**2).sum()
    assert penalty == pytest.approx(theirs(omega, distance))


def test_squares_of_a_batchs_mean_are_smaller():
    """Of independent gradients around 0 the mean's square is 1/batch of the squares' mean."""
    gradients = np.random.default_rng(1).standard_normal((4096, 32))  # batches of 32
    ratio = (gradients.mean(axis=1) ** 2).mean() / (gradients**2).mean()
    found = from_source("ewc", "avalanche", 1.0, batch=32)
    assert found.lam / 2 == pytest.approx(ratio, rel=0.1)
    assert not found.exact


def test_what_cannot_be_converted_is_refused():
    with pytest.raises(SettingError, match="batch="):
        from_source("ewc", "avalanche", 1.0)
    with pytest.raises(UnknownNameError):
        from_source("gem", "zenke", 1.0)
    with pytest.raises(UnknownNameError, match="zenke"):
        from_source("si", "avalanche", 1.0)
    with pytest.raises(WeightspaceError):
        from_source("ewc", "kutalev", -1.0)
