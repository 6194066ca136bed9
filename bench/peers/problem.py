"""What every peer is given: one operation on one ReLU network, with the same inputs for all.

Theta is laid out as everywhere in weightspace: layer by layer, weight (out, in) row-major, then
bias (out,). Per-sample quantities are means over the N samples of the batch.

| operation | result |
|---|---|
| train-step-adam, train-step-sgd | change of theta (P,) after `CHECK_STEPS` steps on mean CE |
| si-step | as train-step-adam with lam omega (theta - anchor) added to the gradient; and the path |
| forward-N | logits (N, K) |
| jvp | J v (N, K); `v` is a direction in theta |
| vjp | J^T u (P,); `u` is a cotangent of the logits |
| gram | J^T J v (P,): the metric product by jvp, then vjp |
| fisher-empirical | mean over n of g_n^2, g_n the gradient of CE at the true label (P,) |
| fisher-true | mean over n of sum_c p_c (d log p_c)^2 (P,) |
| mas | mean over n of abs(gradient of the squared norm of the logits) (P,) |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...kernels.errors import SettingError, unknown_name

LR_ADAM, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8
LR_SGD = 0.01
LAM = 0.1
SAMPLE_GRADS_LIMIT = 4 << 30  # bytes
KINK_MARGIN = 2e-5  # far above float32's error of a unit's input, far below its size
CHECK_STEPS = 3  # one Adam step is little more than a sign; three also test the moments

GROUPS: Mapping[str, tuple[str, ...]] = {
    "train-step": ("train-step-adam", "train-step-sgd"),
    "forward": ("forward-1", "forward-32", "forward-256"),
    "fisher": ("fisher-empirical", "fisher-true"),
    "mas": ("mas",),
    "jvp": ("jvp",),
    "vjp": ("vjp",),
    "gram": ("gram",),
    "si-step": ("si-step",),
}
OPERATIONS = tuple(name for names in GROUPS.values() for name in names)
SIZES = ("784-300-100-10x64", "784-256-256-10x128", "784-2000-2000-10x256")
_DEFAULT_BATCH = {"784-300-100-10": 64, "784-256-256-10": 128, "784-2000-2000-10": 256}


@dataclass(frozen=True)
class Problem:
    """An operation, the widths of the network and the batch; with its arrays, once drawn.

    arrays (all float32 but y): theta, v, omega, anchor (P,); x (N, widths[0]);
    y (N,) int64 labels; u (N, K).
    """

    operation: str
    widths: tuple[int, ...]
    batch: int
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @property
    def size(self) -> str:
        """The size's name, e.g. "784-300-100-10x64"."""
        return f"{'-'.join(map(str, self.widths))}x{self.batch}"

    @property
    def num_parameters(self) -> int:
        """P."""
        return sum(o * (i + 1) for i, o in self.layers())

    def layers(self) -> Iterator[tuple[int, int]]:
        """(in, out) of each layer."""
        return zip(self.widths[:-1], self.widths[1:], strict=True)

    def split(self, vector: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Views (weight (out, in), bias (out,)) of each layer into a vector of length P."""
        views, at = [], 0
        for i, o in self.layers():
            weight = vector[at : at + o * i].reshape(o, i)
            views.append((weight, vector[at + o * i : at + o * i + o]))
            at += o * (i + 1)
        return views

    def draw(self, seed: int = 0) -> Problem:
        """The same problem with its arrays, drawn from `seed` (He-scaled weights).

        Biases are then moved a little, so that no unit's input lies within `KINK_MARGIN` of zero:
        rounding in float32 would decide which side of ReLU's kink it is on, and peers would differ
        by whole derivatives without either being wrong.
        """
        rng = np.random.default_rng(seed)
        count, (n, k) = self.num_parameters, (self.batch, self.widths[-1])

        def normal(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape, dtype=np.float32)

        theta = normal(count)
        for (i, _), (weight, bias) in zip(self.layers(), self.split(theta), strict=True):
            np.multiply(weight, np.float32(np.sqrt(2.0 / i)), out=weight)
            np.multiply(bias, np.float32(0.1), out=bias)
        x = normal(n, self.widths[0])
        self._clear_kinks(theta, x)
        arrays = {
            "theta": theta,
            "x": x,
            "y": rng.integers(0, k, n),
            "u": normal(n, k),
            "v": normal(count),
            "omega": np.abs(normal(count)),
            "anchor": theta + np.float32(0.01) * normal(count),
        }
        return Problem(self.operation, self.widths, self.batch, arrays)

    def _clear_kinks(self, theta: np.ndarray, x: np.ndarray) -> None:
        """Raise the biases of hidden units, in place, until `draw`'s promise holds."""
        x = x.astype(np.float64)
        for weight, bias in self.split(theta)[:-1]:
            products = x @ weight.T.astype(np.float64)
            while (close := (np.abs(products + bias) < KINK_MARGIN).any(axis=0)).any():
                bias[close] += np.float32(2 * KINK_MARGIN)
            x = np.maximum(products + bias, 0.0)


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

    call() does it once, and returns when the result is there; result() gives the arrays to be
    compared (named as in `truth`), from a fresh state; reset() restores the state of the start,
    so that every timed batch of training steps does the same work.
    """

    call: Callable[[], Any]
    result: Callable[[], dict[str, np.ndarray]]
    reset: Callable[[], None] = lambda: None


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


def parse_size(text: str) -> tuple[tuple[int, ...], int]:
    """(widths, batch) of a size such as "784-300-100-10x64"; without "xN" the batch is 64,
    or the one of `SIZES`. Raises SettingError.
    """
    head, _, tail = text.partition("x")
    try:
        widths = tuple(int(part) for part in head.split("-"))
        batch = int(tail) if tail else _DEFAULT_BATCH.get(head, 64)
    except ValueError:
        widths, batch = (), 0
    if len(widths) < 2 or min((*widths, batch)) < 1:
        raise SettingError(
            f"size is '{text}'; expected widths and a batch, all positive, such as {SIZES[0]}"
        )
    return widths, batch


def problems(operations: Iterable[str] | None, sizes: Iterable[str] | None) -> list[Problem]:
    """Every chosen operation at every chosen size; "forward-N" brings its own batch N."""
    made = []
    for operation in expand_operations(operations):
        for widths, batch in map(parse_size, SIZES if sizes is None else sizes):
            own = int(operation.partition("-")[2]) if operation.startswith("forward-") else batch
            made.append(Problem(operation, widths, own))
    return list(dict.fromkeys(made))
