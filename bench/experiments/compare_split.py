"""All methods side by side on split Fashion-MNIST: five pairs of classes, the 5-layer CNN.

    --set scenario=class

unmasks the head: old and new classes then compete, and no test says which task it is. Methods with
a memory keep 100 samples a task, 500 in all. Half the steps of `split-fashion`; the rest is its.
"""

from dataclasses import replace

from . import split_fashion

PRESET = replace(
    split_fashion.PRESET,
    name="compare-split",
    summary="every method on split Fashion-MNIST, task- or class-incremental",
    steps=200,
    eval_every=0,
    methods={
        **{k: v for k, v in split_fashion.PRESET.methods.items() if k != "joint"},
        "gem": {"memories": 100},
        "agem": {"memories": 100, "batch": 100},
        "replay": {"memories": 100},
        "derpp": {"memories": 100},
        "fip": {"memories": 100, "batch": 100, "strength": 5.0},
        "lwf": {},
        "packnet": {},
        "xdg": {"gated": 0.5},
        "superposition": {"kind": "binary"},
        "joint": {},
    },
)
