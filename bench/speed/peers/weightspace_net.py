"""weightspace itself, through its public names: the others are compared with it.

On a GPU a training step is queued, and captured as a graph once it has run; batches lie there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ....kernels import get_backend
from ....methods import Superposition, importance
from ....nnlite import Network, models, optim
from ....nnlite.step import TrainingStep
from ..timing_cuda import device_name
from . import place
from .conv_kernels import CONVOLUTIONS
from .kinds import Arrays, ConvNet, Mlp, Regression
from .problem import (
    BETA1,
    BETA2,
    CHECK_STEPS,
    EPS,
    LAM,
    LR_ADAM,
    LR_MOMENTUM,
    LR_SGD,
    MANY,
    MOMENTUM,
    Operation,
    Problem,
    Variants,
    repeated,
)
from .products import offered
from .superposed import Superposed

__all__ = [
    "CONVOLUTIONS",
    "NETWORKS",
    "OPERATIONS",
    "PRODUCTS",
    "REGRESSIONS",
    "SUPERPOSED",
    "settings",
    "wait",
]

BACKEND, wait = place.backend(), place.wait
get_backend(BACKEND)  # says what is missing before anything is asked


def settings() -> dict[str, Any]:
    """How weightspace runs here."""
    if BACKEND != "cpu":
        return {"backend": BACKEND, "device": device_name(BACKEND), "tf32": place.tf32()}
    import numba
    from numba.np.ufunc.parallel import threading_layer

    numba.get_num_threads()  # the layer is chosen when the first parallel kernel runs
    return {
        "backend": BACKEND,
        "threads": numba.get_num_threads(),
        "threading_layer": threading_layer(),
    }


def network(problem: Problem) -> Network:
    """The problem's network, at its theta and running statistics."""
    kind, a = problem.network, problem.arrays
    if isinstance(kind, ConvNet):
        return kind.build(a["theta"], a["state"], backend=BACKEND, dtype="float32")
    if isinstance(kind, Superposed):
        return _superposed(kind, a)
    assert isinstance(kind, Mlp)
    net = models.mlp(
        kind.widths, activation=kind.activation, loss=kind.loss, backend=BACKEND, dtype="float32"
    )
    net.theta[:] = place.put(a["theta"])
    return net


def _superposed(kind: Superposed, a: Mapping[str, np.ndarray]) -> Network:
    plain = models.mlp(kind.widths, activation="relu", backend=BACKEND, dtype="float32")
    net = Superposition(kind.contexts).wrap(plain)
    net.theta[:] = place.put(a["theta"])
    for state, context in zip(net.state.values(), kind.split_contexts(a["contexts"]), strict=True):
        state[...] = place.put(context)
    return net


def _step(
    problem: Problem, optimizer: optim.Optimizer, streams: optim.Streams | None = None
) -> Operation:
    net, start = network(problem), place.put(problem.arrays["theta"])
    x, y = place.put(problem.arrays["x"]), place.put(problem.arrays["y"])
    streams = streams or optim.Streams()
    kept = net.state.kept()
    state = optimizer.state(net.num_parameters, net.dtype, net.device)
    count = 0
    step = TrainingStep(net, optimizer, state, streams)

    def call() -> None:
        nonlocal count
        count += 1
        if step.full:
            step.read()
        step.queue(x, y, count)

    def restore() -> None:
        net.theta[:] = start
        net.state.restore(kept)

    def reset() -> None:
        nonlocal count, step
        count = 0
        restore()
        for moment in (*state.values(), *([] if streams.path is None else [streams.path])):
            moment.fill(0.0)
        step = TrainingStep(net, optimizer, state, streams)  # its clocks begin anew, too

    def result() -> dict[str, np.ndarray]:
        reset()
        for _ in range(CHECK_STEPS):
            call()
        found = {"change": place.get(net.theta) - problem.arrays["theta"]}
        if isinstance(problem.network, ConvNet) and len(net.state):
            found["state"] = np.concatenate([place.get(array) for array in net.state.values()])
        return found if streams.path is None else {**found, "path": place.get(streams.path)}

    return Operation(call, result, reset)


def _adam() -> optim.Optimizer:
    return optim.Adam(lr=LR_ADAM, beta1=BETA1, beta2=BETA2, eps=EPS)


def _train_adam(problem: Problem) -> Operation:
    return _step(problem, _adam())


