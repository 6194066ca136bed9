"""Single-threaded matrix products that Numba kernels call from their own parallel tiles.

Why a BLAS of our own. NumPy's and SciPy's OpenBLAS belong to the whole process: their thread count
and their choice of instruction set are not ours to change, and their own threading gives other bits
for another number of threads. So the `cpu` backend loads a private copy of OpenBLAS (the PyPI
package scipy-openblas32), tells it to stay single-threaded, and cuts every product into fixed tiles
that a `prange` hands out: the bits do not depend on how many threads there are. Others find it
among the loaded libraries and give it threads (threadpoolctl, and scikit-learn through it): each
product takes them away again.

On a CPU with AVX-512 we name OpenBLAS's SkylakeX kernels ourselves. Left alone it chooses by CPU
name, or by an OPENBLAS_CORETYPE that was set for the rest of the process, and may land on its AVX2
kernels: 125 against 210-240 GFLOP/s a core on a Zen 5. WEIGHTSPACE_BLAS_CORE overrides the choice.

The symbols enter compiled code by name, not by address, so Numba's on-disk cache stays valid.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from numba import types
from numba.extending import overload

from ..errors import MissingExtraError
from .tiles import serial

_ROW_MAJOR, _NO_TRANS, _TRANS = 101, 111, 112
_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl")


def _library_path() -> Path:
    """Where the private OpenBLAS lies. Raises MissingExtraError when the package is absent.

    The package is found but not imported: importing it would load the library before we could say
    which kernels it should use.
    """
    spec = importlib.util.find_spec("scipy_openblas32")
    if spec is None or spec.origin is None:
        raise MissingExtraError("scipy-openblas32", "cpu", "the 'cpu' backend")
    folder = Path(spec.origin).parent / "lib"
    found = [
        p for p in sorted(folder.glob("*scipy_openblas*")) if p.suffix in {".so", ".dylib", ".dll"}
    ]
    if not found:
        raise MissingExtraError("scipy-openblas32", "cpu", "the 'cpu' backend")
    return found[0]


def _has_avx512() -> bool:
    """Whether LLVM sees the AVX-512 subsets that OpenBLAS's SkylakeX kernels use."""
    present = llvm.get_host_cpu_features()
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return x86 and all(present.get(name) for name in _AVX512)


def _load() -> ctypes.CDLL:
    """Load the private OpenBLAS, single-threaded, with the widest kernels this CPU can run."""
    wanted = {"OPENBLAS_NUM_THREADS": "1"}
    core = os.environ.get("WEIGHTSPACE_BLAS_CORE") or ("SkylakeX" if _has_avx512() else "")
    if core:
        wanted["OPENBLAS_CORETYPE"] = core
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        return ctypes.CDLL(str(_library_path()))
    finally:  # the settings are for this one library, not for the process
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_library = _load()
_library.scipy_openblas_get_corename.restype = ctypes.c_char_p
CORE = _library.scipy_openblas_get_corename().decode()


def _register(name: str, signature: Any) -> types.ExternalFunction:
    """Make a function of the library callable from Numba."""
    address = ctypes.cast(getattr(_library, f"scipy_{name}"), ctypes.c_void_p).value
    llvm.add_symbol(f"weightspace_{name}", address)
    return types.ExternalFunction(f"weightspace_{name}", signature)


def _product(scalar: types.Type) -> Any:
    """The signature of `cblas_?gemm`; matrices are passed as integer addresses."""
    i, p = types.int32, types.uintp
    return types.void(i, i, i, i, i, i, scalar, p, i, p, i, scalar, p, i)


_sgemm = _register("cblas_sgemm", _product(types.float32))
_dgemm = _register("cblas_dgemm", _product(types.float64))
_threads = _register("openblas_get_num_threads", types.int32())
_set_threads: Any = _register("openblas_set_num_threads", types.void(types.int32))


def _gemm(one, trans_a, trans_b, m, n, k, a, lda, b, ldb, beta, c, ldc):
    """The symbol for the dtype of `one`: resolved when compiled, never at run time."""
    raise NotImplementedError("only inside compiled code")


@overload(_gemm)
def _gemm_of_dtype(one, trans_a, trans_b, m, n, k, a, lda, b, ldb, beta, c, ldc):
    symbol: Any = _sgemm if one == types.float32 else _dgemm

    def call(one, trans_a, trans_b, m, n, k, a, lda, b, ldb, beta, c, ldc):
        if _threads() != 1:
            _set_threads(1)
        symbol(_ROW_MAJOR, trans_a, trans_b, m, n, k, one, a, lda, b, ldb, beta, c, ldc)

    return call


@serial
def _row_stride(a):
    """Elements from one row of `a` (R, S) to the next; BLAS wants at least a row's length."""
    return max(a.strides[0] // a.itemsize, a.shape[1], 1)


@serial
def require_rows(a):
    """Raise ValueError unless each row of `a` (R, S) is contiguous; rows may be apart.

    Called once a kernel, before its parallel part: nothing may raise inside a `prange`.
    """
    if a.shape[1] > 1 and a.strides[1] != a.itemsize:
        raise ValueError("a matrix product needs the last axis of each array contiguous")


@serial
def product_nt(a, b, c, beta):
    """c (M, N) = a (M, K) b (N, K)^T + beta c, on the calling thread."""
    _gemm(c.dtype.type(1), _NO_TRANS, _TRANS, c.shape[0], c.shape[1], a.shape[1],
          a.ctypes.data, _row_stride(a), b.ctypes.data, _row_stride(b), c.dtype.type(beta),
          c.ctypes.data, _row_stride(c))  # fmt: skip


@serial
def product_nn(a, b, c, beta):
    """c (M, N) = a (M, K) b (K, N) + beta c, on the calling thread."""
    _gemm(c.dtype.type(1), _NO_TRANS, _NO_TRANS, c.shape[0], c.shape[1], a.shape[1],
          a.ctypes.data, _row_stride(a), b.ctypes.data, _row_stride(b), c.dtype.type(beta),
          c.ctypes.data, _row_stride(c))  # fmt: skip


@serial
def product_tn(a, b, c, beta):
    """c (M, N) = a (K, M)^T b (K, N) + beta c, on the calling thread."""
    _gemm(c.dtype.type(1), _TRANS, _NO_TRANS, c.shape[0], c.shape[1], a.shape[0],
          a.ctypes.data, _row_stride(a), b.ctypes.data, _row_stride(b), c.dtype.type(beta),
          c.ctypes.data, _row_stride(c))  # fmt: skip
