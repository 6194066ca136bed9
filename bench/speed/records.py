"""Bench results as JSON lines: one measurement a line, a file written whole or not at all.

Every record carries what is needed to judge it years later: `kind`, the UTC `date`, and the
`machine` (see `machine.describe`), beside the measurement's own fields.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from ...kernels.errors import DataError, DataNotFoundError
from ...nnlite.files import write_whole
from ..store.schema import fault, read_lines


def record(kind: str, machine: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """One record of the given kind ("step", "kernel", "machine", ...), stamped with the UTC date.

    Raises DataError for a field that JSON cannot hold, NaN and infinity among them.
    """
    date = datetime.now(UTC).isoformat(timespec="seconds")
    made = {"kind": kind, "date": date, "machine": dict(machine), **fields}
    _line(made)
    return made


def _line(made: Mapping[str, Any]) -> str:
    try:
        return json.dumps(made, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"a record of kind {made.get('kind')!r} cannot be written as JSON ({error}); "
            "expected plain finite numbers, strings, lists and mappings: convert arrays first"
        ) from error


def write(path: str | os.PathLike[str], records: Iterable[Mapping[str, Any]]) -> Path:
    """Write the records to `path`, one a line, replacing what was there; returns the path.

    Raises StorageError where that fails; the old file is then as it was.
    """
    target = Path(path)
    write_whole(target, "".join(_line(one) + "\n" for one in records))
    return target


def append(path: str | os.PathLike[str], records: Iterable[Mapping[str, Any]]) -> Path:
    """Add the records after those already in `path`, by rewriting it whole; returns the path."""
    earlier = read(path) if Path(path).exists() else []
    return write(path, [*earlier, *records])


class Record(TypedDict):
    """A line, whatever its kind."""

    kind: str
    date: NotRequired[str]
    machine: NotRequired[dict[str, Any]]


_HINT = "it was not written by `weightspace bench`, or was edited"


def read(
    path: str | os.PathLike[str], kinds: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """All records of a file, in order; those of a kind in `kinds` are of its type (see `schema`).

    Raises DataNotFoundError where there is no such file and DataError, with the line's number,
    where a line is no record.
    """
    source = Path(path)
    if not source.exists():
        raise DataNotFoundError(
            f"there is no results file {source}; expected one written by `weightspace bench`"
        )
    found: list[dict[str, Any]] = read_lines(source, Record, _HINT, DataError)
    for number, one in enumerate(found, start=1):
        wanted = (kinds or {}).get(one["kind"])
        if wanted is not None and (bad := fault(one, wanted)):
            raise DataError(f"{source} is damaged: record {number}: {bad}; {_HINT}")
    return found
