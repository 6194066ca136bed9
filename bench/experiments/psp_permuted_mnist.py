"""Superposition on permuted MNIST (Cheung et al. 2019, Figs. 2 and 3): contexts of four kinds.

784-256-256-10 ReLU with torch's default weights, Adam 1e-3 never reset, batch 128, ten tasks of
1,000 steps. The authors' code has three hidden layers, RMSprop 1e-4, images standardised with
MNIST's mean and deviation, 50 tasks, and contexts of dense layers that are learnt:

    --set hidden=256,256,256 --set optimizer=rmsprop --set lr=1e-4 --set stream.normalise=mnist
    --set stream.num_tasks=50 --set superposition.kind=binary --set superposition.learned=true

Their Fig. 2 is --set superposition.kind=binary at --set hidden=128,128 up to 2048,2048, each in a
folder of its own, which `weightspace run by-width --set runs=FOLDER,FOLDER` draws.
"""

from ..runs.preset import Preset

PRESET = Preset(
    name="psp-permuted-mnist",
    summary="ten permutations of the pixels, superposed under contexts (Cheung et al. 2019)",
    stream="permuted",
    scenario="domain",
    steps=1000,
    eval_every=500,
    methods={
        "naive": {},
        "superposition": {"kind": ["binary", "complex", "onepower", "rotation"]},
    },
)
