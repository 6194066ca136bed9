"""The contract of superposition's kernels: contexts, and complex numbers laid out for products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .contract import Kernel, Sizes


def _planes(sizes: Sizes, values: Mapping[str, Any]) -> dict[str, int]:
    """p and q: planes (real, or real and imaginary) given and made; j: both parts of I numbers."""
    given, made = values["planes"]
    return {"p": given, "q": made, "j": 2 * sizes["I"]}


_BOTH = {"planes": (2, 2)}
_VARIANTS: dict[str, dict[str, Any]] = {
    "": {},
    "real input": {"planes": (1, 2)},
    "real output": {"planes": (2, 1)},
    "real": {"planes": (1, 1)},
    "no context": {"c": None},
}

CONTEXT = [
    Kernel(
        "context_multiply",
        {"x": "N I", "c": "I", "y": "N I"},
        {"y": "="},
        lambda s: 1.0 * s["N"] * s["I"],
        family="context",
    ),
    Kernel(
        "context_gradient",
        {"x": "N I", "dy": "N I", "beta": None, "dc": "I"},
        {"dc": "beta"},
        lambda s: 2.0 * s["N"] * s["I"],
        {"beta": 0.0},
        variants={"": {}, "adding": {"beta": 1.0}},
        reduces="N",
        family="context",
    ),
    Kernel(
        "complex_expand",
        {"x": "N p I", "c": "2 I", "z": "N q j"},
        {"z": "="},
        lambda s: 6.0 * s["N"] * s["I"],
        _BOTH,
        variants=_VARIANTS,
        family="context",
        derive=_planes,
    ),
    Kernel(
        "complex_contract",
        {"dz": "N q j", "c": "2 I", "dx": "N p I"},
        {"dx": "="},
        lambda s: 8.0 * s["N"] * s["I"],
        _BOTH,
        variants=_VARIANTS,
        family="context",
        derive=_planes,
    ),
]
