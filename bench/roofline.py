"""The roofline: the least time a kernel can take on this machine, from what it must do and move.

A kernel that does F floating-point operations and moves B bytes takes at least
max(F / peak, B / bandwidth) (Williams, Waterman & Patterson, "Roofline", CACM 2009). Which
bandwidth depends on where its arrays lie when it is called again and again, as a bench does: in the
smallest cache that holds all of them, or in memory; and on how it mixes loads and stores, for which
the nearest of the measured streams stands (`peaks.nearest_stream`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..kernels.spec import Traffic
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
    which = "one" if cores == 1 else "all"
    level = level_of(machine, footprint, cores or machine["cores"])
    stream = peaks.nearest_stream(traffic)
    bandwidth = machine["bandwidth_gbs"][level][f"{stream}_{'1' if cores == 1 else 'all'}"]
    peak = machine["fma_gflops"][dtype][which]
    seconds = max(flops / peak, sum(traffic) / bandwidth) * 1e-9
    return Roof(level, stream, peak, bandwidth, seconds)
