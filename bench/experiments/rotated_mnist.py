"""Rotated MNIST: ten angles from 0 to 162 degrees, one shared head (Lopez-Paz & Ranzato 2017).

The strengths were searched on the embedded images: --set ewc.lam=100,300,1000,5000, and so on.
"""

from ..runs.preset import Preset

PRESET = Preset(
    name="rotated-mnist",
    summary="ten rotations from 0 to 162 degrees, one shared head (Lopez-Paz & Ranzato 2017)",
    stream="rotated",
    scenario="domain",
    init="glorot_uniform",
    steps=320,
    eval_every=80,
    methods={
        "naive": {},
        "ewc": {"lam": 300.0},
        "mas": {"lam": 60.0},
        "si": {"lam": 50.0},
        "sig": {"lam": 6.0},
        "joint": {},
    },
)
