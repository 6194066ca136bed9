"""MNIST, then Fashion-MNIST, along functionally invariant paths (Raghavan & Thomson, Fig. 2).

The stream, network and optimizer of `mnist-fashion`. FIP stores 500 images of MNIST with the
network's answers: "anchor" is the authors' step, "metric" solves Eq. 4 by conjugate gradients.
GEM and replay store the same 500. Statistics of BatchNorm2d are running ones;

    --set model.statistics=batch

takes each batch's own in training and in tests, as the authors' notebook does without saying.
"""

from dataclasses import replace

from . import mnist_fashion

PRESET = replace(
    mnist_fashion.PRESET,
    name="fip-two-tasks",
    summary="MNIST then Fashion-MNIST along invariant paths, against EWC, GEM, replay",
    methods={
        "naive": {},
        "fip": {"memories": 500, "batch": 100, "strength": 5.0},
        "gem": {"memories": 500},
        "replay": {"memories": 500},
        "ewc": mnist_fashion.PRESET.methods["ewc"],
    },
    cases={
        "fip": {
            "fip anchor": {"step": "anchor"},
            "fip metric": {"step": "both", "strength": 30.0},
        },
    },
)
