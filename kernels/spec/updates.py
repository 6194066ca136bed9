"""The contract of the optimizers' fused steps."""

from __future__ import annotations

from typing import Any

from .contract import Kernel
from .makers import positive

_STREAMS: dict[str, str | None] = {
    "omega": "P",
    "anchor": "P",
    "lam": None,
    "path": "P",
    "gain": "P",
}
_NONE = {"omega": None, "anchor": None, "path": None, "gain": None}
_STREAM_VARIANTS = {
    "": _NONE,
    "penalty": {"path": None, "gain": None},
    "path": {"omega": None, "anchor": None, "gain": None},
    "penalty and path": {"gain": None},
    "gain": {"omega": None, "anchor": None, "path": None},
    "all": {},
}


def _update(name: str, moments: tuple[str, ...], scalars: dict[str, Any], cost: float) -> Kernel:
    return Kernel(
        f"{name}_update",
        {
            "theta": "P",
            "grad": "P",
            **{moment: "P" for moment in moments},
            **{scalar: None for scalar in scalars},
            **_STREAMS,
        },
        {"theta": "+=", **{moment: "+=" for moment in moments}, "path": "+="},
        lambda s: cost * s["P"],
        {**scalars, "lam": 0.3},
        make={name: positive for name in ("v", "square", "moved", "omega", "gain")},
        variants=_STREAM_VARIANTS,
        family="update",
        timed=("", "penalty and path", "all"),
    )


UPDATES = [
    _update("sgd", (), {"lr": 0.01}, 2),
    _update("momentum", ("velocity",), {"lr": 0.01, "momentum": 0.9}, 4),
    _update(
        "adam", ("m", "v"), {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "step": 3}, 12
    ),
    _update("rmsprop", ("square",), {"lr": 1e-3, "alpha": 0.99, "eps": 1e-8}, 8),
    _update("adadelta", ("square", "moved"), {"lr": 0.1, "rho": 0.95, "eps": 1e-8}, 15),
    Kernel(
        "penalty_gradient",
        {"theta": "P", "omega": "P", "anchor": "P", "lam": None, "grad": "P"},
        {"grad": "+="},
        lambda s: 4.0 * s["P"],
        {"lam": 0.3},
        make={"omega": positive},
        family="update",
    ),
]
