"""Superposition on digits that never stop turning (Cheung et al. 2019, Fig. 4): one task.

Each training batch is turned by 360 t / 1000 degrees, counter-clockwise, at step t; every 100 steps
the network is tested on images that stand upright, under context 0. A new context every 100 steps,
ten of them, or ("Fast") one a step, a thousand of them; "Local Mix": the mean of three neighbours.
5,500 steps end upside down, where a network that forgets shows it; `figures/first-task.png` draws
all tests.

The authors have three hidden layers, RMSprop 1e-4, 50 turns, and learn the contexts of dense
layers; ours are fixed:

    --set hidden=256,256,256 --set optimizer=rmsprop --set lr=1e-4 --set steps=50500
"""

from ..runs.preset import Preset

_FAST = {"every": 1, "period": 1000}

PRESET = Preset(
    name="psp-rotating-mnist",
    summary="digits that turn at every step, superposed under contexts (Cheung et al. 2019)",
    stream="datasets",
    scenario="class",
    stream_settings={"normalise": "mnist"},
    steps=5500,
    turn=1000,
    eval_every=100,
    methods={
        "naive": {},
        "superposition": {"kind": "complex", "schedule": "step", "every": 100, "period": 10},
    },
    cases={
        "naive": {"standard": {}},
        "superposition": {
            "psp binary": {"kind": "binary"},
            "psp complex": {},
            "psp Fast": _FAST,
            "psp Local Mix": {"mix": True},
            "psp Fast Local Mix": {**_FAST, "mix": True},
        },
    },
)
