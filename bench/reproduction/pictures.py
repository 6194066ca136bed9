"""Pictures from kept rows: accuracy against what a method keeps.

Of time they say nothing: kept runs may have shared their machine with others.
"""

from __future__ import annotations

import math
from pathlib import Path

from ...kernels.errors import SettingError
from ..runs.pareto import draw_pareto
from ..runs.tables import CLOCKS, Line
from ..show.source import images_of, sourced
from .kept import RESULTS, Kept, read
from .side_by_side import labels, title


def draw(name: str, results: Path = RESULTS) -> Path:
    """Write `pareto.png` beside the kept rows of a run. Raises SettingError below three methods."""
    kept = read(name, results)
    seeds = kept.made["seeds"]
    with sourced([images_of(kept.made["data"])], seeds, f"weightspace results draw {name}"):
        path = draw_pareto(lines(kept), results / name / "pareto.png")
    if path is None:
        raise SettingError(f"{name} has fewer than three methods to be put side by side")
    return path


def lines(kept: Kept) -> list[Line]:
    """A table's line for each label, without times."""
    found = []
    for label in labels(kept):
        mine = kept.select(label=label)
        acc = kept.mean("acc", label=label)
        unknown = dict.fromkeys(CLOCKS, math.nan)
        found.append(
            Line(
                title(label), acc.count, {"acc": acc.mean, **unknown},
                {"acc": acc.error, **unknown}, int(mine[0]["kept_bytes"]), "",
                bool(mine[0]["told_task"]), mine[0]["settings"],
            )
        )  # fmt: skip
    return found
