"""Experiment: what `weightspace run` runs, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console

from ..show.source import options


@dataclass(frozen=True)
class Request:
    """What `weightspace run` was told besides settings.

    methods: only these, where an experiment compares methods. retry: with resume, do again what
    came to nothing.
    """

    backend: str
    seeds: Sequence[int]
    out: Path
    data_dir: Path | None = None
    resume: bool = False
    overwrite: bool = False
    methods: Sequence[str] = ()
    retry: bool = False

    def command(self, name: str, assignments: Sequence[str]) -> str:
        """`weightspace run` of the experiment `name`, as it is typed for the same numbers."""
        told = options(assignments, self.methods, self.backend, self.seeds)
        return " ".join(["weightspace run", name, *told])


class Experiment(Protocol):
    """A published experiment under its name, with settings that `--set` changes."""

    @property
    def name(self) -> str:
        """As the command line knows it."""
        ...

    @property
    def summary(self) -> str:
        """What it is, in a line."""
        ...

    def with_settings(self, assignments: Sequence[str]) -> Experiment:
        """The experiment after `key=value` assignments. Raises UnknownNameError, SettingError."""
        ...

    def run(self, request: Request, console: Console) -> bool:
        """Run it into `request.out`, or go on there, and tell it; whether any of it failed.

        Raises the named errors of what cannot be done.
        """
        ...
