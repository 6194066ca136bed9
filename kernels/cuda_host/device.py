"""The device of the backend "cuda-host": a GPU's arrays, modules and launches, on the CPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import SettingError, unknown_name
from .array import DeviceArray
from .build import MODES
from .capture import forbid, perform, record
from .kernel import Grid, HostKernel
from .module import HostModule

ALIGNMENT = 256  # of every allocation, as cudaMalloc promises
GUARD = 256  # bytes on either side of an allocation that belong to no array


class Kernels:
    """A loaded module, with the one method of cupy.RawModule that is used."""

    def __init__(self, module: HostModule) -> None:
        self._module = module
        self._kernels: dict[str, HostKernel] = {}

    def get_function(self, name: str) -> HostKernel:
        if name not in self._kernels:
            self._kernels[name] = HostKernel(self._module, name)
        return self._kernels[name]


def allocate(shape: Any, dtype: Any) -> np.ndarray:
    """Memory for an array, aligned and apart from other arrays: an overrun meets none of them."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64))
    room = np.empty(count * dtype.itemsize + ALIGNMENT + 2 * GUARD, np.uint8)
    start = room.ctypes.data + GUARD
    offset = GUARD + -start % ALIGNMENT
    return room[offset : offset + count * dtype.itemsize].view(dtype).reshape(shape)


class HostDevice:
    """Runs kernels in the mode "fast", or "check" which watches every access to memory.

    order: in which blocks and threads run, 0 forward, 1 reverse, from 2 on a random seed. Both may
    be changed at any time; None takes them from the environment.
    """

    name = "cuda-host"
    asynchronous = True  # it stands in for a GPU

    def __init__(self, mode: str | None = None, order: int | None = None) -> None:
        self.mode = os.environ.get("WEIGHTSPACE_CUDA_HOST", "fast") if mode is None else mode
        given = os.environ.get("WEIGHTSPACE_CUDA_ORDER", "0") if order is None else order
        try:
            self.order = int(given)
        except ValueError:
            raise SettingError(
                f"WEIGHTSPACE_CUDA_ORDER is a number from 0, not '{given}'"
            ) from None

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        if mode not in MODES:
            raise unknown_name("mode of the CUDA host", mode, MODES)
        self._mode = mode

    # arrays

    def empty(self, shape: Any, dtype: Any) -> DeviceArray:
        """Not zeroed, as on a GPU: every byte is 0xFF, which makes floating-point numbers NaN."""
        forbid("empty()")
        array = allocate(shape, dtype)
        array.reshape(-1).view(np.uint8).fill(0xFF)
        return DeviceArray(array)

    def zeros(self, shape: Any, dtype: Any) -> DeviceArray:
        return self.full(shape, 0, dtype)

    def full(self, shape: Any, value: Any, dtype: Any) -> DeviceArray:
        forbid("making an array")
        array = allocate(shape, dtype)
        array.fill(value)
        return DeviceArray(array)

    def put(self, array: np.ndarray | DeviceArray) -> DeviceArray:
        """A contiguous copy of a NumPy array on the device; a device array stays where it is."""
        if isinstance(array, DeviceArray):
            return array if array.flags.c_contiguous else array.copy()
        forbid("put()")
        host = np.asarray(array)
        copied = allocate(host.shape, host.dtype)
        copied[...] = host
        return DeviceArray(copied)

    def get(self, array: DeviceArray) -> np.ndarray:
        """A copy of a device array on the host."""
        return array.get()

    def owns(self, array: Any) -> bool:
        return isinstance(array, DeviceArray)

    def address(self, array: DeviceArray) -> int:
        return array.address

    # kernels

    def module(
        self, source: str, options: Sequence[str], names: Sequence[str], filename: str
    ) -> Kernels:
        """The kernels of one .cu text; they are compiled when first launched."""
        return Kernels(HostModule(source, options, names, filename))

    def launch(
        self,
        function: HostKernel,
        grid: Grid,
        block: Grid,
        args: Sequence[Any],
        shared: int = 0,
    ) -> None:
        """Run a kernel. args: device arrays, None for a null pointer, NumPy scalars."""
        perform(
            lambda: function(
                grid, block, args, shared_mem=shared, mode=self._mode, order=self.order
            )
        )

    def synchronize(self) -> None:
        """Nothing to wait for: a launch runs to its end."""
        forbid("synchronize()")

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record what `work` launches, without running it; the result runs it, as often as called.

        Stands in for a CUDA graph.
        """
        return record(work)
