"""NumPy's own BLAS, mostly OpenBLAS: at the core type it takes, or at $OPENBLAS_CORETYPE.

OpenBLAS reads that as it is loaded and believes it: what this processor has not is refused here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from ....kernels.errors import DeviceError
from .products import offered, views

_NEEDED = {"SkylakeX": "avx512vl", "Haswell": "avx2", "Zen": "avx2"}


def _blas() -> dict[str, Any]:
    return next((one for one in threadpool_info() if one["user_api"] == "blas"), {})


def require(core: str, features: Mapping[str, bool], library: str) -> None:
    """Raise DeviceError where `library` cannot run as for a processor of the kind `core`."""
    if library != "openblas":
        raise DeviceError(f"NumPy's BLAS is {library}: OpenBLAS alone has core types")
    if not features.get(_NEEDED[core], False):
        raise DeviceError(f"this processor has no {_NEEDED[core]}, which {core} needs")


_core = os.environ.get("OPENBLAS_CORETYPE", "")
if _core in _NEEDED:
    from llvmlite.binding import get_host_cpu_features

    require(_core, get_host_cpu_features(), _blas().get("internal_api", "unknown"))


def settings() -> dict[str, Any]:
    """Which library, for which processor, on how many threads."""
    found = _blas()
    kept = ("internal_api", "version", "architecture", "num_threads", "threading_layer")
    return {"numpy": np.__version__, **{key: found.get(key) for key in kept}}


def _multiply(
    operation: str, a: np.ndarray, b: np.ndarray, out: np.ndarray
) -> Callable[[], np.ndarray]:
    left, right = views(operation, a, b)
    return lambda: np.matmul(left, right, out=out)


PRODUCTS = offered("numpy.matmul", _multiply)
