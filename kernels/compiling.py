"""Compiling: the seconds spent making kernels, which are no part of what their work takes.

Numba says itself when it compiles, and how long. Compilers that we call are timed where they are
called. Loading what was compiled before is not counted: it takes milliseconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_spent: list[float] = []  # by compilers that we call


@contextmanager
def timed() -> Iterator[None]:
    """Count what is done inside as compilation."""
    begun = time.perf_counter()
    try:
        yield
    finally:
        _spent.append(time.perf_counter() - begun)


def seconds() -> float:
    """All seconds of compilation in this process since this was first asked."""
    numba = _listener() if "numba" in sys.modules else None
    return sum(_spent) + (numba.duration if numba is not None and numba.done else 0.0)


def clock() -> float:
    """Seconds, of a clock that stands still while kernels are compiled: for what training takes."""
    return time.perf_counter() - seconds()


@cache
def _listener() -> Any:
    from numba.core import event  # noqa: PLC0415  (only where it is in use)

    listener = event.TimingListener()
    event.register("numba:compile", listener)
    return listener
