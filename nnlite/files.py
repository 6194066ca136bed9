"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..kernels.errors import StorageError


def write_whole(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part.

    Written to a temporary name in the same folder, flushed to disk, then renamed. Raises
    StorageError on a full or read-only disk; the old file, if any, is as it was.
    """
    target = Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary: str | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException as failed:  # Ctrl-C too leaves nothing half done behind
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if not isinstance(failed, OSError):
            raise
        raise StorageError(
            f"could not write {target}: {failed.strerror or failed}. What was there before is "
            "untouched; free some space or choose a folder that can be written"
        ) from failed


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
