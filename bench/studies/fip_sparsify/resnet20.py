"""fip-sparsify-resnet20: ResNet-20 from 20 to 95 % zeros (Raghavan & Thomson).

The paper: 93 % zeros at 82 to 84.7 %, equal to lottery tickets from 20 to 93 %, 3 points below
them at 95 %; its dense network's accuracy is not stated (the code's ResNet-18 has 91.7 %).
"""

from __future__ import annotations

from ....methods.pruning import cosine
from ....nnlite import Network, models
from ....nnlite.optim import SGD
from .figures import Paper
from .lab import Kind, Settings
from .study import sparsification

PAPER = Paper(points={"FIP": [(0.93, 0.82, 0.847)], "random zeros": [(0.93, 0.18, 0.30)]})


def _build(classes: int, shape: tuple[int, ...], seed: int, backend: str) -> Network:
    return models.resnet20(classes, input_shape=shape, seed=seed, backend=backend, init="he_normal")


KIND = Kind(
    _build, flat=False, by="network", optimizer=lambda rate: SGD(rate, momentum=0.9),
    stages=cosine(15), decay=5e-4, title="ResNet-20 on CIFAR-10", shape=(32, 32, 3),
    augmented=True, mode="train",
)  # fmt: skip
STUDY = sparsification(
    "fip-sparsify-resnet20", "ResNet-20 to 95 % zeros: invariant path, pruning, lottery tickets",
    Settings(
        data="cifar-10", normalise="cifar", levels=(0.2, 0.5, 0.8, 0.9, 0.93, 0.95),
        ways=("one-shot", "random", "path", "fine-tuned", "tickets"), variant_levels=(0.93,),
        dense_steps=5850, dense_batch=128, dense_lr=0.1, path_steps=1200, path_batch=128,
        labels=0.0, ticket_steps=1200, ticket_batch=128, rewind=390,
    ),
    KIND, PAPER,
)  # fmt: skip
