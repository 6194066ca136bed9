"""What contexts cost a training step: `python docs/superposed_step.py [UNITS]`.

The plain network and its superposed ones take a few steps each in turn, in one process, so that a
slow second of the machine meets all of them; shown are medians, and medians of ratios to the plain
step of the same turn.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from weightspace.methods import Superposition
from weightspace.nnlite import models
from weightspace.nnlite.optim import Adam
from weightspace.nnlite.step import TrainingStep

KINDS = ("plain", "binary", "complex", "rotation")
TURNS, STEPS, BATCH = 60, 5, 128


def stepper(kind: str, units: int) -> Callable[[], None]:
    """A function that takes STEPS training steps."""
    net = models.mlp((784, units, units, 10), seed=0)
    if kind != "plain":
        net = Superposition(kind).wrap(net)
    rng = np.random.default_rng(0)
    x, y = rng.random((BATCH, 784), dtype="f"), rng.integers(0, 10, BATCH)
    optimizer = Adam(1e-6)
    step = TrainingStep(net, optimizer, optimizer.state(net.num_parameters, net.dtype))

    def run() -> None:
        for _ in range(STEPS):
            step.queue(x, y, 1)
            step.read()

    return run


def main() -> None:
    units = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    runs = {kind: stepper(kind, units) for kind in KINDS}
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(TURNS + 5):
        for kind, run in runs.items():
            begun = time.perf_counter()
            run()
            if turn >= 5:  # the first ones compile
                times[kind].append((time.perf_counter() - begun) / STEPS)
    for kind, taken in times.items():
        ratio = statistics.median(a / b for a, b in zip(taken, times["plain"], strict=True))
        print(f"{kind:10} {1e6 * statistics.median(taken):7.0f} us   {ratio:.2f} of plain")


if __name__ == "__main__":
    main()
