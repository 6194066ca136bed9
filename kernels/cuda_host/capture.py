"""Recording of work in place of doing it, as the capture of a CUDA graph does.

While a thread captures, launches and in-place operations are put on a list; what a CUDA stream
cannot capture (copies to and from the host, waiting, allocation) raises.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from .errors import CaptureError

Call = Callable[[], object]


class _Recorder(threading.local):
    """The list that this thread records to, or None when work is done at once."""

    calls: list[Call] | None = None


_recorder = _Recorder()


def capturing() -> bool:
    """Whether this thread records its work."""
    return _recorder.calls is not None


def perform(call: Call) -> None:
    """Do `call` now, or record it."""
    if _recorder.calls is None:
        call()
    else:
        _recorder.calls.append(call)


def forbid(what: str) -> None:
    """Raise if this thread captures: `what` cannot be part of a CUDA graph."""
    if _recorder.calls is not None:
        raise CaptureError(
            f"{what} during a capture: a CUDA graph holds launches and in-place operations on "
            "arrays that exist already; do this before the capture or after the replay"
        )


def record(work: Call) -> Callable[[], None]:
    """Call `work` once, recording what it launches; the result does all of that each time."""
    forbid("starting another capture")
    calls: list[Call] = []
    _recorder.calls = calls
    try:
        work()
    finally:
        _recorder.calls = None

    def replay() -> None:
        for call in calls:
            perform(call)

    return replay
