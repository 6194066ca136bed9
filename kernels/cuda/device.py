"""The GPU's memory, streams and graphs, through CuPy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from ..compiling import timed
from ..errors import DeviceError, MissingExtraError, OutOfMemoryError
from .cublas import WORKSPACE, Cublas, load
from .tiles import flag

_STATIC_SHARED = 48 * 1024  # what a kernel may ask for at launch without opting in


class CupyDevice:
    """The current CUDA device; see `kernels.device.Device` for the meaning of each method.

    All work goes to CuPy's current stream. tf32: whether products of float32 may round their inputs
    to TF32 (the environment's WEIGHTSPACE_TF32=1). Raises DeviceError where there is no driver or
    device, and where CuPy cannot be imported.
    """

    name = "cuda"
    asynchronous = True

    def __init__(self) -> None:
        self.tf32 = flag("WEIGHTSPACE_TF32")
        self._cupy = cupy = _import()
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
        self._own = threading.local()  # a cuBLAS handle is for one thread
        self._rooms: dict[int, Any] = {}  # stream -> what cuBLAS may work in there

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
        """The compiled source: CuPy keeps it on disk, by text, options and architecture.

        Raises MissingExtraError without NVRTC or CUDA's headers, DeviceError for what does not
        compile or load here.
        """
        cupy = self._cupy
        made = cupy.RawModule(code=source, options=options, name_expressions=names)
        try:
            with timed():
                made.compile()
        except cupy.cuda.compiler.CompileException as wrong:
            said = "\n".join(str(wrong).splitlines()[:12])
            raise DeviceError(f"NVRTC refuses {filename} ({' '.join(options)}):\n{said}") from None
        except RuntimeError as wrong:  # CuPy's and cuda.pathfinder's words for what is missing
            for package, word in _MISSING.items():
                if word in str(wrong):
                    raise MissingExtraError(package, "cuda", "the 'cuda' backend") from None
            raise DeviceError(f"{filename} cannot be loaded on this GPU: {wrong}") from None
        return made

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
        function(grid, block, args, shared_mem=shared)

    def capture(self, record: Callable[[], None]) -> Callable[[], None]:
        """A CUDA graph of what `record` queues; capture needs a stream other than the default.

        What `record` calls must have run once before: nothing may be compiled meanwhile.
        """
        stream = self._cupy.cuda.Stream(non_blocking=True)
        self.synchronize()  # what was queued elsewhere must not run into what follows
        with stream:
            stream.begin_capture()
            try:
                record()
            except BaseException:
                with suppress(Exception):  # the capture is broken; the first error says why
                    stream.end_capture()
                raise
            graph = stream.end_capture()
        room = self._rooms.pop(stream.ptr, None)

        def replay(_kept: Any = room) -> None:  # the graph writes to `room` whenever it runs
            graph.launch()

        return replay

    # ---- products ----------------------------------------------------------------------------

    def gemm(
        self, transposed: tuple[bool, bool], sizes: tuple[int, int, int], a: Any, b: Any, c: Any,
        strides: tuple[int, int, int], beta: float, tf32: bool | None = None,
    ) -> None:  # fmt: skip
        """C (m, n) = op(a) op(b) + beta C for row-major arrays, by cuBLAS; see `Cublas.product`.

        tf32: whether float32 inputs may be rounded to TF32; None is as the environment says.
        Raises MissingExtraError without cuBLAS, DtypeError for other types than float32, float64.
        """
        stream = self._cupy.cuda.get_current_stream().ptr
        if stream not in self._rooms:
            self._rooms[stream] = self.empty(WORKSPACE, np.uint8)
        room = self._rooms[stream]
        blas = self._blas()
        blas.use(stream, room.data.ptr, room.nbytes, self.tf32 if tf32 is None else tf32)
        blas.product(c.dtype, transposed, sizes, a.data.ptr, b.data.ptr, c.data.ptr, strides, beta)

    def _blas(self) -> Cublas:
        """This thread's handle."""
        if not hasattr(self._own, "blas"):
            self._own.blas = Cublas(load())
        return self._own.blas


# What CuPy says that it cannot find, and the package that would bring it.
_MISSING = {"nvidia-cuda-nvrtc": "libnvrtc", "nvidia-cuda-runtime": "CUDA headers"}


def _import() -> Any:
    try:
        import cupy  # noqa: PLC0415  (only who asks for this backend pays for it)
    except ImportError as wrong:
        said = str(wrong.__cause__ or wrong).strip().splitlines()[:1]
        raise DeviceError(
            f"CuPy is installed, but cannot be imported ({', '.join(said)}). Install what fits the "
            "driver: pip install 'weightspace[cuda]' (CUDA 13), or see docs/cuda.md for CUDA 12"
        ) from None
    return cupy
