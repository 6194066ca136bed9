"""How often the right context is found without a label: `python -m weightspace.bench.studies.superposition.choice`.

Takes finished runs of psp-permuted-mnist (folders with config.toml and checkpoint.safetensors) and
asks, of every task's test images, for the context of the least entropy: by single images, and by
groups of 10 and 100 of one task. Writes a JSON line a run and group size.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....kernels.errors import SettingError
from ....methods import Stream, Superposition
from ....methods.context_choice import best, entropies, outputs_under
from ....nnlite import Network
from ....nnlite.checkpoint import load_arrays, restore_parameters
from ...runs.files import read_config
from ...runs.make import make_network, make_stream
from ...runs.preset import Preset, Variant

GROUPS = (1, 10, 100)


def load_run(folder: Path, data_dir: Path | None) -> tuple[Superposition, Network, Stream]:
    """The method, the trained network and the stream of a finished run of superposition.

    Raises SettingError for a run of another method, CheckpointError for damaged files.
    """
    config = read_config(folder)
    settings = config.pop("method")
    name = settings.pop("name")
    if name != Superposition.name:
        raise SettingError(f"{folder} is a run of '{name}', which has no contexts to choose from")
    known = {field.name for field in dataclasses.fields(Preset)}
    given = {key: value for key, value in config.items() if key in known}
    preset = Preset(summary="", **{**given, "hidden": tuple(given["hidden"])})
    method = Variant(name, name, settings).build()
    assert isinstance(method, Superposition)
    stream = make_stream(preset, config["seed"], data_dir)
    net = method.wrap(make_network(preset, stream, config["backend"], config["seed"]))
    checkpoint = folder / "checkpoint.safetensors"
    arrays, _ = load_arrays(checkpoint)
    restore_parameters(net, arrays, checkpoint)
    # the contexts were restored with the rest: those of the number that was set last
    method.arrays["number"] = arrays["method.number"].copy()
    return method, net, stream


def measure(
    method: Superposition, net: Network, stream: Stream, groups: Sequence[int] = GROUPS
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the runs that are named, and print or write the lines."""
    parser = argparse.ArgumentParser(
        prog="python -m weightspace.bench.studies.superposition.choice"
    )
    parser.add_argument("runs", type=Path, nargs="+", help="folders .../superposition*/seed-*")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, help="a .jsonl file to write")
    given = parser.parse_args(arguments)
    lines = []
    for folder in given.runs:
        method, net, stream = load_run(folder, given.data_dir)
        for row in measure(method, net, stream):
            line = {"kind": method.kind, "seed": net.seed, "tasks": len(stream), **row}
            lines.append(json.dumps(line))
            print(lines[-1], flush=True)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
