"""Settings of methods: numbers and names made plain, and refused where they make no sense.

A method declares its settings as dataclass fields and, in `limits`, what the numbers may be. Base
classes' limits hold on; `check_settings` reads both, so that a setting is refused when the method
is made and not when it is first used, which may be after a task was trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..kernels.errors import SettingError, check_name, unknown_name
from ..nnlite.settings import (
    ANY,
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    SHARE_BELOW_1,
    Limit,
    flag,
    real,
    whole,
)


def limited(**limits: Limit) -> Mapping[str, Limit]:
    """What the numbers among a method's settings may be, by name."""
    return MappingProxyType(limits)


def made(kind: str, given: Any, known: Mapping[str, type], base: type) -> Any:
    """An object of a class, given itself, its class or its name. Raises a named error."""
    if isinstance(given, str):
        check_name(kind, given, known)
        given = known[given]
    if isinstance(given, type) and issubclass(given, base):
        given = given()
    if not isinstance(given, base):
        raise SettingError(
            f"the {kind} is {given!r} ({type(given).__name__}); give a {base.__name__}, or a name: "
            f"{', '.join(known)}"
        )
    return given


def check_settings(owner: Any, name: str) -> None:
    """Make the settings of a dataclass instance plain, in place, by their types and `limits`.

    int, float, bool and Literal fields, with or without None, are read; others are left alone.
    Raises SettingError for a value of another kind or outside its limit, UnknownNameError for a
    name that a Literal does not list.
    """
    limits: dict[str, Limit] = {}
    for base in reversed(type(owner).__mro__):
        limits |= vars(base).get("limits", {})
    cls: Any = type(owner)
    try:
        kinds = _kinds(cls)
    except NameError:  # a class of somebody's own, with types that are not at hand here
        return
    for field in fields(owner):
        if field.init:
            value, kind = getattr(owner, field.name), kinds[field.name]
            made = _plain(f"{name}.{field.name}", value, kind, limits.get(field.name, ANY))
            object.__setattr__(owner, field.name, made)


@lru_cache(maxsize=256)
def _kinds(cls: type) -> dict[str, Any]:
    """The types of a class's fields. Raises NameError for one that is not at hand."""
    return get_type_hints(cls)


def _plain(name: str, value: Any, kind: Any, limit: Limit) -> Any:
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if value is None and NoneType in options:
        return None
    for option in options:
        if get_origin(option) is Literal and value not in (known := get_args(option)):
            raise unknown_name(name, str(value), known)
        if option is bool:
            return flag(name, value)
        if option is int:
            return whole(name, value, limit)
        if option is float:
            return real(name, value, limit)
    return value


__all__ = [
    "ANY", "COUNT", "NOT_NEGATIVE", "POSITIVE", "SHARE", "SHARE_BELOW_1", "Limit", "check_settings",
    "flag", "limited", "made", "real", "whole",
]  # fmt: skip
