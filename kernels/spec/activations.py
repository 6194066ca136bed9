"""The contract of elementwise kernels: activations, the residual sum, dropout."""

from __future__ import annotations

from .common import ACT, ACTS, EXP, RELU
from .contract import Kernel
from .makers import unit


def _elementwise(name: str, forward: float, pull: float, slope: bool = False) -> list[Kernel]:
    """The kernels of an activation; `forward` and `pull`: their flops an element."""
    scalars = {"slope": 0.01} if slope else {}
    extra: dict[str, str | None] = {"slope": None} if slope else {}
    return [
        Kernel(
            f"{name}_forward",
            {"x": "N O", **extra, "y": "N O"},
            {"y": "="},
            lambda s: forward * s["N"] * s["O"],
            scalars,
            family="activation",
        ),
        *(
            Kernel(
                f"{name}_{verb}",
                {"y": "N O", source: "N O", **extra, target: "N O"},
                {target: "="},
                lambda s: pull * s["N"] * s["O"],
                scalars,
                make={"y": unit},
                family="activation",
            )
            for verb, source, target in (("backward", "dy", "dx"), ("tangent", "tx", "ty"))
        ),
    ]


ACTIVATIONS = [
    Kernel(
        "activation_forward",
        {**ACT, "x": "N O", "y": "N O"},
        {"y": "="},
        lambda s: 1.0 * s["N"] * s["O"],
        RELU,
        variants={"": {}, **ACTS},
        family="activation",
    ),
    Kernel(
        "activation_backward",
        {**ACT, "y": "N O", "dy": "VN O", "dx": "VN O"},
        {"dx": "="},
        lambda s: 1.0 * s["V"] * s["N"] * s["O"],
        RELU,
        make={"y": unit},
        variants={"": {}, **ACTS},
        family="activation",
    ),
    *_elementwise("identity", 0, 0),
    *_elementwise("relu", 1, 1),
    *_elementwise("leaky_relu", 2, 2, slope=True),
    *_elementwise("tanh", EXP + 6, 3),
    *_elementwise("sigmoid", EXP + 3, 3),
    Kernel(
        "residual_forward",
        {"x": "N O", "r": "N O", **ACT, "y": "N O"},
        {"y": "="},
        lambda s: 2.0 * s["N"] * s["O"],
        RELU,
        variants={"": {}, **ACTS},
        family="activation",
    ),
    Kernel(
        "residual_tangent",
        {"y": "N O", "tx": "N O", "tr": "N O", **ACT, "ty": "N O"},
        {"ty": "="},
        lambda s: 2.0 * s["N"] * s["O"],
        RELU,
        make={"y": unit},
        variants={"": {}, **ACTS},
        family="activation",
    ),
    Kernel(
        "dropout",
        {"x": "V O", "rate": None, "seed": None, "draw": None, "y": "V O"},
        {"y": "="},
        lambda s: 25.0 * s["V"] * s["O"],
        {"rate": 0.3, "seed": 2**40 + 3, "draw": 5},
        variants={"": {}, "rate 0": {"rate": 0.0}, "half": {"rate": 0.5, "draw": 2**33}},
        family="activation",
    ),
]
