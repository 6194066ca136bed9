"""Kernels: array arithmetic with no knowledge of networks. `get_backend` is the only way in.

A backend is a module with the functions that `spec.KERNELS` lists, under the same names and with
the same arguments: `reference` (plain NumPy, the meaning of every kernel) and `cpu` (Numba).

Axes, everywhere: N samples, I input features, O output features, K classes, V stacked cotangents,
P parameters. Prefixes: `d` a cotangent, `t` a tangent. Every kernel writes into arrays its caller
made; parameter cotangents are scaled by `beta` and added to, everything else is overwritten.
Per-sample quantities never contain 1/N.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from .errors import MissingExtraError, unknown_name

# name -> (module, packages it needs, the extra that brings them)
_BACKENDS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "reference": (".reference", (), ""),
    "cpu": (".cpu", ("numba", "scipy_openblas32"), "cpu"),
}


def available() -> list[str]:
    """The names of the backends whose packages are installed here, the fastest last."""
    return [
        name
        for name, (_, packages, _) in _BACKENDS.items()
        if all(importlib.util.find_spec(package) for package in packages)
    ]


def get_backend(name: str) -> ModuleType:
    """The backend `name`: a module holding one function a kernel.

    Raises UnknownNameError for a name that is none, MissingExtraError (it names the extra) for a
    backend whose packages are not installed.
    """
    if name not in _BACKENDS:
        raise unknown_name("backend", name, _BACKENDS)
    module, packages, extra = _BACKENDS[name]
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, extra, f"the '{name}' backend")
    return importlib.import_module(module, __name__)
