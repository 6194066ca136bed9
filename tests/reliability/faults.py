"""No room, no right to write, somebody else there: a line that says so, nothing lost."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from typing import Any

from . import place
from .kills import NEED_ROOM, before_each, judge, some_moments, whole

NOBODY = 65534


def _refused(about: str, status: int, said: str, word: str = "error:") -> list[str]:
    """What is wrong with a command that should have been refused in a line."""
    if status == 2 and word in said and "Traceback" not in said:
        return []
    return [f"{about}: status {status}: {said.strip()[-300:]}"]


def no_room(what: str, most: int | None = None, seed: int = 0) -> dict[str, Any]:
    """From the n-th change to the disk on there is no room (ENOSPC), for every n; then there is."""
    failures: list[str] = []
    with place.folder() as work:
        data = place.write_data(work / "data")
        moments = some_moments(what, most, seed, NEED_ROOM)
        for n in moments:
            out = work / f"full-{n}"
            status, said = place.in_fork(place.command(what, data, out), lambda n=n: _fill(n))
            about = f"{what} without room from change {n} on"
            failures += _refused(about, status, said)
            status, said = place.in_fork(place.command(what, data, out))
            failures += judge(about, status, said, out, whole(what))
    return {"part": "disk full", "command": what, "moments": len(moments), "failures": failures}


def _fill(n: int) -> None:
    """From the n-th change on, there is no room; what is there can still be removed."""
    left = [n]

    def fail() -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before_each(NEED_ROOM, fail)


def small_files(what: str, limit: int = 2048) -> dict[str, Any]:
    """The system lets no file grow beyond `limit` bytes (RLIMIT_FSIZE), then it does."""
    failures: list[str] = []
    with place.folder() as work:
        data = place.write_data(work / "data")
        out = work / "out"
        status, said = place.in_fork(
            place.command(what, data, out),
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        failures += _refused(f"{what} with files of {limit} bytes", status, said)
        status, said = place.in_fork(place.command(what, data, out))
        about = f"{what} after files of {limit} bytes"
        failures += judge(about, status, said, out, whole(what))
    return {"part": "file size limited", "command": what, "failures": failures}


def small_disk(what: str, kib: int = 48) -> dict[str, Any] | None:
    """A disk of so many KiB, of which the run needs more; None where none can be mounted."""
    with place.folder() as work:
        data = place.write_data(work / "data")
        (work / "disk").mkdir()
        words = [sys.executable, "-m", "weightspace.bench"]
        words += place.command(what, data, work / "disk" / "out")
        script = f'mount -t tmpfs -o size={kib}k none "$0" || exit 99; exec "$@"'
        try:
            done = subprocess.run(
                ["unshare", "-m", "sh", "-c", script, str(work / "disk"), *words],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            return None
        said = done.stdout + done.stderr
        if done.returncode == 99 or said.startswith("unshare"):
            return None
        failures = _refused(f"{what} on a disk of {kib} KiB", done.returncode, said, "No space")
    return {"part": "small disk", "command": what, "failures": failures}


def read_only(what: str) -> dict[str, Any]:
    """A folder that may not be written: new, and with half a run in it."""
    failures: list[str] = []
    with place.folder() as work:
        data = place.write_data(work / "data")
        for name in ("empty", "begun"):
            out = work / name / "out"
            out.parent.mkdir()
            if name == "begun":
                place.in_fork(place.command(what, data, out))
                next(out.rglob("summary.json" if what == "run" else "trials/*.json")).unlink()
            for path in (out.parent, *out.parent.rglob("*")):
                path.chmod(0o555 if path.is_dir() else 0o444)
            status, said = place.in_fork(place.command(what, data, out), _be_nobody)
            failures += _refused(f"{what} into a read-only folder, {name}", status, said)
            for path in (out.parent, *out.parent.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
    return {"part": "read-only folder", "command": what, "failures": failures}


def _be_nobody() -> None:
    """Root may write everywhere."""
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def two_at_once(what: str, times: int) -> dict[str, Any]:
    """Two commands on one folder: one does it all, the other is refused."""
    failures: list[str] = []
    with place.folder() as work:
        data = place.write_data(work / "data")
        for number in range(times):
            out = work / f"out-{number}"
            words = [word for word in place.command(what, data, out) if word != "--resume"]
            running = [
                subprocess.Popen(
                    [sys.executable, "-m", "weightspace.bench", *words], text=True,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                )
                for _ in range(2)
            ]  # fmt: skip
            said = [one.communicate()[0] for one in running]
            ended = [one.returncode for one in running]
            if sorted(ended) != [0, 2]:
                failures.append(f"two times {what} at once: {ended}: {said[1].strip()[-300:]}")
            elif differs := place.difference(place.contents(out), whole(what, draw=True)):
                failures.append(f"two times {what} at once: other bytes in {differs}")
    return {"part": "two on one folder", "command": what, "times": times, "failures": failures}
