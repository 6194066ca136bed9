"""Kernels: array arithmetic with no knowledge of networks. `get_backend` is the only way in.

A backend has the functions that `spec.KERNELS` lists, under the same names and with the same
arguments: `reference` (plain NumPy, the meaning of every kernel), `cpu` (Numba), `cuda` (CUDA C
through CuPy) and, slow, for study and tests, `cuda-host` (the same CUDA C on the CPU), `c` (what is
exported to small machines) and `exact` (the cpu backend's bits in plain NumPy). Its `device` makes
the arrays it takes, and moves them.

Axes, everywhere: N samples, I input features, O output features, K classes, V stacked cotangents,
P parameters. Prefixes: `d` a cotangent, `t` a tangent. Every kernel writes into arrays its caller
made; parameter cotangents are scaled by `beta` and added to, everything else is overwritten.
Per-sample quantities never contain 1/N.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from typing import Any

from .backend import Backend
from .errors import DeviceError, MissingExtraError, SettingError, unknown_name

# name -> (module, the name in it that makes the backend or "", packages it needs, their extra)
_BACKENDS: dict[str, tuple[str, str, tuple[str, ...], str]] = {
    "exact": (".exact", "", (), ""),
    "reference": (".reference", "", (), ""),
    "cuda-host": (".cuda", "host", (), ""),
    "c": (".c", "host", (), ""),
    "c-direct": (".c", "direct", (), ""),
    "cpu": (".cpu", "", ("numba",), "cpu"),
    "cuda": (".cuda", "gpu", ("cupy",), "cuda"),
}
_FOR_STUDY = ("exact", "c", "c-direct", "cuda-host")


def available(study: bool = False) -> list[str]:
    """The names of the backends that can compute here, the fastest last.

    "cpu" is among them where Numba is installed and may compile for a CPU that has AVX2; "cuda"
    where CuPy is installed and finds a GPU. study: the slow ones too, "exact"
    and, where there is a g++, "cuda-host".
    """
    return [name for name in _BACKENDS if (study or name not in _FOR_STUDY) and _usable(name)]


def _usable(name: str) -> bool:
    if name == "cuda-host":
        return shutil.which("g++") is not None
    if name in ("c", "c-direct"):
        return any(map(shutil.which, ("gcc", "clang", "cc")))
    if not all(importlib.util.find_spec(package) for package in _BACKENDS[name][2]):
        return False
    if name == "cpu" and os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return False
    if name in ("cpu", "cuda"):
        try:
            get_backend(name)
        except (DeviceError, SettingError):
            return False
    return True


def get_backend(name: str) -> Backend:
    """The backend `name`: a module, or an object, holding one function a kernel.

    Raises UnknownNameError for a name that is none, MissingExtraError (it names the extra) for a
    backend whose packages are not installed, DeviceError for "cuda" where no GPU answers,
    SettingError for "cpu" where Numba is told not to compile, or to compile for a CPU without AVX2,
    and DeviceError where this one has none.
    """
    if not isinstance(name, str) or name not in _BACKENDS:
        raise unknown_name("backend", name, _BACKENDS)
    module, maker, packages, extra = _BACKENDS[name]
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, extra, f"the '{name}' backend")
    found: Any = importlib.import_module(module, __name__)
    return getattr(found, maker)() if maker else found
