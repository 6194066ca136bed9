"""Download a data set from its publisher, checked against the published checksum."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import os
import tarfile
import urllib.request
import zlib
from pathlib import Path

from ...kernels.errors import DataError, DataNotFoundError, check_name
from ...nnlite.files import write_whole
from .places import ENTRIES

_FASHION = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_CIFAR = "https://www.cs.toronto.edu/~kriz/"
_QMNIST = "https://raw.githubusercontent.com/facebookresearch/qmnist/master/"
_MOST = 1 << 28  # bytes; the largest of these files has 170 million

# name -> (address, MD5 as the publisher states it)
FILES: dict[str, tuple[tuple[str, str], ...]] = {
    "mnist": (
        (_MNIST + "train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        (_MNIST + "train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        (_MNIST + "t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        (_MNIST + "t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    "fashion-mnist": (
        (_FASHION + "train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        (_FASHION + "train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        (_FASHION + "t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        (_FASHION + "t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    "cifar-10": ((_CIFAR + "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),),
    "cifar-100": ((_CIFAR + "cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),),
    "mnist-writers": (
        (_QMNIST + "qmnist-train-labels-idx2-int.gz", "0058f8dd561b90ffdd0f734c6a30e5e4"),
        (_QMNIST + "qmnist-test-labels-idx2-int.gz", "5b5b05890a5e13444e108efe57b788aa"),
    ),
}


def _download(address: str, md5: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            content = answer.read(_MOST)  # of something longer, the checksum is wrong
    except (http.client.HTTPException, OSError) as wrong:
        raise DataNotFoundError(
            f"could not download {address}: {wrong}. Without a network, copy the files by hand and "
            "name their folder with --data-dir"
        ) from None
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(f"{address}: checksum {found}, the publisher states {md5}; nothing written")
    return content


def _unpack(content: bytes, folder: Path) -> None:
    """The .bin files of a CIFAR archive, flat into `folder`. Raises DataError for another one."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                if member.isreg() and member.name.endswith(".bin") and member.size < _MOST:
                    part = archive.extractfile(member)
                    assert part is not None
                    write_whole(folder / Path(member.name).name, part.read())
    except (tarfile.TarError, EOFError, ValueError, zlib.error, gzip.BadGzipFile) as wrong:
        raise DataError(f"what was downloaded is not the archive it should be ({wrong})") from None


def fetch(name: str, data_dir: str | os.PathLike[str]) -> Path:
    """Download the set `name` into its usual sub-folder of `data_dir`, and return that folder.

    Each file is checked before it is written, and written whole or not at all. Raises
    UnknownNameError, DataNotFoundError without a network, DataError for a wrong checksum.
    """
    check_name("data set to download", name, FILES)
    folder = Path(data_dir) / ENTRIES[name].folder
    for address, md5 in FILES[name]:
        content = _download(address, md5)
        if address.endswith(".tar.gz"):
            _unpack(content, folder)
        else:
            write_whole(folder / address.rsplit("/", 1)[1], content)
    return folder
