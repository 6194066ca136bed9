"""Timing kernels of a GPU by its own clock: events on the current stream, from a cold L2 cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

from . import peaks_cuda, timing

# Written between two calls. Several times any L2 cache; and writing it takes longer than Python
# needs to queue a call, so that the call's launches follow each other without a gap.
_FLUSH_BYTES = 512 << 20
_MOST_CALLS = 50  # of a sample: each is timed alone, so more would not make it more exact


class Clock(Protocol):
    """How calls are timed."""

    def calibrate(self, call: Callable[[], object], sample_seconds: float) -> int:
        """How many calls make a sample of at least so many seconds, after warming up."""
        ...

    def time_batch(self, call: Callable[[], object], calls: int) -> float:
        """Seconds per call of so many calls."""
        ...


class WallClock:
    """The process's own clock: a call is over when it returns."""

    calibrate = staticmethod(timing.calibrate)
    time_batch = staticmethod(timing.time_batch)


class EventClock:
    """The GPU's clock, through CuPy's events. Every call finds L2 full of something else.

    cupy: the module, or what stands in for it.
    """

    def __init__(self, cupy: Any) -> None:
        self._cuda = cupy.cuda
        self._dirt = cupy.empty(_FLUSH_BYTES, "uint8")

    def calibrate(self, call: Callable[[], object], sample_seconds: float) -> int:
        """How many calls make a sample of at least so many seconds, after warming up."""
        self.time_batch(call, 3)
        each = min(self.time_batch(call, 1) for _ in range(3))
        return min(max(1, math.ceil(sample_seconds / max(each, 1e-9))), _MOST_CALLS)

    def time_batch(self, call: Callable[[], object], calls: int) -> float:
        """Seconds per call, from event to event; what is between two calls does not count."""
        pairs = [(self._cuda.Event(), self._cuda.Event()) for _ in range(calls)]
        for begin, end in pairs:
            self._dirt.data.memset_async(0, _FLUSH_BYTES)
            begin.record()
            call()
            end.record()
        pairs[-1][1].synchronize()
        return sum(self._cuda.get_elapsed_time(*pair) for pair in pairs) * 1e-3 / calls


@cache
def clock(backend: str) -> Clock:
    """What the kernels of a backend are timed by."""
    if backend != "cuda":
        return WallClock()
    import cupy

    return EventClock(cupy)


def device_name(backend: str) -> str:
    """The GPU that a backend computes on; "" is this machine's processor."""
    return peaks_cuda.describe()["name"] if backend == "cuda" else ""
