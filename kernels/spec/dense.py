"""The contract of matrix products and of the dense layer's kernels."""

from __future__ import annotations

from typing import Any

from .common import ACT, ACTS, RELU
from .contract import Kernel
from .makers import unit

_BACKWARD_WRITES = {"dz": "=", "dw": "beta", "db": "beta", "dx": "="}
_BACKWARD_VARIANTS: dict[str, dict[str, Any]] = {
    "": {},
    **ACTS,
    "adding": {"beta": 1.0},
    "no bias": {"db": None},
    "first layer": {"dx": None},
    "input only": {"dw": None, "db": None},
}


def _backward(name: str, inputs: dict[str, str | None], timed: tuple[str, ...] = ("",)) -> Kernel:
    """The way back through a dense layer, given its `inputs`."""
    return Kernel(
        name,
        {
            **inputs,
            "w": "O I",
            "y": "N O",
            "dy": "VN O",
            **ACT,
            "beta": None,
            "dz": "VN O",
            "dw": "O I",
            "db": "O",
            "dx": "VN I",
        },
        _BACKWARD_WRITES,
        lambda s: 4.0 * s["V"] * s["N"] * s["I"] * s["O"],
        {**RELU, "beta": 0.0},
        make={"y": unit},
        variants=_BACKWARD_VARIANTS,
        reduces="N|O",
        timed=timed,
        share={"first layer": 0.5, "input only": 0.5},
        product=True,
    )


DENSE = [
    *(
        Kernel(
            f"matmul_{way}",
            {"a": a, "b": b, "y": "N O"},
            {"y": "="},
            lambda s: 2.0 * s["N"] * s["I"] * s["O"],
            reduces="I",
            product=True,
        )
        for way, a, b in (("nn", "N I", "I O"), ("nt", "N I", "O I"), ("tn", "I N", "I O"))
    ),
    Kernel(
        "dense_forward",
        {"x": "N I", "w": "O I", "b": "O", **ACT, "y": "N O"},
        {"y": "="},
        lambda s: 2.0 * s["N"] * s["I"] * s["O"],
        RELU,
        variants={"": {}, **ACTS, "no bias": {"b": None}},
        reduces="I",
        product=True,
    ),
    _backward("dense_backward", {"x": "N I"}, timed=("", "first layer")),
    Kernel(
        "superposed_forward",
        {"x": "N I", "c": "I", "w": "O I", "b": "O", **ACT, "z": "N I", "y": "N O"},
        {"z": "=", "y": "="},
        lambda s: 2.0 * s["N"] * s["I"] * s["O"],
        RELU,
        variants={"": {}, **ACTS, "no bias": {"b": None}},
        reduces="I",
        product=True,
        parts=2,
    ),
    _backward("superposed_backward", {"z": "N I", "c": "I"}),
    Kernel(
        "dense_tangent",
        {
            "x": "N I",
            "w": "O I",
            "y": "N O",
            "tx": "N I",
            "tw": "O I",
            "tb": "O",
            **ACT,
            "ty": "N O",
        },
        {"ty": "="},
        lambda s: 4.0 * s["N"] * s["I"] * s["O"],
        RELU,
        make={"y": unit},
        variants={
            "": {},
            **ACTS,
            "input still": {"tx": None},
            "parameters still": {"tw": None, "tb": None},
            "no bias": {"tb": None},
        },
        reduces="I",
        share={"input still": 0.5, "parameters still": 0.5},
        product=True,
    ),
    Kernel(
        "dense_sample_grads",
        {"x": "N I", "dz": "N O", "dw": "N O I", "db": "N O"},
        {"dw": "=", "db": "="},
        lambda s: 1.0 * s["N"] * s["I"] * s["O"],
        variants={"": {}, "no bias": {"db": None}},
        family="per-sample",
    ),
    Kernel(
        "dense_accumulate",
        {
            "x": "N I",
            "dz": "V N O",
            "power": None,
            "xp": "N I",
            "dp": "N O",
            "dw": "O I",
            "db": "O",
        },
        {"dw": "+=", "db": "+="},
        lambda s: 2.0 * s["N"] * s["I"] * s["O"],
        {"power": 2},
        frozenset({"xp", "dp"}),
        variants={"": {}, "absolute": {"power": 1}, "no bias": {"db": None}},
        reduces="N",
        timed=("", "absolute"),
        product=True,
    ),
    Kernel(
        "dense_signal",
        {
            "x": "N I",
            "y": "N O",
            "w": "O I",
            "traffic": "I",
            "response": "O",
            "dw": "O I",
            "db": "O",
        },
        {"dw": "+=", "db": "+="},
        lambda s: 1.0 * s["N"] * (s["I"] + s["O"]) + 2.0 * s["O"] * s["I"],
        scratch=frozenset({"traffic", "response"}),
        variants={"": {}, "no bias": {"db": None}},
        reduces="N",
    ),
]
