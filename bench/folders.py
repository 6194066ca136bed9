"""OUT folders: whose they are, and what happens to what is in them already."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from ..kernels.errors import CheckpointError, SettingError
from ..nnlite.files import write_whole


def claim(
    out: Path, kind: str, ours: Callable[[Path], bool], resume: bool, overwrite: bool
) -> None:
    """Make OUT ready: refuse to mix with what is there, unless told what to do about it.

    kind: what OUT should hold, in a word ("run", "study"); ours(OUT) says whether it does.
    Raises SettingError.
    """
    if out.exists() and not out.is_dir():
        raise SettingError(f"{out} is a file; --out names a folder")
    if not (out.exists() and any(out.iterdir())):
        return
    if not (resume or overwrite):
        raise SettingError(
            f"{out} already holds a run: --resume continues it, --overwrite replaces it, "
            "--out names another folder"
        )
    if not ours(out):
        raise SettingError(f"{out} holds no {kind} of weightspace; it will not be overwritten")
    if overwrite:
        shutil.rmtree(out)


def claim_for(out: Path, kind: str, name: str, asked: str, resume: bool, overwrite: bool) -> None:
    """`claim` OUT for a run whose OUT/NAME says what was asked for, and write that.

    Raises SettingError, CheckpointError where a run that should go on was asked for something else.
    """
    claim(out, kind, lambda folder: (folder / name).exists(), resume, overwrite)
    if (out / name).exists() and (out / name).read_bytes() != asked.encode():
        raise CheckpointError(
            f"{out} was run with other settings; use the same ones, or another --out"
        )
    write_whole(out / name, asked)
