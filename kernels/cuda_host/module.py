"""One kernel file: which kernels it holds, and its compiled forms, one a mode."""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from ..errors import unknown_name
from .build import HEADER, library

# extern "C" __global__ void __launch_bounds__(256) name(   - the bounds on either side of void
_PLAIN = re.compile(
    r'extern\s+"C"\s+__global__\s+(?:void\s+)?(?:__launch_bounds__\s*\([^)]*\)\s*)?'
    r"(?:void\s+)?(\w+)\s*\("
)
# extern __shared__ __align__(16) float name[];
_DYNAMIC = re.compile(
    r"extern\s+__shared__\s+(?:__align__\(\d+\)\s+)?([\w:]+(?:\s+\w+)*?)\s+(\w+)\s*\[\s*\]\s*;"
)

# The launcher keeps one state a library, and a GPU's stream runs one kernel after another.
LAUNCHING = threading.Lock()


def for_host(source: str) -> str:
    """The one change to a .cu text: dynamic shared memory, which C++ cannot declare."""
    return _DYNAMIC.sub(r"\1* \2 = reinterpret_cast<\1*>(coh_dynamic_shared());", source)


class Library:
    """A compiled kernel file in one mode."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.functions = ctypes.CDLL(str(path))
        self.functions.coh_launch.argtypes = [ctypes.c_void_p]
        self.functions.coh_reports.restype = ctypes.c_void_p


class HostModule:
    """The kernels of one .cu text: the `extern "C"` ones and the `names` of templates."""

    def __init__(
        self, source: str, options: Sequence[str], names: Sequence[str], filename: str
    ) -> None:
        self.filename = filename
        self.names = tuple(dict.fromkeys([*names, *_PLAIN.findall(source)]))
        self.source = for_host(source)
        # the other options speak to NVRTC
        self.definitions = tuple(option for option in options if option.startswith("-D"))
        self._libraries: dict[str, Library] = {}

    def library(self, mode: str) -> Library:
        """The compiled form for a mode; compiles at the first call."""
        if mode not in self._libraries:
            exports = (f"COH_EXPORT({i}, {name})\n" for i, name in enumerate(self.names))
            wrapper = f'#include "{HEADER}"\n#include "{self.filename}"\n{"".join(exports)}'
            path = library(self.source, wrapper, self.filename, self.definitions, mode)
            self._libraries[mode] = Library(path)
        return self._libraries[mode]

    def place(self, name: str) -> int:
        """The number of a kernel within the library."""
        if name not in self.names:
            raise unknown_name(f"kernel of {self.filename}", name, self.names)
        return self.names.index(name)
