"""Which method should a device learn by, if all it has is 64 kB of memory?

Every method is exported to C, and that C learns task after task. What is measured beside accuracy
are bytes: of the arena (RAM), and of constant numbers (flash).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rich.table import Table

from ....kernels.errors import SettingError, check_name
from ....nnlite import Network
from ...runs.tables import titled
from ..lab import check_least
from ..rows import grouped
from ..study import Part, PartRow, Row, Study, Work
from . import figures, learner, protocols


class Protocol(NamedTuple):
    """How a protocol's tasks and network are made; tail: whether a trunk is frozen."""

    tasks: Callable[[Work], list[protocols.TaskData]]
    network: Callable[[Work], Network]
    tail: bool
    says: str


PROTOCOLS = {
    "permuted": Protocol(protocols.permuted, protocols.small, False,
                         "permuted pixels, all of 196-14-10 learns"),
    "split": Protocol(protocols.split, protocols.trunk_and_tail, True,
                      "pairs of digits, 64-32-10 learns on a frozen trunk"),
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """protocols: which. data: what is learned; trunk_data: what the trunk has learned before.

    steps: a task, each a batch of `batch`; lr: of plain SGD. offered: every so many steps a batch
    is offered to the memory of replay, which has room for `memory` floats. *_lams: strengths of
    ewc, si and mas, the best of a few on the stream of seed 100 (of EWC and SI ten times as much
    diverges at this lr). tasks: of the permuted protocol.
    """

    protocols: tuple[str, ...] = tuple(PROTOCOLS)
    data: str = "mnist-demo"
    trunk_data: str = "fashion-mnist"
    trunk_steps: int = 3000
    tasks: int = 5
    steps: int = 3000
    batch: int = 8
    lr: float = 0.05
    offered: int = 10
    memory: int = 4000
    permuted_lams: tuple[float, ...] = (3.0, 0.01, 1.0)
    split_lams: tuple[float, ...] = (10.0, 0.01, 3.0)


class Learned(PartRow):
    """A method of a protocol: accuracy over all tasks in the end, and what it takes."""

    protocol: str
    method: str
    accuracy: float
    bwt: float
    ram: int
    flash: int


def parts(settings: Settings) -> Sequence[Part]:
    """A part a protocol and method. Raises SettingError or UnknownNameError."""
    for name in settings.protocols:
        check_name("protocol", name, PROTOCOLS)
    check_least(settings, {"tasks": 2, "steps": 1, "batch": 1, "memory": 1, "offered": 1})
    for lams in (settings.permuted_lams, settings.split_lams):
        if len(lams) != 3:
            raise SettingError(f"strengths {lams}: give three, of ewc, si and mas")
    return [_part(name, way) for name in settings.protocols for way in learner.ways(settings, name)]


def _part(name: str, way: learner.Way) -> Part:
    def run(work: Work) -> Iterator[Row]:
        protocol = PROTOCOLS[name]
        tasks, net = protocol.tasks(work), protocol.network(work)
        made = learner.exported(work, way, net, tasks, protocol.tail, work.settings.memory)
        found = learner.learn(work, way, made, tasks, lambda n: work.advance(n, len(tasks)))
        yield {"protocol": name, "method": way.name, **found, "ram": made.arena_bytes,
               "flash": made.weights_bytes}  # fmt: skip

    slug = way.name.replace(" ", "-").strip("()").replace("(", "").replace(")", "")
    return Part(f"{name}-{slug}", run)


def tell(rows: Sequence[Row]) -> list[Table]:
    """A table a protocol: means over seeds, with standard errors."""
    tables = []
    for name, of in grouped(rows, "protocol").items():
        heads = ("method", "accuracy %", "backward transfer", "RAM kB", "flash kB")
        table = titled(f"{name}: {PROTOCOLS[name].says}", heads)
        for method, each in grouped(of, "method").items():
            accuracies = 100 * np.array([row["accuracy"] for row in each])
            spread = accuracies.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else None
            shown = f"{accuracies.mean():.1f}" + ("" if spread is None else f" ± {spread:.1f}")
            moved = 100 * np.mean([row["bwt"] for row in each])
            ram, flash = (max(row[key] for row in each) / 1000 for key in ("ram", "flash"))
            table.add_row(method, shown, f"{moved:+.1f}", f"{ram:.1f}", f"{flash:.1f}")
        tables.append(table)
    return tables


STUDY = Study(
    name="on-device",
    summary="continual learning in exported C under 64 kB: which method pays for its memory?",
    settings=Settings(),
    parts=parts,
    draw=figures.draw,
    tell=tell,
    notes=("accuracy: mean over all tasks after the last; the C is compiled and run here, and has "
           "the bits of a device with an fma",),
    row=Learned,
)  # fmt: skip
