"""The peaks of a CUDA device, measured through CuPy: copy bandwidth and matrix rates.

Times are those of events on the current stream, the best of a few runs, as for the CPU.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

_COPY_BYTES = 1 << 30  # many times any L2 cache
_SIDE = 8192
_RUNS = {True: 3, False: 10}


def measure(quick: bool = False) -> dict[str, Any] | None:
    """The device's name, copy_gbs, fp32_gflops and tf32_gflops; None without CuPy or a device.

    A copy moves its bytes twice, once in and once out; a product of side n is 2 n^3 flops.
    """
    if importlib.util.find_spec("cupy") is None:
        return None
    import cupy

    try:
        if cupy.cuda.runtime.getDeviceCount() == 0:
            return None
    except cupy.cuda.runtime.CUDARuntimeError:  # CuPy is installed, a driver is not
        return None
    runs = _RUNS[quick]
    copy = _copy_seconds(cupy, runs)
    flops = 2.0 * _SIDE**3
    rates = {name: flops / _product_seconds(cupy, name, runs) for name in ("fp32", "tf32")}
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "name": properties["name"].decode(),
        "copy_gbs": 2.0 * _COPY_BYTES / copy * 1e-9,
        **{f"{name}_gflops": rate * 1e-9 for name, rate in rates.items()},
    }


def _copy_seconds(cupy: Any, runs: int) -> float:
    source = cupy.ones(_COPY_BYTES // 4, cupy.float32)
    target = cupy.empty_like(source)
    return _best_seconds(cupy, lambda: cupy.copyto(target, source), runs)


def _product_seconds(cupy: Any, kind: str, runs: int) -> float:
    """Seconds of a float32 matrix product, in full precision or on TF32 tensor cores."""
    from cupy._core import _routines_linalg as linalg

    left = cupy.random.random((_SIDE, _SIDE), dtype=cupy.float32)
    out = cupy.empty_like(left)
    before = linalg.get_compute_type(cupy.float32)
    wanted = {"fp32": linalg.COMPUTE_TYPE_FP32, "tf32": linalg.COMPUTE_TYPE_TF32}[kind]
    linalg.set_compute_type(cupy.float32, wanted)
    try:
        return _best_seconds(cupy, lambda: cupy.matmul(left, left, out=out), runs)
    finally:
        linalg.set_compute_type(cupy.float32, before)


def _best_seconds(cupy: Any, work: Callable[[], object], runs: int) -> float:
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
