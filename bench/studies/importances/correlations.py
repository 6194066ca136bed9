"""Correlations of importances, layer by layer: what runs of the importance probe leave and tell."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.table import Table

from ....kernels.errors import DataError
from ....methods import Method
from ....methods.correlation import KINDS, PAIRS, ImportanceProbe
from ....nnlite import Network
from ....nnlite.files import write_whole
from ...runs.hooks import Done, Hook
from ...show.style import close, pyplot


def rows(tables: np.ndarray, layers: list[str]) -> list[tuple[str, str, str, int, float]]:
    """(kind, pair, layer, after task, correlation) for every entry of tables (T, 2, pairs, L)."""
    return [
        (kind, " ~ ".join(pair), layer, task + 1, float(tables[task, k, p, column]))
        for k, kind in enumerate(KINDS)
        for p, pair in enumerate(PAIRS)
        for column, layer in enumerate(layers)
        for task in range(len(tables))
    ]


def after_last_task(folders: list[Path], kind: str = "pearson") -> dict[str, dict[str, float]]:
    """pair -> layer -> correlation after the last task, a mean over the runs in `folders`.

    Raises DataError for a damaged correlations.csv.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for folder in folders:
        for pair, layer, value in _last_rows(folder / "correlations.csv", kind):
            found.setdefault(pair, {}).setdefault(layer, []).append(value)
    return {
        pair: {layer: float(np.mean(values)) for layer, values in layers.items()}
        for pair, layers in found.items()
    }


def _last_rows(path: Path, kind: str) -> list[tuple[str, str, float]]:
    """(pair, layer, correlation) of a kind after the last task. Raises DataError."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            lines = [line for line in csv.DictReader(file) if line["kind"] == kind]
        last = max(int(line["after_task"]) for line in lines)
        return [(line["pair"], line["layer"], float(line["correlation"])) for line in lines
                if int(line["after_task"]) == last]  # fmt: skip
    except (ValueError, KeyError, TypeError, csv.Error) as wrong:
        raise DataError(
            f"{path} is damaged ({type(wrong).__name__}: {str(wrong)[:80]}); remove its run's "
            "summary.json, and --resume does that run anew"
        ) from None


def _write(probe: Method, net: Network, folder: Path) -> None:
    """correlations.csv and one surface a pair and kind, of a run that measured them."""
    if not isinstance(probe, ImportanceProbe):
        return
    layers = [name for name in net.layout if name.endswith(".weight")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["kind", "pair", "layer", "after_task", "correlation"])
    writer.writerows(rows(probe.tables, layers))
    write_whole(folder / "correlations.csv", text.getvalue())
    for k, kind in enumerate(KINDS):
        surfaces(probe.tables[:, k], kind, folder / "figures" / f"{kind}.png")


def surfaces(table: np.ndarray, kind: str, path: Path) -> Path:
    """One surface a pair of importances: correlation over layers and tasks (T, pairs, layers)."""
    plt = pyplot()
    tasks, pairs, layers = table.shape
    figure = plt.figure(figsize=(14, 6.4))
    across, along = np.meshgrid(np.arange(1, layers + 1), np.arange(1, tasks + 1))
    for index in range(pairs):
        axes = figure.add_subplot(2, 5, index + 1, projection="3d")
        axes.plot_surface(across, along, table[:, index], cmap="viridis", vmin=-0.3, vmax=1,
                          edgecolor="#55555566", lw=0.4)  # fmt: skip
        axes.set(zlim=(min(-0.3, float(np.nanmin(table))), 1.0), xticks=range(1, layers + 1))
        axes.set_xlabel("layer", fontsize=8, labelpad=-4)
        axes.set_ylabel("task", fontsize=8, labelpad=-4)
        axes.tick_params(labelsize=7, pad=-2)
        axes.set_title(" ~ ".join(PAIRS[index]), fontsize=10, loc="center", pad=-2)
        axes.view_init(elev=24, azim=-58)
    figure.suptitle(
        f"{kind.capitalize()} correlation of importances, by layer and after each task",
        fontweight="bold",
    )
    figure.subplots_adjust(top=0.92, wspace=0.05, hspace=0.05)
    return close(plt, figure, path)


def _table(pairs: dict[str, dict[str, float]], title: str) -> Table:
    """Correlations of importances, a line a pair and a column a layer."""
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("importances")
    for layer in next(iter(pairs.values())):
        table.add_column(layer, justify="right")
    for pair, layers in pairs.items():
        table.add_row(pair, *(f"{value:.2f}" for value in layers.values()))
    return table


def _tell(done: Done) -> Iterator[Table]:
    """The correlations of each group whose runs measured them."""
    found = {
        one.label: [run.folder for run in one.runs if (run.folder / "correlations.csv").exists()]
        for one in done.groups
    }
    probed = {label: folders for label, folders in found.items() if folders}
    for label, folders in probed.items():
        of = f" ({label})" if len(probed) > 1 else ""
        for kind in KINDS:
            title = f"{kind} correlation of importances after the last task, by layer{of}"
            yield _table(after_last_task(folders, kind), title)


HOOK = Hook(after_run=_write, after_all=_tell)
