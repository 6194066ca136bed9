"""The wing of streams: how a data set becomes tasks in an order. `build` makes one by kind.

A new kind is a module with `make(dataset, scenario, ...)`, whose settings are the arguments that
follow, and a line in KINDS. It depends on data; presets name streams, runs make them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...kernels.errors import check_name
from ...methods.tasks import Scenario, Stream
from ..data import Dataset
from ..show.assignments import declared
from . import datasets, incremental_cifar, manipulated, permuted, rotated, split, writers
from .common import check_sets

KINDS: dict[str, Callable[..., Stream]] = {
    "permuted": permuted.make,
    "rotated": rotated.make,
    "split": split.make,
    "manipulated": manipulated.make,
    "datasets": datasets.make,
    "incremental-cifar": incremental_cifar.make,
    "writers": writers.make,
}
SEVERAL = ("datasets", "incremental-cifar")  # kinds made of a sequence of data sets


def parameters(kind: str) -> dict[str, Any]:
    """The settings of the stream `kind`, with their types. Raises UnknownNameError."""
    check_name("stream", kind, KINDS)
    return declared(KINDS[kind])


def build(
    kind: str, dataset: Dataset | Sequence[Dataset], scenario: Scenario, **settings: Any
) -> Stream:
    """The stream `kind` over one data set or several, with the settings of its module's `make`.

    Raises UnknownNameError for a kind or setting that is none, suggesting the nearest, SettingError
    for a number of data sets that the kind cannot be made of.
    """
    known = parameters(str(kind))
    for key in settings:
        check_name(f"setting of the {kind} stream", key, known)
    given: Any = dataset if kind in SEVERAL else check_sets(kind, dataset, least=1, most=1)[0]
    return KINDS[kind](given, scenario, **settings)


__all__ = ["KINDS", "SEVERAL", "build", "parameters"]
