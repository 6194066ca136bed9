"""Stopping: Ctrl-C, SIGTERM and SIGHUP as a word that `fit` reads when nothing is half done."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # as far as the system has them


class Interrupted(KeyboardInterrupt):
    """A signal asked to stop; the message says where the checkpoint lies. A KeyboardInterrupt.

    signal: its number (2 for Ctrl-C); a command ends with status 128 + signal, as shells do.
    """

    def __init__(self, message: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.signal = int(number)


class Stop:
    """While it is entered, a first signal is only noted; a second one does what it did before.

    number: of the signal that came, 0 before. tell(name): called at once when it comes, from within
    the handler. A signal that is ignored stays so (nohup), and so does another's handler for
    SIGTERM or SIGHUP. Outside of the main thread nothing is noted.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.number = 0
        self._tell = tell
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name, None) for name in NAMES):
                if number is not None and _is_free(number):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        self._put_back()

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _handle(self, number: int, frame: Any) -> None:
        if self.number:
            self._put_back()
            signal.raise_signal(number)
            return
        self.number = number
        with suppress(RuntimeError):  # the terminal is being written to: no second writer
            self._tell(signal.Signals(number).name)


def _is_free(number: int) -> bool:
    """Whether a signal is ours to take: Ctrl-C unless ignored, others where nobody handles them.

    A worker of `multiprocessing` is ended by SIGTERM, at once, by whoever started it.
    """
    now = signal.getsignal(number)
    if number == signal.SIGINT:
        return now not in (signal.SIG_IGN, None)
    return now == signal.SIG_DFL and multiprocessing.parent_process() is None
