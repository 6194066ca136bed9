"""Tables of the docs that are made of kept rows, by the name that their marks give."""

from __future__ import annotations

from collections.abc import Callable

from . import fip, fishers, importances, side_by_side, speed, task_space

TABLES: dict[str, Callable[[], str]] = {
    **side_by_side.TABLES,
    **fip.TABLES,
    **importances.TABLES,
    **task_space.TABLES,
    **fishers.TABLES,
    **speed.TABLES,
}
