"""A thousand tasks in one process: what is kept and what a task takes do not grow, where promised.

By design, R has a row and a column a task, and so has its history; what methods keep a task (a
memory of samples, an anchor) is theirs to say. The methods here keep the same for any number.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

METHODS = ("naive", "ewc", "si", "mas", "sig")
_ALLOWED = 2.0  # how many times a late task may take what an early one did
_SLACK = 4096  # bytes a task beyond its rows of R and of the history


class Calls:
    """A clock that goes on by one at each call of a function: the same on every machine."""

    def __init__(self) -> None:
        self.count = 0
        sys.setprofile(self._heard)

    def _heard(self, _frame: Any, event: str, _about: Any) -> None:
        self.count += event in ("call", "c_call")

    def __call__(self) -> int:
        return self.count


def soak(method: str, tasks: int, clock: Callable[[], float] = time.process_time) -> dict[str, Any]:
    """`tasks` tiny tasks by one method; call it in a process of its own.

    clock: what a task takes is told by it: CPU time, or in a test `Calls()`.
    """
    from weightspace.methods import METHODS as KNOWN
    from weightspace.methods import Observer, Task, fit
    from weightspace.nnlite import models

    rng = np.random.default_rng(0)
    y = np.arange(8) % 4
    stream = [
        Task.from_arrays(str(i), (x, y), (x[:2], y[:2]))
        for i, x in enumerate(rng.random((tasks, 8, 6), np.float32))
    ]
    taken, memory = np.zeros(tasks), np.zeros(tasks)

    class Watch(Observer):
        def task_began(self, task: int) -> None:
            self.begun = clock()

        def task_learnt(self, task: int) -> None:
            taken[task] = clock() - self.begun
            memory[task] = _resident()

    settings = {"penalty": "online"} if method == "ewc" else {}
    made = KNOWN[method](**settings)
    net = models.mlp((6, 5, 4), backend="reference")
    fit(net, stream, made, steps=2, batch_size=4, observer=Watch())
    fifth = tasks // 5
    early, late = np.median(taken[fifth : 2 * fifth]), np.median(taken[-fifth:])
    grown = (memory[-1] - memory[fifth]) / (tasks - fifth)
    allowed = 4 * 8 * tasks + _SLACK  # rows of R and of the history, and their copies
    failures = []
    if late > _ALLOWED * early:
        failures.append(f"{method}: a task takes {late / early:.1f} times what it took early on")
    if grown > allowed:
        failures.append(f"{method}: {grown:,.0f} bytes more with each task, allowed {allowed:,}")
    return {
        "part": "soak", "method": method, "tasks": tasks, "bytes_a_task": round(grown),
        "late_to_early": round(float(late / early), 2), "failures": failures,
    }  # fmt: skip


def _resident() -> float:
    """Bytes of this process in memory, now where the system says so, else at most so far."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
