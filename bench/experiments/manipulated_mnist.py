"""Manipulated MNIST: the eight sets of Campbell et al. (2018), in their naive sequence's order.

The strengths were searched on the embedded images: --set ewc.lam=100,300,1000,5000, and so on.
"""

from ..runs.preset import Preset

PRESET = Preset(
    name="manipulated-mnist",
    summary="inverted, flipped, rotated, cut and checkered digits (Campbell et al. 2018)",
    stream="manipulated",
    scenario="domain",
    init="glorot_uniform",
    steps=320,
    eval_every=80,
    methods={
        "naive": {},
        "ewc": {"lam": 1000.0},
        "mas": {"lam": 200.0},
        "si": {"lam": 15.0},
        "sig": {"lam": 2.0},
        "joint": {},
    },
)
