"""The tables of the study of ensembles under attack: on the terminal, on the page, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np
from rich.table import Table

from ...runs.tables import titled
from ..study import Row

LABELS = {
    "fip": "FIP path",
    "deep": "deep ensemble",
    "fge": "FGE",
    "adp": "ADP",
    "start": "the start",
    "separate": "a separate network",
}
COLUMNS = ("clean", "transfer, separate", "transfer, start", "white box")


def stated(rows: Sequence[Row]) -> float:
    """The radius, of 255, at which everything is compared."""
    return next(row["epsilon"] for row in rows if row["ask"] == "strength")


def select(rows: Iterable[Row], **wanted: object) -> list[Row]:
    """The rows with these values."""
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def by_seed(rows: Iterable[Row]) -> np.ndarray:
    """The mean accuracy of each seed's rows, (seeds,)."""
    found: dict[int, list[float]] = {}
    for row in rows:
        found.setdefault(row["seed"], []).append(row["accuracy"])
    return np.array([np.mean(values) for values in found.values()])


def kinds(rows: Iterable[Row]) -> list[str]:
    """The kinds of ensembles, in the order of the attacks."""
    return list(dict.fromkeys(row["kind"] for row in rows if row["ask"] == "white"))


def _where(column: str, epsilon: float) -> dict[str, object]:
    """What picks a column's rows."""
    if column == "clean":
        return {"ask": "clean"}
    if column == "white box":
        return {"ask": "white", "epsilon": epsilon}
    return {"ask": "transfer", "surrogate": column.split(", ")[1], "epsilon": epsilon}


def summary(rows: Sequence[Row]) -> list[dict[str, object]]:
    """A record a kind, column and part ("member", the mean of members, or "ensemble")."""
    records: list[dict[str, object]] = []
    epsilon = stated(rows)
    for kind in kinds(rows):
        for column in COLUMNS:
            chosen = select(rows, kind=kind, **_where(column, epsilon))
            for part, alone in (("member", True), ("ensemble", False)):
                shares = by_seed(r for r in chosen if (r["member"] is not None) == alone)
                error = shares.std(ddof=1) / np.sqrt(len(shares)) if len(shares) > 1 else None
                records.append(
                    {"kind": kind, "part": part, "attack": column,
                     "epsilon": 0 if column == "clean" else epsilon,
                     "accuracy": float(shares.mean()), "standard_error": error,
                     "seeds": len(shares)}
                )  # fmt: skip
    return records


def as_csv(rows: Sequence[Row]) -> str:
    """`summary` as CSV, with \\n line ends."""
    records = summary(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: f"{value:.4f}" if isinstance(value, float) else value for key, value in row.items()}
        for row in records
    )
    return text.getvalue()


def _percent(value: float, error: float | None = None) -> str:
    return f"{100 * value:.1f}" + (f" ± {100 * error:.1f}" if error is not None else "")


def _main(rows: Sequence[Row]) -> Table:
    table = titled(
        f"accuracy %, members' mean / ensemble, epsilon {stated(rows):g}/255", ("kind", *COLUMNS)
    )
    records = {(r["kind"], r["attack"], r["part"]): r for r in summary(rows)}
    for kind in kinds(rows):
        cells = []
        for column in COLUMNS:
            pair = [records[kind, column, part] for part in ("member", "ensemble")]
            cells.append(" / ".join(_percent(r["accuracy"], r["standard_error"]) for r in pair))  # type: ignore[arg-type]
        table.add_row(LABELS[kind], *cells)
    return table


def _surrogates(rows: Sequence[Row]) -> Table:
    table = titled("the attacked networks themselves, %", ("network", "clean", "attacked"))
    for name in ("separate", "start"):
        clean = by_seed(select(rows, ask="clean", kind=name))
        hit = by_seed(select(rows, ask="transfer", surrogate=name, kind=name, epsilon=stated(rows)))
        table.add_row(LABELS[name], _percent(clean.mean()), _percent(hit.mean()))
    return table


def _strength(rows: Sequence[Row]) -> Table:
    """White-box accuracy by how hard the attack tries."""
    tries = list(dict.fromkeys((r["steps"], r["restarts"]) for r in rows if r["ask"] == "strength"))
    heads = [f"{steps} steps" + (f" x {n}" if n > 1 else "") for steps, n in tries]
    table = titled("is the attack at its end? white-box accuracy %", ("target", *heads))
    for kind in ("start", *kinds(rows)):
        cells = [
            by_seed(select(rows, ask="strength", kind=kind, steps=steps, restarts=n)).mean()
            for steps, n in tries
        ]
        table.add_row(LABELS[kind], *map(_percent, cells))
    return table


def _scores(rows: Sequence[Row]) -> Table:
    heads = ("coherence", "mean cosine", "with separate", "with start", "distance from start")
    table = titled("input gradients, and how far members lie from the start", ("kind", *heads))

    for kind in kinds(rows):
        chosen = select(rows, ask="coherence", kind=kind)
        keys = ("mean", "cosine", "separate", "start")
        cells = [f"{np.mean([row[key] for row in chosen]):.3f}" for key in keys]
        away = [r["away"] for r in select(rows, ask="clean", kind=kind) if r["away"] is not None]
        table.add_row(LABELS[kind], *cells, f"{min(away):.1f} to {max(away):.1f}")
    return table


def tell(rows: Sequence[Row]) -> Sequence[Table]:
    """All tables."""
    return [_main(rows), _surrogates(rows), _strength(rows), _scores(rows)]
