"""What several files of the contract share: the activation's arguments, and the cost of exp."""

from __future__ import annotations

from .. import codes

# Flops of an exponential: a polynomial of degree 6 after taking out powers of two (`cpu`'s way).
EXP = 22.0
ACTS = {name: {"act": code} for name, code in codes.ACTIVATIONS.items()}
ACT: dict[str, str | None] = {"act": None, "slope": None}
RELU = {"act": codes.RELU, "slope": 0.01}
