"""What every peer is given: one operation on one network, with the same inputs for all.

Networks and their arrays: `networks`. Per-sample quantities are means over the N samples.

| operation on a network | result |
|---|---|
| train-step-adam, train-step-sgd | change of theta (P,) after `CHECK_STEPS` steps on mean loss |
| train-100-adam | the same of train-step-adam, timed as 100 steps in one call |
| si-step | as train-step-adam with lam omega (theta - anchor) added to the gradient; and the path |
| forward-N | logits (N, K) |
| jvp | J v (N, K); `v` is a direction in theta |
| vjp | J^T u (P,); `u` is a cotangent of the logits |
| gram | J^T J v (P,): the metric product by jvp, then vjp |
| fisher-empirical | mean over n of g_n^2, g_n the gradient of CE at the true label (P,) |
| fisher-true | mean over n of sum_c p_c (d log p_c)^2 (P,) |
| mas | mean over n of abs(gradient of the squared norm of the logits) (P,) |

Convolutional networks train in mode "train" with momentum, and their state (S,) after it is a
result as well; they answer everything else in mode "eval".

| operation on a single convolution | result |
|---|---|
| conv-forward | y (N, H, H, O) |
| conv-forward-backward | dx and dw for the cotangent dy; the forward pass is timed as well |
| conv-fisher | fisher (O, 3, 3, C): sum over n of g_n^2, g_n sample n's gradient by w for dy |

The dense products are in `products`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ....kernels.errors import unknown_name
from .kinds import Kind

LR_ADAM, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8
LR_SGD = 0.01
LR_MOMENTUM, MOMENTUM = 0.05, 0.9  # train-step-sgd of convolutional networks
LAM = 0.1
SAMPLE_GRADS_LIMIT = 4 << 30  # bytes
MANY = 100  # steps of train-100-adam
CHECK_STEPS = 3  # one Adam step is little more than a sign; three also test the moments

GROUPS: Mapping[str, tuple[str, ...]] = {
    "train-step": ("train-step-adam", "train-step-sgd"),
    "train-many": ("train-100-adam",),
    "forward": ("forward-1", "forward-32", "forward-256"),
    "fisher": ("fisher-empirical", "fisher-true"),
    "mas": ("mas",),
    "jvp": ("jvp",),
    "vjp": ("vjp",),
    "gram": ("gram",),
    "si-step": ("si-step",),
    "conv": ("conv-forward", "conv-forward-backward", "conv-fisher"),
    "product": ("product-nt", "product-nn", "product-tn"),
}
OPERATIONS = tuple(name for names in GROUPS.values() for name in names)


@dataclass(frozen=True)
class Problem:
    """An operation, the network and the batch; with its arrays (see `networks`), once drawn."""

    operation: str
    network: Kind
    batch: int
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @property
    def size(self) -> str:
        """The size's name, e.g. "784-300-100-10x64"."""
        return self.network.size(self.batch)

    @property
    def num_parameters(self) -> int:
        """P."""
        return self.network.num_parameters

    def draw(self, seed: int = 0) -> Problem:
        """The same problem with its arrays, drawn from `seed`."""
        return replace(self, arrays=self.network.draw(np.random.default_rng(seed), self.batch))


def save_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays to an .npz file, without pickle."""
    np.savez(path, allow_pickle=False, **dict(arrays))


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read what `save_arrays` wrote."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@dataclass
class Operation:
    """A peer's own form of an operation, ready to run.

    call() does it once, and returns when the result is there (or, where the peer has a `wait`, once
    the work is queued); result() gives the arrays to be
    compared (named as in `truth`), from a fresh state; reset() restores the state of the start,
    so that every timed batch of training steps does the same work.
    """

    call: Callable[[], Any]
    result: Callable[[], dict[str, np.ndarray]]
    reset: Callable[[], None] = lambda: None


def repeated(operation: Operation, times: int) -> Operation:
    """So many calls as one."""

    def call() -> None:
        for _ in range(times):
            operation.call()

    return Operation(call, operation.result, operation.reset)


# The ways in which a peer can do an operation, by a label that says how; the fastest is timed.
Variants = Mapping[str, Callable[[Problem], Operation]]


class NotRunError(Exception):
    """A peer declines a problem, e.g. because it would not fit in memory; the reason is shown."""


def decline_large(problem: Problem) -> None:
    """Raise NotRunError where two float32 arrays (N, P), the per-sample gradients and their
    squares, would take more than `SAMPLE_GRADS_LIMIT` bytes."""
    needed = 2 * 4 * problem.batch * problem.num_parameters
    if needed > SAMPLE_GRADS_LIMIT:
        raise NotRunError(
            f"would hold {needed / 2**30:.1f} GiB of per-sample gradients "
            f"(the bench allows {SAMPLE_GRADS_LIMIT / 2**30:.0f} GiB)"
        )


def expand_operations(names: Iterable[str] | None) -> list[str]:
    """Operations by name or group ("train-step", "forward", "fisher"); None means all."""
    chosen: dict[str, None] = {}
    for name in GROUPS if names is None else names:
        if name not in GROUPS and name not in OPERATIONS:
            raise unknown_name("operation", name, {*GROUPS, *OPERATIONS})
        chosen |= dict.fromkeys(GROUPS.get(name, (name,)))
    return list(chosen)
