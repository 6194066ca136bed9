"""Milliseconds of networks trained one by one and side by side, as docs/programs.md has them.

A network of 4-16-16-3, 1,000 steps of 32 out of 1,000 samples; the least of several rounds, in
which both take turns. Run it as `python docs/side_by_side.py [NETWORKS]`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from weightspace.kernels.cores import cores_here
from weightspace.methods import fit, fit_many
from weightspace.methods.tasks import Task
from weightspace.nnlite import Network, models

ROUNDS = 15
SETTINGS: dict[str, Any] = {"steps": 1000, "batch_size": 32}


def one_by_one(nets: list[Network], task: Task) -> None:
    for seed, net in enumerate(nets):
        fit(net, task, seed=seed, **SETTINGS)


def side_by_side(nets: list[Network], task: Task) -> None:
    fit_many(nets, task, **SETTINGS)


def milliseconds(train: Callable[[list[Network], Task], None], count: int, task: Task) -> float:
    nets = [models.mlp((4, 16, 16, 3), backend="cpu", seed=seed) for seed in range(count)]
    began = time.perf_counter()
    train(nets, task)
    return 1000 * (time.perf_counter() - began) / count


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1000, 4)).astype(np.float32), rng.integers(0, 3, 1000)
    task = Task.from_arrays("noise", (x, y), (x[:200], y[:200]))
    ways = one_by_one, side_by_side
    least = np.min([[milliseconds(way, count, task) for way in ways] for _ in range(ROUNDS)], 0)
    print(f"{count} networks, {cores_here()} cores, milliseconds for each")
    print(
        f"one by one {least[0]:.2f}, side by side {least[1]:.2f}: {least[0] / least[1]:.2f} times"
    )


if __name__ == "__main__":
    main()
