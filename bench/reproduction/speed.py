"""Speed beside peers, as README tells it: the records of one run, and what they were made on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..speed import records as bench
from .kept import RESULTS
from .markdown import markdown

PEERS = RESULTS / "one-answer" / "steps.jsonl"
OPERATIONS = {
    "train-step-adam": "training step, Adam", "train-step-sgd": "training step, SGD",
    "si-step": "SI training step", "forward-1": "forward, one sample",
    "forward-32": "forward", "forward-256": "forward",
    "jvp": "JVP", "fisher-empirical": "empirical Fisher", "fisher-true": "true Fisher, all classes",
    "mas": "MAS", "conv-forward": "3x3 convolution, forward",
    "conv-forward-backward": "3x3 convolution, forward + backward",
    "conv-fisher": "3x3 convolution, per-sample Fisher",
}  # fmt: skip
COLUMNS = {
    "weightspace": ("weightspace",), "torch": ("torch-eager", "torch-compile", "torch-func"),
    "JAX jit": ("jax",), "BackPACK": ("backpack",),
}  # fmt: skip


def timed(path: Path = PEERS) -> list[dict[str, Any]]:
    """The records of steps that were timed on all cores of an idle machine.

    Raises what reading records raises.
    """
    found = [one for one in bench.read(path) if one["kind"] == "step" and one["median"]]
    return [one for one in found if one["threads"] == 0 and not one["busy"]]


def beside_peers(records: list[dict[str, Any]]) -> str:
    """A line for each operation and size, in milliseconds, the least of a line bold.

    A peer that has several ways (torch eager and compiled, in its memory formats) stands with its
    fastest.
    """
    times: dict[tuple[str, str], dict[str, float]] = {}
    for one in records:
        mine = times.setdefault((one["operation"], one["size"]), {})
        for column, peers in COLUMNS.items():
            if one["peer"] in peers:
                mine[column] = min(one["median"], mine.get(column, one["median"]))
    rows = []
    for (operation, size), mine in times.items():
        network, _, batch = size.rpartition("x")
        least = min(mine.values())
        cells = [_milliseconds(mine.get(column), least) for column in COLUMNS]
        rows.append((OPERATIONS.get(operation, operation), f"{network}, {batch}", *cells))
    return markdown(("operation", "network, batch", *COLUMNS), rows)


def _milliseconds(seconds: float | None, least: float) -> str:
    if seconds is None:
        return ""
    told = f"{1e3 * seconds:.3g} ms"
    return f"**{told}**" if seconds == least else told


def made_on(records: list[dict[str, Any]]) -> str:
    """The machine, the versions and the commit of the records."""
    machine = records[0]["machine"]
    versions = machine["versions"]
    known = [
        f"{name} {versions[name]}"
        for name in ("torch", "jax", "backpack-for-pytorch")
        if name in versions
    ]
    said = ", ".join([f"{machine['cores']} cores of an {machine['cpu']}", *known])
    return f"{said}; commit {str(machine['commit'])[:7]}, {records[0]['date'][:10]}"


TABLES: Mapping[str, Callable[[], str]] = {
    "peers": lambda: beside_peers(timed()),
    "peers-made-on": lambda: made_on(timed()),
}
