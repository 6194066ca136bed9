"""Initialisers: how a weight (O, I) and its bias (O,) are drawn.

Random numbers come from Philox, a counter-based generator keyed by (seed, layer), so a layer's
weights do not depend on which other layers the network has.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..kernels.errors import check_name

Initialiser = Callable[[np.random.Generator, np.ndarray, "np.ndarray | None", int, int], None]


def generator(*key: int) -> np.random.Generator:
    """A Philox generator keyed by up to three whole numbers, each its own independent stream."""
    # uint64 said outright: NumPy makes float64 of a list with words above and below 2^63
    words = np.array([operator.index(k) % 2**64 for k in key] + [0] * (3 - len(key)), np.uint64)
    counter = np.array([0, 0, 0, words[2]], np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=words[:2]))


class Generators:
    """`generator(first, second, number)` for one number after another: made once and begun anew,
    since NumPy takes ten times as long to make one. Each ends where the next begins."""

    def __init__(self, first: int, second: int) -> None:
        self._made = generator(first, second)
        self._fresh: Any = self._made.bit_generator.state

    def __getitem__(self, number: int) -> np.random.Generator:
        self._fresh["state"]["counter"][3] = operator.index(number) % 2**64
        self._made.bit_generator.state = self._fresh
        return self._made


def _uniform(rng: np.random.Generator, array: np.ndarray, bound: float) -> None:
    array[...] = rng.uniform(-bound, bound, array.shape)


def uniform_fan_in(rng, weight, bias, fan_in, fan_out) -> None:
    """Weight and bias ~ U(-1/sqrt(fan_in), 1/sqrt(fan_in)) (LeCun; torch's default)."""
    _uniform(rng, weight, 1 / math.sqrt(fan_in))
    if bias is not None:
        _uniform(rng, bias, 1 / math.sqrt(fan_in))


def glorot_deviation(fan_in: int, fan_out: int) -> float:
    """sqrt(2 / (fan_in + fan_out)), Glorot & Bengio 2010."""
    return math.sqrt(2 / (fan_in + fan_out))


def _zero_bias(fill: Callable[[np.random.Generator, np.ndarray, int, int], None]) -> Initialiser:
    def initialise(rng, weight, bias, fan_in, fan_out) -> None:
        fill(rng, weight, fan_in, fan_out)
        if bias is not None:
            bias[...] = 0

    return initialise


def _normal(rng: np.random.Generator, array: np.ndarray, deviation: float) -> None:
    array[...] = rng.normal(0, deviation, array.shape)


INITIALISERS: dict[str, Initialiser] = {
    "uniform_fan_in": uniform_fan_in,
    # Glorot & Bengio 2010: variance 2 / (fan_in + fan_out), zero bias
    "glorot_uniform": _zero_bias(lambda r, w, i, o: _uniform(r, w, math.sqrt(6 / (i + o)))),
    "glorot_normal": _zero_bias(lambda r, w, i, o: _normal(r, w, glorot_deviation(i, o))),
    # He et al. 2015: variance 2 / fan_in, zero bias
    "he_uniform": _zero_bias(lambda r, w, i, o: _uniform(r, w, math.sqrt(6 / i))),
    "he_normal": _zero_bias(lambda r, w, i, o: _normal(r, w, math.sqrt(2 / i))),
}


def get_initialiser(name: str) -> Initialiser:
    """The initialiser `name`. Raises UnknownNameError, suggesting the nearest."""
    check_name("initialiser", name, INITIALISERS)
    return INITIALISERS[name]
