"""OUT folders: whose they are, who works in them, and what happens to what is in them already.

A kind of OUT (run, study, sweep) says which paths it writes and which of them, its marker, comes
first and goes last. So a process that is killed leaves a folder without files, which is as good as
none, or one with its marker, which `--resume` and `--overwrite` take. `--overwrite` removes the
paths that the kind writes and nothing else: no other name, no folder that holds more, and nothing
behind a symbolic link.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...kernels.errors import CheckpointError, SettingError, WeightspaceError
from ...nnlite.files import write_whole
from ..show.labels import differences, flat
from . import locks
from .schema import read_toml

TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}")  # what `write_whole` writes before it renames


def _always(folder: Path) -> bool:
    return True


@dataclass(frozen=True)
class Kind:
    """What an OUT folder may hold. writes: all paths in it, relative to OUT, that are written.

    marker: those of them that are written first. owns(OUT): whether it is one of these, by its
    markers; raises CheckpointError where those are damaged. enters(folder): whether a folder two
    levels below OUT is one of its own.
    """

    name: str
    writes: re.Pattern[str]
    marker: re.Pattern[str]
    owns: Callable[[Path], bool]
    enters: Callable[[Path], bool] = _always

    def written(self, out: Path) -> list[Path]:
        """The files in OUT that are this kind's, unfinished ones among them; markers last."""
        found = []
        for folder, inner, names in os.walk(out):
            depth = len(Path(folder).relative_to(out).parts)
            if depth == 2 and not self.enters(Path(folder)):
                inner.clear()
                continue
            inner[:] = [] if depth == 3 else sorted(inner)
            # a link to a folder stands among the folders, is not entered, and is none of ours
            found += [
                path for name in sorted(names) if self._is_ours(path := Path(folder, name), out)
            ]
        return sorted(found, key=lambda path: self._is_marker(path, out))

    def _is_ours(self, path: Path, out: Path) -> bool:
        return self.writes.fullmatch(_meant(path, out)) is not None

    def _is_marker(self, path: Path, out: Path) -> bool:
        return self.marker.fullmatch(_meant(path, out)) is not None

    def begun(self, out: Path) -> bool:
        """Whether something is written besides markers."""
        return any(not self._is_marker(path, out) for path in self.written(out))

    def remove(self, out: Path, unfinished: bool = False) -> None:
        """Delete the files in OUT that are this kind's, and folders that this leaves empty.

        unfinished: only what a killed process has left half-written.
        """
        for path in self.written(out):
            if not unfinished or TEMPORARY.fullmatch(path.name):
                path.unlink()
                _prune(path.parent, out)


def _meant(path: Path, out: Path) -> str:
    """The path relative to OUT; of a temporary file, that of the file it was to become."""
    temporary = TEMPORARY.fullmatch(path.name)
    name = temporary[1] if temporary else path.name
    return (path.parent.relative_to(out) / name).as_posix()


def _prune(folder: Path, out: Path) -> None:
    """Remove a folder below OUT, and those above it, while they are empty."""
    while folder != out:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def is_bare(out: Path, kind: Kind) -> bool:
    """Whether OUT is not there, or holds no file but what a process killed at its start leaves."""
    left = {path for path in kind.written(out) if TEMPORARY.fullmatch(path.name)}
    left.add(out / locks.NAME)
    for folder, inner, names in os.walk(out):
        links = [name for name in inner if os.path.islink(os.path.join(folder, name))]
        if any(Path(folder, name) not in left for name in (*names, *links)):
            return False
    return True


def check(out: Path, kind: Kind, resume: bool, overwrite: bool) -> None:
    """Refuse to mix with what is in OUT, unless told what to do about it. Changes nothing.

    Raises SettingError, CheckpointError where it holds a damaged marker.
    """
    if out.exists() and not out.is_dir():
        raise SettingError(f"{out} is a file; --out names a folder")
    if is_bare(out, kind):
        return
    if not (resume or overwrite):
        raise SettingError(
            f"{out} already holds a run: --resume continues it, --overwrite replaces it, "
            "--out names another folder"
        )
    if not kind.owns(out):
        raise SettingError(f"{out} holds no {kind.name} of weightspace; it will not be overwritten")


@contextmanager
def claimed(out: Path, kind: Kind, resume: bool, overwrite: bool) -> Iterator[None]:
    """OUT, `check`ed and cleared as asked, for this process alone.

    Where a named error ends what was begun before anything but markers is written, those go, too:
    a refused setting leaves no folder. Raises SettingError and CheckpointError.
    """
    with locks.held(out):
        check(out, kind, resume, overwrite)
        kind.remove(out, unfinished=not overwrite)
        try:
            yield
        except WeightspaceError:
            if not kind.begun(out):
                kind.remove(out)
            raise


DAMAGED = "restore it, or use another --out"


def write_asked(path: Path, asked: str, now: dict[str, Any], resume: bool) -> None:
    """Write the file that says what was asked for, as TOML; `now` is the same as values.

    Raises CheckpointError where a run that goes on was asked for something else, and names it.
    """
    if resume and path.exists():
        then = flat(read_toml(path, dict[str, Any], DAMAGED))
        if differ := differences(then, flat(now)):
            raise other_settings(path.parent, differ)
    write_whole(path, asked)


def other_settings(folder: Path, differ: list[str]) -> CheckpointError:
    """The error of a folder that was run with other settings than are asked for now."""
    return CheckpointError(
        f"{folder} was run with other settings ({'; '.join(differ)}); use the same ones, or "
        "another --out"
    )
