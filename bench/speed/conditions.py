"""What a run shares the machine with: how many cores it may use, what else keeps some of them busy,
and the engine of another checkout beside this one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...kernels.cores import cores_here
from ...kernels.errors import SettingError
from .machine import git_state
from .peers import BASELINE, REGISTRY, PeerSpec

_PARTS = ("kernels", "nnlite", "methods")
# Ends with the process that started it, however that ends; keeps to one core where it can.
_LOOP = """
import os, sys
parent, core = map(int, sys.argv[1:])
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {core})
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""


def check_threads(count: int) -> None:
    """Raise SettingError unless a run can be kept to `count` cores (0 for all)."""
    cores = cores_here()
    if not 0 <= count <= cores:
        raise SettingError(f"threads is {count}; expected 1 to {cores}, or 0 for all cores")
    if count and not hasattr(os, "sched_setaffinity"):
        raise SettingError(
            f"threads is {count}, and this system keeps no process to some cores; expected 0"
        )


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """This thread, and the processes and threads it starts, on the last `count` cores of those it
    may use, 0 for all: libraries then have as many threads. Raises SettingError."""
    check_threads(count)
    if count == 0:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[-count:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class BusyLoops:
    """So many processes that do nothing, on the first cores, while the context lasts."""

    def __init__(self, count: int = 0) -> None:
        """Raises SettingError for a negative count."""
        if count < 0:
            raise SettingError(f"busy is {count}; expected a number of processes, 0 or more")
        self.count = count
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> BusyLoops:
        affinity = getattr(os, "sched_getaffinity", lambda _: range(cores_here()))
        cores = sorted(affinity(0))
        for number in range(self.count):
            core = cores[number % len(cores)]
            command = [sys.executable, "-c", _LOOP, str(os.getpid()), str(core)]
            self._processes.append(subprocess.Popen(command))
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes.clear()

    def cpu_seconds(self) -> float:
        """CPU time of the loops that run; 0 without psutil."""
        try:
            import psutil
        except ImportError:
            return 0.0
        times = (psutil.Process(one.pid).cpu_times() for one in self._processes)
        return sum(time.user + time.system for time in times)


def conditions_of(threads: int, busy: int) -> list[str]:
    """Words for a title; none for all cores and nothing beside."""
    said = [f"{threads} thread{'s' if threads > 1 else ''}"] if threads else []
    return said + ([f"{busy} busy beside"] if busy else [])


def other_engine(checkout: Path, folder: Path) -> PeerSpec:
    """The peer "before": the engine of another checkout under this one's bench.

    folder: an empty one, which gets the links and must stay while the peer runs. Raises
    SettingError where `checkout` is none.
    """
    missing = [part for part in _PARTS if not (checkout / part / "__init__.py").is_file()]
    if missing:
        raise SettingError(
            f"--before {checkout} has no {missing[0]}/__init__.py; expected a checkout of "
            "weightspace: git worktree add FOLDER COMMIT"
        )
    home = folder / "weightspace"
    home.mkdir()
    for part in _PARTS:
        (home / part).symlink_to(checkout.resolve() / part)
    (home / "bench").symlink_to(Path(__file__).resolve().parents[1])
    own = REGISTRY[BASELINE]
    environment = (("PYTHONPATH", str(folder)), ("PYTHONSAFEPATH", "1"))  # not what is installed
    commit = git_state(checkout)[0]
    return PeerSpec("before", own.module, (), ("cpu",), own.work, environment, commit)
