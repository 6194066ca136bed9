"""The one rounding rule: floor(v + 1/2), half up, once, of exact whole numbers.

kernels/c/int8.c is its twin in C; docs/int8.md writes it down with an example.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ....kernels.errors import SettingError

LOW, HIGH = -128, 127  # of int8
LARGEST_SHIFT = 62


class Fixed(NamedTuple):
    """A positive real number as multiplier 2^-shift: 0 <= multiplier < 2^31, 1 <= shift <= 62."""

    multiplier: int
    shift: int


def half_up(values: np.ndarray | float) -> np.ndarray:
    """floor(v + 1/2) of float64 values, in which v + 1/2 is exact for all that matters here."""
    return np.floor(np.asarray(values, np.float64) + 0.5)


def fixed(real: float) -> Fixed:
    """The nearest fixed-point number, of 31 significant bits; below 2^-32 of fewer.

    Raises SettingError for one of 2^30 or more, or that is not positive and finite.
    """
    if not 0 < real < 2.0**30:
        raise SettingError(
            f"a scale of one layer's numbers is {real!r} times another's; it must lie in (0, 2^30)"
            ": calibrate with samples like those that the network will see"
        )
    fraction, exponent = math.frexp(real)
    shift = 31 - exponent
    dropped = max(shift - LARGEST_SHIFT, 0)
    multiplier = math.floor(math.ldexp(fraction, 31 - dropped) + 0.5)
    if multiplier == 1 << 31:
        multiplier, shift = 1 << 30, shift - 1
    return Fixed(multiplier, shift - dropped)


def scaled(sums: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int) -> np.ndarray:
    """floor(sum multiplier 2^-shift + 1/2): int64 of |sum| < 2^31, by an arithmetic shift."""
    shift = np.asarray(shift, np.int64)
    return (sums * np.int64(multiplier) + (np.int64(1) << (shift - 1))) >> shift


@dataclass(frozen=True)
class Grid:
    """The real numbers that int8 stands for: scale (q - zero). scale is a float32, as in C."""

    scale: float
    zero: int

    @property
    def inverse(self) -> np.float32:
        """1 / scale as C multiplies by it."""
        return np.float32(1 / self.scale)

    @classmethod
    def over(cls, low: float, high: float) -> Grid:
        """The finest grid that reaches from low <= 0 to high >= 0 and has 0 on it."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32((high - low) / (HIGH - LOW)))
        if not scale >= np.finfo(np.float32).tiny:  # nothing was ever seen there but 0
            return cls(1.0, 0)
        return cls(scale, int(np.clip(half_up(LOW - low / scale), LOW, HIGH)))

    def quantised(self, x: np.ndarray) -> np.ndarray:
        """x as int8, what lies outside clamped: of t = x (1 / scale) in float32, floor(t + 1/2).

        NaN becomes the least number.
        """
        with np.errstate(over="ignore"):
            t = np.asarray(x, np.float32) * self.inverse
        t = np.minimum(np.where(t > -256, t, np.float32(-256)), np.float32(256))
        return np.clip(half_up(t) + self.zero, LOW, HIGH).astype(np.int8)

    def real(self, q: np.ndarray) -> np.ndarray:
        """The float32 numbers that q stands for, rounded once."""
        return np.float32(self.scale) * (q.astype(np.int32) - self.zero).astype(np.float32)
