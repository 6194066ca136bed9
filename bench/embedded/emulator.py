"""Running a program on its target: `run` gives it bytes and returns those it answered."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from ...kernels.errors import EmulatorError, MissingToolError
from .toolchain import Elf, missing

_HEX = re.compile(r"[0-9a-f]+")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def run(elf: Elf, given: bytes, seconds: float = 600) -> bytes:
    """What the program answers to `given`.

    A program for an emulator that has no files holds what it was given: see `session.Session`.
    Raises MissingToolError, and EmulatorError where the program did not end well or in time.
    """
    target = elf.target
    if reason := missing(target):
        raise MissingToolError(reason)
    words = [word.format(elf=elf.path) for word in target.emulator or ("{elf}",)]
    with tempfile.TemporaryDirectory(prefix="weightspace-run-") as inside:
        Path(inside, "in.bin").write_bytes(given)
        try:
            done = subprocess.run(
                words, cwd=inside, capture_output=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            raise EmulatorError(
                f"{target.says}: {elf.path.name} did not end in {seconds:.0f} s; give it less to "
                "do, or more time"
            ) from None
        said = (done.stdout + done.stderr).decode(errors="replace")
        if target.text:
            return _of_digits(said, target.says)
        if done.returncode:
            raise EmulatorError(
                f"{target.says}: the program ended with status {done.returncode}, a fault or a "
                f"command that it does not know; it said: {said.strip()[-400:] or 'nothing'}"
            )
        answer = Path(inside, "out.bin")
        return answer.read_bytes() if answer.exists() else b""


def _of_digits(said: str, target: str) -> bytes:
    """Bytes from lines of hex digits, as simavr shows them, a point for each new line; "!" is the
    good end."""
    lines: list[str] = []
    for line in _COLOURS.sub("", said).splitlines():
        text = line.strip().rstrip(".")
        if text == "!":
            return bytes.fromhex("".join(lines))
        if _HEX.fullmatch(text) and len(text) % 2 == 0:
            lines.append(text)
    raise EmulatorError(
        f"{target}: the program did not come to its end; the last it said: {said.strip()[-400:]!r}"
    )
