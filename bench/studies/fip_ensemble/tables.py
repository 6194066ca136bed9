"""The tables of the study of ensembles under attack: on the terminal, on the page, as CSV."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from rich.table import Table

from ...runs.tables import mean_and_error, titled
from ..rows import as_csv, average, grouped, select, with_error
from ..study import Row

LABELS = {
    "fip-onward": "FIP, onward",
    "fip-afresh": "FIP, afresh",
    "fip-ball": "FIP, ball",
    "deep": "deep ensemble",
    "fge": "FGE",
    "adp": "ADP",
    "start": "the start",
    "separate": "a separate network",
}
COLUMNS: dict[str, dict[str, object]] = {  # and what picks their rows
    "clean": {"ask": "clean"},
    "transfer, separate": {"ask": "transfer", "surrogate": "separate"},
    "transfer, start": {"ask": "transfer", "surrogate": "start"},
    "white box": {"ask": "white"},
}


def stated(rows: Sequence[Row]) -> float:
    """The radius, of 255, at which everything is compared."""
    return float(select(rows, ask="strength")[0]["epsilon"])


def by_seed(rows: Iterable[Row]) -> np.ndarray:
    """The mean accuracy of each seed's rows, (seeds,)."""
    return np.array([average(mine, "accuracy") for mine in grouped(rows, "seed").values()])


def tries(rows: Sequence[Row]) -> list[tuple[int, int]]:
    """(steps, restarts) of ever harder attacks."""
    return list(grouped(select(rows, ask="strength"), "steps", "restarts"))


def kinds(rows: Iterable[Row]) -> list[str]:
    """The kinds of ensembles, in the order of the attacks."""
    return list(grouped(select(rows, ask="white"), "kind"))


def paths(rows: Iterable[Row]) -> list[str]:
    """The kinds that are members of a path."""
    return [kind for kind in kinds(rows) if kind.startswith("fip-")]


def in_column(rows: Sequence[Row], column: str, kind: str) -> list[Row]:
    """A kind's rows of a column, under attack at the stated radius."""
    radius = {} if column == "clean" else {"epsilon": stated(rows)}
    return select(rows, kind=kind, **COLUMNS[column], **radius)


def summary(rows: Sequence[Row]) -> list[Row]:
    """A record a kind, column and part ("member", the mean of members, or "ensemble")."""
    records: list[Row] = []
    epsilon = stated(rows)
    for kind in kinds(rows):
        for column in COLUMNS:
            chosen = in_column(rows, column, kind)
            for part, alone in (("member", True), ("ensemble", False)):
                shares = by_seed(r for r in chosen if (r["member"] is not None) == alone)
                mean, error = mean_and_error(shares)
                records.append(
                    {"kind": kind, "part": part, "attack": column,
                     "epsilon": 0 if column == "clean" else epsilon,
                     "accuracy": mean, "standard_error": error, "seeds": len(shares)}
                )  # fmt: skip
    return records


def summary_csv(rows: Sequence[Row]) -> str:
    """`summary` as CSV."""
    records = summary(rows)
    return as_csv(list(records[0]), records, ".4f")


def _percent(value: float, error: float = math.nan) -> str:
    return with_error(100 * value, 100 * error)


def _main(rows: Sequence[Row]) -> Table:
    table = titled(
        f"accuracy %, members' mean / ensemble, epsilon {stated(rows):g}/255", ("kind", *COLUMNS)
    )
    records = {(r["kind"], r["attack"], r["part"]): r for r in summary(rows)}
    for kind in kinds(rows):
        cells = []
        for column in COLUMNS:
            pair = [records[kind, column, part] for part in ("member", "ensemble")]
            cells.append(" / ".join(_percent(r["accuracy"], r["standard_error"]) for r in pair))
        table.add_row(LABELS[kind], *cells)
    return table


def _surrogates(rows: Sequence[Row]) -> Table:
    table = titled("the attacked networks themselves, %", ("network", "clean", "attacked"))
    for name in ("separate", "start"):
        clean, hit = (by_seed(in_column(rows, column, name))
                      for column in ("clean", f"transfer, {name}"))  # fmt: skip
        table.add_row(LABELS[name], _percent(clean.mean()), _percent(hit.mean()))
    return table


def _strength(rows: Sequence[Row]) -> Table:
    """White-box accuracy by how hard the attack tries."""
    heads = [f"{steps} steps" + (f" x {n}" if n > 1 else "") for steps, n in tries(rows)]
    table = titled("is the attack at its end? white-box accuracy %", ("target", *heads))
    for kind in ("start", *kinds(rows)):
        cells = [
            by_seed(select(rows, ask="strength", kind=kind, steps=steps, restarts=n)).mean()
            for steps, n in tries(rows)
        ]
        table.add_row(LABELS[kind], *map(_percent, cells))
    return table


def _scores(rows: Sequence[Row]) -> Table:
    """Cosines of input gradients: of a member and the surrogate, of members."""
    heads = ("with separate", "with start", "largest of two members", "mean of two members")
    table = titled("coherence: cosines of input gradients, means", ("kind", *heads))
    for kind in kinds(rows):
        cells = [
            average(select(rows, ask="coherence", kind=kind, against=one), "mean")
            for one in ("separate", "start", "members")
        ]
        cells.append(average(select(rows, ask="cosine", kind=kind), "mean"))
        table.add_row(LABELS[kind], *(f"{cell:.3f}" for cell in cells))
    return table


def straightness(row: Row) -> float:
    """Distance from the start over length, of a path's member: 1 on a ray."""
    return row["away"] / row["walked"]


def ends(rows: Iterable[Row], kind: str) -> list[Row]:
    """The last member of a path, of each seed."""
    clean = [row for row in select(rows, ask="clean", kind=kind) if row["member"] is not None]
    return [max(mine, key=lambda row: row["member"]) for mine in grouped(clean, "seed").values()]


def _paths(rows: Sequence[Row]) -> Table:
    """What became of the paths by their ends."""
    heads = ("length in outputs, rad", "length in weights", "distance from start", "straightness",
             "norm of weights")  # fmt: skip
    table = titled("the paths, at their ends", ("path", *heads))
    for kind in paths(rows):
        last = ends(rows, kind)
        numbers = [average(last, key) for key in ("turned", "walked", "away")]
        numbers += [average(last, straightness), average(last, "length")]
        table.add_row(LABELS[kind], *(f"{number:.2f}" for number in numbers))
    return table


def tell(rows: Sequence[Row]) -> Sequence[Table]:
    """All tables."""
    return [_main(rows), _surrogates(rows), _paths(rows), _strength(rows), _scores(rows)]