def _train_many(problem: Problem) -> Operation:
    """Steps by rows of one batch, as `fit` takes them; on a device one graph after another."""
    if BACKEND != "cpu":
        return repeated(_step(problem, _adam()), MANY)
    net, start, optimizer = network(problem), problem.arrays["theta"], _adam()
    x, y = problem.arrays["x"], problem.arrays["y"]
    state = optimizer.state(net.num_parameters, net.dtype)
    step = TrainingStep(net, optimizer, state)
    rows, sizes = np.tile(np.arange(problem.batch), MANY), np.full(MANY, problem.batch)
    count = 0

    def call(steps: int = MANY) -> None:
        nonlocal count
        step.queue_many(x, y, rows[: steps * problem.batch], sizes[:steps], count + 1)
        step.read()
        count += steps

    def reset() -> None:
        nonlocal count
        count, net.theta[:] = 0, start
        for moment in state.values():
            moment.fill(0.0)

    def result() -> dict[str, np.ndarray]:
        reset()
        call(CHECK_STEPS)
        return {"change": net.theta - start}

    return Operation(call, result, reset)


def _train_sgd(problem: Problem) -> Operation:
    return _step(problem, optim.SGD(lr=LR_SGD))


def _train_momentum(problem: Problem) -> Operation:
    return _step(problem, optim.SGD(lr=LR_MOMENTUM, momentum=MOMENTUM))


def _si_step(problem: Problem) -> Operation:
    omega, anchor = place.put(problem.arrays["omega"]), place.put(problem.arrays["anchor"])
    path = np.zeros_like(omega)
    return _step(problem, _adam(), optim.Streams(omega=omega, anchor=anchor, lam=LAM, path=path))


def _asking(name: str, question: Callable[[Network, Arrays], Any]) -> Variants:
    """An operation that asks the network something and changes nothing."""

    def build(problem: Problem) -> Operation:
        net = network(problem)
        arrays = {key: place.put(array) for key, array in problem.arrays.items()}

        def call() -> Any:
            return question(net, arrays)

        return Operation(call, lambda: {name: place.get(call())})

    return {BACKEND: build}


def _gram(net: Network, a: Arrays) -> Any:
    saved = net.trace(a["x"])
    return net.pull(saved, net.push(saved, a["v"]))


def _fisher(kind: importance.FisherKind) -> Variants:
    def question(net: Network, a: Arrays) -> Any:
        return importance.fisher(net, a["x"], a["y"] if kind == "empirical" else None, kind=kind)

    return _asking("fisher", question)


def _multiply(operation: str, *arrays: np.ndarray) -> Callable[[], Any]:
    kernel = getattr(get_backend(BACKEND), operation.replace("product-", "matmul_"))
    a, b, out = map(place.put, arrays)

    def call() -> Any:
        kernel(a, b, out)
        return out

    return call


_FORWARD = _asking("logits", lambda net, a: net.forward(a["x"]))

OPERATIONS: dict[str, Variants] = {
    "train-step-adam": {BACKEND: _train_adam},
    "train-step-sgd": {BACKEND: _train_sgd},
    "train-100-adam": {BACKEND: _train_many},
    "si-step": {BACKEND: _si_step},
    "forward-1": _FORWARD,
    "forward-32": _FORWARD,
    "forward-256": _FORWARD,
    "fisher-empirical": _fisher("empirical"),
    "fisher-true": _fisher("true"),
    "mas": _asking("mas", lambda net, a: importance.mas(net, a["x"], output="logits")),
    "jvp": _asking("jvp", lambda net, a: net.jvp(a["x"], a["v"])),
    "vjp": _asking("vjp", lambda net, a: net.vjp(a["x"], a["u"])),
    "gram": _asking("gram", _gram),
}
REGRESSIONS = {name: OPERATIONS[name] for name in Regression.operations}
SUPERPOSED: dict[str, Variants] = {"train-step-adam": {BACKEND: _train_adam}}
_SAME = ("forward-1", "forward-32", "forward-256", "fisher-empirical", "jvp", "gram")
NETWORKS: dict[str, Variants] = {
    "train-step-sgd": {BACKEND: _train_momentum},
    **{name: OPERATIONS[name] for name in _SAME},
}
PRODUCTS = offered(BACKEND, _multiply, place.get)
