"""Stopping: Ctrl-C, SIGTERM and SIGHUP as a word that `fit` reads when nothing is half done.

Around it a command has `interrupting`: outside of `fit`, too, they then end it in the same way.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # as far as the system has them


class Interrupted(KeyboardInterrupt):
    """A signal asked to stop; the message says where the checkpoint lies. A KeyboardInterrupt.

    signal: its number (2 for Ctrl-C); a command ends with status 128 + signal, as shells do.
    """

    def __init__(self, message: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.signal = int(number)


_entered: set[Stop] = set()  # of threads that no signal reaches


def stop_all(number: int = signal.SIGINT) -> None:
    """Ask all that train in other threads to stop, as that signal asks the main one."""
    for stop in list(_entered):
        stop.number = stop.number or int(number)


class Stop:
    """While it is entered, a first signal is only noted; a second one does what it did before.

    number: of the signal that came, 0 before. tell(name): called at once when it comes, from within
    the handler. A signal that is ignored stays so (nohup), and so does another's handler for
    SIGTERM or SIGHUP (not that of `interrupting`). In other threads `stop_all` sets number.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.number = 0
        self._tell = tell
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if _in_main_thread():
            self._before = _take(NAMES, self._handle)
        else:
            _entered.add(self)
        return self

    def __exit__(self, *error: object) -> None:
        _put_back(self._before)
        _entered.discard(self)

    def _handle(self, number: int, frame: Any) -> None:
        if self.number:
            _put_back(self._before)
            signal.raise_signal(number)
            return
        self.number = number
        with suppress(RuntimeError):  # the terminal is being written to: no second writer
            self._tell(signal.Signals(number).name)


@contextmanager
def interrupting() -> Iterator[None]:
    """What is done in it, SIGTERM and SIGHUP end by `Interrupted` as Ctrl-C does by its own."""
    before = _take(NAMES[1:], _interrupt)
    try:
        yield
    finally:
        _put_back(before)


def _interrupt(number: int, frame: Any) -> None:
    raise Interrupted(number=number)


def _take(names: Iterable[str], handler: Callable[[int, Any], None]) -> dict[int, Any]:
    """Let `handler` have those of the signals that are ours to take; what they had before."""
    if not _in_main_thread():
        return {}
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return {number: signal.signal(number, handler) for number in numbers if _is_free(number)}


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _put_back(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)
    before.clear()


def _is_free(number: int) -> bool:
    """Whether a signal is ours to take: Ctrl-C unless ignored, others where nobody handles them.

    A worker of `multiprocessing` is ended by SIGTERM, at once, by whoever started it.
    """
    now = signal.getsignal(number)
    if number == signal.SIGINT:
        return now not in (signal.SIG_IGN, None)
    return now in (signal.SIG_DFL, _interrupt) and multiprocessing.parent_process() is None
