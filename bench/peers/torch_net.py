"""What the torch peers share: the network, its flat vectors, and one training step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .problem import BETA1, BETA2, CHECK_STEPS, EPS, LR_ADAM, LR_SGD, Operation, Problem

OptimizerMaker = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def settings() -> dict[str, Any]:
    """How torch runs here."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def network(problem: Problem) -> nn.Sequential:
    """Linear, ReLU, Linear, ... holding a copy of the problem's theta."""
    modules: list[nn.Module] = []
    for i, o in problem.layers():
        modules += [nn.Linear(i, o), nn.ReLU()]
    net = nn.Sequential(*modules[:-1])
    restore(list(net.parameters()), problem)
    return net


def tensor(problem: Problem, name: str) -> torch.Tensor:
    """One of the problem's arrays, copied."""
    return torch.tensor(problem.arrays[name])


def parts(problem: Problem, name: str) -> list[torch.Tensor]:
    """An array of length P as one tensor a parameter, in the order of `net.parameters()`."""
    split = problem.split(problem.arrays[name])
    return [torch.tensor(part) for pair in split for part in pair]


def flat(tensors: Sequence[torch.Tensor]) -> np.ndarray:
    """Tensors in the order of `net.parameters()` as one vector (P,)."""
    return torch.cat([part.detach().reshape(-1) for part in tensors]).numpy()


def adam(**how: bool) -> OptimizerMaker:
    """Makes Adam, in the given implementation (fused=True, foreach=True)."""
    return lambda p: torch.optim.Adam(p, lr=LR_ADAM, betas=(BETA1, BETA2), eps=EPS, **how)


def sgd(**how: bool) -> OptimizerMaker:
    """Makes plain SGD, in the given implementation."""
    return lambda p: torch.optim.SGD(p, lr=LR_SGD, **how)


def train(
    problem: Problem,
    make: OptimizerMaker,
    wrap: Callable[[Callable], Callable] = lambda f: f,
) -> Operation:
    """Forward, mean cross-entropy, backward and one optimizer step; `wrap` may compile the loss."""
    net = network(problem)
    x, y = tensor(problem, "x"), tensor(problem, "y")
    parameters = list(net.parameters())
    loss = wrap(lambda a, b: functional.cross_entropy(net(a), b))
    optimizer = make(parameters)

    def call() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(x, y).backward()
        optimizer.step()

    def reset() -> None:
        nonlocal optimizer
        restore(parameters, problem)
        optimizer = make(parameters)

    def result() -> dict[str, np.ndarray]:
        reset()
        for _ in range(CHECK_STEPS):
            call()
        return {"change": flat(parameters) - problem.arrays["theta"]}

    return Operation(call, result, reset)


def restore(parameters: Sequence[torch.Tensor], problem: Problem) -> None:
    """Copy the problem's theta into the parameters, in place."""
    with torch.no_grad():
        for parameter, start in zip(parameters, parts(problem, "theta"), strict=True):
            parameter.copy_(start)


def stateless(
    call: Callable[[], Any], name: str, to_numpy: Callable[[Any], np.ndarray]
) -> Operation:
    """An operation that changes nothing: its result is that of one call."""
    return Operation(call, lambda: {name: to_numpy(call())})
