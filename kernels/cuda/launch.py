"""From a kernel's name and template arguments to a launch: compiled when first used, then kept.

Each source file is one module for each number type, compiled at its first use with every
instantiation that its family lists, for the device at hand; CuPy keeps the result on disk. (One
module for all would make a first dense layer wait for every convolution.) A launch goes to the
current stream, allocates nothing and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from ..errors import DtypeError
from ..series import FLOAT32, FLOAT64, LN2, LOG2E, MIDDLE

# -ftz=true and --device-as-default-execution-space are CuPy's own. Fast math is never on, and
# nothing is fused but what says fma: as in kernels/cpu, bits follow from the sources alone.
OPTIONS = ("--std=c++17", "--fmad=false")
C_TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
REAL = tuple(C_TYPES.values())
PACKS = {"float": 4, "double": 2}  # numbers in 16 bytes, which a thread best moves at once
BY_PACK = tuple(f"{real}, {pack}" for real in REAL for pack in (PACKS[real], 1))
THREADS = 256  # of an elementwise kernel's block
BASE = ("exponential.cuh", "common.cuh")  # headers of every source
MOST_BLOCKS = 132 * 16  # enough to fill a large GPU; kernels loop over what is left


# The numbers of exponential.cuh, as macros.
_SERIES = {
    f"SERIES_{real}_{field}": ", ".join(map(repr, np.atleast_1d(value).tolist()))
    for real, constants in zip(REAL, (FLOAT32, FLOAT64), strict=True)
    for field, value in asdict(constants).items()
} | {"SERIES_LN2": repr(LN2), "SERIES_LOG2E": repr(LOG2E), "SERIES_MIDDLE": repr(MIDDLE)}


class Source(NamedTuple):
    """A source file, headers beside BASE, and all instantiations: kernel -> template arguments.

    macros: name -> text, defined before the headers.
    """

    file: str
    kernels: dict[str, tuple[str, ...]]
    headers: tuple[str, ...] = ()
    macros: Mapping[str, str] = {}

    def names(self, real: str | None = None) -> tuple[str, ...]:
        """The name expressions of all instantiations, or of those for the C type `real`.

        real "": those that have to do with no number type, which are a module of their own.
        """
        return tuple(
            f"{kernel}<{arguments}>"
            for kernel, every in self.kernels.items()
            for arguments in every
            if real in (None, next((r for r in REAL if r in arguments), ""))
        )

    def text(self) -> str:
        """The headers and the file as one text; compilers report lines of the file they are in."""
        folder = resources.files(str(__package__))
        macros = {**_SERIES, **self.macros}
        parts = [f"#define {name} {text}" for name, text in macros.items()]
        for name in (*BASE, *self.headers, self.file):
            parts.append(f'#line 1 "{name}"\n{(folder / name).read_text()}')
        return "\n".join(parts)


class Launcher:
    """The compiled kernels of one device."""

    def __init__(self, device: Any, sources: Iterable[Source]) -> None:
        self.device = device
        self._home = {
            name: (source, real)
            for source in sources
            for real in (*REAL, "")
            for name in source.names(real)
        }
        self._functions: dict[str, Any] = {}

    def __call__(
        self,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        *args: Any,
        shared: int = 0,
    ) -> None:
        """Launch `name`, a name expression such as "softmax<float>", on the current stream.

        args: device arrays, None for a null pointer, NumPy scalars of the parameters' types.
        """
        function = self._functions.get(name) or self._load(name)
        self.device.launch(function, grid, block, args, shared)

    def _load(self, name: str) -> Any:
        source, real = self._home[name]
        names = source.names(real)
        module = self.device.module(source.text(), OPTIONS, names, source.file)
        for each in names:
            self._functions[each] = module.get_function(each)
        return self._functions[name]


class Family:
    """Kernels of one family: methods that check, size and launch. `CudaOps` inherits from all."""

    def __init__(self, device: Any, launch: Launcher) -> None:
        self.device = device
        self.launch = launch

    def over(self, kernel: str, array: Any, count: int, *args: Any, each: int = 1) -> None:
        """Launch an elementwise kernel of `array`'s type over `count` elements, its first argument.

        each: how many elements a thread takes at once. The kernel loops, so any grid does; none is
        launched for no elements.
        """
        if count:
            blocks = min(ceil_div(count, THREADS * each), MOST_BLOCKS)
            name = f"{kernel}<{c_type(array)}>"
            self.launch(name, (blocks,), (THREADS,), np.int64(count), *args)

    def over_rows(self, name: str, rows: int, places: int, *args: Any, shared: int = 0) -> None:
        """Launch a kernel over the `places` of each of `rows` rows, its first two arguments.

        Neighbouring threads take neighbouring places; where rows are short, a block takes several.
        As with `over`, any grid does.
        """
        if rows and places:
            across = min(1 << (places - 1).bit_length(), THREADS)
            down = THREADS // across
            blocks = min(ceil_div(rows, down), MOST_BLOCKS)
            beside = min(ceil_div(places, across), max(MOST_BLOCKS // blocks, 1))
            sizes = np.int32(rows), np.int32(places)
            self.launch(name, (blocks, beside), (across, down), *sizes, *args, shared=shared)

    def over_columns(self, name: str, columns: int, rows: int, *args: Any) -> None:
        """Launch a kernel whose blocks own 32 columns, and take up to 32 rows of them at a time."""
        self.launch(name, (ceil_div(columns, 32),), (32, 8 if rows <= 8 else 32), *args)

    def pack(self, *arrays: Any) -> int:
        """How many channels, of arrays that have the same last axis, a thread may move at once."""
        width = PACKS[c_type(arrays[0])]
        fits = arrays[0].shape[-1] % width == 0 and not any(
            self.device.address(array) % 16 for array in arrays if array is not None
        )
        return width if fits else 1


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def c_type(array: Any) -> str:
    """The C name of an array's type. Raises DtypeError for one that kernels are not made for."""
    try:
        return C_TYPES[array.dtype]
    except KeyError:
        raise DtypeError(
            f"the CUDA kernels compute in float32 and float64; they got {array.dtype}"
        ) from None


def moment(step: Any) -> tuple[Any, np.int64]:
    """The arguments `clock` and `step` of a kernel: an int64 array (1,) or a number."""
    if isinstance(step, (int, np.integer)):
        return None, np.int64(step)
    return step, np.int64(0)


def contiguous(*arrays: Any) -> None:
    """Raise ValueError for an array that is not C-contiguous: kernels see its address alone."""
    for array in arrays:
        if array is not None and not array.flags.c_contiguous:
            raise ValueError(
                f"an array of shape {array.shape} has strides {array.strides}; CUDA kernels take "
                "C-contiguous arrays: copy it first"
            )


def row_stride(array: Any) -> np.int64:
    """Elements from one row (of axis 0) to the next; what follows must be contiguous."""
    stride = array.itemsize
    for size, step in zip(array.shape[:0:-1], array.strides[:0:-1], strict=True):
        if size > 1 and step != stride:
            raise ValueError(
                f"an array of shape {array.shape} has strides {array.strides}; rows may lie apart, "
                "but within a row the last axis must be contiguous"
            )
        stride *= size
    rows_apart = array.strides[0] if len(array) > 1 else stride
    return np.int64(rows_apart // array.itemsize)
