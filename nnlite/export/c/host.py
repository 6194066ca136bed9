"""An exported network on this machine: its C compiled here and called through ctypes.

It is the very text that goes to a device, with the bits that a device with an fma gives.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....kernels.c.library import STRICT, build, machine_flags
from .export import Exported

_RESULTS: dict[str, Any] = {"learn_step": ctypes.c_float, "theta": ctypes.POINTER(ctypes.c_float)}
FLAGS = ("-O2",)


class Host:
    """An exported network with an arena of its own.

    Every function of the header is a method without the prefix and the arena: arrays become
    pointers, as they are (float32, int32, uint8, contiguous). Raises MissingCompilerError or
    CompileError.
    """

    def __init__(self, made: Exported, flags: Sequence[str] = FLAGS) -> None:
        self.made = made
        text = made.source.replace(f'#include "{made.name}.h"\n', made.header)
        library = build(text, (*STRICT, *machine_flags(), *flags))
        self._loaded = ctypes.CDLL(str(library))
        room = np.zeros(made.arena_bytes + 64, np.uint8)
        begin = -room.ctypes.data % 64
        self.arena = room[begin : begin + made.arena_bytes]

    def __getattr__(self, name: str) -> Any:
        try:
            function = self._loaded[f"{self.made.name}_{name}"]
        except AttributeError:
            raise AttributeError(f"the exported network has no function '{name}'") from None
        function.restype = _RESULTS.get(name, ctypes.c_int)

        def call(*given: Any) -> Any:
            return function(_pointer(self.arena), *map(_pointer, given))

        return call

    def outputs(self, x: np.ndarray, classes: int) -> np.ndarray:
        """The answers (N, classes) for samples x (N, ...) float32, one after another."""
        found = np.empty((len(x), classes), np.float32)
        for one, y in zip(np.ascontiguousarray(x, np.float32), found, strict=True):
            self.predict(one, y)
        return found

    def parameters(self, count: int) -> np.ndarray:
        """A copy of the parameters (count,) that learn."""
        return np.ctypeslib.as_array(self.theta(), (count,)).copy()


def _pointer(given: Any) -> Any:
    if not isinstance(given, np.ndarray):
        return given
    if not given.flags.c_contiguous:
        raise ValueError(f"C takes contiguous arrays; this one has strides {given.strides}")
    return given.ctypes.data_as(ctypes.c_void_p)
