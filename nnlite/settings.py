"""Settings: numbers and flags as they come in, made plain, and refused where they make no sense.

Of Python or of NumPy, they come out as Python's: NumPy's would overflow in arithmetic, and no JSON
takes them. No bool is a number here, no float a whole number (be it 3.0), and no number a flag.
"""

from __future__ import annotations

import math
import numbers
import operator
from typing import Any, NamedTuple

import numpy as np

from ..kernels.errors import SettingError


class Limit(NamedTuple):
    """What a number may be: from `least` to `most`; `above` and `below` leave out the ends."""

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` lies within; NaN never does."""
        low = self.least < value if self.above else self.least <= value
        return low and (value < self.most if self.below else value <= self.most)

    def __str__(self) -> str:
        if self == POSITIVE_FLOAT32:
            return f"above 0, from {self.least:.2g} up to {self.most:.2g}"
        if self.least == -math.inf:
            return "of any sign"
        if self.most == math.inf:
            return f"above {self.least:g}" if self.above else f"at least {self.least:g}"
        low = f"{'above' if self.above else 'at least'} {self.least:g}"
        return f"{low} and {'below' if self.below else 'at most'} {self.most:g}"


NOT_NEGATIVE = Limit(0)
POSITIVE = Limit(0, above=True)
COUNT = Limit(1)
ANY = Limit()
SHARE = Limit(0, 1)
SHARE_BELOW_1 = Limit(0, 1, below=True)
# what kernels of float32 can tell from infinity, and from 0
_LEAST, _MOST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
FLOAT32 = Limit(-_MOST, _MOST)
POSITIVE_FLOAT32 = Limit(_LEAST, _MOST)


def whole(name: str, value: Any, limit: Limit = COUNT) -> int:
    """`value` as an int within `limit`. Raises SettingError."""
    try:
        if isinstance(value, bool | np.bool_ | np.ndarray):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise _of_another_kind(name, value, f"a whole number, {limit}") from None
    return _within(name, number, limit)


def real(name: str, value: Any, limit: Limit = ANY) -> float:
    """`value` as a float, finite and within `limit`. Raises SettingError."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise _of_another_kind(name, value, f"a number, {limit}")
    try:
        number = float(value)
    except OverflowError:  # of a whole number
        number = math.inf
    if not math.isfinite(number):
        raise SettingError(f"{name} is {number}; give a finite number, {limit}")
    return _within(name, number, limit)


def flag(name: str, value: Any) -> bool:
    """`value` as a bool. Raises SettingError: "false" would count as true."""
    if not isinstance(value, bool | np.bool_):
        raise _of_another_kind(name, value, "True or False")
    return bool(value)


def _within(name: str, number: Any, limit: Limit) -> Any:
    if not limit.holds(number):
        raise SettingError(f"{name} is {number!r:.80}; it must be {limit}")
    return number


def _of_another_kind(name: str, value: Any, wanted: str) -> SettingError:
    return SettingError(f"{name} is {value!r:.80} ({type(value).__name__}); give {wanted}")
