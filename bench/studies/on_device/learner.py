"""A method in exported C, taught task by task as a device would be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....methods import Superposition
from ....methods.metrics import acc, bwt
from ....nnlite import Network
from ....nnlite.export.c import Exported, Learning, export
from ....nnlite.export.c.host import Host
from ....nnlite.optim import SGD
from ..study import Row, Work
from .protocols import TAIL, TaskData, batches

MEASURED = 400  # samples that an importance is the mean of


@dataclass(frozen=True)
class Way:
    """A line of the table: how a device learns. latents: whether memories are bytes."""

    name: str
    method: str = "naive"
    lam: float = 1.0
    latents: bool = False
    superposed: bool = False


def ways(settings: Any, protocol: str) -> list[Way]:
    """The methods of a protocol, with the strengths of the settings."""
    lam = dict(zip(("ewc", "si", "mas"), getattr(settings, f"{protocol}_lams"), strict=True))
    found = [Way("naive"), *(Way(name, name, value) for name, value in lam.items()),
             Way("packnet", "packnet")]  # fmt: skip
    found.append(Way("replay (floats)", "replay"))
    found.append(Way("replay (bytes)", "replay", latents=True))
    return [*found, Way("superposition", superposed=True)]


def exported(work: Work, way: Way, net: Network, tasks: Sequence[TaskData], tail: bool,
             floats: int) -> Exported:  # fmt: skip
    """The C of a way. floats: numbers that a memory has room for."""
    settings, contexts = work.settings, []
    width, latents = _memory(net, tasks, tail)
    learning = Learning(
        TAIL if tail else None, settings.batch, SGD(settings.lr), way.method, way.lam,
        memories=max(floats // width * (4 if way.latents else 1), 1),
        latents=latents if way.latents else None, prune=1 - 1 / len(tasks),
    )  # fmt: skip
    if way.superposed:
        method = Superposition("binary", first=not tail)
        net = method.wrap(net)
        contexts = [method.contexts(net, number) for number in range(len(tasks))]
        learning = replace(learning, method="naive")
    return export(net, "net", learning, contexts)


def _memory(net: Network, tasks: Sequence[TaskData], tail: bool) -> tuple[int, tuple[float, float]]:
    """(numbers of what the tail is given, its range over some of the first task's samples)."""
    x = tasks[0].train[0][:MEASURED]
    given = list(net.activations(x))[-TAIL - 1] if tail else x
    return given[0].size, (float(given.min()), float(given.max()))


def learn(work: Work, way: Way, made: Exported, tasks: Sequence[TaskData],
          told: Callable[[int], None]) -> Row:  # fmt: skip
    """Teach an export the tasks on this machine; what came of it."""
    device, settings = Host(made), work.settings
    device.start()
    retrain = settings.steps * 2 // 3
    matrix = np.zeros((len(tasks), len(tasks)))
    for number, task in enumerate(tasks):
        _begin(device, way, task, number)
        for step, (x, y) in enumerate(
            batches(task, settings.steps, settings.batch, work.seed, 0xDE, number)
        ):
            if way.method == "packnet" and step == retrain:
                device.prune()
            device.learn_step(np.ascontiguousarray(x), y)
            if way.method == "replay" and step % settings.offered == 0:
                for one, label in zip(x, y, strict=True):
                    device.remember(np.ascontiguousarray(one), int(label))
        if way.method in ("ewc", "mas"):
            for x, _ in batches(task, MEASURED, 1, work.seed, 0xF1, number):
                device.importance(np.ascontiguousarray(x))
        device.end_task()
        for other, data in enumerate(tasks[: number + 1]):
            _begin(device, way, data, other)
            matrix[number, other] = _accuracy(device, way, data, other)
        told(number + 1)
    return {"accuracy": acc(matrix), "bwt": bwt(matrix)}


def _begin(device: Host, way: Way, task: TaskData, number: int) -> None:
    active = np.ones(10, np.uint8) if task.active is None else task.active.astype(np.uint8)
    device.classes(active)
    if way.superposed:
        device.task(number)


def _accuracy(device: Host, way: Way, task: TaskData, number: int) -> float:
    x, y = task.test
    if way.method == "packnet":  # without what later tasks own
        outputs = np.empty((len(x), 10), np.float32)
        for one, row in zip(np.ascontiguousarray(x), outputs, strict=True):
            device.predict_task(number, one, row)
    else:
        outputs = device.outputs(x, 10)
    if task.active is not None:
        outputs[:, ~task.active] = -np.inf
    return float((outputs.argmax(axis=1) == y).mean())
