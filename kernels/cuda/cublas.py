"""Matrix products by cuBLAS, through its C interface.

CuPy's own wrapper refuses to work while a CUDA graph is captured (`setStream` in CuPy's cublas.pyx
raises), and training steps are captured. cuBLAS itself has no such limit.
"""

from __future__ import annotations

import ctypes
import importlib
from typing import Any

import numpy as np

from ..errors import DeviceError, DtypeError, MissingExtraError

# What NVIDIA recommends for Hopper; with memory of its own for every stream, cuBLAS gives the same
# bits at every run.
WORKSPACE = 32 << 20
_NO, _YES = 0, 1  # CUBLAS_OP_N, CUBLAS_OP_T
_MATH = {False: 0, True: 3}  # CUBLAS_DEFAULT_MATH, CUBLAS_TF32_TENSOR_OP_MATH

_POINTER, _INT = ctypes.c_void_p, ctypes.c_int
_PRODUCT = (
    _POINTER, _INT, _INT, _INT, _INT, _INT,  # handle, op(A), op(B), m, n, k
    _POINTER, _POINTER, _INT, _POINTER, _INT, _POINTER, _POINTER, _INT,  # alpha, A, B, beta, C
)  # fmt: skip
PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "cublasCreate_v2": (_POINTER,),
    "cublasSetStream_v2": (_POINTER, _POINTER),
    "cublasSetWorkspace_v2": (_POINTER, _POINTER, ctypes.c_size_t),
    "cublasSetMathMode": (_POINTER, _INT),
    "cublasSgemm_v2": _PRODUCT,
    "cublasDgemm_v2": _PRODUCT,
}
_PRODUCTS = {np.dtype(np.float32): "cublasSgemm_v2", np.dtype(np.float64): "cublasDgemm_v2"}


def load() -> Any:
    """libcublas, the one that CuPy uses. Raises MissingExtraError where it is not installed."""
    try:
        # CuPy brings it, and finds libraries with it
        pathfinder = importlib.import_module("cuda.pathfinder")
        path = pathfinder.load_nvidia_dynamic_lib("cublas").abs_path
        return ctypes.CDLL(path)
    except (ImportError, OSError, RuntimeError):  # RuntimeError: not found
        raise MissingExtraError("nvidia-cublas", "cuda", "a large matrix product") from None


class Cublas:
    """A handle on the current device, for one thread at a time.

    library: what `load` returns, or a stand-in with the functions of `PROTOTYPES`.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        for name, arguments in PROTOTYPES.items():
            getattr(library, name).argtypes = arguments
        handle = ctypes.c_void_p()
        self._call("cublasCreate_v2", ctypes.addressof(handle))
        self._handle = handle.value

    def _call(self, name: str, *arguments: Any) -> None:
        if status := getattr(self._library, name)(*arguments):
            raise DeviceError(f"{name} failed with status {status} of cublasStatus_t")

    def use(self, stream: int, workspace: int, size: int, tf32: bool) -> None:
        """Queue what follows on `stream`, with `size` bytes of the device's memory to work in.

        tf32: whether products may round float32 inputs to TF32's 10 bits, for the tensor cores.
        """
        self._call("cublasSetStream_v2", self._handle, stream)
        self._call("cublasSetWorkspace_v2", self._handle, workspace, size)
        self._call("cublasSetMathMode", self._handle, _MATH[tf32])

    def product(
        self, dtype: Any, transposed: tuple[bool, bool], sizes: tuple[int, int, int],
        a: int, b: int, c: int, strides: tuple[int, int, int], beta: float,
    ) -> None:  # fmt: skip
        """C (m, n) = op(a) op(b) + beta C for row-major arrays at the addresses a, b and c.

        sizes: m, n, k. strides: elements between rows of a, b and c as they are stored. cuBLAS
        counts by columns, so it is asked for C^T = op(b)^T op(a)^T. With beta 0, C is not read.
        """
        try:
            name = _PRODUCTS[np.dtype(dtype)]
        except KeyError:
            raise DtypeError(f"products are of float32 and float64; these are {dtype}") from None
        m, n, k = sizes
        one, factor = np.array(1, dtype), np.array(beta, dtype)  # read before the call returns
        first, second = (_YES if flag else _NO for flag in reversed(transposed))
        self._call(
            name, self._handle, first, second, n, m, k, one.ctypes.data, b, strides[1], a,
            strides[0], factor.ctypes.data, c, strides[2],
        )  # fmt: skip
