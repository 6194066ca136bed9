"""Stopping a command: Ctrl-C, SIGTERM and SIGHUP end it in one line and a status of their own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape


@contextmanager
def stoppable() -> Iterator[None]:
    """Let a signal end the command in a line that says what is kept, and status 128 + its number.

    Above a command it holds from its first line to its last. Within `fit`, and of a sweep, the line
    is `Interrupted`'s own.
    """
    from ...methods.stopping import interrupting

    try:
        with interrupting():
            yield
    except KeyboardInterrupt as stopped:
        told = str(stopped) or "stopped; --resume does what is unfinished"
        Console(stderr=True).print(f"[yellow]{escape(told)}[/]", highlight=False, soft_wrap=True)
        raise typer.Exit(128 + getattr(stopped, "signal", signal.SIGINT)) from None
