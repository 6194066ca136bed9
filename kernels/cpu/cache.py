"""Where compiled kernels are kept, and when they may be used again.

Numba's own cache looks at the one file a kernel is written in: a kernel whose callee changed is
taken for current, and files lie inside the installed package, where an upgrade leaves them. Here a
kernel is current if every source file its file imports from is as it was, and the versions of all
that compiles it; a folder is named after both. Numba's index of a function can be torn by two
processes that compile two of its variants at once; here a variant has files of its own.

Folders, the first that is named or known:
- $NUMBA_CACHE_DIR/weightspace, as for all of Numba;
- $WEIGHTSPACE_CACHE;
- the user's cache: $XDG_CACHE_HOME or ~/.cache (Linux), ~/Library/Caches (macOS), %LOCALAPPDATA%.
What is there is read even if it cannot be written (an image that `weightspace warmup` has filled).
What is missing then goes to the user's cache, else to a temporary folder, else nowhere, and is
compiled again by the next process.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core import config
from numba.core.caching import IndexDataCacheFile, _Cache
from numba.core.compiler import CompileResult

KEPT = 4  # versions of a module's kernels that stay when a new one comes
_IMPORT = re.compile(r"^ *from (\.+)(\w*) import ([\w, ]*)", re.MULTILINE)
_SETTINGS = (  # of Numba, that change machine code but not its own key
    "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LLVM_PASS_TIMINGS",
)  # fmt: skip


def sources(file: Path) -> list[Path]:
    """A source file and all that it imports from this package, and those import in turn; sorted."""
    found, waiting = set(), [file]
    while waiting:
        here = waiting.pop()
        if here in found:
            continue
        found.add(here)
        for dots, module, names in _IMPORT.findall(here.read_text(encoding="utf-8")):
            folder = here.parents[len(dots) - 1]
            parts = [module] if module else [name.strip() for name in names.split(",")]
            waiting += [path for part in parts if (path := folder / f"{part}.py").is_file()]
    return sorted(found)


@cache
def stamp(file: Path) -> str:
    """A hash of all that decides the machine code of the kernels in `file`, but for the CPU."""
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version)
    settings = [(name, getattr(config, name, None)) for name in _SETTINGS]
    total = hashlib.sha256(repr((versions, settings)).encode())
    for path in sources(file):
        total.update(f"\0{path.name}\0".encode())
        total.update(path.read_bytes())
    return total.hexdigest()[:20]


@cache
def places() -> tuple[list[Path], Path | None]:
    """Folders to read compiled kernels from, and the one to write them to, if there is any."""
    read: list[Path] = []
    for folder in _candidates():
        if _usable(folder):
            return [*read, folder], folder
        read.append(folder)
    return read, None


def _candidates() -> Iterator[Path]:
    numbas, ours = config.CACHE_DIR, os.environ.get("WEIGHTSPACE_CACHE")
    if numbas:
        yield Path(numbas, "weightspace")
    elif ours:
        yield Path(ours)
    if sys.platform == "win32":
        users = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        users = os.path.expanduser("~/Library/Caches")
    else:
        users = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.path.isabs(users):  # without a home, "~" stays
        yield Path(users, "weightspace", "kernels")
    try:
        owner = os.getuid() if hasattr(os, "getuid") else "kernels"
        yield Path(tempfile.gettempdir(), f"weightspace-{owner}")
    except FileNotFoundError:  # no temporary folder at all
        return


def _usable(folder: Path) -> bool:
    """Whether `folder` can be written, and by this user alone where others write beside it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
    except OSError:
        return False
    if hasattr(os, "getuid") and folder.parent == Path(tempfile.gettempdir()):
        theirs = about.st_uid != os.getuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if theirs or not stat.S_ISDIR(about.st_mode):
            return False
    return os.access(folder, os.W_OK | os.X_OK)


@cache
def say(about: str) -> None:
    """One line, once a process."""
    warnings.warn(about, stacklevel=2)


class KernelCache(_Cache):
    """A kernel's compiled variants on disk; what Numba's dispatchers ask of a cache.

    A file that is damaged, or that cannot be written, costs the time to compile, no more.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        assert function.__closure__ is None, "a kernel's code must follow from its source alone"
        code = function.__code__
        self._source = Path(code.co_filename)
        self._name = f"{function.__qualname__}-{code.co_firstlineno}"
        self._enabled = True

    @property
    def cache_path(self) -> str:
        """The folder that this kernel's files would be written to."""
        return str(self._folder(places()[1] or Path()))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The variant for argument types `sig`; None if it must be compiled."""
        if not self._enabled:
            return None
        target_context.refresh()
        key = self._key(sig, target_context.codegen())
        for place in places()[0]:
            try:
                data = self._file(place, key).load(key)
                if data is not None:
                    return CompileResult._rebuild(target_context, *data)
            except Exception:  # cut short or written by something else: as if it were not there
                continue
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a variant that was just compiled."""
        if not self._enabled:
            return
        read, place = places()
        if place is None or len(read) > 1:
            where = f"they go to {place}" if place else "each process compiles them again"
            say(
                f"compiled kernels cannot be kept in {read[0] if read else 'any folder'}: {where}. "
                "Let $WEIGHTSPACE_CACHE name a folder that can be written"
            )
        if place is None:
            return
        folder, key = self._folder(place), self._key(sig, data.codegen)
        try:
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                _forget(place, self._source.stem)
            self._file(place, key).save(key, data._reduce())
        except OSError as wrong:
            say(f"a compiled kernel cannot be kept in {folder}: {wrong.strerror}")

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def flush(self) -> None:
        """Forget this kernel's variants."""
        folder = self._folder(places()[1] or Path())
        for file in folder.glob(f"{self._name}-*"):
            file.unlink(missing_ok=True)

    def _folder(self, place: Path) -> Path:
        return place / f"{self._source.stem}-{stamp(self._source)}"

    def _key(self, sig: Any, codegen: Any) -> tuple[str, ...]:
        """Names the argument types, the CPU that is compiled for, and the one that compiles."""
        host = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
        return tuple(map(str, (sig, *codegen.magic_tuple(), *host)))

    def _file(self, place: Path, key: tuple[str, ...]) -> IndexDataCacheFile:
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:20]
        return IndexDataCacheFile(str(self._folder(place)), f"{self._name}-{digest}", digest)


def _forget(place: Path, module: str) -> None:
    """Remove what earlier versions of a module left, but for the newest few."""
    old = [path for path in place.glob(f"{module}-*") if re.fullmatch(r"\w+-[0-9a-f]{20}", path.name)]
    for path in sorted(old, key=_age)[KEPT:]:
        shutil.rmtree(path, ignore_errors=True)


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:  # another process has removed it
        return 0.0
