"""Tables of the sparsification studies: accuracies, compute, and what sparse files save."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from ...runs.tables import titled
from ...show.labels import number as digits
from ..rows import as_csv, grouped, percent_of, select
from ..study import Row

RANDOM = ("random zeros", "random weights")
ORDER = (
    "FIP", "FIP with labels", "FIP, authors' step", "lottery tickets", "one-shot + fine-tuning",
    "one-shot", *RANDOM,
)  # fmt: skip
NOTES = (
    "Sparsity counts zeros among all parameters, biases and norms included. FIP reads inputs and "
    "the dense network's answers, no label; FIP with labels, fine-tuning and tickets read labels.",
    "A ticket's column is its last round that is no sparser; steps and seconds are of all rounds "
    "up to it. One-shot, fine-tuning and FIP start from the dense network, whose training "
    "is not counted.",
    "Random zeros: the dense network under a mask drawn at random. Random weights: an untrained "
    "network, its smallest set to zero.",
)


def levels(rows: Sequence[Row]) -> list[float]:
    """All levels that networks were made for; tickets have none, but their rounds."""
    return sorted({row["level"] for row in rows if row.get("level")})


def at_level(rows: Sequence[Row], method: str, level: float) -> list[Row]:
    """A method's rows at a level, one a seed; of tickets, each seed's last round no sparser."""
    if method != "lottery tickets":
        return select(rows, method=method, level=level)
    mine = [r for r in select(rows, method=method) if r["sparsity"] <= level + 1e-6]
    return [max(rounds, key=lambda row: row["sparsity"])
            for _, rounds in sorted(grouped(mine, "seed").items())]  # fmt: skip


def tell(rows: Sequence[Row]) -> Sequence[Table]:
    """Accuracies by level, then steps and seconds, then files and inference."""
    if not levels(rows):
        return []
    dense = select(rows, method="dense")
    title = "test accuracy, %, by share of zeros"
    if dense:
        title += f" (dense: {percent_of([row['accuracy'] for row in dense])})"
    return [_accuracies(rows, title), _compute(rows), *_inference(rows)]


def _accuracies(rows: Sequence[Row], title: str) -> Table:
    table = titled(title, ("method", *map(_zeros, levels(rows))))
    for method in ORDER:
        cells = [
            percent_of([row["accuracy"] for row in at_level(rows, method, level)])
            for level in levels(rows)
        ]
        if any(cells):
            table.add_row(method, *cells)
    return table


def _zeros(level: float) -> str:
    return f"{digits(round(100 * level, 12))} %"


def _compute(rows: Sequence[Row]) -> Table:
    table = titled("for the sparsest network", ("method", "steps", "seconds", "reads labels"))
    for method in ORDER:
        found = at_level(rows, method, max(levels(rows)))
        if found and method not in RANDOM:
            seconds = np.median([row["seconds"] for row in found])
            labels = "yes" if found[0]["labels"] else "no"
            table.add_row(method, f"{found[0]['steps']:,}", f"{seconds:.0f}", labels)
    return table


def _inference(rows: Sequence[Row]) -> list[Table]:
    mine = select(rows, method="inference")
    if not mine:
        return []
    heads = ("zeros", "batch", "file, KB", "dense file, KB", "dense, us", "sparse, us", "times")
    table = titled("saved sparse, answered sparse (FIP)", heads, left=0)
    for (level, batch), of in sorted(grouped(mine, "level", "batch").items()):
        names = ("sparse_bytes", "dense_bytes", "dense_us", "sparse_us")
        small, large, slow, fast = (np.median([row[name] for row in of]) for name in names)
        table.add_row(
            _zeros(level), str(batch), f"{small / 1e3:.1f}", f"{large / 1e3:.0f}", f"{slow:.1f}",
            f"{fast:.1f}", f"{slow / fast:.1f}",
        )  # fmt: skip
    return [table]


def networks_csv(rows: Sequence[Row]) -> str:
    """Every sparse network and every timing as lines of one table."""
    heads = (
        "seed", "method", "level", "sparsity", "accuracy", "steps", "seconds", "labels", "round",
        "batch", "sparse_bytes", "dense_bytes", "dense_us", "sparse_us",
    )  # fmt: skip
    return as_csv(heads, rows)
