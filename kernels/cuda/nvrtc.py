"""Compile CUDA sources where there is no GPU: NVRTC, NVIDIA's compiler library, through ctypes.

CuPy compiles with the same library and the options below, but only where a driver answers. NVRTC by
itself needs neither driver nor toolkit, and tells what each kernel will take of a GPU.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DeviceError, MissingExtraError
from .launch import OPTIONS, Source

# What CuPy adds to the options of a RawModule by itself (cupy/cuda/compiler.py).
CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")
_SYSTEM = ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so")  # where no wheel is installed

_ENTRY = re.compile(r"Compiling entry function '(\S+)'")
_PROPERTIES = re.compile(r"Function properties for (\S+)")
_LOCAL = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")
_CUMULATIVE = re.compile(r"(\d+) bytes cumulative stack size")
_BOUNDS = re.compile(r"\.entry (\w+)\([^)]*\)\s*\.maxntid (\d+), (\d+), (\d+)")


class CompileError(DeviceError):
    """NVRTC refused a source; the message is NVRTC's, with file and line."""


class Program(NamedTuple):
    """What NVRTC made of a source. lowered: name expression -> the name in cubin and ptx."""

    cubin: bytes
    ptx: str
    log: str
    lowered: dict[str, str]


class Resources(NamedTuple):
    """What one compiled kernel takes.

    threads: the most that a block may have, by __launch_bounds__; 0 where the source says nothing.
    registers: of a thread. shared: bytes of a block, without what a launch adds. stack,
    spill_stores, spill_loads: bytes of a thread in (slow) local memory.
    """

    threads: int
    registers: int
    shared: int
    stack: int
    spill_stores: int
    spill_loads: int


def find_library() -> str:
    """The path of libnvrtc in an installed wheel, or the name the system may know it by."""
    spec = importlib.util.find_spec("nvidia")
    roots = (spec.submodule_search_locations or ()) if spec else ()
    found = [path for root in roots for path in Path(root).glob("*/lib/libnvrtc.so.*")]
    return str(max(found, key=lambda path: path.suffix)) if found else _SYSTEM[0]


class Nvrtc:
    """The library, loaded. Raises MissingExtraError where it is not installed.

    version: such as "13.2.86". architectures: such as ("sm_75", "sm_80", ...).
    """

    def __init__(self) -> None:
        self._library = _load()
        self._library.nvrtcGetErrorString.restype = ctypes.c_char_p
        self._library.nvrtcGetErrorString.argtypes = [ctypes.c_int]
        self.architectures = self._supported()
        empty = self.compile("", "empty.cu", (), (f"-arch={self.architectures[0]}",))
        found = re.search(r"release [\d.]+, V([\d.]+)", empty.ptx)
        self.version = found[1] if found else "unknown"

    def compile(
        self, text: str, file: str, names: Sequence[str], options: Sequence[str]
    ) -> Program:
        """Compile `text`, in messages called `file`, with the instantiations `names`.

        options must hold -arch=sm_XX. Raises CompileError.
        """
        program = ctypes.c_void_p()
        self._call(
            "CreateProgram", ctypes.byref(program), text.encode(), file.encode(), 0, None, None
        )
        try:
            for name in names:
                self._call("AddNameExpression", program, name.encode())
            given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            status = self._library.nvrtcCompileProgram(program, len(options), given)
            log = self._text("ProgramLog", program)
            if status:
                raise CompileError(f"NVRTC refuses {file} ({' '.join(options)}):\n{_errors(log)}")
            lowered = {name: self._lowered(program, name) for name in names}
            return Program(self._bytes("CUBIN", program), self._text("PTX", program), log, lowered)
        finally:
            self._call("DestroyProgram", ctypes.byref(program))

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._library, f"nvrtc{function}")(*arguments)
        if status:
            said = self._library.nvrtcGetErrorString(status).decode()
            raise DeviceError(f"nvrtc{function} failed ({said}): is nvidia-cuda-nvrtc whole?")

    def _bytes(self, what: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"Get{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(f"Get{what}", program, buffer)
        return buffer.raw

    def _text(self, what: str, program: ctypes.c_void_p) -> str:
        return self._bytes(what, program).rstrip(b"\0").decode()

    def _lowered(self, program: ctypes.c_void_p, name: str) -> str:
        found = ctypes.c_char_p()
        self._call("GetLoweredName", program, name.encode(), ctypes.byref(found))
        assert found.value is not None
        return found.value.decode()

    def _supported(self) -> tuple[str, ...]:
        count = ctypes.c_int()
        self._call("GetNumSupportedArchs", ctypes.byref(count))
        found = (ctypes.c_int * count.value)()
        self._call("GetSupportedArchs", found)
        return tuple(f"sm_{one}" for one in found)


def _load() -> ctypes.CDLL:
    path = find_library()
    try:
        # NVRTC opens its builtins by their bare name, which nobody would find in a wheel.
        for builtins in sorted(Path(path).parent.glob("libnvrtc-builtins.so.*")):
            ctypes.CDLL(str(builtins))
        return ctypes.CDLL(path)
    except OSError:
        pass
    for name in _SYSTEM:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise MissingExtraError("nvidia-cuda-nvrtc", "cuda", "compiling CUDA sources")


@cache
def nvrtc() -> Nvrtc:
    """The library, loaded once. Raises MissingExtraError where it is not installed."""
    return Nvrtc()


def _errors(log: str, most: int = 12) -> str:
    """The lines of a log from its first error on, not too many."""
    lines = [line for line in log.splitlines() if line.strip()]
    first = next((i for i, line in enumerate(lines) if "error" in line), 0)
    return "\n".join(lines[first : first + most])


def compile_source(source: Source, architecture: str) -> Program:
    """All of a source's instantiations for an architecture such as "sm_90", as CuPy compiles them.

    Raises CompileError and, where there is no NVRTC, MissingExtraError.
    """
    options = (*OPTIONS, *CUPY_OPTIONS, f"-arch={architecture}", "--ptxas-options=-v")
    return nvrtc().compile(source.text(), source.file, source.names(), options)


def resources(program: Program) -> dict[str, Resources]:
    """What each instantiation takes, by name expression, in the order they were asked for."""
    used = _read_log(program.log)
    threads = {name: int(x) * int(y) * int(z) for name, x, y, z in _BOUNDS.findall(program.ptx)}
    return {
        name: Resources(threads.get(lowered, 0), *used[lowered])
        for name, lowered in program.lowered.items()
    }


def _read_log(log: str) -> dict[str, tuple[int, int, int, int, int]]:
    """registers, shared, stack, spill_stores and spill_loads of each kernel in ptxas's report."""
    found: dict[str, tuple[int, int, int, int, int]] = {}
    entry = owner = ""
    local = (0, 0, 0)
    for line in log.splitlines():
        if match := _ENTRY.search(line):
            entry, local = match[1], (0, 0, 0)
        elif match := _PROPERTIES.search(line):
            owner = match[1]
        elif (match := _LOCAL.search(line)) and owner == entry:
            local = int(match[1]), int(match[2]), int(match[3])
        elif match := _USED.search(line):
            shared, cumulative = _SHARED.search(line), _CUMULATIVE.search(line)
            stack = max(local[0], int(cumulative[1]) if cumulative else 0)  # with what it calls
            found[entry] = (
                int(match[1]),
                int(shared[1]) if shared else 0,
                stack,
                local[1],
                local[2],
            )
    return found
