"""Who works in a folder: a lock file that says so, and that no dead process keeps.

The lock is the system's (`flock`), which ends with the process that holds it however it ends; the
file's text is for people. Where a file system knows no locks, the text decides: the process that it
names is looked for, which only the machine that it runs on can do.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from ...kernels.errors import CheckpointError, SettingError, StorageError
from .schema import decode

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".weightspace.lock"
_OURS: dict[Path, tuple[int, int]] = {}  # folder -> the process and thread that hold it


class Holder(TypedDict):
    """Who holds a folder."""

    host: str
    pid: int
    started: str
    command: str


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """`folder` for this thread alone; it is made, and goes again if nothing was put into it.

    A thread that holds it already may hold it again. Raises SettingError, naming the holder, where
    another holds it, StorageError where nothing can be written there.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingError(f"{folder} is a file; --out names a folder")
    place, me = folder.resolve(), (os.getpid(), threading.get_ident())
    if _OURS.get(place) == me:
        yield
        return
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    handle = _acquire(folder)
    _OURS[place] = me
    try:
        yield
    finally:
        del _OURS[place]
        (folder / NAME).unlink(missing_ok=True)  # while it is held: nobody holds it unseen
        os.close(handle)
        _unmake(made)


def _unmake(made: list[Path]) -> None:
    """Remove the folders that were made, the innermost first, as far as they are empty."""
    for path in made:
        try:
            path.rmdir()
        except OSError:
            return


def _acquire(folder: Path) -> int:
    """The open lock file, locked, with our name in it."""
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
            try:
                _lock(handle, path)
                if _is_still(path, handle):
                    os.ftruncate(handle, 0)
                    os.pwrite(handle, _me().encode(), 0)
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # its holder has just removed it: the next one is a new file
    except OSError as wrong:
        if isinstance(wrong, StorageError):
            raise
        raise StorageError(
            f"{folder} cannot be written ({wrong.strerror or wrong}); choose another --out"
        ) from wrong


def _is_still(path: Path, handle: int) -> bool:
    """Whether the file at `path` is the one that was opened."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _lock(handle: int, path: Path) -> None:
    """Lock the open file. Raises SettingError where it is held."""
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
    except BlockingIOError:
        raise _in_use(path, _holder(handle), "wait for it to end") from None
    except OSError:
        pass  # a file system without locks
    who = _holder(handle)
    if who is None or (who["host"] == platform.node() and not _is_alive(who["pid"])):
        return
    if who["host"] == platform.node():
        raise _in_use(path, who, "wait for it to end")
    raise _in_use(
        path, who, f"this machine cannot see whether it still runs: if it does not, remove {path}"
    )


def _in_use(path: Path, who: Holder | None, advice: str) -> SettingError:
    said = "another process"
    if who is not None:
        here = "this machine" if who["host"] == platform.node() else f"the machine {who['host']}"
        said = f"process {who['pid']} on {here}, since {who['started']} ({who['command']})"
    return SettingError(f"{path.parent} is in use by {said}; {advice}, or use another --out")


def _holder(handle: int) -> Holder | None:
    """Who the lock file names; None where it names nobody, or not yet."""
    text = os.pread(handle, 1 << 16, 0).decode(errors="replace")
    try:
        who: Holder = decode(text, Holder, "the lock", CheckpointError, "")
    except CheckpointError:
        return None
    return who


def _me() -> str:
    who: Holder = {
        "host": platform.node(),
        "pid": os.getpid(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv)[:500],
    }
    return json.dumps(who) + "\n"


def _is_alive(pid: int) -> bool:
    """Whether there is a process of this number on this machine; where none can say, there is."""
    if sys.platform == "win32":  # where signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # it is another user's
    return True
