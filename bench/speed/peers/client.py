"""This side of a peer's process: start it, ask it, end it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from . import PeerSpec
from .problem import Problem, load_arrays

PREPARE_SECONDS = 300.0  # a compiler may run
SAMPLE_SECONDS = 120.0


class Client:
    """One worker process for one peer and one operation on `backend`, ended as a context manager.

    The process imports its peer as soon as it starts; `hello` waits until it has.

    Every reply is a mapping with a status; "failed" stands for whatever went wrong there, the
    process's death and its silence included.
    """

    def __init__(
        self, spec: PeerSpec, problem: Problem, arrays: Path, backend: str = "cpu"
    ) -> None:
        self.spec, self.problem, self.arrays, self.backend = spec, problem, arrays, backend
        self._late = False
        self._complaints = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker", spec.module, backend],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env={**os.environ, **dict(spec.environment)},
            text=True,
            encoding="utf-8",
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process (it leaves when its stdin closes) and wait for it."""
        try:
            self._process.communicate(timeout=5)
        except (subprocess.TimeoutExpired, ValueError, OSError):
            self._process.kill()
            self._process.wait()
        self._complaints.close()

    def ask(self, do: str, timeout: float = SAMPLE_SECONDS, **fields: Any) -> dict[str, Any]:
        """Send one request and wait for its reply, at most `timeout` seconds."""
        assert self._process.stdin is not None and self._process.stdout is not None
        timer = threading.Timer(timeout, self._give_up)
        timer.start()
        try:
            self._process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        finally:
            timer.cancel()
        if line:
            return json.loads(line)
        reason = f"no answer to '{do}' in {timeout:g} s" if self._late else self._last_words()
        return {"status": "failed", "reason": reason}

    def hello(self) -> dict[str, Any]:
        """How the process's import of its peer went: status "ok", "absent" or "failed"."""
        return self.ask("hello", PREPARE_SECONDS)

    def again(self) -> Client:
        """A fresh process for the same peer and problem."""
        return Client(self.spec, self.problem, self.arrays, self.backend)

    def prepare(self, variant: str | None = None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The reply to "prepare", and the peer's result where it is ready."""
        result = self.arrays.with_name(f"result-{self.spec.name}.npz")
        reply = self.ask(
            "prepare",
            PREPARE_SECONDS,
            operation=self.problem.operation,
            size=self.problem.size,
            arrays=str(self.arrays),
            result=str(result),
            variant=variant,
        )
        if reply["status"] != "ready":
            return reply, {}
        return reply, load_arrays(result)

    def _give_up(self) -> None:
        self._late = True
        self._process.kill()

    def _last_words(self) -> str:
        code = self._process.wait()
        self._complaints.seek(0)
        lines = self._complaints.read().strip().splitlines()
        return f"the process ended with status {code}" + (f": {lines[-1]}" if lines else "")
