"""Split MNIST: five pairs of digits, the task known (Zenke 2017).

784-256-256-10 with the head masked to the task's pair, Adam 1e-3 reset at each task, batch 64.
Zenke et al. also start the head at zero; here it is drawn like the rest.
"""

from ..runs.preset import Preset

PRESET = Preset(
    name="split-mnist",
    summary="five pairs of digits, head masked to the pair (Zenke 2017)",
    stream="split",
    scenario="task",
    init="glorot_uniform",
    epochs=10,
    batch_size=64,
    reset_optimizer=True,
    eval_every=30,
    methods={
        "naive": {},
        "ewc": {"lam": 1000.0},
        "mas": {"lam": 10.0},
        "si": {"lam": 1.0, "xi": 1e-3},
        "sig": {"lam": 1.0},
        "joint": {},
    },
)
