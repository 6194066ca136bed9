"""The contract of the kernels over sparse weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .common import ACT, ACTS, RELU
from .contract import Kernel, Sizes

SHARE = 16  # of so many weights one is not zero


def _entries(sizes: Sizes, values: Mapping[str, Any]) -> dict[str, int]:
    return {"e": -(-sizes["O"] * sizes["I"] // SHARE), "s": sizes["O"] + 1}


def _places(
    rng: np.random.Generator, sizes: Sizes, values: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Weights that live, drawn without regard to rows, so that rows are long, short and empty."""
    flat = np.sort(rng.choice(sizes["O"] * sizes["I"], sizes["e"], replace=False))
    starts = np.searchsorted(flat, sizes["I"] * np.arange(sizes["s"]))
    return {"starts": starts.astype(np.int32), "columns": (flat % sizes["I"]).astype(np.int32)}


SPARSE = [
    Kernel(
        "sparse_dense_forward",
        {
            "x": "I N",
            "starts": "s",
            "columns": "e",
            "values": "e",
            "b": "O",
            **ACT,
            "y": "O N",
        },
        {"y": "="},
        lambda s: 2.0 * s["N"] * s["e"],
        RELU,
        variants={"": {}, **ACTS, "no bias": {"b": None}},
        reduces="I",
        family="sparse",
        derive=_entries,
        together=_places,
    ),
]
