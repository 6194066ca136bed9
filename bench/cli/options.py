"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...kernels.errors import SettingError

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder that holds the data sets' files.")
]


def check_folder_options(resume: bool, overwrite: bool) -> None:
    """Raise SettingError where a folder is to be gone on with and replaced at once."""
    if resume and overwrite:
        raise SettingError("--resume and --overwrite contradict each other; give one of them")
