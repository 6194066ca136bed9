"""memory.png: accuracy against bytes of RAM, a panel a protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...show.style import COLOURS, INK, close, pyplot
from ..rows import grouped
from ..study import Row

LIMIT = 64  # kB, what the study is about


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """The figure, as a file in `folder`."""
    plt, protocols = pyplot(), grouped(rows, "protocol")
    figure, panels = plt.subplots(
        1, len(protocols), figsize=(5.2 * len(protocols), 4.2), squeeze=False
    )
    for panel, (name, of) in zip(panels[0], protocols.items(), strict=True):
        methods = grouped(of, "method")
        points = [
            (max(row["ram"] for row in each) / 1000,
             100 * float(np.mean([row["accuracy"] for row in each])))
            for each in methods.values()
        ]  # fmt: skip
        for number, (method, (ram, accuracy)) in enumerate(zip(methods, points, strict=True)):
            colour = COLOURS[number % len(COLOURS)]
            panel.plot(ram, accuracy, "o", color=colour, markersize=8)
            panel.annotate(method, (ram, accuracy), xytext=(7, _shift(points, number)),
                           textcoords="offset points", color=INK, fontsize=9)  # fmt: skip
        panel.axvline(LIMIT, color=INK, linewidth=1, linestyle=":")
        panel.set_xlim(0, max(LIMIT, *(ram for ram, _ in points)) * 1.12)
        panel.margins(y=0.15)
        panel.set(title=name, xlabel="RAM, kB", ylabel="accuracy over all tasks, %")
    figure.tight_layout()
    return [close(plt, figure, folder / "memory.png")]


def _shift(points: Sequence[tuple[float, float]], number: int) -> int:
    """How far up a label goes, so that those of neighbours do not lie on each other."""
    ram, accuracy = points[number]
    near = [p for p in points[:number] if abs(p[0] - ram) < 14 and abs(p[1] - accuracy) < 1.5]
    return -3 + 11 * len(near)
