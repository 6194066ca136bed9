"""Where a backend's arrays live: the few things that engine code asks of memory.

`NumpyDevice` is the memory of `reference`, `exact` and `cpu`. The GPU's is
`cuda.device.CupyDevice`; its stand-in on the CPU is `cuda_host.HostDevice`. All answer the same
questions, so a Network is written once. Arithmetic on device arrays is that of NumPy's own
functions and operators, which CuPy's arrays answer too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np


class Device(Protocol):
    """What a backend's memory answers.

    asynchronous: work is queued, and reading a result waits for it; so loops should seldom look.
    """

    name: str
    asynchronous: bool

    def empty(self, shape: Any, dtype: Any) -> Any:
        """An uninitialised array."""
        ...

    def zeros(self, shape: Any, dtype: Any) -> Any:
        """An array of zeros."""
        ...

    def full(self, shape: Any, fill_value: Any, dtype: Any) -> Any:
        """An array filled with `fill_value`."""
        ...

    def put(self, array: Any) -> Any:
        """`array` on this device, contiguous: itself if it is there already.

        It is for reading: what was read-only may be of a kind that can be written.
        """
        ...

    def get(self, array: Any) -> np.ndarray:
        """`array` as a NumPy array; waits for the work that makes it."""
        ...

    def owns(self, array: Any) -> bool:
        """Whether `array` is an array of this device."""
        ...

    def address(self, array: Any) -> int:
        """Where its first element lies."""
        ...

    def synchronize(self) -> None:
        """Wait for all queued work."""
        ...

    def capture(self, record: Callable[[], None]) -> Callable[[], None]:
        """`record`'s work as one call that does it again: a CUDA graph, where there are such.

        Arrays that `record` uses must stay where they are; it may not allocate or read results.
        """
        ...


class _Writable:
    """The memory of an array, as NumPy's array interface describes it, without "read-only"."""

    def __init__(self, array: np.ndarray) -> None:
        described = array.__array_interface__
        self.__array_interface__ = {**described, "data": (described["data"][0], False)}
        self.array = array  # keeps the memory


def _plain(array: np.ndarray) -> np.ndarray:
    """An array of the kind that compiled kernels know.

    Others are types of their own, for which each kernel would be compiled again (20 to 50 s).
    Read-only memory (np.load with mmap_mode="r", a frozen array) is looked at as if it could be
    written, and not copied: no kernel writes into what it is given to read.
    """
    if not array.flags.aligned:
        return array.copy()
    return np.asarray(_Writable(array))


class NumpyDevice:
    """Ordinary memory."""

    name = "numpy"
    asynchronous = False

    empty = staticmethod(np.empty)
    zeros = staticmethod(np.zeros)
    full = staticmethod(np.full)

    @staticmethod
    def put(array: Any) -> np.ndarray:
        array = np.ascontiguousarray(array)
        return array if array.flags.behaved else _plain(array)

    @staticmethod
    def get(array: Any) -> np.ndarray:
        return np.asarray(array)

    @staticmethod
    def owns(array: Any) -> bool:
        return isinstance(array, np.ndarray)

    @staticmethod
    def address(array: np.ndarray) -> int:
        return array.ctypes.data

    @staticmethod
    def synchronize() -> None:
        """Nothing is queued."""

    @staticmethod
    def capture(record: Callable[[], None]) -> Callable[[], None]:
        return record


NUMPY = NumpyDevice()
