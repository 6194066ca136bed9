"""The contract of what works on images: pooling, and moving the pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .contract import Kernel, Sizes
from .makers import coins, moves, no_places, places

_IMAGE = "N H W C"
_POOL: dict[str, str | None] = {"window": None, "stride": None, "padding": None}
_POOL_SCALARS = {"window": (2, 2), "stride": (2, 2), "padding": (0, 0)}
# over: how far the last window may hang over the end, of rows and of columns; else by the padding
_POOL_VARIANTS: dict[str, dict[str, Any]] = {
    "": {},
    "overlapping": {"window": (3, 2), "stride": (2, 1)},
    "padded": {"window": (3, 3), "padding": (1, 1)},
    "hanging over": {"over": (1, 1)},
    "padded apart": {"window": (4, 3), "stride": (3, 2), "padding": (2, 0), "over": (1, 2)},
}


def _pool_sizes(sizes: Sizes, values: Mapping[str, Any]) -> dict[str, int]:
    before = values["padding"]
    over = values.get("over", before)
    along = zip("HW", values["window"], values["stride"], before, over, strict=True)
    h, w = ((sizes[a] + p + o - k) // s + 1 for a, k, s, p, o in along)
    return {"h": h, "w": w}


def _taken(
    rng: np.random.Generator, sizes: Sizes, values: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Places in windows, each that of a pixel."""
    chosen = []
    for axis, outputs in enumerate("hw"):
        starts = np.arange(sizes[outputs]) * values["stride"][axis] - values["padding"][axis]
        least = np.maximum(-starts, 0)
        most = np.minimum(values["window"][axis], sizes["HW"[axis]] - starts)
        shape = [1, 1, 1, 1]
        shape[1 + axis] = -1
        full = sizes["N"], sizes["h"], sizes["w"], sizes["C"]
        chosen.append(rng.integers(least.reshape(shape), most.reshape(shape), full))
    return {"index": (chosen[0] * values["window"][1] + chosen[1]).astype(np.uint16)}


_MEAN_VARIANTS: dict[str, dict[str, Any]] = {"": {}, "padded": {"size": 5, "before": 1}}


def _halves(sizes: Sizes, values: Mapping[str, Any]) -> dict[str, int]:
    return {"h": sizes["H"] // 2, "w": sizes["W"] // 2}


def _stretches(
    rng: np.random.Generator, sizes: Sizes, values: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Every second pixel begins a window of two; or one of more, that padding is counted in."""
    size, before = values.get("size", 2), values.get("before", 0)
    found = {}
    for name, outputs, pixels in (("rows", "h", "H"), ("columns", "w", "W")):
        starts = 2 * np.arange(sizes[outputs]) - before
        ends = np.minimum(starts + size, sizes[pixels])
        found[name] = np.stack([np.maximum(starts, 0), ends, np.full(len(starts), size)], axis=1)
    return found


def _per_pixel(cost: float) -> Callable[[Sizes], float]:
    return lambda s: cost * s["N"] * s["H"] * s["W"] * s["C"]


IMAGES = [
    Kernel(
        "max_pool_forward",
        {"x": _IMAGE, **_POOL, "index": "N h w C", "y": "N h w C"},
        {"index": "=", "y": "="},
        _per_pixel(1),
        _POOL_SCALARS,
        make={"index": no_places},
        variants=_POOL_VARIANTS,
        family="image",
        derive=_pool_sizes,
    ),
    Kernel(
        "max_pool_backward",
        {"index": "N h w C", "dy": "VN h w C", **_POOL, "dx": "VN H W C"},
        {"dx": "="},
        _per_pixel(1),
        _POOL_SCALARS,
        variants=_POOL_VARIANTS,
        family="image",
        derive=_pool_sizes,
        together=_taken,
    ),
    Kernel(
        "max_pool_tangent",
        {"index": "N h w C", "tx": _IMAGE, **_POOL, "ty": "N h w C"},
        {"ty": "="},
        _per_pixel(1),
        _POOL_SCALARS,
        variants=_POOL_VARIANTS,
        family="image",
        derive=_pool_sizes,
        together=_taken,
    ),
    Kernel(
        "average_pool_forward",
        {"x": _IMAGE, "rows": "h 3", "columns": "w 3", "y": "N h w C"},
        {"y": "="},
        _per_pixel(1),
        family="image",
        variants=_MEAN_VARIANTS,
        derive=_halves,
        together=_stretches,
    ),
    Kernel(
        "average_pool_backward",
        {"dy": "VN h w C", "rows": "h 3", "columns": "w 3", "dx": "VN H W C"},
        {"dx": "="},
        _per_pixel(1),
        family="image",
        variants=_MEAN_VARIANTS,
        derive=_halves,
        together=_stretches,
    ),
    Kernel(
        "shift_flip",
        {"x": _IMAGE, "down": "N", "across": "N", "flip": "N", "outside": "C", "y": _IMAGE},
        {"y": "="},
        lambda s: 0.0,
        make={"down": moves, "across": moves, "flip": coins},
        family="image",
    ),
    Kernel(
        "gather_rows",
        {"x": "m I", "rows": "N", "out": "N I"},
        {"out": "="},
        lambda s: 0.0,
        make={"rows": places},
        family="gather",
        derive=lambda sizes, values: {"m": sizes["N"] + 3},
    ),
]
