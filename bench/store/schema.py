"""Files that others may have written: what each must hold, said once as a type, refused in a line.

A reader declares a record as a TypedDict (keys that older files lack are NotRequired; None stands
where the writer writes null) and asks `read_json`, `read_toml` or `read_lines` for it. Of what they
return every declared key is there and has its type; keys beyond those are passed on.
"""

from __future__ import annotations

import datetime
import json
import math
import tomllib
import types
from pathlib import Path
from typing import (
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from ...kernels.errors import CheckpointError, WeightspaceError

_DEEPEST = 32  # levels of lists and mappings; nothing that weightspace writes has more than six
_LARGEST = 1 << 128  # of whole numbers: all of them are floats, too
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false",
          type(None): "null"}  # fmt: skip


def fault(value: Any, wanted: Any, where: str = "") -> str | None:
    """What is wrong with `value`, held against the type `wanted`; None where nothing is.

    wanted: str, int, float (which takes whole numbers), bool, None, Any, Literal, unions of such,
    list[X], dict[str, X] or a TypedDict. where: the value's place, as in "tasks[2]".
    """
    origin, inner = get_origin(wanted), get_args(wanted)
    if wanted is Any or (origin is Literal and value in inner and type(value) is not bool):
        return None
    if origin in (Union, types.UnionType):
        said = [fault(value, one, where) for one in inner]
        meant = (bad for one, bad in zip(inner, said, strict=True) if _is_meant(value, one))
        return None if None in said else next(meant, None) or _other(value, wanted, where)
    if is_typeddict(wanted) and isinstance(value, dict):
        return _record_fault(value, wanted, where)
    if origin is list and isinstance(value, list):
        places = ((one, f"{where}[{index}]") for index, one in enumerate(value))
        return next((bad for one, at in places if (bad := fault(one, inner[0], at))), None)
    if origin is dict and isinstance(value, dict):
        named = ((one, f"{where}.{key}".lstrip(".")) for key, one in value.items())
        return next((bad for one, at in named if (bad := fault(one, inner[1], at))), None)
    kinds = (int, float) if wanted is float else (type(None) if wanted is None else wanted,)
    return None if type(value) in kinds else _other(value, wanted, where)


def _record_fault(value: dict[str, Any], wanted: Any, where: str) -> str | None:
    """The first key of a TypedDict that is missing or of another type."""
    for key, declared in get_type_hints(wanted, include_extras=True).items():
        at = f"{where}.{key}".lstrip(".")
        optional = get_origin(declared) is NotRequired
        if key not in value:
            if not optional:
                return f"key '{at}' is missing"
        elif bad := fault(value[key], get_args(declared)[0] if optional else declared, at):
            return bad
    return None


def _is_meant(value: Any, wanted: Any) -> bool:
    """Whether `value` may be of a TypedDict `wanted`: it has no literal that is another's."""
    if not isinstance(value, dict) or not is_typeddict(wanted):
        return False
    marks = {key: one for key, one in get_type_hints(wanted).items() if get_origin(one) is Literal}
    return all(value[key] in get_args(one) for key, one in marks.items() if key in value)


def _other(value: Any, wanted: Any, where: str) -> str:
    got = json.dumps(value, default=str)
    shown = got if len(got) <= 40 else f"{got[:36]} ..."
    return f"{f'key {where!r}' if where else 'it'} should be {_told(wanted)}, and is {shown}"


def _told(wanted: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        return " or ".join(repr(one) for one in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_told(one) for one in inner)
    if origin is list:
        return f"a list of {_told(inner[0]).removeprefix('a ')}"
    if origin is dict or is_typeddict(wanted):
        return "an object"
    return _NAMES.get(wanted, "null" if wanted is None else "anything")


def _unsound(value: Any) -> str | None:
    """What no reader can use, however it is declared: deep nesting, overflow, broken text."""
    left = [(value, 1)]
    while left:
        one, depth = left.pop()
        if depth > _DEEPEST:
            return f"it is nested more than {_DEEPEST} deep"
        if isinstance(one, dict):
            left += [(inner, depth + 1) for pair in one.items() for inner in pair]
        elif isinstance(one, list):
            left += [(inner, depth + 1) for inner in one]
        elif isinstance(one, float) and not math.isfinite(one):
            return "it holds a number that is not finite"
        elif isinstance(one, int) and abs(one) >= _LARGEST:
            return "it holds a whole number beyond all reason"
        elif isinstance(one, datetime.date | datetime.time):
            return "it holds a date or a time"
        elif isinstance(one, str) and not one.isascii():
            try:
                one.encode()
            except UnicodeEncodeError:
                return "it holds text that is not Unicode"
    return None


def _parsed(text: str, toml: bool) -> Any:
    """The value of a text. NaN and infinity in JSON are null, as the writers write them."""
    return tomllib.loads(text) if toml else json.loads(text, parse_constant=lambda _: None)


def decode(
    text: str,
    wanted: Any,
    source: str,
    error: type[WeightspaceError],
    hint: str,
    toml: bool = False,
    place: str = "",
) -> Any:
    """The value of a JSON (or TOML) text, which is of the type `wanted`.

    Raises `error` in a line: `source`, what is wrong and at which `place` in it, and `hint`, what
    to do about it.
    """
    try:
        value = _parsed(text, toml)
        bad = _unsound(value) or fault(value, wanted)
    except RecursionError:
        bad = f"it is nested more than {_DEEPEST} deep"
    except ValueError as wrong:
        bad = f"it is not {'TOML' if toml else 'JSON'} ({str(wrong).splitlines()[0]})"
    if bad:
        raise error(f"{source} is damaged: {place}{bad}; {hint}")
    return value


def read_text(path: Path, error: type[WeightspaceError], hint: str) -> str:
    """The text of a file. Raises `error` where it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise error(f"{path} is damaged: it is not UTF-8 text; {hint}") from None
    except OSError as wrong:
        raise error(f"{path} cannot be read ({wrong.strerror or wrong}); {hint}") from None


def read_json(
    path: Path, wanted: Any, hint: str, error: type[WeightspaceError] = CheckpointError
) -> Any:
    """The value of a JSON file, of the type `wanted`. Raises `error`."""
    return decode(read_text(path, error, hint), wanted, str(path), error, hint)


def read_toml(
    path: Path, wanted: Any, hint: str, error: type[WeightspaceError] = CheckpointError
) -> Any:
    """The tables of a TOML file, of the type `wanted`. Raises `error`."""
    return decode(read_text(path, error, hint), wanted, str(path), error, hint, toml=True)


def read_lines(
    path: Path, wanted: Any, hint: str, error: type[WeightspaceError] = CheckpointError
) -> list[Any]:
    """The records of a file of JSON lines, each of the type `wanted`; empty lines are none.

    Raises `error` with the line's number.
    """
    lines = read_text(path, error, hint).split("\n")
    return [
        decode(line, wanted, str(path), error, hint, place=f"line {number}: ")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
