"""Which published file is this? Known by its content, whatever it is called and however it is kept.

A sum is the SHA-256 of a file as it is without gzip, so that compressed and plain ones agree:
`zcat train-images-idx3-ubyte.gz | sha256sum`. They are of the files that `fetch` downloads.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...kernels.errors import DataError

PARTS = ("train-images", "train-labels", "t10k-images", "t10k-labels")
# what a file's sum says it is: (data set, part)
SUMS: dict[str, tuple[str, str]] = {
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db": ("mnist", "train-images"),
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5": ("mnist", "train-labels"),
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7": ("mnist", "t10k-images"),
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2": ("mnist", "t10k-labels"),
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888": (
        "fashion-mnist", "train-images",
    ),
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9": (
        "fashion-mnist", "train-labels",
    ),
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b": (
        "fashion-mnist", "t10k-images",
    ),
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34": (
        "fashion-mnist", "t10k-labels",
    ),
}  # fmt: skip


def recognise(name: str, sums: Mapping[str, tuple[Path, str]]) -> str:
    """What to tell of the set `name`, whose part (train-images, ...) is the file with the sum.

    Nothing ("") where all are the published ones, else which are unknown. Raises DataError for a
    file of another known set, of another part of this one, or that is there twice.
    """
    for part, (path, found) in sums.items():
        owner, whose = SUMS.get(found, (name, part))
        if owner != name:
            raise DataError(
                f"{path}: these are {owner}'s {whose}, not {name}'s (known by their checksum); "
                f"name the folder of {name}, or ask for {owner}"
            )
        if whose != part:
            raise DataError(
                f"{path}: these are the {whose} of {name} under the name of its {part} (known by "
                "their checksum); give every file its own name back"
            )
    images = {found: part for part, (_, found) in sums.items() if "images" in part}
    if len(images) < sum("images" in part for part in sums):
        raise DataError(
            f"{name}: {' and '.join(str(sums[p][0]) for p in sums if 'images' in p)} are the same "
            "images, which would test what was trained on; put the right files there"
        )
    unknown = [part for part, (_, found) in sums.items() if found not in SUMS]
    if not unknown:
        return ""
    which = "its files" if len(unknown) == len(sums) else f"its {' and '.join(unknown)}"
    return f"{name} of unknown origin: the checksums of {which} are none of those published"


def counted(name: str, published: tuple[int, int], train_y: np.ndarray, test_y: np.ndarray) -> str:
    """What to tell of a set whose files' sums are not known: nothing ("") where it has as many
    images of each class as were published, else how many.
    """
    found = len(train_y), len(test_y)
    even = all(np.ptp(np.bincount(y)) == 0 for y in (train_y, test_y) if len(y))
    if found == published and even:
        return ""
    return (
        f"{name} of unknown origin: {found[0]:,} training and {found[1]:,} test images, published "
        f"are {published[0]:,} and {published[1]:,}, as many of each class"
    )
