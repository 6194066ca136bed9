"""Fashion-MNIST alone, with the FIP paper's 5-layer CNN: one task, learnt well.

What a network can reach before anything is asked of its memory: a sanity check of convolutions,
BatchNorm and training. The head has the data set's ten outputs.
"""

from ..runs.preset import Preset

PRESET = Preset(
    name="fashion-cnn",
    summary="one task: the 5-layer CNN on Fashion-MNIST",
    stream="datasets",
    scenario="class",
    data="fashion-mnist",
    stream_settings={"normalise": "mnist", "flat": False},
    model="fip-cnn",
    epochs=8,
    batch_size=500,
    eval_every=240,
    methods={"naive": {}},
)
