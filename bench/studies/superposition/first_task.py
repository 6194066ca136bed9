"""The figure of the first task's accuracy, for every run of superposition."""

from __future__ import annotations

from ...runs.curves import draw_first
from ...runs.hooks import Done, Hook


def _draw(done: Done) -> tuple[()]:
    """Accuracy on the first task against steps, a faint line every turn or task."""
    superposed = [one for one in done.groups if one.method == "superposition"]
    if superposed:
        config = (*superposed[0].runs, *superposed[0].failed)[0].config
        turn = config.get("turn") or config.get("steps") or 0
        draw_first([done.folder], done.folder / "figures" / "first-task.png", turn=turn)
    return ()


HOOK = Hook(after_all=_draw)
