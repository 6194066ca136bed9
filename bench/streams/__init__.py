"""Streams: how a data set becomes tasks in an order. `build` makes one by kind."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ...kernels.errors import unknown_name
from ...methods.tasks import Scenario, Stream
from ..data import Dataset
from . import manipulated, permuted, rotated, split

KINDS: dict[str, Callable[..., Stream]] = {
    "permuted": permuted.make,
    "rotated": rotated.make,
    "split": split.make,
    "manipulated": manipulated.make,
}


def parameters(kind: str) -> dict[str, str]:
    """The settings of the stream `kind`, with their declared types. Raises UnknownNameError."""
    if kind not in KINDS:
        raise unknown_name("stream", kind, KINDS)
    declared = list(inspect.signature(KINDS[kind]).parameters.items())
    return {name: str(parameter.annotation) for name, parameter in declared[2:]}


def build(kind: str, dataset: Dataset, scenario: Scenario, **settings: Any) -> Stream:
    """The stream `kind` over `dataset`, with the settings its module's `make` describes.

    Raises UnknownNameError for a kind or setting that is none, suggesting the nearest.
    """
    if str(kind) not in KINDS:
        raise unknown_name("stream", str(kind), KINDS)
    known = list(inspect.signature(KINDS[kind]).parameters)[2:]
    for key in settings:
        if key not in known:
            raise unknown_name(f"setting of the {kind} stream", key, known)
    return KINDS[kind](dataset, scenario, **settings)


__all__ = ["KINDS", "build", "parameters"]
