"""How a kernel's sample arguments are filled: maker(rng, shape, dtype) -> an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Maker = Callable[[np.random.Generator, tuple[int, ...], Any], np.ndarray]


def normal(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def wide(rng, shape, dtype):
    """float64, whatever the others are."""
    return rng.standard_normal(shape)


def wide_positive(rng, shape, dtype):
    """float64 above 1/2."""
    return 0.5 + rng.random(shape)


def some_zero(rng, shape, dtype):
    """At least 0.1, but for a few that are 0, which a single one never is."""
    made = positive(rng, shape, dtype)
    made[rng.permutation(len(made))[: len(made) // 4]] = 0
    return made


def small(rng, shape, dtype):
    """Weights as a network has them: sums over a window stay where activations are not flat."""
    return (0.1 * rng.standard_normal(shape)).astype(dtype)


def positive(rng, shape, dtype):
    return np.abs(rng.standard_normal(shape)).astype(dtype) + dtype(0.1)


def unit(rng, shape, dtype):
    """Outputs of every activation at once: positive, at most 1."""
    return rng.uniform(0.05, 0.95, shape).astype(dtype)


def simplex(rng, shape, dtype):
    e = np.exp(rng.standard_normal(shape))
    return (e / e.sum(axis=-1, keepdims=True)).astype(dtype)


def labels(rng, shape, dtype):
    return np.zeros(shape, np.int64)  # class 0 exists for every K


def all_true(rng, shape, dtype):
    return np.ones(shape, bool)


def coins(rng, shape, dtype):
    return rng.random(shape) < 0.5


def moves(rng, shape, dtype):
    """How far an image is moved: in the images' order, both ways and not at all."""
    return rng.integers(-4, 5, shape)


def no_places(rng, shape, dtype):
    return np.zeros(shape, np.uint16)


def places(rng, shape, dtype):
    """Rows of an array that has at least as many: in no order, some of them twice."""
    return rng.integers(0, shape[0], shape)
