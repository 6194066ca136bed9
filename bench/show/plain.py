"""Plain values: records as TOML and JSON have them, and the versions that every record names."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import tomllib
from importlib import metadata
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """JSON has no NaN: an unmeasured number is null."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def to_toml(config: dict[str, Any]) -> str:
    """A config as TOML, which has no None: those are left out.

    JSON's scalars and arrays are TOML's; nested records become tables.
    """
    tables = {key: value for key, value in config.items() if isinstance(value, dict)}
    single = {k: v for k, v in config.items() if k not in tables and v is not None}
    lines = [f"{key} = {json.dumps(v)}" for key, v in single.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        lines += [f"{key} = {json.dumps(v)}" for key, v in table.items() if v is not None]
    return "\n".join(lines) + "\n"


def as_read(config: dict[str, Any]) -> dict[str, Any]:
    """A config as it is when it is read from its config.toml."""
    return tomllib.loads(to_toml(config))


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute."""
    found = {"python": platform.python_version()}
    for name in ("weightspace", "numpy", "numba"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def config_hash(config: dict[str, Any]) -> str:
    """SHA-256 of a config: equal exactly when the runs are meant to be equal."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
