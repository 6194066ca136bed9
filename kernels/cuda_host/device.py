"""The device of the backend "cuda-host": a GPU's arrays, modules and launches, on the CPU."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import SettingError, unknown_name
from .array import DeviceArray
from .build import MODES
from .capture import capturing, forbid, perform, record
from .errors import CaptureError
from .kernel import HostKernel, HostModule
from .library import KernelFile
from .memory import allocate, owner_of
from .record import Grid


def owners(args: Sequence[Any]) -> list[weakref.ref]:
    """The memory that arrays of a captured launch lie in. A CUDA graph does not keep it alive."""
    arrays = (argument._a for argument in args if isinstance(argument, DeviceArray))
    return [weakref.ref(owner_of(array)) for array in arrays]


def all_alive(memory: Sequence[weakref.ref], kernel: str) -> None:
    """Raise CaptureError if an array has been freed since its launch was captured."""
    if any(one() is None for one in memory):
        raise CaptureError(
            f"{kernel} is replayed, but an array it was captured with is no more: a CUDA graph "
            "holds addresses, so its arrays must be kept as long as it is"
        )


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

    def put(self, array: Any) -> DeviceArray:
        """A contiguous copy of a NumPy array on the device; a contiguous device array itself."""
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
    ) -> HostModule:
        """The kernels of one .cu text; they are compiled when first launched."""
        return HostModule(KernelFile(source, options, names, filename))

    def launch(
        self,
        function: HostKernel,
        grid: Grid,
        block: Grid,
        args: Sequence[Any],
        shared: int = 0,
    ) -> None:
        """Run a kernel. args: device arrays, None for a null pointer, NumPy scalars.

        A launch that is captured is checked at once and runs, in today's mode, when replayed.
        """
        launch = function.prepare(grid, block, args, shared, self._mode)
        if capturing():
            memory = owners(args)

            def replay() -> None:
                all_alive(memory, function.name)
                launch.run(self.order)

            perform(replay)
        else:
            launch.run(self.order)

    def synchronize(self) -> None:
        """Nothing to wait for: a launch runs to its end."""
        forbid("synchronize()")

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record what `work` launches, without running it; the result runs it, as often as called.

        Stands in for a CUDA graph.
        """
        return record(work)
