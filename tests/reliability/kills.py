"""Killed at any moment, a run or sweep is resumed to the bytes of one that never was.

Twice: `at_random` starts the command as a user does and kills it (SIGKILL, or a signal that it can
answer) at a random moment; `at_every_change` lets a fork of this process die just before its n-th
change to the disk, for n = 1, 2, ... until it comes to its end: no moment in between is other.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from . import place

NEED_ROOM = ("replace", "rename", "fsync", "mkdir", "truncate", "ftruncate")
CHANGES = (*NEED_ROOM, "rmdir", "unlink")
ANSWERED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FINISHED = "\nopen     file://"  # the last that a command says; then it is no more its to answer
_PATIENCE = 120  # seconds until a command is taken to hang


@cache
def whole(what: str, draw: bool = False) -> dict[str, Any]:
    """The contents of an uninterrupted run."""
    with place.folder() as work:
        data = place.write_data(work / "data")
        status, said = place.in_fork(place.command(what, data, work / "out"), draw=draw)
        assert status == 0, said
        return place.contents(work / "out")


@cache
def changes(what: str, names: tuple[str, ...] = CHANGES) -> int:
    """How many changes an uninterrupted run makes to the disk."""
    with place.folder() as work, tempfile.TemporaryFile() as counter:
        data, handle = place.write_data(work / "data"), counter.fileno()

        def count() -> None:
            before_each(names, lambda: os.write(handle, b"."))

        status, said = place.in_fork(place.command(what, data, work / "out"), count)
        assert status == 0, said
        return os.fstat(handle).st_size


def some_moments(
    what: str, most: int | None, seed: int, names: tuple[str, ...] = CHANGES
) -> list[int]:
    """1, 2, ... up to the number of changes, or `most` of them."""
    moments = np.arange(1, changes(what, names) + 1)
    if most is not None and most < len(moments):
        moments = np.sort(np.random.default_rng(seed).choice(moments, most, replace=False))
    return moments.tolist()


def at_every_change(what: str, most: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Die before the n-th change, then resume, for every n, or `most` of them by `seed`."""
    failures: list[str] = []
    with place.folder() as work:
        data = place.write_data(work / "data")
        moments = some_moments(what, most, seed)
        for n in moments:
            out = work / f"killed-{n}"
            status, said = place.in_fork(place.command(what, data, out), lambda n=n: _die_before(n))
            if status != -signal.SIGKILL:
                failures.append(f"{what}: not killed before change {n}: {status}, {said[-300:]}")
            status, said = place.in_fork(place.command(what, data, out))
            failures += judge(f"{what} killed before change {n}", status, said, out, whole(what))
    return {"part": "kills at every change to the disk", "command": what, "kills": len(moments),
            "moments": changes(what), "failures": failures}  # fmt: skip


def judge(about: str, status: int, said: str, out: Path, expected: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a run that was resumed to its end."""
    if status:
        yield f"{about}: resumed, it ended with {status}: {said.strip()[-300:]}"
    elif differs := place.difference(place.contents(out), expected):
        yield f"{about}: resumed, other bytes in {differs}"


def _die_before(n: int) -> None:
    """From now on, die just before the n-th change that this process makes to the disk."""
    left = [n]

    def kill() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    before_each(CHANGES, kill)


def before_each(names: tuple[str, ...], call: Any) -> None:
    """From now on, call `call` before each such change to the disk."""

    def wrapped(real: Any) -> Any:
        def change(*given: Any, **named: Any) -> Any:
            call()
            return real(*given, **named)

        return change

    for name in names:
        setattr(os, name, wrapped(getattr(os, name)))


def at_random(what: str, kills: int, seed: int, answered: bool = False) -> dict[str, Any]:
    """`kills` kills of the real command, up to five in a row before it may come to its end.

    answered: by signals that it can answer, which must leave a status of its own and no traceback.
    """
    rng = np.random.default_rng([seed, kills, len(what), answered])
    failures: list[str] = []
    done = 0
    with place.folder() as work:
        data = place.write_data(work / "data")
        begins, ends = _time(what, data, work / "timed")
        number = 0
        while done < kills:
            out, number = work / f"out-{number}", number + 1
            for _ in range(min(int(rng.integers(1, 6)), kills - done)):
                moment = rng.uniform(begins if answered else 0.5 * begins, ends)
                sent = ANSWERED[rng.integers(3)] if answered else signal.SIGKILL
                failures += _interrupt(what, data, out, moment, sent)
                done += 1
            status, said = place.in_fork(place.command(what, data, out), draw=True)
            about = f"{what} killed at random ({number})"
            failures += judge(about, status, said, out, whole(what, draw=True))
    part = "signals at random moments" if answered else "kills at random moments"
    return {"part": part, "command": what, "kills": done, "failures": failures}


def _start(what: str, data: Path, out: Path) -> subprocess.Popen[str]:
    arguments = place.command(what, data, out, workers=2)
    # a shell's background jobs ignore Ctrl-C, and so would what they start
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "weightspace.bench", *arguments], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)


def _time(what: str, data: Path, out: Path) -> tuple[float, float]:
    """When an uninterrupted command makes its folder, and when it ends, in seconds."""
    begun = time.monotonic()
    running = _start(what, data, out)
    while not out.exists() and running.poll() is None:
        time.sleep(0.01)
    begins = time.monotonic() - begun
    said, _ = running.communicate(timeout=_PATIENCE)
    assert running.returncode == 0, said
    return begins, time.monotonic() - begun


def _interrupt(what: str, data: Path, out: Path, moment: float, sent: int) -> Iterator[str]:
    """Send a signal after `moment` seconds. That the output then ends proves no worker is left."""
    running = _start(what, data, out)
    about = f"{what} at {moment:.2f} s of {signal.Signals(sent).name}"
    try:
        running.wait(moment)
    except subprocess.TimeoutExpired:
        running.send_signal(sent)
    try:
        said, _ = running.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        yield f"{about}: something still holds its output {_PATIENCE} s later"
        return
    if sent == signal.SIGKILL or FINISHED in said:
        return
    if running.returncode not in (0, 128 + sent):
        yield f"{about}: status {running.returncode}: {said.strip()[-300:]}"
    elif "Traceback" in said:
        yield f"{about}: a traceback: {said.strip()[-300:]}"
