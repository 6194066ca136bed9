"""One kernel file: the kernels it holds, and its compiled forms, one a mode."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from pathlib import Path

from ..errors import unknown_name
from .build import HEADER, build
from .translate import for_host, plain_kernels

# The runtime knows one launch at a time, as a GPU's stream runs one kernel after another.
LAUNCHING = threading.Lock()


class Library:
    """A compiled kernel file in one mode."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.functions = ctypes.CDLL(str(path))
        self.functions.coh_launch.argtypes = [ctypes.c_void_p]
        self.functions.coh_reports.restype = ctypes.c_void_p
        # the address of its `coh_library` of cpp/interface.h
        self.layout = ctypes.addressof(ctypes.c_char.in_dll(self.functions, "coh_this_library"))


class KernelFile:
    """A .cu text: its `extern "C"` kernels and the `names` of instantiated templates."""

    def __init__(
        self, source: str, options: Sequence[str], names: Sequence[str], filename: str
    ) -> None:
        self.filename = filename
        self.names = tuple(dict.fromkeys([*names, *plain_kernels(source)]))
        self.source = for_host(source)
        # the other options speak to NVRTC
        self.definitions = tuple(option for option in options if option.startswith("-D"))
        self._libraries: dict[str, Library] = {}

    def library(self, mode: str) -> Library:
        """The compiled form for a mode; compiles at the first call."""
        if mode not in self._libraries:
            exports = (f"COH_EXPORT({i}, {name})\n" for i, name in enumerate(self.names))
            wrapper = f'#include "{HEADER}"\n#include "{self.filename}"\n{"".join(exports)}'
            path = build(self.source, wrapper, self.filename, self.definitions, mode)
            self._libraries[mode] = Library(path)
        return self._libraries[mode]

    def place(self, name: str) -> int:
        """The number of a kernel within the library."""
        if name not in self.names:
            raise unknown_name(f"kernel of {self.filename}", name, self.names)
        return self.names.index(name)
