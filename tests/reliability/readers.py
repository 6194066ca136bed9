"""The readers that `fuzz` gives inputs to: a sound folder each, of which one file is the input."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from . import place

PSP = ("-m", "superposition", "--set", "superposition.kind=binary", "--set", "data=mnist",
       "--set", "hidden=8", "--set", "steps=4", "--set", "batch_size=16", "--set",
       "stream.num_tasks=2")  # fmt: skip


def cli(*arguments: str) -> None:
    """The command line in this process; errors come out as they are."""
    from weightspace.bench.cli.app import app

    app(list(arguments), standalone_mode=False)


class Reader:
    """A reader: `read(input)`, and what inputs may begin with. Made in an empty folder.

    share: of the inputs asked for, as some take a hundred times as long as others.
    """

    name, share = "", 1.0

    def __init__(self, work: Path) -> None:
        self.work = work
        self.make()

    def make(self) -> None:
        """Write the sound folder."""

    def read(self, given: bytes) -> None:
        raise NotImplementedError

    def seeds(self) -> list[bytes]:
        raise NotImplementedError


class Idx(Reader):
    """MNIST's files; the first byte of an input says which of them it replaces."""

    files = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
             "t10k-labels-idx1-ubyte")  # fmt: skip

    def make(self) -> None:
        place.write_data(self.work / "data")

    def read(self, given: bytes) -> None:
        from weightspace.bench import data

        name = self.files[given[0] % 4] if given else self.files[0]
        path = self.work / "data" / name
        kept = path.read_bytes()
        path.write_bytes(given[1:])
        try:
            data.load("mnist", self.work / "data")
        finally:
            path.write_bytes(kept)

    def seeds(self) -> list[bytes]:
        whole = [(self.work / "data" / name).read_bytes() for name in self.files]
        return [bytes([at]) + form for at, content in enumerate(whole)
                for form in (content, gzip.compress(content, mtime=0), content[:40])]  # fmt: skip


class Cifar(Reader):
    """CIFAR-100's training file."""

    def make(self) -> None:
        self.folder = self.work / "cifar-100-binary"
        self.folder.mkdir()
        rows = np.random.default_rng(0).integers(0, 256, (3, 3074), dtype=np.uint8)
        rows[:, :2] = 1
        self.whole = rows.tobytes()
        (self.folder / "test.bin").write_bytes(self.whole)

    def read(self, given: bytes) -> None:
        from weightspace.bench import data

        (self.folder / "train.bin").write_bytes(given)
        data.load("cifar-100", self.work)

    def seeds(self) -> list[bytes]:
        return [self.whole, self.whole[:3074], b""]


class Archive(Reader):
    """What a publisher sends, taken for the published file."""

    def read(self, given: bytes) -> None:
        import urllib.request

        from weightspace.bench.data import fetch

        md5 = hashlib.md5(given, usedforsecurity=False).hexdigest()
        before, urllib.request.urlopen = urllib.request.urlopen, lambda *_, **__: io.BytesIO(given)
        files = sys.modules["weightspace.bench.data.fetch"].FILES  # a function hides the module
        known = dict(files)
        files["cifar-10"] = (("https://example.org/x.tar.gz", md5),)
        try:
            fetch("cifar-10", self.work / "out")
        finally:
            urllib.request.urlopen = before
            files.update(known)
            shutil.rmtree(self.work / "out", ignore_errors=True)

    def seeds(self) -> list[bytes]:
        made = []
        for form in ("w:gz", "w:"):
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode=form) as archive:
                for name in ("cifar-10-batches-bin/data_batch_1.bin", "readme.html"):
                    member = tarfile.TarInfo(name)
                    member.size = 100
                    archive.addfile(member, io.BytesIO(bytes(100)))
            made.append(packed.getvalue())
        return made


class Checkpoint(Reader):
    """A network's file, as its bytes."""

    def make(self) -> None:
        from weightspace.nnlite import models

        self.path = self.work / "net.safetensors"
        models.mlp((3, 4, 2), backend="reference").save(self.path)
        self.whole = self.path.read_bytes()

    def read(self, given: bytes) -> None:
        from weightspace.nnlite import Network

        self.path.write_bytes(given)
        Network.load(self.path, backend="reference")

    def seeds(self) -> list[bytes]:
        return [self.whole, self.whole[:-1], self.whole[:8]]


