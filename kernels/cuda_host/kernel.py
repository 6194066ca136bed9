"""One kernel, launched with the checks of CUDA and of its own signature.

A launch writes its arguments into memory that was set aside when the kernel was loaded, by one
call of `struct`, and calls into the library once: small trainings make many thousands of launches.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .array import DeviceArray
from .errors import ArgumentError, KernelFault, Report
from .module import LAUNCHING, HostModule
from .reports import read_reports

Grid = tuple[int, ...]

# A GPU's limits that hold for every compute capability since 7.5.
LARGEST_GRID = (2**31 - 1, 65535, 65535)
LARGEST_BLOCK = (1024, 1024, 64)
THREADS_PER_BLOCK = 1024
SHARED_BY_DEFAULT = 48 * 1024


class _Description(ctypes.Structure):
    """`coh_parameter` of cuda_on_host.h."""

    _fields_ = (
        ("size", ctypes.c_int),
        ("is_pointer", ctypes.c_int),
        ("is_constant", ctypes.c_int),
        ("element_size", ctypes.c_int),
        ("element_kind", ctypes.c_char),  # f, i, u, b as in NumPy; s: a structure such as float4
    )


class Parameter:
    """What a kernel takes at one place of its signature."""

    def __init__(self, described: _Description) -> None:
        self.is_pointer = bool(described.is_pointer)
        self.is_constant = bool(described.is_constant)
        self.element_size = described.element_size
        kind = described.element_kind.decode()
        self.dtype = None if kind == "s" else np.dtype(f"{kind}{described.element_size}")
        if not self.is_pointer and self.dtype is None:
            raise ArgumentError("a kernel that takes a structure by value cannot be launched")
        self.scalar = None if self.is_pointer or self.dtype is None else self.dtype.type
        self.format = "Q" if self.dtype is None or self.is_pointer else self.dtype.char

    def __str__(self) -> str:
        name = self.dtype.name if self.dtype is not None else f"{self.element_size}-byte structure"
        const = "const " if self.is_constant and self.is_pointer else ""
        return f"{const}{name}{'*' if self.is_pointer else ''}"


class LoadedKernel:
    """A kernel of one library: its signature and the memory its launches are written to."""

    def __init__(self, module: HostModule, name: str, mode: str) -> None:
        place = module.place(name)
        self.name, self.library = name, module.library(mode)
        functions = self.library.functions
        self.parameters = read_signature(functions[f"coh_signature_{place}"])
        self._values = ctypes.create_string_buffer(8 * max(1, len(self.parameters)))
        self._pack = struct.Struct(
            "@" + "".join(p.format + "0q" for p in self.parameters)
        ).pack_into
        first = ctypes.addressof(self._values)
        count = len(self.parameters)
        self._pointers = (ctypes.c_void_p * max(1, count))(*(first + 8 * i for i in range(count)))
        call = ctypes.cast(functions[f"coh_call_{place}"], ctypes.c_void_p).value
        self._launch = _LaunchRecord(call, ctypes.addressof(self._pointers), count)
        self._checks = mode == "check"

    def __call__(self, grid: Grid, block: Grid, args: Sequence[Any], shared: int, order: int):
        if len(args) != len(self.parameters):
            raise ArgumentError(
                f"{self.name} takes {len(self.parameters)} arguments, got {len(args)}"
            )
        values = [
            argument
            if type(argument) is wanted.scalar
            else argument.address
            if type(argument) is DeviceArray
            and argument._a.dtype is wanted.dtype
            and wanted.is_pointer
            and argument._a.flags.c_contiguous
            else self._accept(place, argument, wanted)
            for place, (argument, wanted) in enumerate(zip(args, self.parameters, strict=True))
        ]
        buffers = self._buffers(args) if self._checks else ()
        with LAUNCHING:
            self._pack(self._values, 0, *values)
            found = self._launch.start(self.library.functions, grid, block, shared, order, buffers)
            if found:
                raise KernelFault(self.name, read_reports(self.library, found))

    def _accept(self, place: int, argument: Any, wanted: Parameter) -> Any:
        """The value to pass for an argument that is not of the usual kind, or an error."""
        if wanted.is_pointer:
            return self._accept_pointer(place, argument, wanted)
        if not isinstance(argument, np.generic):
            raise ArgumentError(
                f"{self.name}, argument {place}: a NumPy scalar is wanted for {wanted}, got "
                f"{type(argument).__name__}; CuPy would pass a Python number as 8 bytes"
            )
        if argument.dtype != wanted.dtype:
            raise ArgumentError(f"{self.name}, argument {place}: {argument.dtype} for {wanted}")
        return argument

    def _accept_pointer(self, place: int, argument: Any, wanted: Parameter) -> int:
        where = f"{self.name}, argument {place}"
        if argument is None:
            return 0
        if not isinstance(argument, DeviceArray):
            raise ArgumentError(
                f"{where}: a device array is wanted for {wanted}, got {type(argument).__name__}"
            )
        if wanted.dtype is not None and argument.dtype != wanted.dtype:
            raise ArgumentError(f"{where}: an array of {argument.dtype} for {wanted}")
        if not argument.flags.c_contiguous:
            raise ArgumentError(
                f"{where}: the array of shape {argument.shape} is not contiguous in memory"
            )
        return argument.address

    def _buffers(self, args: Sequence[Any]) -> list[tuple[int, ...]]:
        """What the checker must know of each array: address, bytes, const, element, argument."""
        return [
            (
                argument.address,
                argument.nbytes,
                0,
                0,
                wanted.is_constant,
                wanted.element_size,
                place,
            )
            for place, (argument, wanted) in enumerate(zip(args, self.parameters, strict=True))
            if isinstance(argument, DeviceArray) and argument.size
        ]


class _LaunchRecord:
    """`coh_launch_record` of cuda_on_host.h: what a launch is, besides its arguments' values."""

    _fixed = struct.Struct("@QQQ")  # call, arguments, buffers
    _varying = struct.Struct("@6Iiiq")  # grid, block, order, number of buffers, shared bytes
    _buffer = struct.Struct("@QQQQiiii")  # `coh_buffer`, the last number unused

    def __init__(self, call: int | None, arguments: int, count: int) -> None:
        self._buffers = ctypes.create_string_buffer(self._buffer.size * max(1, count))
        self._record = ctypes.create_string_buffer(self._fixed.size + self._varying.size)
        self._fixed.pack_into(self._record, 0, call, arguments, ctypes.addressof(self._buffers))
        self._address = ctypes.addressof(self._record)

    def start(
        self,
        functions: ctypes.CDLL,
        grid: Grid,
        block: Grid,
        shared: int,
        order: int,
        buffers: Sequence[tuple[int, ...]],
    ) -> int:
        """Run it; gives the number of reports."""
        for i, buffer in enumerate(buffers):
            self._buffer.pack_into(self._buffers, i * self._buffer.size, *buffer, 0)
        self._varying.pack_into(
            self._record, self._fixed.size, *grid, *block, order, len(buffers), shared
        )
        return functions.coh_launch(self._address)


