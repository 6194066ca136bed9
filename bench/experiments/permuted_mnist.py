"""Permuted MNIST: the standard test of forgetting, and the project's main job.

784-256-256-10 ReLU with Glorot's initial weights (as Zenke et al.), Adam 1e-3 never reset, batch
128, one softmax shared by all tasks; the first task is the images as they are. The strengths were
searched on 19,689 images (bench/results) and serve the embedded ones too.
"""

from ..runs.preset import Preset

PRESET = Preset(
    name="permuted-mnist",
    summary="ten permutations of the pixels, one shared head (Kirkpatrick 2017, Zenke 2017)",
    stream="permuted",
    scenario="domain",
    init="glorot_uniform",
    steps=320,
    eval_every=80,
    methods={
        "naive": {},
        "ewc": {"lam": 30.0},
        "mas": {"lam": 5.0},
        "si": {"lam": 1.5},
        "sig": {"lam": 0.2},
        "joint": {},
    },
)
