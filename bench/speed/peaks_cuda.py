"""The peaks of a CUDA device, measured: copy bandwidth and matrix rates.

Times are those of events on the current stream, the best of a few runs, as for the CPU.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels import get_backend
from ...kernels.errors import DeviceError, MissingExtraError

_COPY_BYTES = 1 << 30  # many times any L2 cache
_SIDES = {"float32": 8192, "float64": 4096}  # many GPUs are slow in float64
_RUNS = {True: 3, False: 10}


def measure(quick: bool = False) -> dict[str, Any] | None:
    """What `describe` says, with copy_gbs, fp32_gflops, tf32_gflops and fp64_gflops; None without
    CuPy or a device.

    A copy moves its bytes twice, once in and once out; a product of side n is 2 n^3 flops. The
    products are cuBLAS's; without it their rates are missing.
    """
    if importlib.util.find_spec("cupy") is None:
        return None
    try:
        device = get_backend("cuda").device
    except DeviceError:  # CuPy is installed, a driver is not
        return None
    runs = _RUNS[quick]
    found = {**describe(), "copy_gbs": 2.0 * _COPY_BYTES / _copy_seconds(runs) * 1e-9}
    for name, dtype in (("fp32", "float32"), ("tf32", "float32"), ("fp64", "float64")):
        try:
            seconds = _product_seconds(device, dtype, name == "tf32", runs)
        except MissingExtraError:
            break
        found[f"{name}_gflops"] = 2.0 * _SIDES[dtype] ** 3 / seconds * 1e-9
    return found


def describe() -> dict[str, Any]:
    """The current device's name, capability ("9.0"), multiprocessors, memory_bytes, l2_bytes, and
    the CUDA versions of its driver and of CuPy."""
    import cupy

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(runtime.getDevice())
    return {
        "name": properties["name"].decode(),
        "capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory_bytes": properties["totalGlobalMem"],
        "l2_bytes": properties["l2CacheSize"],
        "driver": runtime.driverGetVersion(),
        "runtime": runtime.runtimeGetVersion(),
    }


def _copy_seconds(runs: int) -> float:
    import cupy

    source = cupy.ones(_COPY_BYTES // 4, cupy.float32)
    target = cupy.empty_like(source)
    return _best_seconds(lambda: cupy.copyto(target, source), runs)


def _product_seconds(device: Any, dtype: str, tf32: bool, runs: int) -> float:
    """Seconds of a matrix product by cuBLAS. Raises MissingExtraError without it."""
    side = _SIDES[dtype]
    # Random numbers: a GPU draws less power for zeros or ones, and clocks higher.
    left = device.put(np.random.default_rng(0).random((side, side), np.float32).astype(dtype))
    out, sizes = device.empty((side, side), dtype), (side, side, side)

    def product() -> None:
        device.gemm((False, False), sizes, left, left, out, sizes, 0.0, tf32)

    return _best_seconds(product, runs)


def _best_seconds(work: Callable[[], object], runs: int) -> float:
    import cupy

    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    work()
    times = []
    for _ in range(runs):
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end) * 1e-3)
    return min(times)
