"""Correlations of importances, layer by layer: what runs of the importance probe leave and tell."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from ....kernels.errors import DataError
from ....methods import Method
from ....methods.correlation import KINDS, PAIRS, ImportanceProbe, weight_layers
from ....nnlite import Network
from ....nnlite.files import write_whole
from ...runs.hooks import Done, Hook
from ...runs.tables import titled
from ...show.cells import cells
from ...show.style import close, pyplot

Correlations = dict[str, dict[str, dict[str, list[float]]]]  # kind, pair, layer: after each task
FILE = "correlations.csv"
_COLUMNS = ("kind", "pair", "layer", "after_task", "correlation")


def as_found(tables: np.ndarray, layers: Sequence[str]) -> Correlations:
    """The tables (T, 2, pairs, L) of a probe, by kind, pair and layer."""
    return {
        kind: {
            " ~ ".join(pair): {layer: tables[:, k, p, column].tolist()
                               for column, layer in enumerate(layers)}
            for p, pair in enumerate(PAIRS)
        }
        for k, kind in enumerate(KINDS)
    }  # fmt: skip


def _leaves(found: Correlations) -> Iterator[tuple[str, str, str, list[float]]]:
    """(kind, pair, layer, values) in order."""
    for kind, pairs in found.items():
        for pair, layers in pairs.items():
            for layer, values in layers.items():
                yield kind, pair, layer, values


def read(path: Path) -> Correlations:
    """What a run's correlations.csv holds. Raises DataError for a damaged file."""
    found: Correlations = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                values = (
                    found.setdefault(line["kind"], {})
                    .setdefault(line["pair"], {})
                    .setdefault(line["layer"], [])
                )
                values.append(float(line["correlation"]))
                if int(line["after_task"]) != len(values):
                    raise ValueError("tasks out of order")
        if len({len(values) for *_, values in _leaves(found)}) != 1:
            raise ValueError("not the same tasks throughout")
    except (ValueError, KeyError, TypeError, csv.Error) as wrong:
        raise DataError(
            f"{path} is damaged ({type(wrong).__name__}: {str(wrong)[:80]}); remove its run's "
            "summary.json, and --resume does that run anew"
        ) from None
    return found


def mean(runs: Sequence[Correlations]) -> tuple[Correlations, Correlations]:
    """Means over runs of the same network and tasks, and their deviations (0 for one run)."""
    both: tuple[Correlations, Correlations] = {}, {}
    for kind, pair, layer, _ in _leaves(runs[0]):
        values = np.array([run[kind][pair][layer] for run in runs], np.float64)
        spread = values.std(axis=0, ddof=1) if len(runs) > 1 else np.zeros(values.shape[1])
        for found, numbers in zip(both, (values.mean(axis=0), spread), strict=True):
            found.setdefault(kind, {}).setdefault(pair, {})[layer] = numbers.tolist()
    return both


def _as_csv(found: Correlations, spread: Correlations | None = None, runs: int = 1) -> str:
    """A line for each kind, pair, layer and task; of a mean with its deviation and count."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_COLUMNS, "deviation", "runs") if spread else _COLUMNS)
    for kind, pair, layer, values in _leaves(found):
        for task, value in enumerate(values):
            more = (spread[kind][pair][layer][task], runs) if spread else ()
            writer.writerow((kind, pair, layer, task + 1, value, *more))
    return text.getvalue()


def _write(probe: Method, net: Network, folder: Path) -> None:
    """correlations.csv and a figure a kind, of a run that measured them."""
    if not isinstance(probe, ImportanceProbe):
        return
    found = as_found(probe.tables, weight_layers(net.layout))
    write_whole(folder / FILE, _as_csv(found))
    for kind in KINDS:
        draw(found, kind, folder / "figures" / f"{kind}.png")


def draw(found: Correlations, kind: str, path: Path, runs: int = 1) -> Path:
    """Every correlation of a kind as a number: pairs by tasks, a panel a layer."""
    plt = pyplot()
    pairs = found[kind]
    layers = list(next(iter(pairs.values())))
    tasks = len(next(iter(pairs.values()))[layers[0]])
    figure, axes = plt.subplots(
        1, len(layers), squeeze=False, layout="constrained",
        figsize=(1.6 + len(layers) * (0.7 + 0.36 * tasks), 1.2 + 0.32 * len(pairs)),
    )  # fmt: skip
    image = None
    for column, (ax, layer) in enumerate(zip(axes[0], layers, strict=True)):
        values = np.array([pairs[pair][layer] for pair in pairs])
        names = list(pairs) if not column else [""] * len(pairs)
        image = cells(ax, values, names, [str(task + 1) for task in range(tasks)], "RdBu", (-1, 1),
                      "{:.2f}", size=8, upright=True)  # fmt: skip
        ax.set(xlabel="after task", aspect="auto")
        ax.set_title(f"layer {column + 1} ({layer})", fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.8, label=kind)
    many = f"mean of {runs} runs" if runs > 1 else "one run"
    figure.suptitle(f"{kind.capitalize()} correlation of importances, {many}", fontweight="bold")
    return close(plt, figure, path)


def _tables(found: Correlations, of: str, runs: int) -> Iterator[Table]:
    """A table a kind: a line a layer and pair, a column a task."""
    for kind, pairs in found.items():
        layers = next(iter(pairs.values()))
        tasks = range(1, 1 + len(next(iter(layers.values()))))
        title = f"{kind} correlation of importances after each task, mean of {runs}{of}"
        table = titled(title, ("layer", "importances", *map(str, tasks)), 2)
        for layer in layers:
            for pair in pairs:
                table.add_row(layer, pair, *(f"{value:.2f}" for value in pairs[pair][layer]))
        yield table


def _tell(done: Done) -> Iterator[Table]:
    """The correlations of each group whose runs measured them, all that were measured."""
    found = {
        one.label: [read(run.folder / FILE) for run in one.runs if (run.folder / FILE).exists()]
        for one in done.groups
    }
    probed = {label: runs for label, runs in found.items() if runs}
    for number, (label, runs) in enumerate(probed.items()):
        average, spread = mean(runs)
        if not number:
            write_whole(done.folder / FILE, _as_csv(average, spread, len(runs)))
            for kind in average:
                draw(average, kind, done.folder / "figures" / f"{kind}.png", len(runs))
        yield from _tables(average, f" ({label})" if len(probed) > 1 else "", len(runs))


def _row(folder: Path) -> Mapping[str, object]:
    """What the row of a finished run has of it."""
    path = folder / FILE
    return {"correlations": read(path)} if path.exists() else {}


HOOK = Hook(after_run=_write, after_all=_tell, row=_row)
