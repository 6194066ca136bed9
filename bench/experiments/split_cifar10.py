"""Split CIFAR-10: five pairs of classes, the task known, on Zenke's convolutional network.

The head has ten outputs, masked to the task's pair. Adam 1e-3 reset at each task, batch 128, random
crops and flips.
"""

from ..runs.preset import Preset

PRESET = Preset(
    name="split-cifar10",
    summary="five pairs of CIFAR-10's classes, Zenke's CNN, head masked to the pair",
    stream="split",
    scenario="task",
    data="cifar-10",
    stream_settings={"normalise": "cifar", "flat": False},
    model="zenke-cnn",
    steps=200,
    batch_size=128,
    reset_optimizer=True,
    augment=True,
    eval_every=50,
    methods={
        "naive": {},
        "ewc": {"lam": 1000.0},
        "mas": {"lam": 10.0},
        "si": {"lam": 1.0, "xi": 1e-3},
        "sig": {"lam": 1.0},
        "joint": {},
    },
)
