"""The contract of elementwise kernels: activations, sums, dropout."""

from __future__ import annotations

from .common import ACT, ACTS, EXP, RELU
from .contract import Kernel
from .makers import unit, wide_positive

ACTIVATIONS = [
    Kernel(
        "activation_forward",
        {**ACT, "x": "N O", "y": "N O"},
        {"y": "="},
        lambda s: 1.0 * s["N"] * s["O"],
        RELU,
        variants={"": {}, **ACTS},
        family="activation",
        timed=("", "tanh", "sigmoid"),
        share={"identity": 0.0, "leaky_relu": 2.0, "tanh": EXP + 6, "sigmoid": EXP + 3},
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
        share={"identity": 0.0, "leaky_relu": 2.0, "tanh": 3.0, "sigmoid": 3.0},
    ),
    Kernel(
        "copy",
        {"x": "N O", "y": "N O"},
        {"y": "="},
        lambda s: 0.0,
        family="activation",
    ),
    Kernel(
        "fill",
        {"value": None, "y": "N O"},
        {"y": "="},
        lambda s: 0.0,
        {"value": 1.5},
        family="activation",
    ),
    Kernel(
        "scale",
        {"x": "N O", "factor": None, "y": "N O"},
        {"y": "="},
        lambda s: 1.0 * s["N"] * s["O"],
        {"factor": 1 / 3},
        family="activation",
    ),
    Kernel(
        "divide",
        {"x": "N O", "divisor": "1", "y": "N O"},
        {"y": "="},
        lambda s: 1.0 * s["N"] * s["O"],
        make={"divisor": wide_positive},
        family="activation",
    ),
    Kernel(
        "add",
        {"a": "N O", "b": "N O", "y": "N O"},
        {"y": "="},
        lambda s: 1.0 * s["N"] * s["O"],
        family="activation",
    ),
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
