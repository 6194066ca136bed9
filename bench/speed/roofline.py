"""The roofline: the least time a kernel can take on this machine, from what it must do and move.

A kernel that does F floating-point operations and moves B bytes takes at least
max(F / peak, B / bandwidth) (Williams, Waterman & Patterson, "Roofline", CACM 2009). Which
bandwidth depends on where its arrays lie when it is called again and again, as a bench does: in the
smallest cache that holds all of them, or in memory; and on how it mixes loads and stores, for which
the nearest of the measured streams stands (`peaks.nearest_stream`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from statistics import median
from typing import Any

from ...kernels.spec import Traffic
from . import machine as machines
from . import peaks


@dataclass(frozen=True)
class Roof:
    """What a kernel is held against. Times in seconds, rates in GFLOP/s and GB/s."""

    level: str  # "L1", "L2", ... or "memory": where its arrays lie
    stream: str  # the measured stream that moves data as it does
    peak_gflops: float
    bandwidth_gbs: float
    seconds: float  # the least time

    @property
    def ridge(self) -> float:
        """The intensity in flops a byte above which arithmetic is the limit."""
        return self.peak_gflops / self.bandwidth_gbs


def level_of(machine: Mapping[str, Any], footprint: int, cores: int) -> str:
    """The smallest cache that `footprint` bytes fit in when `cores` work on them, or "memory".

    `cores` of them have as many private caches, each holding its part.
    """
    for level, size in machine["caches"].items():
        shared = machine["cache_cores"].get(level, 1)
        if footprint <= size * max(1, cores // shared):
            return level
    return "memory"


def roof(
    machine: Mapping[str, Any],
    flops: float,
    traffic: Traffic,
    footprint: int,
    dtype: str = "float32",
    cores: int | None = None,
) -> Roof:
    """The roof over a kernel of `flops` operations, `traffic` and arrays of `footprint` bytes.

    machine: what `machine.measure` returned; cores: 1, or all of them (default).
    """
    count = cores or machine["cores"]
    level = level_of(machine, footprint, count)
    stream = peaks.nearest_stream(traffic)
    bandwidth = machine["bandwidth_gbs"][level][_stream_key(stream, count)]
    peak = machine["fma_gflops"][dtype][_cores_key(count)]
    seconds = max(flops / peak, sum(traffic) / bandwidth) * 1e-9
    return Roof(level, stream, peak, bandwidth, seconds)


def gpu_roof(
    gpu: Mapping[str, Any], flops: float, traffic: Traffic, dtype: str = "float32", rate: str = ""
) -> Roof:
    """The roof over a kernel on a GPU whose cache is cold: a copy's bandwidth, products' rate.

    gpu: what `peaks_cuda.measure` returned; rate: "tf32" where products may use it.
    """
    peak = gpu_rate(gpu, dtype, rate) or math.inf  # not known without cuBLAS
    bandwidth = gpu["copy_gbs"]
    seconds = max(flops / peak, sum(traffic) / bandwidth) * 1e-9
    return Roof("memory", "copy", peak, bandwidth, seconds)


def gpu_rate(gpu: Mapping[str, Any], dtype: str, rate: str = "") -> float | None:
    """GFLOP/s of a GPU's matrix products in `dtype`, or in "tf32"; None where nobody measured."""
    own = {"float32": "fp32", "float64": "fp64"}[dtype]
    return gpu.get(f"{rate if rate and dtype == 'float32' else own}_gflops")


class Peaks:
    """The peaks of this machine, each measured again just before a kernel is held against it.

    On a shared machine memory may be twice as fast a minute later, and two cores may be one for a
    while: a kernel's share of a peak is that of the peak of its own time. `given` peaks are final,
    and so are a GPU's, which is nobody else's. cpu: whether the processor's are wanted at all.
    """

    def __init__(
        self, given: Mapping[str, Any] | None = None, quick: bool = False, cpu: bool = True
    ) -> None:
        self.fixed = given is not None
        measure = machines.measure if cpu else machines.measure_gpu
        self.machine = deepcopy(dict(given or measure(quick)))
        self._seen: dict[tuple[str, str, str], list[float]] = {}

    def roof(self, flops: float, traffic: Traffic, footprint: int, dtype: str, cores: int) -> Roof:
        """`roof`, with the limit that counts (arithmetic or bandwidth) as it is now."""
        over = roof(self.machine, flops, traffic, footprint, dtype, cores)
        if self.fixed:
            return over
        if flops / over.peak_gflops >= sum(traffic) / over.bandwidth_gbs:
            rate = peaks.fma_rate(dtype, cores, quick=True)
            self._set("fma_gflops", dtype, _cores_key(cores), rate)
        else:
            here = self.machine
            size = peaks.working_set(over.level, here["caches"], here["cache_cores"], cores)
            rate = peaks.bandwidth(over.stream, size, cores, quick=True)
            self._set("bandwidth_gbs", over.level, _stream_key(over.stream, cores), rate)
        return roof(self.machine, flops, traffic, footprint, dtype, cores)

    def blas(self, dtype: str, cores: int) -> float:
        """GFLOP/s of NumPy's BLAS now, a product a thread."""
        if not self.fixed:
            rate = peaks.blas_rate(dtype, cores, quick=True)
            self._set("blas_gflops", dtype, _cores_key(cores), rate)
        return float(self.machine["blas_gflops"][dtype][_cores_key(cores)])

    def _set(self, kind: str, row: str, column: str, rate: float) -> None:
        table = self.machine[kind][row]
        self._seen.setdefault((kind, row, column), [table[column]]).append(rate)
        table[column] = rate

    def typical(self) -> dict[str, Any]:
        """The machine, each rate the median of all that was measured of it."""
        found = deepcopy(self.machine)
        for (kind, row, column), rates in self._seen.items():
            found[kind][row][column] = median(rates)
        return found


def _cores_key(cores: int) -> str:
    return "one" if cores == 1 else "all"


def _stream_key(stream: str, cores: int) -> str:
    return f"{stream}_{'1' if cores == 1 else 'all'}"
