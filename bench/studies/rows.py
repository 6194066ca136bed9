"""Rows of a study, picked, averaged and written as CSV, the same way in all of them.

Every row says its `part` and `seed`. What it is of stands under "ask" (convergent, fip_ensemble),
"kind" (fip_geometry, task_space, superposition), "method" (fip_sparsify) or "label" (of_runs); the
rest is numbers. `select` picks by
any of these.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ..runs.tables import known_mean, mean_and_error, titled
from .study import Row


def select(rows: Iterable[Row], **wanted: object) -> list[Row]:
    """The rows with these values."""
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def grouped(rows: Iterable[Row], *keys: str) -> dict[Any, list[Row]]:
    """Rows by their value of a key, or by their values of several; in order of the first of each.

    Rows without such a key are left out.
    """
    found: dict[Any, list[Row]] = {}
    for row in rows:
        if all(key in row for key in keys):
            value = tuple(row[key] for key in keys)
            found.setdefault(value if len(keys) > 1 else value[0], []).append(row)
    return found


def average(rows: Iterable[Row], value: str | Callable[[Row], Any]) -> Any:
    """The mean over rows (seeds, pairs) of a number or array, None inside it NaN; NaN for no rows.

    Rows whose value is None are left out.
    """
    read = value if callable(value) else lambda row: row[value]
    found = [np.array(x, np.float64) for x in map(read, rows) if x is not None]
    return np.mean(found, axis=0) if found else math.nan


def means(title: str, rows: Iterable[Row], keys: Sequence[str], numbers: Sequence[str]) -> Table:
    """A line for all rows that are alike in `keys`: means and standard errors of the `numbers`."""
    table = titled(title, (*keys, "of", *numbers), len(keys))
    for key, of in grouped(rows, *keys).items():
        said = [known_mean([row[number] for row in of]) for number in numbers]
        cells = (f"{mean:.4f}" + f" ±{error:.4f}" * (count > 1) for mean, error, count in said)
        alike = key if len(keys) > 1 else (key,)
        table.add_row(*map(str, alike), str(len(of)), *cells)
    return table


def first_seed(rows: Sequence[Row]) -> list[Row]:
    """The rows of the lowest seed."""
    return select(rows, seed=min(row["seed"] for row in rows))


def first_folder(rows: Sequence[Row], figures: Path) -> Path:
    """Where the parts of the lowest seed left their files, beside the folder of figures."""
    return figures.parent / f"seed-{min(row['seed'] for row in rows)}"


def with_error(mean: float, error: float, digits: int = 1) -> str:
    """ "96.1 ± 0.2", or without the error where that is NaN."""
    return f"{mean:.{digits}f}" + ("" if math.isnan(error) else f" ± {error:.{digits}f}")


def percent_of(fractions: Sequence[float] | np.ndarray, digits: int = 1) -> str:
    """ "96.1 ± 0.2" in percent, the mean with its standard error; "" for none."""
    if not len(fractions):
        return ""
    mean, error = mean_and_error(fractions)
    return with_error(100 * mean, 100 * error, digits)


def seeds_told(count: int) -> str:
    """ "1 seed", "3 seeds"."""
    return f"{count} seed" + "s" * (count != 1)


def seed_by_seed(rows: Iterable[Row], others: Iterable[Row], value: str) -> dict[int, float]:
    """By seed, of those that both have, in order: how far `value` of `rows` is above `others`'.

    Each has one row a seed; one without the value (it came to nothing) is left out.
    """
    mine, theirs = ({row["seed"]: row[value] for row in one if value in row}
                    for one in (rows, others))  # fmt: skip
    return {seed: mine[seed] - theirs[seed] for seed in sorted(mine.keys() & theirs.keys())}


def as_csv(heads: Sequence[str], rows: Iterable[Row], form: str = ".6g") -> str:
    """The columns `heads` of rows, a line each, ended by \\n; empty where there is no number."""

    def cell(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return "" if math.isnan(value) else format(value, form)

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([cell(row.get(head)) for head in heads] for row in rows)
    return text.getvalue()
