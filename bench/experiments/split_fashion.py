"""Split Fashion-MNIST: five pairs of classes, the task known, on the 5-layer CNN.

The head has ten outputs, masked to the task's pair. Adam 1e-3 reset at each task, batch 64.
"""

from ..runs.preset import Preset

PRESET = Preset(
    name="split-fashion",
    summary="five pairs of Fashion-MNIST's classes, 5-layer CNN, head masked to the pair",
    stream="split",
    scenario="task",
    data="fashion-mnist",
    stream_settings={"normalise": "mnist", "flat": False},
    model="fip-cnn",
    steps=400,
    batch_size=64,
    reset_optimizer=True,
    eval_every=100,
    methods={
        "naive": {},
        "ewc": {"lam": 1000.0, "samples": 2000},
        "mas": {"lam": 10.0, "samples": 2000},
        "si": {"lam": 1.0, "xi": 1e-3},
        "sig": {"lam": 1.0, "samples": 2000},
        "joint": {},
    },
)