class Sparse(Checkpoint):
    """A sparse network's file, as its bytes."""

    def make(self) -> None:
        from weightspace.nnlite import SparseNetwork, models

        self.path = self.work / "sparse.safetensors"
        net = models.mlp((6, 8, 2), backend="reference")
        net.theta[::2] = 0
        SparseNetwork(net).save(self.path)
        self.whole = self.path.read_bytes()

    def read(self, given: bytes) -> None:
        from weightspace.nnlite import SparseNetwork

        self.path.write_bytes(given)
        SparseNetwork.load(self.path, backend="reference")


class _Sealed:
    """The description of a file, under a checksum that fits: only its meaning can be wrong."""

    whole: bytes
    path: Path

    def read(self, given: bytes) -> None:
        from weightspace.nnlite.checkpoint import pack_arrays, unpack_arrays

        try:
            about = json.loads(given)
            assert isinstance(about, dict)
            packed = pack_arrays(unpack_arrays(self.whole, "a seed")[0], about)
        except (ValueError, RecursionError, AssertionError):
            return
        super().read(packed)  # type: ignore[misc]

    def seeds(self) -> list[bytes]:
        from weightspace.nnlite.checkpoint import unpack_arrays

        return [json.dumps(unpack_arrays(self.whole, "a seed")[1]).encode()]


class SealedCheckpoint(_Sealed, Checkpoint):
    """The description of a network."""


class SealedSparse(_Sealed, Sparse):
    """The description of a sparse network."""


