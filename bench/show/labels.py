"""Settings in words: numbers that are told apart, what differs, labels that say so.

A label is for people. What belongs together is decided by settings (`groups`), never by a label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Flat = dict[str, Any]
ABSENT = "none"  # TOML has no None: a setting that is None is not there


def number(value: float) -> str:
    """A number as people write it, with as many digits as tell it from every other one."""
    text = f"{value:g}"
    return text if float(text) == value else repr(value)


def told(value: Any) -> str:
    """A setting's value in words, as `--set` takes it."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list | tuple):
        return ",".join(map(told, value))
    return str(value)


def flat(settings: Mapping[str, Any]) -> Flat:
    """Nested settings by the names under which `--set` knows them: "stream.num_tasks", "ewc.lam".

    A method's name is "method". Settings that are None are left out.
    """
    found: Flat = {}
    for key, value in settings.items():
        if not isinstance(value, Mapping):
            found[key] = value
            continue
        inner = dict(value)
        owner = key.removesuffix("_settings")
        if key == "method":
            owner = found["method"] = inner.pop("name", "")
        found |= {f"{owner}.{name}": one for name, one in inner.items()}
    return {key: value for key, value in found.items() if value is not None}


def differences(then: Flat, now: Flat) -> list[str]:
    """What differs between two flat settings: "steps: 200 then, 100 now"."""
    keys = dict.fromkeys((*then, *now))
    return [
        f"{key}: {told(then.get(key))} then, {told(now.get(key))} now"
        for key in keys
        if then.get(key) != now.get(key)
    ]


def tell_apart(settings: Sequence[Flat]) -> list[str]:
    """For each of some different settings what sets it apart from the others; "" for one alone.

    The experiment's name is enough where it differs: "permuted-mnist"; else "steps=100, lr=0.01".
    """
    if len(settings) < 2:
        return [""] * len(settings)
    by_name: dict[Any, list[int]] = {}
    for index, one in enumerate(settings):
        by_name.setdefault(one.get("name"), []).append(index)
    if len(by_name) == 1:
        keys = [key for key in dict.fromkeys(key for one in settings for key in one)
                if any(one.get(key) != settings[0].get(key) for one in settings)]  # fmt: skip
        return [", ".join(f"{_short(key)}={told(one.get(key))}" for key in keys)
                for one in settings]  # fmt: skip
    said = [""] * len(settings)
    for name, members in by_name.items():
        inner = tell_apart([settings[index] for index in members])
        for index, more in zip(members, inner, strict=True):
            said[index] = ", ".join(part for part in (told(name), more) if part)
    return said


def _short(key: str) -> str:
    """A key as in the labels of lines: a method's own setting without the method's name."""
    owner, dot, inner = key.partition(".")
    return key if not dot or owner in ("stream", "model") else inner
