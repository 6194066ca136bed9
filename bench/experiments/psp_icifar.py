"""Superposition on CIFAR-10, then four groups of CIFAR-100 (Cheung et al. 2019, Fig. 6): ResNet-18.

Labels 10-19 up to 40-49, one head of ten outputs for every task; no BatchNorm has a scale, a shift
or running statistics: a batch's own serve in tests, too, since running ones would mix the tasks.
Contexts are binary, on every layer but the first convolution. The authors' numbers: 20,000 steps a
task of RMSprop 1e-3, batch 128, pixels in [-1, 1], nothing augmented. Their "multihead" network is
--set scenario=task -m naive: one head of 50 outputs, masked to the task's ten.

On two cores a step of ResNet-18 takes seconds: this preset is for a GPU (--backend cuda).
"""

from ..runs.preset import Preset

PRESET = Preset(
    name="psp-icifar",
    summary="CIFAR-10, then 4 groups of CIFAR-100, ResNet-18, superposed (Cheung et al. 2019)",
    stream="incremental-cifar",
    scenario="domain",
    data="cifar-10+cifar-100",
    stream_settings={"normalise": "symmetric", "flat": False},
    model="resnet18",
    model_settings={"affine": False, "statistics": "batch"},
    optimizer="rmsprop",
    steps=20_000,
    eval_every=2000,
    methods={
        "naive": {},
        "superposition": {"kind": "binary", "first": False},
    },
    cases={"naive": {"standard": {}}, "superposition": {"psp": {}}},
)
