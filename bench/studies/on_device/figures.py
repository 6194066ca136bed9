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
        1, len(protocols), figsize=(4.6 * len(protocols) + 1.6, 4), squeeze=False
    )
    colours = dict(zip(grouped(rows, "method"), COLOURS, strict=False))
    for panel, (name, of) in zip(panels[0], protocols.items(), strict=True):
        most = LIMIT
        for method, each in grouped(of, "method").items():
            ram = max(row["ram"] for row in each) / 1000
            accuracy = 100 * float(np.mean([row["accuracy"] for row in each]))
            colour = colours.get(method, INK)
            panel.plot(ram, accuracy, "o", color=colour, markersize=9, label=method)
            most = max(most, ram)
        panel.axvline(LIMIT, color=INK, linewidth=1, linestyle=":")
        panel.set_xlim(0, most * 1.08)
        panel.margins(y=0.15)
        panel.set(title=name, xlabel="RAM, kB", ylabel="accuracy over all tasks, %")
    panels[0, -1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.tight_layout()
    return [close(plt, figure, folder / "memory.png")]
