"""Permuted MNIST: the standard test of forgetting, and the project's main job.

The strengths were searched on the full task (README, "Results") and serve the embedded images too.
"""

from .preset import Preset

METHODS: dict[str, dict] = {
    "naive": {},
    "ewc": {"lam": 30.0},
    "mas": {"lam": 10.0},
    "si": {"lam": 1.0},
    "sig": {"lam": 0.3},
    "joint": {},
}

PRESET = Preset(
    name="permuted-mnist",
    summary="ten permutations of the pixels, one shared head (Kirkpatrick 2017, Zenke 2017)",
    stream="permuted",
    scenario="domain",
    steps=320,
    eval_every=80,
    methods=METHODS,
)
