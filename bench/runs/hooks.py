"""Hooks: what an experiment does besides, after each run and after all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from ...methods import Method
from ...nnlite import Network
from .groups import Group


class Done(NamedTuple):
    """All runs of an experiment, in groups, of which one is finished at least."""

    folder: Path
    groups: list[Group]


@dataclass(frozen=True)
class Hook:
    """after_run(method, net, folder): files beside those of a run that has just been trained.

    after_all(done): figures in `done.folder`, and tables to tell. row(folder): what a finished run
    has of it, for the run's row among kept results. A hook says itself whether what it is given is
    for it.
    """

    after_run: Callable[[Method, Network, Path], None] = lambda method, net, folder: None
    after_all: Callable[[Done], Iterable[Table]] = lambda done: ()
    row: Callable[[Path], Mapping[str, object]] = lambda folder: {}
