"""Where compiled kernels are kept, and when they may be used again.

Numba's own cache looks at the one file a kernel is written in: a kernel whose callee changed is
taken for current, and files lie inside the installed package, where an upgrade leaves them. Here a
kernel is current if every source file its file imports from is as it was, and the versions of all
that compiles it; a folder is named after both. Numba's index of a function can be torn by two
processes that compile two of its variants at once; here a variant has files of its own.

Files lie in `kernels` under the folder that `places` finds; $NUMBA_CACHE_DIR, which moves all of
Numba's, goes before. A folder that cannot be written is read, as an image has it that was filled by
`weightspace warmup`.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import config
from numba.core.caching import IndexDataCacheFile, _Cache
from numba.core.compiler import CompileResult

from ..places import places, say, say_where
from . import linked

KEPT = 4  # versions of a module's kernels that stay when a new one comes
_IMPORT = re.compile(r"^ *from (\.+)(\w*) import ([\w, ]*)", re.MULTILINE)
# of Numba, all that changes machine code and is not in its own key
_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")


@cache
def _source(file: Path) -> tuple[str, frozenset[Path]]:
    """A hash of a source file, and the files of this package that it imports from."""
    text = file.read_bytes()
    found = set()
    for dots, module, names in _IMPORT.findall(text.decode()):
        folder = file.parents[len(dots) - 1]
        for part in [module] if module else names.replace(" ", "").split(","):
            path = folder / f"{part}.py"
            if path.is_file():
                found.add(path)
    return hashlib.sha256(text).hexdigest(), frozenset(found)


def sources(file: Path) -> list[Path]:
    """A source file, all that it imports from this package, and what those import; sorted."""
    found: set[Path] = set()
    waiting = {file}
    while waiting:
        found |= waiting
        waiting = {path for here in waiting for path in _source(here)[1]} - found
    return sorted(found)


@cache
def stamp(file: Path) -> str:
    """A hash of all that decides the machine code of the kernels in `file`, but for the CPU."""
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version)
    settings = [(name, getattr(config, name, None)) for name in _SETTINGS]
    code = [(path.name, _source(path)[0]) for path in sources(file)]
    return hashlib.sha256(repr((versions, settings, code)).encode()).hexdigest()[:20]


def folders() -> tuple[list[Path], Path | None]:
    """Where compiled kernels are read from, and where they are written, if anywhere."""
    return places("kernels", _named())


def _named() -> str:
    folder = config.CACHE_DIR  # type: ignore[attr-defined]
    return str(Path(folder, "weightspace")) if folder else ""


class KernelCache(_Cache):
    """A kernel's compiled variants on disk; what Numba's dispatchers ask of a cache.

    A file that is damaged, or that cannot be written, costs the time to compile, no more.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        assert function.__closure__ is None, "a kernel's code must follow from its source alone"
        code = function.__code__
        source = Path(code.co_filename)
        self._module = source.stem
        self._sources = sources(source)
        self._stamp = stamp(source)  # of the code that is running: an upgrade may come after
        self._name = f"{function.__qualname__}-{code.co_firstlineno}"
        self._enabled = True

    @property
    def cache_path(self) -> str:
        """The folder that this kernel's files would be written to."""
        place = folders()[1]
        return str(self._folder(place)) if place else ""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The variant for argument types `sig`; None if it must be compiled."""
        linked.prepare(self._sources, sig)
        if not self._enabled:
            return None
        target_context.refresh()
        key = self._key(sig, target_context.codegen())
        for place in folders()[0]:
            try:
                data = self._file(place, key).load(key)
                if data is not None:
                    return CompileResult._rebuild(target_context, *data)
            except Exception:  # cut short or written by something else: as if it were not there
                continue
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a variant that was just compiled."""
        if not self._enabled or data.library.has_dynamic_globals:
            return  # an address of this process (numba.get_num_threads leaves one) is of no use
        say_where("kernels", _named())
        place = folders()[1]
        if place is None:
            return
        folder, key = self._folder(place), self._key(sig, data.codegen)
        try:
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                _forget(place, self._module)
            file = self._file(place, key)
            file.flush()  # what is there may be damaged, and is not read
            file.save(key, data._reduce())
        except OSError as wrong:
            say(f"a compiled kernel cannot be kept in {folder}: {wrong.strerror}")

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def flush(self) -> None:
        """Forget this kernel's variants."""
        place = folders()[1]
        for file in self._folder(place).glob(f"{self._name}-*") if place else ():
            file.unlink(missing_ok=True)

    def _folder(self, place: Path) -> Path:
        return place / f"{self._module}-{self._stamp}"

    def _key(self, sig: Any, codegen: Any) -> tuple[str, ...]:
        """Names the argument types and the CPU that is compiled for.

        $NUMBA_CPU_NAME and $NUMBA_CPU_FEATURES name a CPU that many have in common.
        """
        return tuple(map(str, (sig, *codegen.magic_tuple())))

    def _file(self, place: Path, key: tuple[str, ...]) -> IndexDataCacheFile:
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:20]
        return IndexDataCacheFile(str(self._folder(place)), f"{self._name}-{digest}", digest)


def _forget(place: Path, module: str) -> None:
    """Remove what earlier versions of a module left, but for the newest few."""
    old = [
        path for path in place.glob(f"{module}-*") if re.fullmatch(r"\w+-[0-9a-f]{20}", path.name)
    ]
    for path in sorted(old, key=_age)[KEPT:]:
        shutil.rmtree(path, ignore_errors=True)


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:  # another process has removed it
        return 0.0
