"""The contract of the convolution's kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .common import ACT, ACTS, RELU
from .contract import Kernel, Sizes
from .makers import Maker, small, unit

if TYPE_CHECKING:
    from .. import Backend


def _conv_sizes(sizes: Sizes, values: Mapping[str, Any]) -> dict[str, int]:
    """h and w: rows and columns of output positions."""
    pairs = zip("HW", "RS", values["stride"], values["padding"], strict=True)
    h, w = ((sizes[a] + 2 * p - sizes[k]) // s + 1 for a, k, s, p in pairs)
    return {"h": h, "w": w}


def _workspace(backend: Backend, kernel: str, given: dict[str, Any]) -> int:
    """Elements of `work`: images are called x or dx, filters w or dw (of each sample, perhaps)."""
    image, filters = (
        next(given[name].shape for name in names if given.get(name) is not None)
        for names in (("x", "dx"), ("w", "dw"))
    )
    move = given["stride"], given["padding"]
    return backend.conv2d_workspace(kernel, image, filters[-4:], *move)


def _conv_flops(s: Sizes) -> float:
    return 2.0 * math.prod(s[letter] for letter in "NhwORSC")


_MOVE: dict[str, str | None] = {"stride": None, "padding": None}
_SAME = {"stride": (1, 1), "padding": (1, 1)}
_STEPS = {
    "strided": {"stride": (2, 2)},
    "uneven": {"stride": (2, 1), "padding": (0, 2)},
    "bare": {"padding": (0, 0)},
}
_IMAGE, _FILTERS, _MAPS = "N H W C", "O R S C", "N h w O"
_WORK: dict[str, str | None] = {"work": None}


def _conv(
    name: str,
    axes: dict[str, str | None],
    writes: dict[str, str],
    reduces: str,
    scalars: dict[str, Any] | None = None,
    variants: dict[str, dict[str, Any]] | None = None,
    **more: Any,
) -> Kernel:
    """A kernel of the convolution; every one is tried with all the steps."""
    more.setdefault("product", True)
    made: dict[str, Maker] = {"w": small, "tw": small, **more.pop("make", {})}
    return Kernel(
        f"conv2d_{name}",
        axes,
        writes,
        more.pop("flops", _conv_flops),
        {**_SAME, **(scalars or {}), "work": None},
        variants={"": {}, **_STEPS, **(variants or {})},
        make=made,
        reduces=reduces,
        family="conv",
        parts=2,
        derive=_conv_sizes,
        rooms={"work": _workspace},
        **more,
    )


CONV = [
    _conv(
        "forward",
        {"x": _IMAGE, "w": _FILTERS, "b": "O", **_MOVE, **ACT, **_WORK, "y": _MAPS},
        {"y": "="},
        "RSC",
        RELU,
        {**ACTS, "no bias": {"b": None}},
        timed=("", "strided"),
    ),
    _conv(
        "input_grad",
        {"dz": _MAPS, "w": _FILTERS, **_MOVE, **_WORK, "dx": _IMAGE},
        {"dx": "="},
        "RSO",
        timed=("", "strided"),
    ),
    _conv(
        "weight_grad",
        {"x": _IMAGE, "dz": _MAPS, **_MOVE, "beta": None, **_WORK, "dw": _FILTERS, "db": "O"},
        {"dw": "beta", "db": "beta"},
        "NHW",
        {"beta": 0.0},
        {"adding": {"beta": 1.0}, "no bias": {"db": None}},
    ),
    _conv(
        "tangent",
        {
            "x": _IMAGE,
            "w": _FILTERS,
            "y": _MAPS,
            "tx": _IMAGE,
            "tw": _FILTERS,
            "tb": "O",
            **_MOVE,
            **ACT,
            **_WORK,
            "ty": _MAPS,
        },
        {"ty": "="},
        "RSC",
        RELU,
        {
            **ACTS,
            "input still": {"tx": None},
            "parameters still": {"tw": None, "tb": None},
            "no bias": {"tb": None},
        },
        make={"y": unit},
        flops=lambda s: 2 * _conv_flops(s),
        share={"input still": 0.5, "parameters still": 0.5},
    ),
    _conv(
        "sample_grads",
        {"x": _IMAGE, "dz": _MAPS, **_MOVE, **_WORK, "dw": f"N {_FILTERS}", "db": "N O"},
        {"dw": "=", "db": "="},
        "HW",
        variants={"no bias": {"db": None}},
    ),
    _conv(
        "accumulate",
        {
            "x": _IMAGE,
            "dz": f"V {_MAPS}",
            **_MOVE,
            "power": None,
            **_WORK,
            "dw": _FILTERS,
            "db": "O",
        },
        {"dw": "+=", "db": "+="},
        "NHW",
        {"power": 2},
        {"absolute": {"power": 1}, "no bias": {"db": None}},
        flops=lambda s: s["V"] * _conv_flops(s),
    ),
    _conv(
        "signal",
        {"x": _IMAGE, "y": _MAPS, "w": _FILTERS, **_MOVE, **_WORK, "dw": _FILTERS, "db": "O"},
        {"dw": "+=", "db": "+="},
        "NHW",
        variants={"no bias": {"db": None}},
        flops=lambda s: 1.0 * s["N"] * s["H"] * s["W"] * s["C"] * s["R"] * s["S"],
        product=False,
    ),
]
