"""Talking to a network on a target: a `Script` of commands, run by a `Program`, and its answers.

The other side is `board/harness.c`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...kernels.errors import EmulatorError
from .emulator import run
from .targets import Target
from .toolchain import BOARD, Elf, build

_Kind = Literal["floats", "ticks", "two", "whole"]
_BYTES = {"ticks": 8, "two": 8, "whole": 4}


@dataclass(frozen=True)
class _Command:
    """What is sent, and the names and types of what comes back."""

    sent: bytes
    answers: tuple[tuple[str, _Kind, int], ...]  # name, type, how many numbers
    calls: int = 1


class Script:
    """Commands for a network of `inputs`, `outputs` and, where it learns, `batch` and `parameters`.

    Samples are (N, inputs): uint8, which the target divides by 255, or float32.
    """

    def __init__(self, inputs: int, outputs: int, batch: int = 0, parameters: int = 0) -> None:
        self.inputs, self.outputs, self.batch, self.parameters = inputs, outputs, batch, parameters
        self.commands: list[_Command] = []

    def _add(self, what: str, count: int, sent: bytes, *answers: tuple[str, _Kind, int]) -> Script:
        calls = count if any(kind == "ticks" for _, kind, _ in answers) else 1
        self.commands.append(_Command(struct.pack("<II", ord(what), count) + sent, answers, calls))
        return self

    def predict(self, x: np.ndarray) -> Script:
        """`outputs` (N, outputs) float32 of each sample, `work` of one."""
        letter, sent = _samples("p", x)
        return self._add(
            letter, len(x), sent, ("outputs", "floats", len(x) * self.outputs), ("work", "ticks", 1)
        )

    def count(self, x: np.ndarray, times: int) -> Script:
        """`work`: of an answer for the sample x (inputs,), as the mean of so many."""
        return self._add("c", times, _floats(x), ("work", "ticks", 1))

    def count_int8(self, q: np.ndarray, times: int) -> Script:
        """`work`: of an int8 network's answer for the sample q (inputs,) int8, likewise."""
        return self._add("n", times, q.astype(np.int8).tobytes(), ("work", "ticks", 1))

    def stack(self, x: np.ndarray) -> Script:
        """`stack`: bytes below the caller while predict answers for x; 0 where not measured."""
        return self._add("s", 1, _floats(x), ("stack", "whole", 1))

    def arena(self) -> Script:
        """`arena`: bytes up to the last that was written, and 1 if those around it are whole."""
        return self._add("a", 1, b"", ("arena", "two", 1))

    def learn(self, x: np.ndarray, y: np.ndarray) -> Script:
        """`losses` (steps,) on x (steps, batch, inputs), y (steps, batch); `work` of one."""
        letter, _ = _samples("l", x)
        sent = b"".join(
            _samples("l", rows)[1] + labels.astype("<i4").tobytes()
            for rows, labels in zip(x, y, strict=True)
        )
        return self._add(letter, len(x), sent, ("losses", "floats", len(x)), ("work", "ticks", 1))

    def learn_stack(self, x: np.ndarray, y: np.ndarray) -> Script:
        """`stack` under one step, which is taken, on x (batch, inputs) and y (batch,)."""
        return self._add("k", 1, _floats(x) + y.astype("<i4").tobytes(), ("stack", "whole", 1))

    def importance(self, x: np.ndarray, y: np.ndarray) -> Script:
        """Measure the importance on x (N, inputs), y (N,); `work` of a sample."""
        letter, _ = _samples("i", x)
        sent = b"".join(
            _samples("i", row)[1] + struct.pack("<i", int(label))
            for row, label in zip(x, y, strict=True)
        )
        return self._add(letter, len(x), sent, ("work", "ticks", 1))

    def end_task(self) -> Script:
        """`done`: what end_task returned."""
        return self._add("e", 1, b"", ("done", "whole", 1))

    def theta(self) -> Script:
        """`theta` (parameters,) float32."""
        return self._add("t", 1, b"", ("theta", "floats", self.parameters))

    def save_and_restore(self) -> Script:
        """`done`: whether the state that was saved, and wiped out, was restored."""
        return self._add("v", 1, b"", ("done", "whole", 1))

    @property
    def given(self) -> bytes:
        """All of it as the harness reads it."""
        return b"".join(each.sent for each in self.commands) + struct.pack("<II", ord("q"), 0)

    def read(self, answer: bytes, target: Target) -> list[dict[str, Any]]:
        """What each command came to. Raises EmulatorError for an answer of another length."""
        wanted = sum(_BYTES.get(kind, 4 * n) for c in self.commands for _, kind, n in c.answers)
        if len(answer) != wanted:
            raise EmulatorError(
                f"{target.says} answered {len(answer)} bytes where {wanted} were expected: the "
                "program is that of another network"
            )
        found, at = [], 0
        for command in self.commands:
            one: dict[str, Any] = {}
            for name, kind, count in command.answers:
                size = _BYTES.get(kind, 4 * count)
                one[name] = self._value(kind, answer[at : at + size], command.calls, target)
                at += size
            if "outputs" in one:
                one["outputs"] = one["outputs"].reshape(-1, self.outputs)
            found.append(one)
        return found

    @staticmethod
    def _value(kind: _Kind, given: bytes, calls: int, target: Target) -> Any:
        if kind == "floats":
            return np.frombuffer(given, "<f4").astype(np.float32)
        if kind == "ticks":
            ticks = struct.unpack("<Q", given)[0]
            return None if target.counts == "nothing" else ticks * target.per_tick / max(calls, 1)
        return struct.unpack("<II", given) if kind == "two" else struct.unpack("<i", given)[0]


def _floats(x: np.ndarray) -> bytes:
    return np.ascontiguousarray(x, "<f4").tobytes()


def _samples(letter: str, x: np.ndarray) -> tuple[str, bytes]:
    """The command's letter, capital for floats, and the samples' bytes."""
    if x.dtype == np.uint8:
        return letter, np.ascontiguousarray(x).tobytes()
    return letter.upper(), _floats(x)


class Program:
    """An exported network on a target, built once where the target can read files."""

    def __init__(
        self,
        target: Target,
        sources: Sequence[Path],
        folder: Path,
        defines: Mapping[str, str] | None = None,
        strict: bool = True,
    ) -> None:
        """sources: net.c and what it needs beside it; the header is net.h. Raises as `build`."""
        self.target, self.sources, self.folder = target, tuple(sources), folder
        self.defines, self.strict = dict(defines or {}), strict
        self.elf = self._build(b"")

    def _build(self, given: bytes) -> Elf:
        if self.target.text:  # what it is given is part of the program
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "in.bin").write_bytes(given)
        sources = [*self.sources, BOARD / "harness.c"]
        return build(self.target, sources, self.folder, self.defines, strict=self.strict)

    def ask(self, script: Script, seconds: float = 600) -> list[dict[str, Any]]:
        """The answers to a script. Raises EmulatorError and MissingToolError."""
        elf = self._build(script.given) if self.target.text else self.elf
        return script.read(run(elf, script.given, seconds), self.target)
