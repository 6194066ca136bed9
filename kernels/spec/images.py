"""The contract of what works on images: pooling, and moving the pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .contract import Kernel, Sizes
from .makers import coins, moves, no_places, pairs, places, taps

_IMAGE = "N H W C"
_POOL: dict[str, str | None] = {"window": None, "stride": None, "padding": None}
_POOL_SCALARS = {"window": (2, 2), "stride": (2, 2), "padding": (0, 0)}
_POOL_VARIANTS: dict[str, dict[str, Any]] = {
    "": {},
    "overlapping": {"window": (3, 2), "stride": (2, 1)},
}


def _pool_sizes(sizes: Sizes, values: Mapping[str, Any]) -> dict[str, int]:
    pairs = zip("HW", values["window"], values["stride"], values["padding"], strict=True)
    h, w = ((sizes[a] + 2 * p - k) // s + 1 for a, k, s, p in pairs)
    return {"h": h, "w": w}


def _halves(sizes: Sizes, values: Mapping[str, Any]) -> dict[str, int]:
    return {"h": sizes["H"] // 2, "w": sizes["W"] // 2}


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
        variants={**_POOL_VARIANTS, "padded": {"window": (3, 3), "padding": (1, 1)}},
        family="image",
        derive=_pool_sizes,
    ),
    Kernel(
        "max_pool_backward",
        {"index": "N h w C", "dy": "VN h w C", **_POOL, "dx": "VN H W C"},
        {"dx": "="},
        _per_pixel(1),
        _POOL_SCALARS,
        make={"index": taps},
        variants=_POOL_VARIANTS,
        family="image",
        derive=_pool_sizes,
    ),
    Kernel(
        "max_pool_tangent",
        {"index": "N h w C", "tx": _IMAGE, **_POOL, "ty": "N h w C"},
        {"ty": "="},
        _per_pixel(1),
        _POOL_SCALARS,
        make={"index": taps},
        variants=_POOL_VARIANTS,
        family="image",
        derive=_pool_sizes,
    ),
    Kernel(
        "average_pool_forward",
        {"x": _IMAGE, "rows": "h 2", "columns": "w 2", "y": "N h w C"},
        {"y": "="},
        _per_pixel(1),
        make={"rows": pairs, "columns": pairs},
        family="image",
        derive=_halves,
    ),
    Kernel(
        "average_pool_backward",
        {"dy": "VN h w C", "rows": "h 2", "columns": "w 2", "dx": "VN H W C"},
        {"dx": "="},
        _per_pixel(1),
        make={"rows": pairs, "columns": pairs},
        family="image",
        derive=_halves,
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
