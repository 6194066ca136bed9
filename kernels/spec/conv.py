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
    """h and w: rows and columns of output positions; C and O of whole groups; c: C of one."""
    places = (values[name] for name in ("stride", "padding", "beyond", "dilation"))
    h, w = (
        (sizes[a] + before + after - (sizes[k] - 1) * apart - 1) // step + 1
        for a, k, step, before, after, apart in zip("HW", "RS", *places, strict=True)
    )
    groups = values["groups"]
    each, filters = (max(sizes[axis] // groups, 1) for axis in "CO")
    return {"h": h, "w": w, "C": each * groups, "O": filters * groups, "c": each}


def _workspace(backend: Backend, kernel: str, given: dict[str, Any]) -> int:
    """Elements of `work`: images are called x or dx, filters w or dw (of each sample, perhaps),
    maps y, ty or dz (of each cotangent, perhaps)."""
    shapes = (
        next(given[name].shape[-4:] for name in names if given.get(name) is not None)
        for names in (("x", "dx"), ("w", "dw"), ("y", "ty", "dz"))
    )
    return backend.conv2d_workspace(kernel, *shapes, *(given[name] for name in _MOVE))


def _conv_flops(s: Sizes) -> float:
    return 2.0 * math.prod(s[letter] for letter in "NhwORSc")


def _channels(s: Sizes) -> int:
    return s["C"]


_MOVE: dict[str, str | None] = dict.fromkeys(("stride", "padding", "dilation", "groups"))
# `beyond` is no argument, the zeros below and to the right of an image: y is so much larger.
_SAME = {
    "stride": (1, 1), "padding": (1, 1), "beyond": (1, 1), "dilation": (1, 1), "groups": 1,
}  # fmt: skip
_BARE = {"padding": (0, 0), "beyond": (0, 0)}
_STEPS: dict[str, dict[str, Any]] = {
    "strided": {"stride": (2, 2)},
    "uneven": {"stride": (2, 1), "padding": (0, 2), "beyond": (0, 2)},
    "bare": _BARE,
    "asymmetric": {"padding": (0, 2), "beyond": (2, 1)},
    "dilated": {"dilation": (2, 3), "padding": (2, 3), "beyond": (2, 2)},
    "dilated, strided": {"stride": (2, 3), "dilation": (3, 2), "padding": (3, 2), "beyond": (4, 2)},
    "grouped": {"groups": 2},
    "depthwise": {"groups": _channels},
    "grouped, dilated": {"groups": 3, "stride": (1, 2), "dilation": (1, 2), "beyond": (1, 2)},
    "depthwise, strided": {"groups": _channels, "stride": (2, 2), "padding": (0, 1)},
    "depthwise, dilated": {"groups": _channels, "dilation": (2, 2), "padding": (1, 2)},
}
_IMAGE, _FILTERS, _MAPS = "N H W C", "O R S c", "N h w O"
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
