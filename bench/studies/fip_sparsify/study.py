"""A sparsification study from what is its own: a kind of network, settings, the paper's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ....methods.pruning import weight_names
from ....nnlite.files import write_whole
from ..study import Row, Study
from . import connections, figures, tables
from .lab import Kind, Settings
from .parts import parts


def sparsification(
    name: str, summary: str, settings: Settings, kind: Kind, paper: figures.Paper
) -> Study:
    """The study `name`: its curve and layers, and what is still connected where images are flat."""

    def draw(rows: Sequence[Row], folder: Path) -> Sequence[Path]:
        names = weight_names(kind.build(10, kind.shape, 0, "reference"))
        write_whole(folder.parent / "table.csv", tables.networks_csv(rows))
        if not tables.levels(rows):
            return []  # tickets alone: their rounds lie between the levels of others
        drawn = [
            figures.draw_curve(rows, paper, kind.title, folder / "accuracy.png"),
            figures.draw_layers(rows, paper, names, folder / "layers.png"),
            *figures.draw_bends(rows, folder / "paths.png"),
        ]
        if kind.flat:
            drawn += connections.draw_connections(rows, folder / "connections.png")
            drawn += connections.draw_six(rows, folder / "six.png")
        return drawn

    return Study(
        name, summary, settings, lambda settings: parts(settings, kind), draw, tables.tell,
        tables.NOTES,
    )  # fmt: skip
