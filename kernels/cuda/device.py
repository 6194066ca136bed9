"""The GPU's memory, streams and graphs, through CuPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DeviceError, OutOfMemoryError

_STATIC_SHARED = 48 * 1024  # what a kernel may ask for at launch without opting in


class CupyDevice:
    """The current CUDA device; see `kernels.device.Device` for the meaning of each method.

    All work goes to CuPy's current stream. Raises DeviceError where there is no driver or device.
    """

    name = "cuda"
    asynchronous = True

    def __init__(self) -> None:
        import cupy  # noqa: PLC0415  (only who asks for this backend pays for it)

        self._cupy = cupy
        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as wrong:
            raise DeviceError(
                f"CuPy {cupy.__version__} is installed, but CUDA does not answer ({wrong}): the "
                "'cuda' backend needs an NVIDIA GPU and its driver; 'cuda-host' runs the same "
                "sources on the CPU, slowly, for study"
            ) from None
        if count == 0:
            raise DeviceError("the CUDA driver sees no GPU; is CUDA_VISIBLE_DEVICES empty?")

    # ---- arrays ------------------------------------------------------------------------------

    def _allocate(self, make: Callable[[], Any], shape: Any, dtype: Any) -> Any:
        try:
            return make()
        except self._cupy.cuda.memory.OutOfMemoryError as wrong:
            free, total = self._cupy.cuda.runtime.memGetInfo()
            raise OutOfMemoryError(
                f"the GPU has no room for an array of shape {shape} and type {np.dtype(dtype)}: "
                f"{free >> 20} of {total >> 20} MiB are free ({wrong}). Network.plan(batch) says "
                "what a batch asks for: take a smaller one"
            ) from None

    def empty(self, shape: Any, dtype: Any) -> Any:
        return self._allocate(lambda: self._cupy.empty(shape, dtype), shape, dtype)

    def zeros(self, shape: Any, dtype: Any) -> Any:
        return self._allocate(lambda: self._cupy.zeros(shape, dtype), shape, dtype)

    def full(self, shape: Any, value: Any, dtype: Any) -> Any:
        return self._allocate(lambda: self._cupy.full(shape, value, dtype), shape, dtype)

    def put(self, array: Any) -> Any:
        def copy() -> Any:
            return self._cupy.ascontiguousarray(self._cupy.asarray(array))

        return self._allocate(copy, np.shape(array), array.dtype)

    def get(self, array: Any) -> np.ndarray:
        return self._cupy.asnumpy(array)

    def owns(self, array: Any) -> bool:
        return isinstance(array, self._cupy.ndarray)

    def address(self, array: Any) -> int:
        return array.data.ptr

    def synchronize(self) -> None:
        self._cupy.cuda.get_current_stream().synchronize()

    # ---- kernels -----------------------------------------------------------------------------

    def module(
        self, source: str, options: tuple[str, ...], names: tuple[str, ...], filename: str
    ) -> Any:
        """The compiled source: CuPy keeps it on disk, by text, options and architecture."""
        return self._cupy.RawModule(code=source, options=options, name_expressions=names)

    def launch(
        self,
        function: Any,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: tuple[Any, ...],
        shared: int = 0,
    ) -> None:
        """Queue a kernel on the current stream; None is a null pointer."""
        if shared > _STATIC_SHARED:
            function.max_dynamic_shared_size_bytes = shared
        passed = tuple(_NULL if arg is None else arg for arg in args)
        function(grid, block, passed, shared_mem=shared)

    def capture(self, record: Callable[[], None]) -> Callable[[], None]:
        """A CUDA graph of what `record` queues; capture needs a stream other than the default."""
        stream = self._cupy.cuda.Stream(non_blocking=True)
        self.synchronize()  # what was queued elsewhere must not run into what follows
        with stream:
            stream.begin_capture()
            try:
                record()
            finally:
                graph = stream.end_capture()
        return lambda: graph.launch(self._cupy.cuda.get_current_stream())

    # ---- products ----------------------------------------------------------------------------

    def gemm(
        self, transposed: tuple[bool, bool], sizes: tuple[int, int, int], a: Any, b: Any, c: Any,
        strides: tuple[int, int, int], beta: float,
    ) -> None:  # fmt: skip
        """C (m, n) = op(a) op(b) + beta C for row-major arrays, by cuBLAS.

        sizes: m, n, k. strides: elements between rows of a, b and c as they are stored. cuBLAS
        counts by columns, so it is asked for C^T = op(b)^T op(a)^T.
        """
        cublas = self._cupy.cuda.cublas
        handle = self._cupy.cuda.device.get_cublas_handle()
        call = {np.dtype(np.float32): cublas.sgemm, np.dtype(np.float64): cublas.dgemm}[c.dtype]
        m, n, k = sizes
        one, factor = np.array(1, c.dtype), np.array(beta, c.dtype)
        ops = [cublas.CUBLAS_OP_T if flag else cublas.CUBLAS_OP_N for flag in transposed]
        call(
            handle, ops[1], ops[0], n, m, k, one.ctypes.data, b.data.ptr, strides[1], a.data.ptr,
            strides[0], factor.ctypes.data, c.data.ptr, strides[2],
        )  # fmt: skip


_NULL = np.uint64(0)
