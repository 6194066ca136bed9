"""The C kernels on this machine: compiled by its C compiler, called through ctypes.

That is for tests and study; what is exported is the same text. What was compiled is kept by
`kernels.places`, under a hash of the text, the flags and the compiler.
"""

from __future__ import annotations

import ctypes
import hashlib
import inspect
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import Pair
from ..device import NUMPY, Device
from ..errors import CompileError, DtypeError, MissingCompilerError, ShapeError
from ..places import folder_for
from ..spec import KERNELS
from . import conv_plan
from .signature import DTYPES, Parameter, letters, parameters
from .sources import PREFIX, kernels, needed, preamble

HEADERS = "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n"
STRICT = (
    "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wdouble-promotion", "-Wconversion",
    "-ffp-contract=off",
)  # fmt: skip
_CTYPES: dict[str, Any] = {
    "float": ctypes.c_float, "double": ctypes.c_double, "int": ctypes.c_int,
    "uint32_t": ctypes.c_uint32, "uint64_t": ctypes.c_uint64,
}  # fmt: skip


@cache
def compiler() -> str:
    """The path of the C compiler: $CC, or gcc, clang or cc."""
    names = [os.environ["CC"]] if os.environ.get("CC") else ["gcc", "clang", "cc"]
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    raise MissingCompilerError(
        f"no C compiler was found ({', '.join(names)}), and the backend 'c' compiles its kernels "
        "with one: install gcc (Debian, Ubuntu: apt install gcc), or set CC to its path"
    )


@cache
def _version(path: str) -> str:
    """What a compiler says of itself: another one makes other code."""
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return said.stdout


@cache
def machine_flags() -> tuple[str, ...]:
    """What lets the compiler use this processor's fma, if it has one."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ()
    told = Path("/proc/cpuinfo")
    return ("-mfma",) if not told.exists() or " fma " in told.read_text() else ()


def source(names: Sequence[str]) -> str:
    """One C file: the functions of kernels `names` and all that they call, and a way in to each,
    `c_NAME`."""
    parts = [HEADERS, preamble()]
    ways = [(name, way) for name in names for way in conv_plan.functions(name)]
    parts += [each.text for each in needed([PREFIX + way for _, way in ways])]
    for name, way in ways:
        given = parameters(name)
        passed = ", ".join(f"{p.name}0, {p.name}1" if p.kind == "pair" else p.name for p in given)
        declared = ", ".join(p.declared for p in given)
        way_in = f"void c_{way}({declared})"
        parts.append(f"{way_in};\n{way_in} {{\n    {PREFIX}{way}({passed});\n}}\n")
    return "\n".join(parts)


def build(text: str, flags: Sequence[str]) -> Path:
    """The shared library of a C file, compiled or found. Raises CompileError."""
    folder = folder_for("c")
    everything = "\0".join((text, *flags, compiler(), _version(compiler())))
    target = folder / f"kernels-{hashlib.sha256(everything.encode()).hexdigest()[:24]}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=folder) as inside:
            file, made = Path(inside, "kernels.c"), Path(inside, "kernels.so")
            file.write_text(text)
            command = [compiler(), *flags, "-shared", "-fPIC", str(file), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CompileError(f"{compiler()} refused the source:\n{done.stderr.strip()}")
            os.replace(made, target)
    return target


class Library:
    """Compiled kernels, called with NumPy arrays."""

    def __init__(
        self, names: Sequence[str], flags: Sequence[str] = (), winograd: bool = True
    ) -> None:
        """winograd: False where convolutions go directly, whatever their sizes."""
        text, self._winograd = source(names), winograd
        self._loaded = ctypes.CDLL(str(build(text, (*STRICT, "-O2", *machine_flags(), *flags))))

    def call(self, kernel: str, *arguments: Any) -> None:
        """Call a kernel. Raises DtypeError for floats that are not float32, ValueError for scratch
        that is too small."""
        declared = parameters(kernel)
        names = list(KERNELS[kernel].axes)
        arrays = {n: a for n, a in zip(names, arguments, strict=True) if isinstance(a, np.ndarray)}
        sizes = sizes_of(kernel, {name: array.shape for name, array in arrays.items()})
        by_name = dict(zip(names, arguments, strict=True))
        plan = conv_plan.plan(
            kernel, dict(zip(letters(kernel), sizes, strict=True)), by_name, self._winograd
        )
        room = getattr(by_name.get("work"), "size", 0)
        if room < plan.work:
            raise ValueError(
                f"{kernel} got scratch of {room} elements; it needs {plan.work}: ask "
                "conv2d_workspace"
            )
        passed: list[Any] = []
        given: Any
        back: list[tuple[np.ndarray, np.ndarray]] = []
        for parameter, given in zip(declared, (*arguments, *sizes), strict=True):
            if parameter.kind == "array":
                passed.append(_pointer(kernel, parameter, given, back))
            elif parameter.kind == "pair":
                passed += [ctypes.c_int(int(each)) for each in given]
            else:
                passed.append(_CTYPES[parameter.type](given))
        self._loaded[f"c_{plan.function}"](*passed)
        for array, moved in back:
            array[...] = moved.reshape(array.shape)


def sizes_of(kernel: str, shapes: dict[str, tuple[int, ...]]) -> list[int]:
    """The sizes that a kernel's C function is given, for arrays of these shapes."""
    found = KERNELS[kernel].sizes_of({name: shapes[name] for name in shapes
                                      if KERNELS[kernel].axes[name] is not None})  # fmt: skip
    return [found.get(letter, 1) for letter in letters(kernel)]


