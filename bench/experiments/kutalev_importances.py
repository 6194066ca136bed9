"""Correlation of importances (Kutalev 2022): how much FIS, MAS, SI and SIG agree, layer by layer.

784-300-150-10 leaky ReLU (slope .01), Adam 1e-3 never reset, batch 100, six epochs a task on ten
permutations, importances from the last 5,000 training samples of each task. The probe trains under
MAS's penalty, lam 4.5, and measures all five importances; the other lines are the same network
under each penalty at his searched strengths. His 41 for FIS has no factor 1/2: here it is 82.
"""

from ..runs.preset import Preset

_LAST = {"samples": 5000, "which": "last"}

PRESET = Preset(
    name="kutalev-importances",
    summary="layerwise correlations of FIS, MAS, SI, SIG and MAS^2 (Kutalev 2022)",
    stream="permuted",
    scenario="domain",
    hidden=(300, 150),
    activation="leaky_relu",
    epochs=6,
    batch_size=100,
    methods={
        "importance-probe": {"lam": 4.5, **_LAST},
        "mas": {"lam": 4.5, **_LAST},
        "ewc": {"lam": 82.0, "fisher": "empirical", **_LAST},
        "si": {"lam": 0.25, "clamp": "none", "gradient": "total"},
        "sig": {"lam": 0.1, **_LAST},
        "naive": {},
    },
)
