"""fip-sparsify-lenet: LeNet-300-100 from 20 to 99.4 % zeros (Raghavan & Thomson).

The paper: 99.1 % zeros at 96.3-96.8 % (random sparse networks 6-10 %), with 99.2, 98.4 and 52 %
zeros in the three layers; 99.4 % at 96 +- 0.6 against 91 +- 3 for lottery tickets. Its optimizer,
steps and dense network are not stated; its code's are `methods.fip.authors_path`, which this study
walks, too.
"""

from __future__ import annotations

from ....nnlite import Network, models
from ....nnlite.optim import Adam
from .figures import Paper
from .lab import Kind, Settings
from .study import sparsification

PAPER = Paper(
    points={"FIP": [(0.991, 0.963, 0.968), (0.994, 0.954, 0.966)],
            "lottery tickets": [(0.994, 0.88, 0.94)], "random zeros": [(0.991, 0.06, 0.10)]},
    layers=((0.992, 0.002), (0.984, 0.003), (0.52, 0.04)), layers_at=0.991,
)  # fmt: skip


def _build(classes: int, shape: tuple[int, ...], seed: int, backend: str) -> Network:
    return models.mlp((*shape, 300, 100, classes), seed=seed, backend=backend, init="glorot_normal")


KIND = Kind(
    _build, flat=True, by="layer", optimizer=Adam, stages=((0.75, 1.0), (0.25, 0.1)),
    title="LeNet-300-100 on MNIST", shape=(784,),
)  # fmt: skip
STUDY = sparsification(
    "fip-sparsify-lenet", "LeNet-300-100 to 99.4 % zeros: invariant path, pruning, lottery tickets",
    Settings(), KIND, PAPER,
)  # fmt: skip