def _pointer(
    kernel: str, parameter: Parameter, given: Any, back: list[tuple[np.ndarray, np.ndarray]]
) -> Any:
    """The address of an array as C wants it; one that had to be moved is put into `back`."""
    if given is None:
        return None
    wanted = DTYPES[parameter.type]
    if given.dtype.kind == "f" and given.dtype != wanted:
        raise DtypeError(
            f"{kernel} got {parameter.name} in {given.dtype}; the C kernels take {wanted}"
        )
    moved = given if given.flags.c_contiguous else np.ascontiguousarray(given)
    if moved.dtype != wanted:
        moved = moved.view(wanted) if given.dtype == np.bool_ else moved.astype(wanted)
    if parameter.written and moved.base is not given and moved is not given:
        back.append((given, moved))
    return moved.ctypes.data_as(ctypes.c_void_p)


def _whole_words(array: np.ndarray) -> np.ndarray:
    """Whole numbers of 4 or 8 bytes as float32 of the same bits: for rows that are only copied.

    Shorter ones become float32, which holds all of them. Raises ShapeError for strided rows.
    """
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 4:
        return array
    if not array.flags.c_contiguous:
        raise ShapeError(
            "gather_rows got whole numbers that do not lie in one piece, and the C kernel copies "
            "rows that do: give it a contiguous array"
        )
    return array.reshape(len(array), -1).view(np.float32)


def _method(name: str) -> Callable[..., None]:
    """The kernel `name` as a method, with the arguments of the contract."""

    def call(self: Ops, *arguments: Any) -> None:
        if name == "gather_rows":
            x, rows, out = arguments
            arguments = _whole_words(x), rows, _whole_words(out)
        _all_kernels(self.winograd).call(name, *arguments)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    given = [inspect.Parameter(each, kind) for each in ("self", *KERNELS[name].axes)]
    call.__signature__ = inspect.Signature(given)  # type: ignore[attr-defined]
    call.__name__ = name
    return call


class Ops:
    """The backend: a function a kernel, compiled together when the first is called.

    Kernels raise DtypeError for arrays in float64. winograd: False lets every convolution go
    directly, which takes less scratch and has bits of its own where the engine goes by Winograd's
    way.
    """

    NAME = "c"
    device: Device = NUMPY

    def __init__(self, winograd: bool = True) -> None:
        self.winograd = winograd

    def conv2d_workspace(
        self, kernel: str, x_shape: Sequence[int], w_shape: Sequence[int], y_shape: Sequence[int],
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> int:  # fmt: skip
        """Elements of `work`: `conv_plan.conv2d_workspace`."""
        return conv_plan.conv2d_workspace(
            kernel, x_shape, w_shape, y_shape, stride, padding, dilation, groups, self.winograd
        )


for _name in kernels():
    setattr(Ops, _name, _method(_name))


@cache
def _all_kernels(winograd: bool) -> Library:
    return Library(kernels(), winograd=winograd)
