"""How often the right context is found without a label, in finished runs of superposition.

Takes runs of psp-permuted-mnist (folders with config.toml and checkpoint.safetensors) and asks, of
every task's test images, for the context of the least entropy: by single images, and by groups of
one task. A row a run and group size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ....kernels.errors import SettingError
from ....methods import Stream, Superposition
from ....methods.context_choice import best, entropies, outputs_under
from ....nnlite import Network
from ....nnlite.checkpoint import load_arrays, restore_parameters
from ...runs.files import CHECKPOINT, Run, load
from ...runs.make import make_network, make_stream
from ...runs.preset import Preset, Variant
from ...show.plain import config_hash
from ..of_runs.study import Runs
from ..rows import means
from ..study import Part, PartRow, Row, Study, Work


@dataclass(frozen=True)
class Settings(Runs):
    """groups: test images that choose together."""

    groups: tuple[int, ...] = (1, 10, 100)


class Choice(PartRow):
    """Of a run: how often groups of a size chose the right context, and what came of it."""

    kind: str
    tasks: int
    group: int
    chosen_right: float
    accuracy: float
    accuracy_told: float


def load_run(run: Run, data_dir: Path | None) -> tuple[Superposition, Network, Stream]:
    """The method, the trained network and the stream of a finished run of superposition.

    Raises CheckpointError for damaged files.
    """
    config = run.config
    known = {field.name for field in dataclasses.fields(Preset)}
    given = {key: value for key, value in config.items() if key in known}
    preset = Preset(summary="", **{**given, "hidden": tuple(given["hidden"])})
    settings = {key: value for key, value in config["method"].items() if key != "name"}
    method = Variant(Superposition.name, Superposition.name, settings).build()
    assert isinstance(method, Superposition)
    stream = make_stream(preset, config["seed"], data_dir)
    net = method.wrap(make_network(preset, stream, config["backend"], config["seed"]))
    checkpoint = run.folder / CHECKPOINT
    arrays, _ = load_arrays(checkpoint)
    restore_parameters(net, arrays, checkpoint)
    # the contexts were restored with the rest: those of the number that was set last
    method.arrays["number"] = arrays["method.number"].copy()
    return method, net, stream


def measure(
    method: Superposition, net: Network, stream: Stream, groups: Sequence[int]
) -> list[dict[str, Any]]:
    """For each size of group: how often the context is right, and the accuracy under it.

    `told`: the accuracy when the task is known. Means over the tasks.
    """
    candidates = range(len(stream))
    found: dict[int, tuple[list[float], list[float]]] = {size: ([], []) for size in groups}
    told = []
    for number, task in enumerate(stream):
        x, y = task.load_test()
        outputs = outputs_under(method, net, x, candidates)
        table, answers = entropies(outputs), outputs.argmax(axis=2)
        told.append((answers[number] == y).mean())
        for size in groups:
            chosen = best(table, candidates, size)
            found[size][0].append((chosen == number).mean())
            found[size][1].append((answers[chosen, np.arange(len(y))] == y).mean())
    return [
        {
            "group": size,
            "chosen_right": float(np.mean(right)),
            "accuracy": float(np.mean(accurate)),
            "accuracy_told": float(np.mean(told)),
        }
        for size, (right, accurate) in found.items()
    ]


def _part(run: Run) -> Part:
    """A run's part. Raises SettingError for a run of another method."""
    if (name := run.config["method"]["name"]) != Superposition.name:
        raise SettingError(
            f"{run.folder} is a run of '{name}', which has no contexts to choose from"
        )

    def choose(work: Work) -> Iterator[Row]:
        method, net, stream = load_run(run, work.data_dir)
        for row in measure(method, net, stream, work.settings.groups):
            yield {"kind": method.kind, "seed": net.seed, "tasks": len(stream), **row}

    told = config_hash({**run.config, "folder": str(run.folder)})[:8]
    return Part(f"{run.folder.parent.name}-{run.folder.name}-{told}", choose)


def parts(settings: Settings) -> Sequence[Part]:
    """A part for each run that is finished.

    Raises SettingError for settings that lead nowhere, StorageError and CheckpointError for runs
    that are not there or damaged.
    """
    if min(settings.groups, default=0) < 1:
        raise SettingError("groups: of at least one image each")
    runs = [run for run in load(*settings.folders()) if not run.failed]
    return list({part.name: part for part in map(_part, runs)}.values())


def tell(rows: Sequence[Row]) -> list[Table]:
    """Means over the runs of a kind."""
    numbers = ("chosen_right", "accuracy", "accuracy_told")
    return [means("contexts chosen by entropy", rows, ("kind", "tasks", "group"), numbers)]


STUDY = Study(
    name="psp-choice",
    summary="of finished superpositions: how often entropy finds the context of unlabelled images",
    settings=Settings(),
    parts=parts,
    draw=lambda rows, folder: [],
    tell=tell,
    row=Choice,
    seeded=False,
)