class Folder(Reader):
    """A folder that a command wrote, of which one file is the input; then another reads it."""

    target = ""  # a glob
    changes = False  # whether the command writes into the folder
    share = 0.1
    written: ClassVar[dict[Any, Path]] = {}  # what wrote a folder -> that folder

    def make(self) -> None:
        data = place.write_data(self.work / "data")
        self.out, self.kept = self.work / "out", self.work / "kept"
        before = self.written.setdefault(type(self).write, self.kept)
        if before is self.kept:
            self.write(data)
            shutil.move(self.out, self.kept)
        self.kept = before
        shutil.copytree(self.kept, self.out)
        self.path = sorted(self.out.glob(self.target))[0]
        self.whole = self.path.read_bytes()

    def write(self, data: Path) -> None:
        cli(*place.command("run", data, self.out))

    def read(self, given: bytes) -> None:
        if self.changes:
            shutil.rmtree(self.out)
            shutil.copytree(self.kept, self.out)
            self.prepare()
        self.path.write_bytes(given)
        self.use()

    def prepare(self) -> None:
        """What else must be changed in a fresh copy."""

    def use(self) -> None:
        cli("report", str(self.out), "--out", str(self.work / "report.html"))

    def seeds(self) -> list[bytes]:
        return [self.whole, self.whole[: len(self.whole) // 2], b"", b"{}\n", b"[" * 5000]


class Summary(Folder):
    """summary.json of one run, in a report."""

    target = "naive/*/summary.json"


class Summaries(Folder):
    """summary.json of the whole, on resuming."""

    target, changes = "summary.json", True

    def use(self) -> None:
        cli(*place.command("run", self.work / "data", self.out))


class Resumed(Folder):
    """summary.json of one run, on resuming."""

    target, changes = "naive/*/summary.json", True
    use = Summaries.use


class RunConfig(Folder):
    """config.toml of an unfinished run, on resuming and in a report."""

    target, changes = "naive/*/config.toml", True

    def prepare(self) -> None:
        (self.path.parent / "summary.json").unlink()

    def use(self) -> None:
        cli(*place.command("run", self.work / "data", self.out))


class RunCheckpoint(Folder):
    """checkpoint.safetensors of an unfinished run, as its bytes."""

    target, changes = "naive/*/checkpoint.safetensors", True
    prepare, use = RunConfig.prepare, RunConfig.use


class SealedRunCheckpoint(_Sealed, RunCheckpoint):
    """The description in the checkpoint of an unfinished run."""


class Metrics(Folder):
    """metrics.jsonl of a superposition, of which a report draws a figure."""

    target = "superposition*/*/metrics.jsonl"

    def write(self, data: Path) -> None:
        cli("run", "psp-permuted-mnist", *PSP, "--backend", "reference", "--data-dir", str(data),
            "--out", str(self.out))  # fmt: skip

    def use(self) -> None:
        from weightspace.bench.runs.curves import draw_first

        draw_first([self.out], self.work / "first.png", turn=4)
        cli("report", str(self.out), "--out", str(self.work / "report.html"))


class PspConfig(Metrics):
    """config.toml of a superposition, which figures read."""

    target = "superposition*/*/config.toml"


class Trial(Folder):
    """A finished trial of a sweep, on resuming."""

    target, changes = "trials/*.json", True

    def write(self, data: Path) -> None:
        cli(*place.command("sweep", data, self.out))

    def use(self) -> None:
        cli(*place.command("sweep", self.work / "data", self.out))


class Timings(Trial):
    """timings.jsonl of a sweep, on resuming."""

    target = "timings.jsonl"


class SweepPlan(Trial):
    """sweep.toml, on resuming."""

    target = "sweep.toml"


class Records(Reader):
    """A file of benchmarks, beside a sound one and in a page."""

    def make(self) -> None:
        from weightspace.bench.speed import records

        about = {"cpu": "a machine", "cores": 2, "versions": {"numpy": "2"}, "load": 0.0}
        made = [
            records.record(
                "step",
                about,
                name="step",
                net="mlp",
                tool="weightspace",
                peer="torch",
                median=1e-3 * n,
                low=9e-4 * n,
                high=2e-3 * n,
                calls=3,
            )
            for n in (1, 2)
        ]
        lines = Path(records.__file__).parent / "results" / "steps.jsonl"
        real = records.read(lines)[:2] if lines.exists() else []
        self.sound, self.path = self.work / "sound.jsonl", self.work / "given.jsonl"
        records.write(self.sound, [*real, *made])

    def read(self, given: bytes) -> None:
        self.path.write_bytes(given)
        wrong: Exception | None = None
        for arguments in (
            ("bench", "compare", str(self.sound), str(self.path)),
            ("bench", "report", str(self.path), "--out", str(self.work / "page.html")),
        ):
            try:
                cli(*arguments)
            except Exception as refused:
                wrong = wrong if wrong is not None and not _is_ours(wrong) else refused
        if wrong is not None:
            raise wrong

    def seeds(self) -> list[bytes]:
        return [self.sound.read_bytes(), self.sound.read_bytes().splitlines()[0], b"", b"{}"]


def _is_ours(wrong: Exception) -> bool:
    from weightspace.kernels.errors import WeightspaceError

    return isinstance(wrong, WeightspaceError)


class Correlations(Reader):
    """correlations.csv of a run of kutalev-importances."""

    text = (
        b"kind,pair,layer,after_task,correlation\npearson,fisher ~ mas,0,1,0.5\n"
        b"spearman,fisher ~ mas,0,1,1\n"
    )

    def read(self, given: bytes) -> None:
        from weightspace.bench.studies.importances.correlations import read

        (self.work / "correlations.csv").write_bytes(given)
        read(self.work / "correlations.csv")

    def seeds(self) -> list[bytes]:
        return [self.text, b"", self.text[:50]]


READERS: dict[str, Callable[[Path], Reader]] = {}
for _kind in (
    Idx, Cifar, Archive, Checkpoint, SealedCheckpoint, Sparse, SealedSparse, Summary, Summaries,
    Resumed, RunConfig, RunCheckpoint, SealedRunCheckpoint, Metrics, PspConfig, Trial, Timings,
    SweepPlan, Records, Correlations,
):  # fmt: skip
    _kind.name = "".join(f"-{c.lower()}" if c.isupper() else c for c in _kind.__name__).lstrip("-")
    READERS[_kind.name] = _kind
