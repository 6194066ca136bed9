"""`key=value` of the command line: the value that a text is, by the annotation of what it sets."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ...kernels.errors import SettingError, unknown_name


def declared(owner: Any) -> dict[str, Any]:
    """The settings of a dataclass, or a function's parameters with a default; with their types."""
    hints = get_type_hints(owner)
    if is_dataclass(owner):
        return {field.name: hints[field.name] for field in fields(owner) if field.init}
    known = inspect.signature(owner).parameters.values()
    return {one.name: hints[one.name] for one in known if one.default is not one.empty}


def split_assignment(assignment: str, option: str = "--set") -> tuple[str, str]:
    """(key, text) of `key=value`, given to `option`. Raises SettingError for anything else."""
    key, equals, text = assignment.partition("=")
    if not equals or not key or not text:
        raise SettingError(
            f"{option} {assignment!r}: write it as key=value, as in {option} steps=100"
        )
    return key.strip(), text.strip()


def read(key: str, text: str, wanted: Any) -> Any:
    """The value of the type `wanted` that `text` is; whole numbers pass as floats.

    A tuple's values are parted by commas, none of them: "none". So are those of a Sequence, whose
    kinds are for the owner of the setting to check. Raises SettingError for a value of another
    kind, UnknownNameError for a name that a Literal does not list.
    """
    options = get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)
    for option in options:
        if get_origin(option) is tuple:
            parts = [] if text == "none" else text.split(",")
            return tuple(read(key, part, get_args(option)[0]) for part in parts)
        if get_origin(option) is Sequence:
            return None if text == "none" else [_plain(part) for part in text.split(",")]
    return _typed(key, text, options)


def _plain(text: str) -> Any:
    """A number, true, false or none where `text` is one, else `text` itself."""
    special = {"true": True, "false": False, "none": None}
    if text.lower() in special:
        return special[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _typed(key: str, text: str, options: Sequence[Any]) -> Any:
    """The value that `text` is if it is of one of the types `options`."""
    names = [name for one in options if get_origin(one) is Literal for name in get_args(one)]
    if text in names:  # "true" and "none" can be names like the others
        return text
    value = _plain(text)
    allowed = [kind for kind in options if kind in (int, float, bool)] or [str]
    if value is None and NoneType in options:
        return None
    if isinstance(value, bool) and allowed == [str]:
        value = str(value).lower()
    if float in allowed and type(value) is int:
        value = float(value) if abs(value) < 2**1023 else math.inf
    if type(value) is float and float in allowed and not math.isfinite(value):
        raise SettingError(f"--set {key}={value}: expected float, a finite one")
    if type(value) not in allowed:
        wanted = " or ".join(kind.__name__ for kind in allowed)
        raise SettingError(f"--set {key}={value}: expected {wanted}, got {type(value).__name__}")
    if names:
        raise unknown_name(key, value, names)
    return value