def read_signature(describe: Callable[[Any], int]) -> tuple[Parameter, ...]:
    """The parameters of a kernel, which the compiler worked out from its type."""
    count = describe(None)
    described = (_Description * max(1, count))()
    describe(described)
    return tuple(Parameter(one) for one in described[:count])


def three(extent: Sequence[int], what: str, largest: Grid, name: str) -> Grid:
    """A grid or block with all three axes, within CUDA's limits."""
    sizes = (*extent, *(1,) * (3 - len(extent)))
    for size, limit in zip(sizes, largest, strict=True):
        if not 1 <= size <= limit:
            text = f"CUDA_ERROR_INVALID_VALUE: {what} {tuple(extent)}, allowed is 1..{largest}"
            raise KernelFault(name, [Report("launch", "launch", text)])
    return sizes


class HostKernel:
    """A kernel with the call signature of cupy.RawKernel; compiled for a mode at its first use."""

    def __init__(self, module: HostModule, name: str) -> None:
        module.place(name)
        self.module, self.name = module, name
        self.max_dynamic_shared_size_bytes = SHARED_BY_DEFAULT
        self._loaded: dict[str, LoadedKernel] = {}
        self._shapes: dict[tuple[Grid, Grid], tuple[Grid, Grid]] = {}

    def loaded(self, mode: str) -> LoadedKernel:
        found = self._loaded.get(mode)
        if found is None:
            found = self._loaded[mode] = LoadedKernel(self.module, self.name, mode)
        return found

    def __call__(
        self,
        grid: Grid,
        block: Grid,
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        mode: str = "fast",
        order: int = 0,
    ) -> None:
        """Run the kernel to its end. `mode` and `order` are the launcher's, not CuPy's."""
        kernel = self.loaded(mode)
        full = self._shapes.get((grid, block)) or self._complete(grid, block)
        if shared_mem > self.max_dynamic_shared_size_bytes:
            limit = f"max_dynamic_shared_size_bytes is {self.max_dynamic_shared_size_bytes}"
            text = f"{shared_mem} bytes of shared memory, but the kernel's {limit}"
            raise KernelFault(self.name, [Report("launch", "launch", text)])
        kernel(*full, args, shared_mem, order)

    def _complete(self, grid: Grid, block: Grid) -> tuple[Grid, Grid]:
        """Both with three axes, checked once for each pair."""
        full = (
            three(grid, "grid", LARGEST_GRID, self.name),
            three(block, "block", LARGEST_BLOCK, self.name),
        )
        threads = full[1][0] * full[1][1] * full[1][2]
        if threads > THREADS_PER_BLOCK:
            text = f"CUDA_ERROR_INVALID_VALUE: block {block} has {threads} threads, allowed is 1024"
            raise KernelFault(self.name, [Report("launch", "launch", text)])
        self._shapes[grid, block] = full
        return full
