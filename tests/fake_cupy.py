"""Stand-ins for CuPy and cuBLAS on NumPy's memory: what `CupyDevice` calls, and no more.

They answer to CuPy's names, as read in the sources of CuPy 14.2, and write down what they were
asked. Kernels do not run here: `cuda-host` is for that.
"""

from __future__ import annotations

import ctypes
import types
from typing import Any

import numpy as np


class CUDARuntimeError(RuntimeError):
    pass


class OutOfMemoryError(MemoryError):
    pass


class CompileException(Exception):  # noqa: N818 - CuPy's name
    pass


class Array(np.ndarray):
    """cupy.ndarray: `data.ptr` is where it lies."""

    @property
    def data(self) -> Any:
        def memset_async(value: int, size: int) -> None:
            Event.log.append(f"memset {size}")

        return types.SimpleNamespace(ptr=self.ctypes.data, memset_async=memset_async)


class Event:
    """An event of a GPU whose clock stands at `now` milliseconds, which only the test moves."""

    now = 0.0
    log: list[str]

    def record(self) -> None:
        self.at = Event.now
        Event.log.append("record")

    def synchronize(self) -> None:
        Event.log.append("synchronize")


class Function:
    """A kernel that writes down its launches."""

    def __init__(self) -> None:
        self.launches: list[Any] = []
        self.max_dynamic_shared_size_bytes = 0

    def __call__(self, grid: tuple, block: tuple, args: tuple, *, shared_mem: int = 0) -> None:
        self.launches.append((grid, block, args, shared_mem))


class RawModule:
    wrong: Exception | None = None  # what `compile` raises

    def __init__(self, *, code: str, options: tuple = (), name_expressions: Any = None) -> None:
        self.asked = code, options, name_expressions

    def compile(self) -> None:
        if self.wrong is not None:
            raise self.wrong

    def get_function(self, name: str) -> Function:
        return Function()


class Stream:
    """A stream, or with no `log` the default one, which cannot capture."""

    current: Stream
    made = 0

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        Stream.made += 1
        self.ptr = 0 if null else 1000 + Stream.made
        self.events: list[str] = []

    def __enter__(self) -> Stream:
        self._before, Stream.current = Stream.current, self
        return self

    def __exit__(self, *_: object) -> None:
        Stream.current = self._before

    def synchronize(self) -> None:
        self.events.append("synchronize")

    def begin_capture(self) -> None:
        assert self.ptr, "cannot capture on the default (legacy) stream"
        self.events.append("begin")

    def end_capture(self) -> Any:
        self.events.append("end")
        if "broken" in self.events:
            raise CUDARuntimeError("cudaErrorStreamCaptureInvalidated")
        return types.SimpleNamespace(launch=lambda: Stream.current.events.append("graph"))


def cupy(devices: int = 1) -> Any:
    """The module `cupy`, with so many GPUs; -1 is no driver."""

    def count() -> int:
        if devices < 0:
            raise CUDARuntimeError("cudaErrorInsufficientDriver")
        return devices

    def new(make: Any) -> Any:
        return lambda *arguments: make(*arguments).view(Array)

    Stream.current = Stream(null=True)
    Event.now, Event.log = 0.0, []
    made: Any = types.ModuleType("cupy")
    made.__version__ = "14.2.0"
    made.ndarray, made.RawModule = Array, type("RawModule", (RawModule,), {})
    names = ("empty", "zeros", "full", "ones", "ascontiguousarray", "empty_like")
    for name in (*names, "zeros_like", "concatenate"):
        setattr(made, name, new(getattr(np, name)))
    made.asarray = lambda a: a if isinstance(a, Array) else np.array(a).view(Array)
    made.asnumpy, made.copyto, made.sqrt = np.array, np.copyto, np.sqrt
    made.float32 = np.float32
    made.cuda = types.SimpleNamespace(
        runtime=types.SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            getDeviceCount=count,
            memGetInfo=lambda: (3 << 20, 80 << 20),
            getDevice=lambda: 0,
            getDeviceProperties=lambda _: {
                "name": b"NVIDIA Stand-in",
                "major": 9,
                "minor": 0,
                "multiProcessorCount": 132,
                "totalGlobalMem": 80 << 30,
                "l2CacheSize": 50 << 20,
            },
            driverGetVersion=lambda: 13000,
            runtimeGetVersion=lambda: 13020,
        ),
        memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        compiler=types.SimpleNamespace(CompileException=CompileException),
        Stream=Stream,
        Event=Event,
        get_elapsed_time=lambda begin, end: end.at - begin.at,
        get_current_stream=lambda: Stream.current,
    )
    return made


# ---- cuBLAS -------------------------------------------------------------------------------------

_REALS = {"cublasSgemm_v2": ctypes.c_float, "cublasDgemm_v2": ctypes.c_double}


def _columns(address: int, real: Any, rows: int, columns: int, leading: int) -> np.ndarray:
    """The matrix at `address`, counted by columns `leading` elements apart."""
    assert leading >= max(1, rows), "a leading dimension is at least the rows"
    size = ctypes.sizeof(real)
    flat = np.ctypeslib.as_array((real * (leading * (columns - 1) + rows)).from_address(address))
    return np.lib.stride_tricks.as_strided(flat, (rows, columns), (size, size * leading))


def _product(real: Any) -> Any:
    def product(handle, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):  # type: ignore[no-untyped-def]
        left = _columns(a, real, *((k, m) if op_a else (m, k)), lda)
        right = _columns(b, real, *((n, k) if op_b else (k, n)), ldb)
        out = _columns(c, real, m, n, ldc)
        one, factor = (real.from_address(at).value for at in (alpha, beta))
        made = one * (left.T if op_a else left) @ (right.T if op_b else right)
        out[...] = made if factor == 0 else made + factor * out
        return 0

    return product


def cublas(prototypes: dict[str, tuple[Any, ...]], status: int = 0) -> Any:
    """libcublas as ctypes would load it; `log` holds what was set. status: of making a handle."""
    log: list[tuple[Any, ...]] = []

    def create(handle: int) -> int:
        ctypes.c_void_p.from_address(handle).value = 77
        return status

    def note(name: str) -> Any:
        def setter(*arguments: Any) -> int:
            log.append((name, *arguments))
            return 0

        return setter

    bodies = {name: _product(real) for name, real in _REALS.items()} | {"cublasCreate_v2": create}
    functions = {
        name: ctypes.CFUNCTYPE(ctypes.c_int, *arguments)(bodies.get(name, note(name)))
        for name, arguments in prototypes.items()
    }
    return types.SimpleNamespace(log=log, **functions)
