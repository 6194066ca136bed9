"""Tables of the sparsification studies: accuracies, compute, and what sparse files save."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from ....nnlite.files import write_whole
from ...runs.tables import mean_and_error
from ...show.labels import number as digits
from ..study import Row

ORDER = (
    "FIP", "FIP with labels", "FIP, authors' step", "lottery tickets", "one-shot + fine-tuning",
    "one-shot",
)  # fmt: skip
NOTES = (
    "Sparsity counts zeros among all parameters, biases and norms included. FIP reads inputs and "
    "the dense network's answers, no label; FIP with labels, fine-tuning and tickets read labels.",
    "A ticket's column is its last round that is no sparser; steps and seconds are of all rounds "
    "up to it. One-shot, fine-tuning and FIP start from the dense network, whose training "
    "is not counted.",
)


def networks(rows: Sequence[Row]) -> list[Row]:
    """The rows that tell of a sparse network."""
    return [row for row in rows if row["method"] in ORDER]


def levels(rows: Sequence[Row]) -> list[float]:
    """All levels that one-shot pruning was asked for."""
    return sorted({row["level"] for row in rows if row["method"] == "one-shot"})


def at_level(rows: Sequence[Row], method: str, level: float) -> list[Row]:
    """A method's rows at a level, one a seed; of tickets, each seed's last round no sparser."""
    mine = [row for row in rows if row["method"] == method]
    if method != "lottery tickets":
        return [row for row in mine if row["level"] == level]
    last = []
    for seed in sorted({row["seed"] for row in mine}):
        rounds = [r for r in mine if r["seed"] == seed and r["sparsity"] <= level + 1e-6]
        last += [max(rounds, key=lambda row: row["sparsity"])] if rounds else []
    return last


def percent(values: Sequence[float]) -> str:
    """ "96.1 ± 0.2", or without the error for one value; "" for none."""
    if not values:
        return ""
    mean, error = mean_and_error([100 * value for value in values])
    return f"{mean:.1f}" + (f" ± {error:.1f}" if len(values) > 1 else "")


def tell(rows: Sequence[Row]) -> Sequence[Table]:
    """Accuracies by level, then steps and seconds, then files and inference."""
    dense = [row for row in rows if row["method"] == "dense"]
    title = "test accuracy, %, by share of zeros"
    if dense:
        title += f" (dense: {percent([row['accuracy'] for row in dense])})"
    return [_accuracies(rows, title), _compute(rows), *_inference(rows)]


def _accuracies(rows: Sequence[Row], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("method")
    for level in levels(rows):
        table.add_column(f"{digits(round(100 * level, 12))} %", justify="right")
    for method in ORDER:
        cells = [
            percent([row["accuracy"] for row in at_level(rows, method, level)])
            for level in levels(rows)
        ]
        if any(cells):
            table.add_row(method, *cells)
    return table


def _compute(rows: Sequence[Row]) -> Table:
    table = Table(title="for the sparsest network", title_justify="left")
    for name in ("method", "steps", "seconds", "reads labels"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for method in ORDER:
        found = at_level(rows, method, max(levels(rows)))
        if found:
            seconds = np.median([row["seconds"] for row in found])
            labels = "yes" if found[0]["labels"] else "no"
            table.add_row(method, f"{found[0]['steps']:,}", f"{seconds:.0f}", labels)
    return table


def _inference(rows: Sequence[Row]) -> list[Table]:
    mine = [row for row in rows if row["method"] == "inference"]
    if not mine:
        return []
    table = Table(title="saved sparse, answered sparse (FIP)", title_justify="left")
    for name in (
        "zeros",
        "batch",
        "file, KB",
        "dense file, KB",
        "dense, us",
        "sparse, us",
        "times",
    ):
        table.add_column(name, justify="right")
    for level in levels(rows):
        for batch in sorted({row["batch"] for row in mine}):
            of = [row for row in mine if (row["level"], row["batch"]) == (level, batch)]
            if not of:
                continue
            names = ("sparse_bytes", "dense_bytes", "dense_us", "sparse_us")
            small, large, slow, fast = (np.median([row[name] for row in of]) for name in names)
            table.add_row(
                f"{digits(round(100 * level, 12))} %", str(batch), f"{small / 1e3:.1f}",
                f"{large / 1e3:.0f}", f"{slow:.1f}", f"{fast:.1f}", f"{slow / fast:.1f}",
            )  # fmt: skip
    return [table]


def write_csv(rows: Sequence[Row], path: Path) -> Path:
    """Every sparse network and every timing as lines of one table."""
    names = (
        "seed", "method", "level", "sparsity", "accuracy", "steps", "seconds", "labels", "round",
        "batch", "sparse_bytes", "dense_bytes", "dense_us", "sparse_us",
    )  # fmt: skip
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = (row.get(name, "") for name in names)
        writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in values])
    write_whole(path, text.getvalue())
    return path
