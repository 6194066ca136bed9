"""Intel's MKL by its C interface, from the package `mkl`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np

from .products import offered

_files = metadata.files("mkl") or []  # PackageNotFoundError is a ModuleNotFoundError
_library = ctypes.CDLL(str(next(f.locate() for f in _files if f.name.startswith("libmkl_rt.so"))))
_ROW_MAJOR = 101
_TRANSPOSED = {False: 111, True: 112}
_REALS = {"float32": (ctypes.c_float, "cblas_sgemm"), "float64": (ctypes.c_double, "cblas_dgemm")}


def settings() -> dict[str, Any]:
    """Which MKL, and on how many threads."""
    return {"mkl": metadata.version("mkl"), "threads": _library.MKL_Get_Max_Threads()}


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)  # which keeps the array


def _multiply(
    operation: str, a: np.ndarray, b: np.ndarray, out: np.ndarray
) -> Callable[[], np.ndarray]:
    real, name = _REALS[a.dtype.name]
    gemm, integer = getattr(_library, name), ctypes.c_int
    turned = operation == "product-tn", operation == "product-nt"
    inner = a.shape[0 if turned[0] else 1]
    arguments = (
        *map(integer, (_ROW_MAJOR, _TRANSPOSED[turned[0]], _TRANSPOSED[turned[1]])),
        *map(integer, (*out.shape, inner)),
        real(1), _address(a), integer(a.shape[1]), _address(b), integer(b.shape[1]),
        real(0), _address(out), integer(out.shape[1]),
    )  # fmt: skip

    def call() -> np.ndarray:
        gemm(*arguments)
        return out

    return call


PRODUCTS = offered("cblas_gemm", _multiply)
