"""Identity: what makes a run the run it is, and in which words two of them differ.

A checkpoint carries this record. A run that goes on from it must have the same, or it would end in
numbers that belong to neither. Not in it: the backend and how often a checkpoint is written, which
a run may change on its way (from there on bits are the new backend's), and what people call its
tasks. The command line, whose results name one backend, has it in its `identity`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

import numpy as np

from ..nnlite.optim import Optimizer

Record = dict[str, Any]


def as_record(values: Mapping[str, Any]) -> Record:
    """`values` as JSON gives them back, so that they compare with what a file held."""
    return json.loads(json.dumps(values, default=str))


def describe_optimizer(optimizer: Optimizer) -> Record:
    """Its name and settings; of a class that declares none, its name."""
    return optimizer.settings() if is_dataclass(optimizer) else {"name": type(optimizer).__name__}


def hash_arrays(arrays: Iterable[np.ndarray | None]) -> str:
    """SHA-256 over dtypes, shapes and bytes, in order; None counts as itself."""
    total = hashlib.sha256()
    for array in arrays:
        if array is None:
            total.update(b"none|")
            continue
        total.update(f"{array.dtype.str}|{array.shape}|".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def differences(then: Record, now: Record) -> list[str]:
    """What differs, a line each: "batch_size: 16 then, 32 now"."""
    ours, theirs = dict(_flat(now)), dict(_flat(then))
    return [
        f"{name}: {_told(theirs.get(name))} then, {_told(ours.get(name))} now"
        for name in dict.fromkeys([*theirs, *ours])
        if theirs.get(name) != ours.get(name)
    ]


def _flat(record: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of all that is neither a mapping nor a list of mappings."""
    if isinstance(record, list) and any(isinstance(part, dict) for part in record):
        record = dict(enumerate(record))
    if not isinstance(record, dict):
        yield name, record
        return
    for key, value in record.items():
        yield from _flat(value, f"{name}.{key}" if name else str(key))


def _told(value: Any) -> str:
    """A value in few words: a hash by its beginning, equal numbers once."""
    if value is None:
        return "none"
    if isinstance(value, list) and len(value) > 1 and all(each == value[0] for each in value):
        return f"{value[0]} in each of {len(value)}"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
