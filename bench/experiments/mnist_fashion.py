"""MNIST, then Fashion-MNIST, with the 5-layer CNN and one head of 20 (Raghavan & Thomson).

Labels 0-9 are MNIST's, 10-19 Fashion-MNIST's, nothing is masked. SGD 0.01 with momentum 0.9, batch
100, 1,200 steps a task. EWC is given as a list of strengths, so that the run draws its trade-off:
what is kept of the first task against what is learnt of the second; an earlier list ended at its
best, 10,000. It is stabilised, because at this learning rate a plain penalty of lambda 1000
overshoots its anchor and diverges.
"""

from ..runs.preset import Preset

PRESET = Preset(
    name="mnist-fashion",
    summary="MNIST then Fashion-MNIST, 5-layer CNN, one head of 20 (Raghavan & Thomson)",
    stream="datasets",
    scenario="class",
    data="mnist+fashion-mnist",
    stream_settings={"normalise": "mnist", "flat": False},
    model="fip-cnn",
    optimizer="sgd",
    lr=0.01,
    momentum=0.9,
    steps=1200,
    batch_size=100,
    eval_every=400,
    methods={
        "naive": {},
        "ewc": {
            "lam": [1000.0, 3000.0, 10_000.0, 30_000.0, 100_000.0, 300_000.0],
            "stabilised": True,
            "samples": 2000,
        },
        "joint": {},
    },
)
