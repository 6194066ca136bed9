"""A tiny experiment for all that may go wrong: its data, its commands, and what must be equal."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SETTINGS = ("data=mnist", "hidden=8", "steps=6", "batch_size=16", "stream.num_tasks=2", "lr=0.01")
CLOCK = ("seconds", "learning_seconds")  # of summary.json: all else must be the same bytes
NOT_COMPARED = ("report.html", "timings.jsonl")  # they say how long it took


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder that goes again, and that any user may look into."""
    with tempfile.TemporaryDirectory(prefix="reliability-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def write_idx(path: Path, array: np.ndarray) -> None:
    """`array` in the format of MNIST."""
    header = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_data(place: Path) -> Path:
    """Small clusters as MNIST's files: each class lights its own pixels."""
    place.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", 200), ("t10k", 60)):
        y = np.arange(count) % 10
        x = rng.integers(0, 160, (count, 4, 5))
        x.reshape(count, 20)[np.arange(count), 2 * y] += 95
        write_idx(place / f"{part}-images-idx3-ubyte", x)
        write_idx(place / f"{part}-labels-idx1-ubyte", y)
    return place


def command(what: str, data: Path, out: Path, workers: int = 1) -> list[str]:
    """The arguments of a tiny `run` or `sweep` that goes on with what is in `out`."""
    chosen = {
        "run": ["-m", "naive", "-m", "ewc"],
        "sweep": ["--grid", "ewc.lam=1,100", "--trials", "1", "--workers", str(workers)],
    }[what]
    words = [word for one in SETTINGS for word in ("--set", one)]
    return [
        what, "permuted-mnist", *chosen, *words, "--backend", "reference", "--data-dir", str(data),
        "--out", str(out), "--resume",
    ]  # fmt: skip


def contents(out: Path) -> dict[str, Any]:
    """All that must be the same, by path. What a kill left of an unfinished write is not read."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        if path.is_dir() or path.name.startswith(".") or path.name in NOT_COMPARED:
            continue
        name = str(path.relative_to(out))
        found[name] = path.read_bytes()
        if path.name == "summary.json":
            found[name] = _without_clock(json.loads(found[name]))
    return found


def _without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_clock(one) for key, one in value.items() if key not in CLOCK}
    return [_without_clock(one) for one in value] if isinstance(value, list) else value


def difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """The names of what differs; "" where nothing does."""
    names = sorted(set(found) | set(expected))
    return ", ".join(name for name in names if found.get(name) != expected.get(name))


def in_fork(
    arguments: Sequence[str], prepare: Callable[[], None] | None = None, draw: bool = False
) -> tuple[int, str]:
    """`weightspace ARGUMENTS` in a fork of this process: its status (negative: a signal), and what
    it said. prepare: called in the fork first. draw: figures, else their files say nothing.
    """
    with tempfile.TemporaryFile() as said:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _be_the_command(arguments, prepare, draw, said.fileno())
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().decode(errors="replace")


def _be_the_command(
    arguments: Sequence[str], prepare: Callable[[], None] | None, draw: bool, output: int
) -> None:
    """What a fork does; it does not return."""
    from weightspace.bench.cli.app import main

    status = 70
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = (io.TextIOWrapper(open(n, "wb", 0)) for n in (1, 2))  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["weightspace", *arguments]
        if not draw:
            draw_nothing()
        if prepare:
            prepare()
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    finally:
        sys.stdout.flush()
        os._exit(status)


def draw_nothing() -> None:
    """Figures take most of a tiny run's time, and are the same whatever happens to it."""
    from matplotlib.figure import Figure

    Figure.savefig = lambda self, file, **_: file.write(b"not drawn")  # type: ignore[method-assign]


def preload() -> None:
    """Run once here, so that a fork begins with all that a run needs."""
    import matplotlib

    matplotlib.use("Agg")
    from weightspace.bench.cli.app import app

    with folder() as work, contextlib.redirect_stdout(io.StringIO()):
        data = write_data(work / "data")
        for what in ("run", "sweep"):
            app(command(what, data, work / what), standalone_mode=False)
