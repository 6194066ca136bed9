"""Dense products against BLAS libraries: `weightspace bench products`.

They are operations of `steps`, timed as those are; here is which of them, and what they come to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ...kernels.cores import cores_here
from ...kernels.errors import check_name
from . import steps
from .conditions import check_threads, conditions_of
from .kernels import DTYPES
from .peers import BASELINE, PeerSpec
from .peers.problem import GROUPS
from .peers.products import PRODUCT_SIZES
from .peers.selection import QUICK_PRODUCTS


def run(
    operations: Iterable[str] | None = None,
    sizes: Iterable[str] | None = None,
    peers: Iterable[str | PeerSpec] | None = None,
    dtype: str = "float32",
    threads: Iterable[int] | None = None,
    quick: bool = False,
    console: Console | None = None,
    busy: int = 0,
    before: Path | None = None,
) -> list[steps.Row]:
    """Compare, time and print products on each number of threads, then what they come to.

    threads: cores for all peers alike, 0 for all; default one, then all. The rest as in
    `steps.run`. Raises UnknownNameError or SettingError.
    """
    console = console or Console()
    check_name("dtype", dtype, DTYPES)
    suffix = "" if dtype == "float32" else f"@{dtype}"
    chosen = [size if "@" in size else size + suffix
              for size in sizes or (QUICK_PRODUCTS if quick else PRODUCT_SIZES)]  # fmt: skip
    counts = list(threads or ([1, 0] if cores_here() > 1 else [0]))
    for count in counts:
        check_threads(count)
    rows: list[steps.Row] = []
    for count in counts:
        rows += steps.run(
            operations or GROUPS["product"], chosen, peers, quick, console,
            threads=count, busy=busy, before=before,
        )  # fmt: skip
    console.print(summary(rows))
    return rows


def summary(rows: Iterable[steps.Row]) -> Table:
    """A line a product: ours, and the best of the libraries with its time over ours."""
    table = Table(title="dense products", title_justify="left")
    for name in ("product", "size", "threads"):
        table.add_column(name, no_wrap=True)
    for name in ("us", "GFLOP/s", "% roof", "x best", "x before", "error / OpenBLAS's"):
        table.add_column(name, justify="right")
    table.add_column("best", no_wrap=True)

    def problem(row: steps.Row) -> tuple[str, str, int, int]:
        return row.operation, row.size, row.threads, row.busy

    for (operation, size, threads, busy), group in groupby(rows, problem):
        where = ", ".join(conditions_of(threads, busy)) or "all"
        table.add_row(operation, size, where, *_came_to(list(group)))
    return table


def _came_to(rows: Sequence[steps.Row]) -> list[str]:
    timed = {row.peer: row for row in rows if row.status == "timed"}
    own, before = timed.pop(BASELINE, None), timed.pop("before", None)
    if own is None or own.median is None:
        return ["not timed", *[""] * 6]
    best = min(timed.values(), key=lambda row: row.ratio or 0.0, default=None)
    openblas = timed.get("openblas")
    error = ""
    if openblas is not None and openblas.error and own.error is not None:
        error = f"{own.error / openblas.error:.2f}"
    return [
        f"{1e6 * own.median:.1f}", f"{own.gflops or 0:.1f}",
        "" if own.roof_share is None else f"{own.roof_share:.0%}",
        _times(best), _times(before), error, best.peer if best else "",
    ]  # fmt: skip


def _times(row: steps.Row | None) -> str:
    return "" if row is None or row.ratio is None else f"{row.ratio:.2f}"
