"""Tables of the docs about task space (Campbell et al. 2018), from kept rows and pairs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ..studies.study import Row
from ..studies.task_space import numbers
from .kept import RESULTS, Kept, read
from .markdown import markdown

PAIRS = RESULTS / "task-space" / "pairs.csv"


def sequence(kept: Kept) -> str:
    """R of the naive sequence in percent, the authors' in brackets."""
    found, both = numbers.sequence(kept.rows), numbers.beside_published(kept.rows)
    assert found is not None and both is not None, "the published sequence is kept"
    rows = []
    for task, name in enumerate(found[0]):
        cells = [f"{100 * ours:.0f} ({100 * theirs:.0f})" if np.isfinite(theirs) else ""
                 for ours, theirs in zip(both[0][task], both[1][task], strict=True)]  # fmt: skip
        rows.append([name, *cells])
    return markdown(("after", *found[0]), rows)


def pairs_of(path: Path) -> list[Row]:
    """The rows of a committed pairs.csv."""
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    words = ("first", "second")
    return [
        {"kind": "pair", "given": None,
         **{key: value if key in words else float(value) if value else None
            for key, value in line.items()}}
        for line in lines
    ]  # fmt: skip


def choices(rows: list[Row]) -> str:
    """What pixels tell of forgetting, by which sets are compared."""
    found = numbers.pairs(rows)
    assert found is not None, "there are pairs"
    lines = []
    for name, pairs, verdict in numbers.choices(found):
        line = verdict.line
        interval = f"{line.pearson:.2f} ({line.low:.2f} to {line.high:.2f})"
        within = "{:.2f} ({:.2f} to {:.2f})".format(verdict.within, *verdict.within_range)
        lines.append((name, str(pairs), interval, f"{100 * line.r2:.0f} %", within))
    heads = ("sets", "ordered pairs", "Pearson's r, 95 %", "of the variance", "within A, 95 %")
    return markdown(heads, lines)


def pixels(kept: Kept) -> str:
    """How mean images of the original and of every other set correlate, the mean over digits."""
    found = numbers.similarity(kept.rows)
    assert found is not None, "correlations are kept"
    others = sorted(set(found.sets) - {"orig"}, key=lambda name: found("orig", name))
    values = [f"{found('orig', name):.2f}".replace("-0.00", "0.00") for name in others]
    return markdown(("", *others), [("orig", *values)])


TABLES = {
    "task-space-pixels": lambda: pixels(read("task-space-pixels")),
    "task-space-sequence": lambda: sequence(read("task-space")),
    "task-space-choices": lambda: choices(pairs_of(PAIRS)),
}
