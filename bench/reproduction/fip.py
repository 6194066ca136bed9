"""Tables of functionally invariant paths: two tasks, sparse networks, ensembles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..studies.fip_ensemble import tables as ensemble
from ..studies.fip_sparsify import tables as sparsity_tables
from ..studies.rows import average, percent_of, select, with_error
from .kept import Kept, percent, read
from .markdown import markdown
from .side_by_side import labels, paired, title


def ends(kept: Kept, tasks: Sequence[str]) -> str:
    """Of every line, each task's accuracy after the last, and their mean."""
    rows = []
    for label in labels(kept):
        mine = [row for row in kept.select(label=label) if "status" not in row]
        last = np.array([row["accuracy_matrix"][-1] for row in mine])
        cells = [percent_of(column) for column in last.T]
        rows.append((title(label), str(len(mine)), *cells, percent(kept.mean("acc", label=label))))
    return markdown(("method", "seeds", *(f"{task} %" for task in tasks), "mean"), rows)


def sparse(kept: Kept) -> str:
    """Accuracy of sparse networks by the share of zeros, method by method."""
    found = sparsity_tables.levels(kept.rows)
    rows = []
    for method in sparsity_tables.ORDER:
        by_level = [sparsity_tables.at_level(kept.rows, method, level) for level in found]
        if any(by_level):
            seeds = len({row["seed"] for rows_at in by_level for row in rows_at})
            labels = "yes" if next(filter(None, by_level))[0]["labels"] else "no"
            cells = [percent_of([row["accuracy"] for row in at])
                     for at in by_level]  # fmt: skip
            rows.append((method, labels, str(seeds), *cells))
    return markdown(("method", "labels", "seeds", *(f"{100 * at:.4g} %" for at in found)), rows)


def ensembles(kept: Kept) -> str:
    """Accuracy of each kind of ensemble unattacked and under attack: members' mean / together."""
    found = {(r["kind"], r["attack"], r["part"]): r for r in ensemble.summary(kept.rows)}
    rows = []
    for kind in ensemble.kinds(kept.rows):
        cells = [
            " / ".join(
                with_error(100 * one["accuracy"], 100 * one["standard_error"])
                for one in (found[kind, column, part] for part in ("member", "ensemble"))
            )
            for column in ensemble.COLUMNS
        ]
        rows.append((ensemble.LABELS[kind], *cells))
    for name in ("separate", "start"):
        pair = [
            100 * ensemble.by_seed(ensemble.in_column(kept.rows, column, name)).mean()
            for column in ("clean", f"transfer, {name}")
        ]
        cells = [f"{pair[0]:.1f}", *("" for _ in range(3))]
        cells[1 if name == "separate" else 2] = f"{pair[1]:.1f}"
        rows.append((f"{ensemble.LABELS[name]}, itself attacked", *cells))
    return markdown(("%", *ensemble.COLUMNS), rows)


def ensemble_paths(kept: Kept) -> str:
    """What became of each path by its end, and how coherent its members are with the surrogates."""
    rows = []
    for kind in ensemble.kinds(kept.rows):
        cells = [""] * 5
        if kind in ensemble.paths(kept.rows):
            last = ensemble.ends(kept.rows, kind)
            numbers = [average(last, key) for key in ("turned", "walked", "away")]
            numbers += [average(last, ensemble.straightness), average(last, "length")]
            cells = [f"{number:.2f}" for number in numbers]
        for against in ("separate", "start", "members"):
            mine = select(kept.rows, ask="coherence", kind=kind, against=against)
            cells.append(f"{average(mine, 'mean'):.3f}")
        rows.append((ensemble.LABELS[kind], *cells))
    heads = ("", "length in outputs, rad", "in weights", "distance", "distance / length",
             "norm at its end", "cosine with separate", "with start",
             "largest of two members")  # fmt: skip
    return markdown(heads, rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "fip-two-tasks": lambda: ends(read("fip-two-tasks"), ("MNIST", "Fashion-MNIST")),
    "fip-two-tasks-paired": lambda: paired(read("fip-two-tasks")),
    "fip-sparsify-lenet": lambda: sparse(read("fip-sparsify-lenet")),
    "fip-ensemble": lambda: ensembles(read("fip-ensemble")),
    "fip-ensemble-paths": lambda: ensemble_paths(read("fip-ensemble")),
}
