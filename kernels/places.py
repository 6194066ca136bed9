"""Folders for what was compiled: the first that is named or known, and where to turn if it cannot
be written.

- $WEIGHTSPACE_CACHE;
- the user's cache: $XDG_CACHE_HOME or ~/.cache (Linux), ~/Library/Caches (macOS), %LOCALAPPDATA%;
- a temporary folder of this user.

Nothing lies inside the installed package, so removing the package leaves none of it there.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .errors import CompileError


def places(part: str, named: str = "") -> tuple[list[Path], Path | None]:
    """Folders to read `part` of the cache from, and the one to write to, if there is any.

    The first place is read even if it cannot be written, and the next one then takes what is new.
    named: a folder that comes before all others.
    """
    return _places(part, named or os.environ.get("WEIGHTSPACE_CACHE", ""))


@cache
def _places(part: str, first: str) -> tuple[list[Path], Path | None]:
    read: list[Path] = []
    for base in _candidates(first):
        folder = base / part
        if _usable(base) and _usable(folder):
            return [*read, folder], folder
        read.append(folder)
    return read, None


def _candidates(first: str) -> Iterator[Path]:
    if first:
        yield Path(first).absolute()
    if sys.platform == "win32":
        users = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        users = os.path.expanduser("~/Library/Caches")
    else:
        users = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.path.isabs(users):  # where there is no home, "~" stays
        yield Path(users, "weightspace")
    temporary = _temporary()
    if temporary is not None:
        yield temporary


def _temporary() -> Path | None:
    """A folder of this user's among the temporary files, if there is room for one."""
    try:
        return Path(tempfile.gettempdir(), f"weightspace-{_user()}")
    except FileNotFoundError:
        return None


def _user() -> int | str:
    return os.getuid() if hasattr(os, "getuid") else "cache"


def _usable(folder: Path) -> bool:
    """Whether `folder` can be written; among temporary files, by this user alone."""
    private = folder == _temporary()
    try:  # other places keep to the umask: another user may run what root has put in an image
        folder.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
        about = folder.lstat()
    except OSError:
        return False
    if private and hasattr(os, "getuid"):
        others = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or others:
            return False
    return os.access(folder, os.W_OK | os.X_OK)


def folder_for(part: str) -> Path:
    """The folder that keeps `part` of what a host's compiler makes; it is told where that is not
    the first place. Raises CompileError where there is none.
    """
    say_where(part)
    folder = places(part)[1]
    if folder is None:
        raise CompileError(
            "there is no folder for what the compiler makes: set WEIGHTSPACE_CACHE to one that can "
            "be written"
        )
    return folder


def say_where(part: str, named: str = "") -> None:
    """Say in one line, once a process, that what is compiled now does not go to the first place."""
    read, place = places(part, named)
    if place is None or len(read) > 1:
        first = read[0] if read else "any folder"
        there = f"it goes to {place}" if place else "every process compiles it again"
        remedy = "set WEIGHTSPACE_CACHE to a folder that can be written"
        say(f"what is compiled cannot be kept in {first}: {there}; {remedy}")


@cache
def say(line: str) -> None:
    """Warn, once a process."""
    warnings.warn(line, stacklevel=3)
