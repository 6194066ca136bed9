"""weightspace itself, backend "cpu", through its public names: the others are compared with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...methods import importance
from ...nnlite import Network, models, optim
from .conv_kernels import CONVOLUTIONS
from .networks import ConvNet, Mlp
from .problem import (
    BETA1,
    BETA2,
    CHECK_STEPS,
    EPS,
    LAM,
    LR_ADAM,
    LR_MOMENTUM,
    LR_SGD,
    MOMENTUM,
    Operation,
    Problem,
    Variants,
)

__all__ = ["CONVOLUTIONS", "NETWORKS", "OPERATIONS", "settings"]


def settings() -> dict[str, Any]:
    """How weightspace runs here."""
    import numba

    numba.get_num_threads()  # the layer is chosen when the first parallel kernel runs
    return {
        "backend": "cpu",
        "threads": numba.get_num_threads(),
        "threading_layer": numba.threading_layer(),
    }


def network(problem: Problem) -> Network:
    """The problem's network, at its theta and running statistics."""
    kind, a = problem.network, problem.arrays
    if isinstance(kind, ConvNet):
        return kind.build(a["theta"], a["state"], backend="cpu", dtype="float32")
    assert isinstance(kind, Mlp)
    net = models.mlp(kind.widths, activation="relu", backend="cpu", dtype="float32")
    net.theta[:] = a["theta"]
    return net


def _step(
    problem: Problem, optimizer: optim.Optimizer, streams: optim.Streams | None = None
) -> Operation:
    net, start = network(problem), problem.arrays["theta"]
    x, y = problem.arrays["x"], problem.arrays["y"]
    streams = streams or optim.Streams()
    grad = np.empty_like(net.theta)
    kept = {name: array.copy() for name, array in net.state.items()}
    state = optimizer.state(net.num_parameters, net.dtype)
    count = 0

    def call() -> None:
        nonlocal count
        count += 1
        net.loss_and_grad(x, y, out=grad, mode="train")
        optimizer.step(net.ops, net.theta, grad, state, count, streams)

    def restore() -> None:
        net.theta[:] = start
        for name, array in net.state.items():
            array[...] = kept[name]

    def reset() -> None:
        nonlocal count
        count = 0
        restore()
        for moment in (*state.values(), *([] if streams.path is None else [streams.path])):
            moment.fill(0.0)

    def result() -> dict[str, np.ndarray]:
        reset()
        for _ in range(CHECK_STEPS):
            call()
        found = {"change": net.theta - start}
        if net.state:
            found["state"] = np.concatenate(list(net.state.values()))
        return found if streams.path is None else {**found, "path": streams.path}

    return Operation(call, result, reset)


def _adam() -> optim.Optimizer:
    return optim.Adam(lr=LR_ADAM, beta1=BETA1, beta2=BETA2, eps=EPS)


def _train_adam(problem: Problem) -> Operation:
    return _step(problem, _adam())


def _train_sgd(problem: Problem) -> Operation:
    return _step(problem, optim.SGD(lr=LR_SGD))


def _train_momentum(problem: Problem) -> Operation:
    return _step(problem, optim.SGD(lr=LR_MOMENTUM, momentum=MOMENTUM))


def _si_step(problem: Problem) -> Operation:
    omega, anchor = problem.arrays["omega"], problem.arrays["anchor"]
    path = np.zeros_like(omega)
    return _step(problem, _adam(), optim.Streams(omega=omega, anchor=anchor, lam=LAM, path=path))


def _asking(name: str, question: Callable[[Network, Problem], np.ndarray]) -> Variants:
    """An operation that asks the network something and changes nothing."""

    def build(problem: Problem) -> Operation:
        net = network(problem)

        def call() -> np.ndarray:
            return question(net, problem)

        return Operation(call, lambda: {name: call()})

    return {"cpu": build}


def _gram(net: Network, problem: Problem) -> np.ndarray:
    saved = net.trace(problem.arrays["x"])
    return net.pull(saved, net.push(saved, problem.arrays["v"]))


def _fisher(kind: importance.FisherKind) -> Variants:
    def question(net: Network, problem: Problem) -> np.ndarray:
        labels = problem.arrays["y"] if kind == "empirical" else None
        return importance.fisher(net, problem.arrays["x"], labels, kind=kind)

    return _asking("fisher", question)


_FORWARD = _asking("logits", lambda net, problem: net.forward(problem.arrays["x"]))

OPERATIONS: dict[str, Variants] = {
    "train-step-adam": {"cpu": _train_adam},
    "train-step-sgd": {"cpu": _train_sgd},
    "si-step": {"cpu": _si_step},
    "forward-1": _FORWARD,
    "forward-32": _FORWARD,
    "forward-256": _FORWARD,
    "fisher-empirical": _fisher("empirical"),
    "fisher-true": _fisher("true"),
    "mas": _asking(
        "mas", lambda net, problem: importance.mas(net, problem.arrays["x"], output="logits")
    ),
    "jvp": _asking("jvp", lambda net, p: net.jvp(p.arrays["x"], p.arrays["v"])),
    "vjp": _asking("vjp", lambda net, p: net.vjp(p.arrays["x"], p.arrays["u"])),
    "gram": _asking("gram", _gram),
}
_SAME = ("forward-1", "forward-32", "forward-256", "fisher-empirical", "jvp")
NETWORKS: dict[str, Variants] = {
    "train-step-sgd": {"cpu": _train_momentum},
    **{name: OPERATIONS[name] for name in _SAME},
}
