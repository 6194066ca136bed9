"""Settings: numbers and names as they come in, made plain, and refused where they make no sense.

A method declares its settings as dataclass fields and, in `limits`, what the numbers may be. Base
classes' limits hold on; `check_settings` reads both, so that a setting is refused when the method
is made and not when it is first used, which may be after a task was trained.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import numpy as np

from ..kernels.errors import SettingError, unknown_name


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
        if self.least == -math.inf:
            return "of any sign"
        if self.most == math.inf:
            return f"above {self.least:g}" if self.above else f"{self.least:g} or more"
        low = f"{'above' if self.above else 'at least'} {self.least:g}"
        return f"{low} and {'below' if self.below else 'at most'} {self.most:g}"


NOT_NEGATIVE = Limit(0)
POSITIVE = Limit(0, above=True)
COUNT = Limit(1)
ANY = Limit()
SHARE = Limit(0, 1)
SHARE_BELOW_1 = Limit(0, 1, below=True)


def limited(**limits: Limit) -> Mapping[str, Limit]:
    """What the numbers among a method's settings may be, by name."""
    return MappingProxyType(limits)


def whole(name: str, value: Any, limit: Limit = COUNT) -> int:
    """`value` as an int: of Python or NumPy; no bool, no float, be it 3.0. Raises SettingError."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise SettingError(
            f"{name} is {value!r} ({type(value).__name__}); give a whole number, {limit}"
        ) from None
    return _within(name, number, limit)


def real(name: str, value: Any, limit: Limit = ANY) -> float:
    """`value` as a float, finite: of Python or NumPy; no bool. Raises SettingError."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise SettingError(f"{name} is {value!r} ({type(value).__name__}); give a number, {limit}")
    number = float(value)
    if not math.isfinite(number):
        raise SettingError(f"{name} is {number}; give a finite number, {limit}")
    return _within(name, number, limit)


def truth(name: str, value: Any) -> bool:
    """`value` as a bool. Raises SettingError."""
    if not isinstance(value, bool | np.bool_):
        raise SettingError(f"{name} is {value!r} ({type(value).__name__}); give True or False")
    return bool(value)


def made(kind: str, given: Any, known: Mapping[str, type], base: type) -> Any:
    """An object of a class, given itself, its class or its name. Raises a named error."""
    if isinstance(given, str):
        if given not in known:
            raise unknown_name(kind, given, known)
        given = known[given]
    if isinstance(given, type) and issubclass(given, base):
        given = given()
    if not isinstance(given, base):
        raise SettingError(
            f"the {kind} is {given!r} ({type(given).__name__}); give a {base.__name__}, or a name: "
            f"{', '.join(known)}"
        )
    return given


def _within(name: str, number: Any, limit: Limit) -> Any:
    if not limit.holds(number):
        raise SettingError(f"{name} is {number}; it must be {limit}")
    return number


def check_settings(owner: Any, name: str) -> None:
    """Make the settings of a dataclass instance plain, in place, by their types and `limits`.

    int, float, bool and Literal fields, with or without None, are read; others are left alone.
    Raises SettingError for a value of another kind or outside its limit, UnknownNameError for a
    name that a Literal does not list.
    """
    limits: dict[str, Limit] = {}
    for cls in reversed(type(owner).__mro__):
        limits |= vars(cls).get("limits", {})
    try:
        kinds = get_type_hints(type(owner))
    except NameError:  # a class of somebody's own, with types that are not at hand here
        return
    for field in fields(owner):
        if field.init:
            value, kind = getattr(owner, field.name), kinds[field.name]
            made = _plain(f"{name}.{field.name}", value, kind, limits.get(field.name, ANY))
            object.__setattr__(owner, field.name, made)


def _plain(name: str, value: Any, kind: Any, limit: Limit) -> Any:
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if value is None and NoneType in options:
        return None
    for option in options:
        if get_origin(option) is Literal and value not in (known := get_args(option)):
            raise unknown_name(name, str(value), known)
        if option is bool:
            return truth(name, value)
        if option is int:
            return whole(name, value, limit)
        if option is float:
            return real(name, value, limit)
    return value
