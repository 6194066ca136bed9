"""The contract: one entry a kernel. The tests, the parity check and the bench all read it.

`contract` says what an entry is and checks a backend against it; the other files hold the entries.
"""

from __future__ import annotations

from .activations import ACTIVATIONS
from .context import CONTEXT
from .contract import Kernel, Sizes, Traffic, check, check_arguments, relative_error, tolerance
from .conv import CONV
from .dense import DENSE
from .images import IMAGES
from .losses import LOSSES
from .norm import NORM
from .sparse import SPARSE
from .updates import UPDATES

KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (
        *DENSE,
        *SPARSE,
        *CONTEXT,
        *CONV,
        *IMAGES,
        *NORM,
        *ACTIVATIONS,
        *LOSSES,
        *UPDATES,
    )
}

# Functions of a backend that are no kernels: they say how much scratch a kernel wants.
PLANNERS = frozenset({"conv2d_workspace"})

# Sizes for the bench by family: from one sample, over what stays in cache, to what surely does not.
LADDER: dict[str, dict[str, dict[str, int]]] = {
    "dense": {
        "one": {"N": 1, "I": 784, "O": 256, "V": 1},
        "small": {"N": 64, "I": 300, "O": 100, "V": 1},
        "medium": {"N": 128, "I": 784, "O": 256, "V": 1},
        "large": {"N": 256, "I": 2000, "O": 2000, "V": 1},
        "memory": {"N": 1, "I": 8192, "O": 8192, "V": 1},
    },
    "sparse": {
        "one": {"N": 1, "I": 784, "O": 256},
        "medium": {"N": 128, "I": 784, "O": 256},
        "large": {"N": 256, "I": 2000, "O": 2000},
    },
    "per-sample": {
        "one": {"N": 1, "I": 784, "O": 256},
        "small": {"N": 16, "I": 300, "O": 100},
        "medium": {"N": 32, "I": 784, "O": 100},
        "memory": {"N": 256, "I": 784, "O": 256},
    },
    "conv": {
        "one": {"N": 1, "H": 32, "W": 32, "C": 64, "O": 64, "R": 3, "S": 3, "V": 1},
        "small": {"N": 64, "H": 16, "W": 16, "C": 32, "O": 32, "R": 3, "S": 3, "V": 1},
        "medium": {"N": 32, "H": 16, "W": 16, "C": 128, "O": 128, "R": 3, "S": 3, "V": 1},
        "large": {"N": 32, "H": 32, "W": 32, "C": 64, "O": 64, "R": 3, "S": 3, "V": 1},
    },
    "context": {
        "small": {"N": 128, "I": 256},
        "medium": {"N": 128, "I": 784},
        "memory": {"N": 8192, "I": 2048},
    },
    "image": {
        "small": {"N": 64, "H": 16, "W": 16, "C": 32, "V": 1},
        "large": {"N": 128, "H": 32, "W": 32, "C": 16, "V": 1},
        "memory": {"N": 256, "H": 32, "W": 32, "C": 64, "V": 1},
    },
    "norm": {
        "small": {"N": 64, "T": 256, "C": 32, "V": 1},
        "large": {"N": 128, "T": 1024, "C": 16, "V": 1},
        "memory": {"N": 256, "T": 1024, "C": 64, "V": 1},
    },
    "activation": {
        "small": {"N": 64, "O": 100, "V": 1},
        "medium": {"N": 128, "O": 256, "V": 1},
        "large": {"N": 256, "O": 2000, "V": 1},
        "memory": {"N": 8192, "O": 4096, "V": 1},
    },
    "loss": {
        "small": {"N": 64, "K": 10},
        "medium": {"N": 256, "K": 100},
        "large": {"N": 10_000, "K": 10},
        "memory": {"N": 1_000_000, "K": 10},
    },
    "gather": {
        "small": {"N": 64, "I": 784},
        "large": {"N": 1024, "I": 3072},
        "memory": {"N": 20_000, "I": 3072},
    },
    "update": {
        "small": {"P": 30_000},
        "medium": {"P": 270_000},
        "large": {"P": 5_600_000},
        "memory": {"P": 16_000_000},
    },
}

__all__ = [
    "KERNELS",
    "LADDER",
    "PLANNERS",
    "Kernel",
    "Sizes",
    "Traffic",
    "check",
    "check_arguments",
    "relative_error",
    "tolerance",
]
