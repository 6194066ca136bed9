"""Which data sets there are, and where on this machine their files may lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ...kernels.errors import DataNotFoundError
from .idx import find_idx
from .known import PARTS


@dataclass(frozen=True)
class Entry:
    """A data set in published files: the folder they usually lie in, and what identifies them."""

    name: str
    folder: str
    num_classes: int
    published: tuple[int, int]  # training and test images, as published
    files: tuple[str, ...]  # IDX stems, or the names of binary files
    system: tuple[str, ...] = ()

    def present(self, folder: Path) -> bool:
        """Whether `folder` holds this set's files."""
        if self.files is PARTS:
            return all(find_idx(folder, stem) for stem in self.files)
        return all((folder / name).is_file() for name in self.files)


ENTRIES = {
    entry.name: entry
    for entry in (
        Entry("mnist", "mnist", 10, (60_000, 10_000), PARTS, ("/usr/share/datasets/mnist",)),
        Entry(
            "fashion-mnist",
            "fashion-mnist",
            10,
            (60_000, 10_000),
            PARTS,
            ("/usr/share/datasets/fashion-mnist",),
        ),
        Entry(
            "cifar-10",
            "cifar-10-batches-bin",
            10,
            (50_000, 10_000),
            (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"),
        ),
        Entry("cifar-100", "cifar-100-binary", 100, (50_000, 10_000), ("train.bin", "test.bin")),
        # who wrote MNIST's digits; the images are mnist's own
        Entry(
            "mnist-writers",
            "qmnist",
            10,
            (60_000, 10_000),
            ("qmnist-train-labels-idx2-int.gz", "qmnist-test-labels-idx2-int.gz"),
        ),
    )
}


def candidates(entry: Entry, data_dir: str | os.PathLike[str] | None) -> list[Path]:
    """The folders to look in, in order.

    A folder that was named holds the set in a sub-folder of its usual name, or directly, unless it
    is called after another set: MNIST and Fashion-MNIST share their files' names. For the same
    reason $WEIGHTSPACE_DATA counts directly only if it is itself called after the set.
    """
    places: list[Path] = []
    if data_dir is not None:
        places.append(Path(data_dir) / entry.folder)
        others = {other.folder for other in ENTRIES.values() if other is not entry}
        if Path(data_dir).resolve().name not in others:
            places.append(Path(data_dir))
    variable = os.environ.get("WEIGHTSPACE_DATA")
    if variable:
        places.append(Path(variable) / entry.folder)
        if Path(variable).name == entry.folder:
            places.append(Path(variable))
    return places + [Path(folder) for folder in entry.system]


def locate(entry: Entry, data_dir: str | os.PathLike[str] | None) -> Path:
    """The folder that holds the set. Raises DataNotFoundError, naming every place looked at.

    A data_dir that is not there is an error, though the set may lie elsewhere: it was misspelt.
    """
    if data_dir is not None and not Path(data_dir).is_dir():
        raise DataNotFoundError(
            f"the data set '{entry.name}' was not found: {data_dir} is no folder; give its folder "
            "with --data-dir or in $WEIGHTSPACE_DATA"
        )
    looked = candidates(entry, data_dir)
    for folder in looked:
        if entry.present(folder):
            return folder
    listed = "".join(f"\n  {folder}" for folder in looked) or "\n  (nowhere was named)"
    raise DataNotFoundError(
        f"the data set '{entry.name}' was not found. Looked in:{listed}\n"
        f"Give its folder with --data-dir or in $WEIGHTSPACE_DATA, or download it: "
        f"weightspace data fetch {entry.name}"
    )
