"""The contract of the losses' kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .common import EXP
from .contract import Kernel, Sizes
from .makers import all_true, labels, positive, simplex, some_zero, wide, wide_positive


def _some_ignored(
    rng: np.random.Generator, sizes: Sizes, values: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Labels of every class, and every third ignored but for the first."""
    found = rng.integers(0, sizes["K"], sizes["N"])
    found[2::3] = values["ignored"]
    return {"labels": found}


LOSSES = [
    Kernel(
        "softmax",
        {"logits": "N K", "active": "K", "p": "N K"},
        {"p": "="},
        lambda s: (EXP + 4) * s["N"] * s["K"],
        make={"active": all_true},
        reduces="K",
        family="loss",
    ),
    Kernel(
        "softmax_backward",
        {"p": "N K", "u": "N K", "dz": "N K"},
        {"dz": "="},
        lambda s: 4.0 * s["N"] * s["K"],
        make={"p": simplex},
        reduces="K",
        family="loss",
    ),
    Kernel(
        "softmax_fisher_factor",
        {"p": "N K", "factor": "K N K"},
        {"factor": "="},
        lambda s: 2.0 * s["N"] * s["K"] ** 2,
        make={"p": simplex},
        family="loss",
    ),
    Kernel(
        "softmax_cross_entropy",
        {"logits": "N K", "labels": "N", "active": "K", "loss": "N", "dlogits": "N K"},
        {"loss": "=", "dlogits": "="},
        lambda s: (EXP + 4) * s["N"] * s["K"],
        make={"labels": labels, "active": all_true},
        reduces="K",
        family="loss",
    ),
    Kernel(
        "squared_error",
        {"outputs": "N K", "targets": "N K", "loss": "N", "doutputs": "N K"},
        {"loss": "=", "doutputs": "="},
        lambda s: 3.0 * s["N"] * s["K"],
        reduces="K",
        family="loss",
    ),
    Kernel(
        "mean_loss",
        {"loss": "N", "mean": "1"},
        {"mean": "="},
        lambda s: 1.0 * s["N"],
        # a mean that cancels would leave no scale to judge its error by
        make={"loss": positive, "mean": wide},
        reduces="N",
        family="loss",
    ),
    Kernel(
        "label_weights",
        {
            "labels": "N",
            "weights": "K",
            "ignored": None,
            "known": "N",
            "weight": "N",
            "total": "1",
        },
        {"known": "=", "weight": "=", "total": "="},
        lambda s: 1.0 * s["N"],
        {"ignored": -100},
        make={"weights": some_zero, "known": labels, "total": wide},
        variants={"": {}, "a class is ignored": {"ignored": 1}},
        reduces="N",
        family="loss",
        together=_some_ignored,
    ),
    Kernel(
        "weigh_losses",
        {"weight": "N", "loss": "N", "dlogits": "N K"},
        {"loss": "+=", "dlogits": "+="},
        lambda s: 1.0 * s["N"] * (s["K"] + 1),
        make={"weight": some_zero},
        family="loss",
    ),
    Kernel(
        "weighted_mean",
        {"loss": "N", "total": "1", "mean": "1"},
        {"mean": "="},
        lambda s: 1.0 * s["N"],
        make={"loss": positive, "total": wide_positive, "mean": wide},
        reduces="N",
        family="loss",
    ),
]
