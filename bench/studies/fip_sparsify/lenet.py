"""fip-sparsify-lenet: LeNet-300-100 from 20 to 99.4 % zeros (Raghavan & Thomson).

The paper: 99.1 % zeros at 96.3-96.8 %, 99.4 % at 96 +- 0.6 against 91 +- 3 for lottery tickets;
99.2, 98.4 and 52 % zeros in the three layers. Its optimizer, steps and dense network are not
stated; its code's are `methods.fip.authors_path`, which this study walks, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ....methods.pruning import weight_names
from ....nnlite import Network, models
from ....nnlite.optim import Adam
from ..study import Row, Study
from . import figures, tables
from .parts import Kind, Settings, parts

PAPER = figures.Paper(
    points={"FIP": [(0.991, 0.963, 0.968), (0.994, 0.954, 0.966)],
            "lottery tickets": [(0.994, 0.88, 0.94)]},
    layers=(0.992, 0.984, 0.52),
)  # fmt: skip


def _build(classes: int, shape: tuple[int, ...], seed: int, backend: str) -> Network:
    return models.mlp((*shape, 300, 100, classes), seed=seed, backend=backend, init="glorot_normal")


KIND = Kind(_build, flat=True, by="layer", optimizer=Adam, stages=((0.75, 1.0), (0.25, 0.1)))


def draw(rows: Sequence[Row], folder: Path) -> Sequence[Path]:
    """The curve, the layers, and what is still connected in the first seed's sparsest network."""
    names = weight_names(_build(10, (784,), 0, "reference"))
    tables.write_csv(rows, folder.parent / "table.csv")
    return [
        figures.draw_curve(rows, PAPER, "LeNet-300-100 on MNIST", folder / "accuracy.png"),
        figures.draw_layers(rows, PAPER, names, folder / "layers.png"),
        *figures.draw_connections(rows, folder.parent, folder / "connections.png"),
    ]


STUDY = Study(
    name="fip-sparsify-lenet",
    summary="LeNet-300-100 to 99.4 % zeros: invariant path, pruning, lottery tickets",
    settings=Settings(),
    parts=lambda settings: parts(settings, KIND),
    draw=draw,
    tell=tables.tell,
    notes=tables.NOTES,
)
