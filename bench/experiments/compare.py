"""All methods side by side on permuted MNIST: accuracy, what is kept, and time.

The stream, network and optimizer of `permuted-mnist`, with the strengths searched there; those of
FIP, LwF, PackNet and XdG were chosen from a few on a stream of another seed. Methods with a memory
keep 256 samples a task (Lopez-Paz & Ranzato 2017). PackNet, XdG and superposition are told in tests
which task it is; the table says so.
"""

from dataclasses import replace

from . import permuted_mnist

PRESET = replace(
    permuted_mnist.PRESET,
    name="compare",
    summary="every method on permuted MNIST: accuracy against memory and time",
    eval_every=0,
    methods={
        **{k: v for k, v in permuted_mnist.PRESET.methods.items() if k != "joint"},
        "gem": {"memories": 256},
        "agem": {"memories": 256},
        "replay": {"memories": 256},
        "derpp": {"memories": 256},
        "fip": {"memories": 256, "batch": 128, "strength": 20.0},
        "lwf": {},
        "packnet": {"prune": 0.85},
        "xdg": {"gated": 0.5, "lam": 1.5},
        "superposition": {"kind": "binary"},
        "joint": {},
    },
)
