"""One kernel, launched with the checks of CUDA and of its own signature."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

from .array import DeviceArray
from .errors import ArgumentError, KernelFault, Report
from .library import LAUNCHING, KernelFile
from .parameters import read_signature
from .record import Buffer, Grid, LaunchRecord
from .reports import read_reports

# A GPU's limits, the same for every compute capability since 7.5.
LARGEST_GRID = (2**31 - 1, 65535, 65535)
LARGEST_BLOCK = (1024, 1024, 64)
THREADS_PER_BLOCK = 1024
SHARED_BY_DEFAULT = 48 * 1024  # what a kernel may ask for before it raises its limit


class Launch(NamedTuple):
    """A launch whose arguments were accepted."""

    kernel: LoadedKernel
    grid: Grid
    block: Grid
    values: list[Any]
    buffers: Sequence[Buffer]
    shared: int

    def run(self, order: int) -> None:
        """Run the kernel to its end; raises KernelFault for what was found."""
        library, record = self.kernel.library, self.kernel.record
        with LAUNCHING:
            found = record.start(
                library.functions.coh_launch,
                self.grid,
                self.block,
                self.values,
                self.buffers,
                self.shared,
                order,
            )
            if found:
                raise KernelFault(self.kernel.name, read_reports(library, found))


class LoadedKernel:
    """A kernel compiled for one mode."""

    def __init__(self, file: KernelFile, name: str, mode: str) -> None:
        place = file.place(name)
        self.name, self.library = name, file.library(mode)
        functions = self.library.functions
        self.parameters = read_signature(functions[f"coh_signature_{place}"])
        call = ctypes.cast(functions[f"coh_call_{place}"], ctypes.c_void_p).value
        assert call is not None
        formats = [one.format for one in self.parameters]
        self.record = LaunchRecord(call, self.library.layout, formats)
        self.checks = mode == "check"

    def accept(self, args: Sequence[Any]) -> list[Any]:
        """The numbers and addresses to pass; raises ArgumentError for what does not fit."""
        if len(args) != len(self.parameters):
            raise ArgumentError(
                f"{self.name} takes {len(self.parameters)} arguments, got {len(args)}"
            )
        values = []
        for place, (argument, wanted) in enumerate(zip(args, self.parameters, strict=True)):
            if type(argument) is wanted.scalar:  # nearly always so for a number
                values.append(argument)
                continue
            try:
                values.append(wanted.accept(argument))
            except ArgumentError as wrong:
                raise ArgumentError(f"{self.name}, argument {place}: {wrong}") from None
        return values

    def buffers(self, args: Sequence[Any]) -> list[Buffer]:
        """What the checker must know of the arrays."""
        return [
            (*argument.extent, wanted.is_constant, wanted.element_size, place, 0)
            for place, (argument, wanted) in enumerate(zip(args, self.parameters, strict=True))
            if isinstance(argument, DeviceArray) and argument.size and argument.extent
        ]


class HostKernel:
    """A kernel in all modes; compiled for each at its first use there."""

    def __init__(self, file: KernelFile, name: str) -> None:
        file.place(name)
        self.file, self.name = file, name
        self.max_dynamic_shared_size_bytes = SHARED_BY_DEFAULT
        self._loaded: dict[str, LoadedKernel] = {}
        self._shapes: dict[tuple[Grid, Grid], tuple[Grid, Grid]] = {}

    def loaded(self, mode: str) -> LoadedKernel:
        found = self._loaded.get(mode)
        if found is None:
            found = self._loaded[mode] = LoadedKernel(self.file, self.name, mode)
        return found

    def prepare(
        self, grid: Grid, block: Grid, args: Sequence[Any], shared: int, mode: str
    ) -> Launch:
        """A launch with everything checked that can be checked before it runs."""
        kernel = self.loaded(mode)
        full = self._shapes.get((grid, block)) or self._complete(grid, block)
        if shared > self.max_dynamic_shared_size_bytes:
            limit = f"max_dynamic_shared_size_bytes is {self.max_dynamic_shared_size_bytes}"
            self._refuse(f"{shared} bytes of dynamic shared memory, but {limit}")
        values = kernel.accept(args)
        buffers = kernel.buffers(args) if kernel.checks else ()
        return Launch(kernel, *full, values, buffers, shared)

    def _complete(self, grid: Grid, block: Grid) -> tuple[Grid, Grid]:
        """Both with three axes; checked once for each pair."""
        full = self._three(grid, LARGEST_GRID, "grid"), self._three(block, LARGEST_BLOCK, "block")
        x, y, z = full[1]
        if x * y * z > THREADS_PER_BLOCK:
            self._refuse(f"a block of {block} has {x * y * z} threads, at most 1024 are allowed")
        self._shapes[grid, block] = full
        return full

    def _three(self, extent: Grid, largest: Grid, what: str) -> Grid:
        sizes = (*map(int, extent), *(1,) * (3 - len(extent)))
        if len(sizes) != 3 or not all(
            1 <= size <= limit for size, limit in zip(sizes, largest, strict=True)
        ):
            self._refuse(f"the {what} {tuple(extent)} is not within 1 and {largest}")
        return sizes

    def _refuse(self, why: str) -> None:
        raise KernelFault(self.name, [Report("launch", "launch", why)])


class HostModule:
    """The kernels of one file, with the one method of cupy.RawModule that is used."""

    def __init__(self, file: KernelFile) -> None:
        self._file = file
        self._kernels: dict[str, HostKernel] = {}

    def get_function(self, name: str) -> HostKernel:
        if name not in self._kernels:
            self._kernels[name] = HostKernel(self._file, name)
        return self._kernels[name]
