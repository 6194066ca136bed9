"""Exported C on this machine: compiled as strictly as for a device, called through ctypes."""

from __future__ import annotations

import ctypes
import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from weightspace.kernels.c.library import STRICT, machine_flags
from weightspace.nnlite.export.c import Exported

COMPILERS = ("gcc", "clang")
_numbers = itertools.count()


def compiled(
    made: Exported, folder: Path, compiler: str = "gcc", flags: tuple[str, ...] = ("-O2",)
) -> Path:
    """The shared library of an export. Skips without the compiler; a warning is an error."""
    if shutil.which(compiler) is None:
        pytest.skip(f"needs the compiler {compiler}")
    _, source = made.write(folder)
    target = folder / f"{made.name}-{compiler}-{next(_numbers)}.so"
    command = [compiler, *STRICT, *machine_flags(), *flags, "-shared", "-fPIC", str(source), "-o",
               str(target)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return target


class Device:
    """An exported network with an arena of its own, which has a guard at both ends."""

    GUARD = 64

    def __init__(self, made: Exported, folder: Path, compiler: str = "gcc", **more: Any) -> None:
        self.made = made
        self._loaded = ctypes.CDLL(str(compiled(made, folder, compiler, **more)))
        self._room = np.full(made.arena_bytes + 2 * self.GUARD, 0xA5, np.uint8)
        self.arena = self._room[self.GUARD : self.GUARD + made.arena_bytes]
        assert self.arena.ctypes.data % 16 == 0
        self.arena[:] = np.random.default_rng(0).integers(0, 256, self.arena.size)

    def __getattr__(self, name: str) -> Any:
        function = self._loaded[f"{self.made.name}_{name}"]
        if name == "learn_step":
            function.restype = ctypes.c_float
        if name == "theta":
            function.restype = ctypes.POINTER(ctypes.c_float)

        def call(*given: Any) -> Any:
            passed = [a.ctypes.data_as(ctypes.c_void_p) if isinstance(a, np.ndarray) else a
                      for a in given]  # fmt: skip
            found = function(self.arena.ctypes.data_as(ctypes.c_void_p), *passed)
            edges = self._room[: self.GUARD], self._room[-self.GUARD :]
            assert all((edge == 0xA5).all() for edge in edges), f"{name} wrote past the arena"
            return found

        return call

    def outputs(self, x: np.ndarray, classes: int) -> np.ndarray:
        """predict of each row."""
        found = np.empty((len(x), classes), np.float32)
        for one, y in zip(np.ascontiguousarray(x), found, strict=True):
            self.predict(one, y)
        return found

    def parameters(self, count: int) -> np.ndarray:
        return np.ctypeslib.as_array(self.theta(), (count,)).copy()
