"""The contract of batch normalisation's kernels."""

from __future__ import annotations

from collections.abc import Callable

from .common import ACT, ACTS, RELU
from .contract import Kernel, Sizes
from .makers import positive, unit

_ROWS = "N T C"
_STACKED = "VN T C"
_MOMENTS: dict[str, str | None] = {"mean": "C", "inverse": "C"}
_AFFINE: dict[str, str | None] = {"gamma": "C", "shift": "C"}
_SUMS = "64 2 C"
_CONSTANT = {"running": {"batch": False}, "batch": {"batch": True}}


def _per_row(cost: float) -> Callable[[Sizes], float]:
    return lambda s: cost * s["N"] * s["T"] * s["C"]


NORM = [
    Kernel(
        "norm_statistics",
        {"x": _ROWS, "sums": _SUMS, "mean": "C", "var": "C"},
        {"mean": "=", "var": "="},
        _per_row(4),
        scratch=frozenset({"sums"}),
        reduces="NT",
        family="norm",
    ),
    Kernel(
        "norm_moments",
        {
            "var": "C",
            "mean": "C",
            "eps": None,
            "momentum": None,
            "count": None,
            "running_mean": "C",
            "running_var": "C",
            "inverse": "C",
        },
        {"running_mean": "+=", "running_var": "+=", "inverse": "="},
        lambda s: 9.0 * s["C"],
        {"eps": 1e-5, "momentum": 0.1, "count": 40},
        make={"var": positive, "running_var": positive},
        variants={"": {}, "inverse only": {"running_mean": None, "running_var": None}},
        family="norm",
    ),
    Kernel(
        "norm_forward",
        {"x": _ROWS, **_MOMENTS, **_AFFINE, **ACT, "y": _ROWS},
        {"y": "="},
        _per_row(4),
        RELU,
        make={"inverse": positive},
        variants={"": {}, **ACTS, "plain": {"gamma": None, "shift": None}},
        family="norm",
    ),
    Kernel(
        "norm_backward",
        {
            "x": _ROWS,
            **_MOMENTS,
            "gamma": "C",
            "y": _ROWS,
            "dy": _STACKED,
            **ACT,
            "batch": None,
            "beta": None,
            "sums": _SUMS,
            "dgamma": "C",
            "dshift": "C",
            "dx": _STACKED,
        },
        {"dgamma": "beta", "dshift": "beta", "dx": "="},
        lambda s: 10.0 * s["V"] * s["N"] * s["T"] * s["C"],
        {**RELU, "batch": True, "beta": 0.0},
        scratch=frozenset({"sums"}),
        make={"y": unit, "inverse": positive},
        variants={
            "": {},
            **ACTS,
            "running": {"batch": False},
            "adding": {"beta": 1.0},
            "plain": {"gamma": None, "dgamma": None, "dshift": None},
            "running, plain": {"batch": False, "gamma": None, "dgamma": None, "dshift": None},
            "running, input only": {"batch": False, "dgamma": None, "dshift": None},
        },
        reduces="NT",
        family="norm",
        parts=3,
        timed=("", "running"),
    ),
    Kernel(
        "norm_tangent",
        {
            "x": _ROWS,
            **_MOMENTS,
            "gamma": "C",
            "y": _ROWS,
            "tx": _ROWS,
            "tgamma": "C",
            "tshift": "C",
            **ACT,
            "batch": None,
            "sums": _SUMS,
            "ty": _ROWS,
        },
        {"ty": "="},
        _per_row(10),
        {**RELU, "batch": False},
        scratch=frozenset({"sums"}),
        make={"y": unit, "inverse": positive},
        variants={
            "": {},
            **ACTS,
            "batch": {"batch": True},
            "plain": {"gamma": None, "tgamma": None, "tshift": None},
            "batch, plain": {"batch": True, "gamma": None, "tgamma": None, "tshift": None},
            "input still": {"tx": None},
            "parameters still": {"tgamma": None, "tshift": None},
        },
        reduces="NT",
        family="norm",
        parts=3,
        timed=("", "batch"),
    ),
    Kernel(
        "norm_sample_grads",
        {"x": _ROWS, **_MOMENTS, "dz": _ROWS, "dgamma": "N C", "dshift": "N C"},
        {"dgamma": "=", "dshift": "="},
        _per_row(4),
        make={"inverse": positive},
        reduces="T",
        family="norm",
    ),
    Kernel(
        "norm_accumulate",
        {
            "x": _ROWS,
            **_MOMENTS,
            "dz": f"V {_ROWS}",
            "power": None,
            "sums": _SUMS,
            "dgamma": "C",
            "dshift": "C",
        },
        {"dgamma": "+=", "dshift": "+="},
        lambda s: 4.0 * s["V"] * s["N"] * s["T"] * s["C"],
        {"power": 2},
        frozenset({"sums"}),
        {"inverse": positive},
        variants={"": {}, "absolute": {"power": 1}},
        reduces="NT",
        family="norm",
    ),
    Kernel(
        "norm_signal",
        {
            "x": _ROWS,
            **_MOMENTS,
            "gamma": "C",
            "y": _ROWS,
            "sums": _SUMS,
            "dgamma": "C",
            "dshift": "C",
        },
        {"dgamma": "+=", "dshift": "+="},
        _per_row(5),
        scratch=frozenset({"sums"}),
        make={"inverse": positive},
        reduces="NT",
        family="norm",
    ),
]
